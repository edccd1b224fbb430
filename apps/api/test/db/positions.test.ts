import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { newId } from '../../src/base/ids.ts'
import { type Tx, withTx, withTxRetry } from '../../src/db/client.ts'
import { appendEvents } from '../../src/events/append.ts'
import { readFeed, readRunPage } from '../../src/events/feed.ts'
import { type Arena, broken, makeArena } from '../engine/arena.ts'

let arena: Arena
let orgId: string
beforeAll(async () => {
  arena = await makeArena()
})
afterAll(() => arena.close())
beforeEach(async () => {
  orgId = newId()
  await arena.fresh.db.query('insert into orgs (id, name) values ($1, $2)', [orgId, `Org ${orgId}`])
})

const tell = (runId: string, count = 1) =>
  withTx(arena.db, (tx) => appendEvents(tx, runId, Array(count).fill({ type: 'calls.booked' })))
const feed = async () => (await readFeed(arena.db, [{ orgId, after: 0 }], 10_000)).map((one) => one)

describe('positions', () => {
  it('number the events of all runs without a gap, however many write at once; each run stays in its order', async () => {
    const runs = await Promise.all([1, 2, 3, 4].map(() => arena.makeRun({ products: 1, orgId, start: false })))
    await Promise.all(
      runs.flatMap((run) =>
        [1, 2, 3].map(async () => {
          for (let turn = 0; turn < 20; turn++) await tell(run.id, 1 + (turn % 3))
        }),
      ),
    )
    const entries = await feed()
    expect(entries.map(({ position }) => position)).toEqual(entries.map((_, index) => index + 1))
    for (const run of runs) {
      const seqs = entries.filter(({ runId }) => runId === run.id).map(({ event }) => event?.seq)
      expect(seqs).toEqual(seqs.map((_, index) => index + 1))
      expect(seqs.length).toBe((await arena.look(run.id)).eventSeq)
    }
  })

  it('are seen in their order: who sees one sees all before it', async () => {
    const runs = await Promise.all([1, 2, 3, 4].map(() => arena.makeRun({ products: 1, orgId, start: false })))
    let isOver = false
    const telling = Promise.all(
      runs.map(async (run) => {
        for (let turn = 0; turn < 60; turn++) await tell(run.id)
      }),
    ).finally(() => {
      isOver = true
    })
    let after = 0
    let looks = 0
    while (!isOver) {
      for (const { position } of await readFeed(arena.db, [{ orgId, after }], 1_000)) {
        expect(position).toBe(after + 1)
        after = position
      }
      looks++
    }
    await telling
    expect(looks).toBeGreaterThan(10)
  })

  it('are not used up by what is rolled back', async () => {
    const run = await arena.makeRun({ products: 1, orgId, start: false })
    await expect(
      withTx(arena.db, async (tx) => {
        await appendEvents(tx, run.id, [{ type: 'calls.booked' }])
        await tx.query('set constraints all immediate')
        throw new Error('rolled back')
      }),
    ).rejects.toThrow('rolled back')
    await tell(run.id)
    expect((await feed()).map(({ position, event }) => [position, event?.seq])).toEqual([
      [1, 1],
      [2, 2],
    ])
  })

  it('are locked last: a transaction that locks on after its event makes nobody wait in a circle', async () => {
    const [one, two] = await Promise.all([1, 2].map(() => arena.makeRun({ products: 1, orgId, start: false })))
    const lock = (tx: Tx, id = '') => tx.query('select from collection_runs where id = $1 for no key update', [id])
    const tellIn = (tx: Tx, id = '') => appendEvents(tx, id, [{ type: 'calls.booked' }])
    const hasTold = Promise.withResolvers<void>()
    const hasOther = Promise.withResolvers<void>()
    // One tells of its run and then wants the other, as a start may; whoever has that one tells of it, too.
    const first = withTx(arena.db, async (tx) => {
      await tellIn(tx, one?.id)
      hasTold.resolve()
      await hasOther.promise
      await lock(tx, two?.id)
    })
    await hasTold.promise
    const second = withTx(arena.db, async (tx) => {
      await lock(tx, two?.id)
      hasOther.resolve()
      await tellIn(tx, two?.id)
    })
    await Promise.all([first, second])
    expect((await feed()).length).toBe(4)
  })

  it('stay when their event goes with its run', async () => {
    const [gone, stays] = await Promise.all([1, 2].map(() => arena.makeRun({ products: 1, orgId, start: false })))
    await tell(stays?.id ?? '')
    await arena.fresh.db.query('delete from collection_runs where id = $1', [gone?.id])
    const entries = await feed()
    expect(entries.map(({ position }) => position)).toEqual([1, 2, 3])
    expect(entries.filter(({ event }) => event === null).map(({ runId }) => runId)).toEqual([gone?.id])
  })

  it('go with their organisation', async () => {
    await arena.makeRun({ products: 1, orgId, start: false })
    await arena.fresh.db.query('delete from orgs where id = $1', [orgId])
    expect(await feed()).toEqual([])
  })

  it('are checked by verify: one that is missing or out of order is found', async () => {
    const run = await arena.makeRun({ products: 1, orgId, start: false })
    await tell(run.id, 3)
    expect(await broken(arena.db)).toEqual([])
    const { db } = arena.fresh
    const org = `where org_id = '${orgId}'`
    await db.query(`update collection_feed set seq = 5 - seq ${org} and position in (2, 3)`)
    expect(await broken(arena.db)).toEqual(['I10'])
    await db.query(`update collection_feed set seq = 5 - seq ${org} and position in (2, 3)`)
    expect(await broken(arena.db)).toEqual([])
    await db.query(`delete from collection_feed ${org} and position = 4`)
    expect(await broken(arena.db)).toEqual(['I10'])
    await db.query(`insert into collection_feed (org_id, position, run_id, seq) values ($1, 4, $2, 4)`, [orgId, run.id])
    expect(await broken(arena.db)).toEqual([])
  })

  it('are written by no client', async () => {
    const denied = { code: '42501' }
    for (const sql of [
      `insert into collection_feed values ('${orgId}', 1, '${newId()}', 1)`,
      'update collection_feed set position = position + 1',
      'delete from collection_feed',
      'update collection_positions set last_position = 0',
      'delete from collection_positions',
    ]) {
      await expect(
        withTxRetry(arena.db, (tx) => tx.query(sql)),
        sql,
      ).rejects.toMatchObject(denied)
    }
  })
})

describe('a page of a run', () => {
  it('tells the last position of the same moment', async () => {
    const run = await arena.makeRun({ products: 1, orgId, start: false })
    await tell(run.id, 4)
    const page = await readRunPage(arena.db, { orgId, runId: run.id }, 2, 2)
    expect(page.events.map(({ seq }) => seq)).toEqual([3, 4])
    expect(page.position).toBe(5)
    expect(await readRunPage(arena.db, { orgId, runId: run.id }, 5, 2)).toEqual({ events: [], position: 5 })
    expect(await readRunPage(arena.db, { orgId: newId(), runId: run.id }, 0, 1)).toMatchObject({ position: 0 })
  })
})
