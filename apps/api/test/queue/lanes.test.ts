import { beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { newId } from '../../src/base/ids.ts'
import { withTx } from '../../src/db/client.ts'
import { saveAccount } from '../../src/engine/accounts.ts'
import { cancelRun } from '../../src/engine/run-acts.ts'
import { chooseRun, closedLane, forgetOld, lanesByOrg, openedLane } from '../../src/queue/lanes.ts'
import { changeSettings } from '../../src/runs/settings.ts'
import type { RunSnapshot } from '../../src/runs/snapshot.ts'
import { claim, lose } from '../engine/by-hand.ts'
import { useArena } from '../engine/use-arena.ts'

const DEAD_AFTER_MS = 6_000

const arena = useArena()
let otherOrg: string
beforeAll(async () => {
  otherOrg = newId()
  await arena.db.query('insert into orgs (id, name) values ($1, $2)', [otherOrg, 'Another agency'])
  await changeSettings(arena.db, otherOrg, { maxConcurrentRuns: 1000 })
})
beforeEach(async () => {
  for (const { id } of await arena.rows<{ id: string }>(`select id from collection_runs where status = 'running'`))
    await cancelRun(arena.db, id)
})

const choose = (workerId: string, orgId: string | null = null, except: readonly string[] = []) =>
  withTx(arena.db, (tx) => chooseRun(tx, orgId, { workerId, deadAfterMs: DEAD_AFTER_MS, except, credentials: null }))
const open = (workerId: string, run: RunSnapshot) => withTx(arena.db, (tx) => openedLane(tx, workerId, run.id))
const silence = (workerId: string) =>
  arena.db.query(`update collection_workers set heartbeat_at = now() - interval '1 minute' where id = $1`, [workerId])

describe('chooseRun', () => {
  it('takes the organisation with the fewest lanes, then the run with the fewest', async () => {
    const [first, second] = [await arena.makeRun({ products: 3 }), await arena.makeRun({ products: 3 })]
    const other = await arena.makeRun({ products: 3, orgId: otherOrg })
    const [worker, me] = [await arena.makeWorker(), await arena.makeWorker()]
    expect(await choose(me)).toMatchObject({ runId: first.id, running: 3, orgLanes: 0 })
    await open(worker, first)
    expect(await choose(me)).toMatchObject({ runId: other.id, orgLanes: 0 })
    await open(worker, other)
    expect(await choose(me, arena.actor.orgId)).toMatchObject({ runId: second.id, running: 2, orgLanes: 1 })
    expect(await choose(me, arena.actor.orgId, [second.id])).toMatchObject({ runId: first.id })
    expect(await choose(me, null, [first.id, second.id, other.id])).toMatchObject({ runId: null, running: 3 })
  })

  it('takes of equals the one not served for longest', async () => {
    const runs = [await arena.makeRun({ products: 3 }), await arena.makeRun({ products: 3 })]
    const [first, second] = runs as [RunSnapshot, RunSnapshot]
    const me = await arena.makeWorker()
    await open(me, first)
    await closedLane(arena.db, me, first.id)
    expect(await choose(me)).toMatchObject({ runId: second.id })
    await open(me, second)
    await closedLane(arena.db, me, second.id)
    expect(await choose(me)).toMatchObject({ runId: first.id })
  })

  it('counts no lane of a worker that is dead or has left', async () => {
    const [first] = [await arena.makeRun({ products: 3 }), await arena.makeRun({ products: 3 })]
    const [dead, gone, me] = [await arena.makeWorker(), await arena.makeWorker(), await arena.makeWorker()]
    await open(dead, first)
    await silence(dead)
    await open(gone, first)
    await arena.db.query('update collection_workers set stopped_at = now() where id = $1', [gone])
    expect(await choose(me)).toMatchObject({ orgLanes: 0 })
    expect(await lanesByOrg(arena.db, { deadAfterMs: DEAD_AFTER_MS, credentials: null })).toEqual([
      { orgId: arena.actor.orgId, lanes: 0, waiting: 2 },
    ])
    await open(me, first)
    expect(await lanesByOrg(arena.db, { deadAfterMs: DEAD_AFTER_MS, credentials: null })).toEqual([
      { orgId: arena.actor.orgId, lanes: 1, waiting: 1 },
    ])
  })

  it('gives no second lane to a run with nothing left to claim, but never leaves one without any', async () => {
    const run = await arena.makeRun({ products: 2 })
    const [worker, me] = [await arena.makeWorker(), await arena.makeWorker()]
    await claim(arena, run, worker, 2)
    expect(await choose(me)).toMatchObject({ runId: run.id })
    await open(worker, run)
    expect(await choose(me)).toMatchObject({ runId: null, running: 1 })
    await lose(arena, worker)
    expect(await choose(me)).toMatchObject({ runId: run.id })
  })
})

describe('a worker without the credentials of a run', () => {
  it('gets no lane on it, and gives none of its own up for it', async () => {
    const live = { adapter: 'ebay_browse', baseUrl: 'http://127.0.0.1:9', sandbox: false } as const
    const account = await saveAccount(arena.db, { ...live, name: 'live', prices: {} })
    const run = await arena.makeRun({ products: 3 })
    await arena.fresh.db.query('update collection_runs set search_account_id = $2 where id = $1', [run.id, account.id])
    const me = await arena.makeWorker()
    const seen = async (credentials: readonly string[]) => {
      const asking = { workerId: me, deadAfterMs: DEAD_AFTER_MS, except: [], credentials }
      const { runId, running } = await withTx(arena.db, (tx) => chooseRun(tx, null, asking))
      return { runId, running, waiting: (await lanesByOrg(arena.db, asking))[0]?.waiting }
    }
    expect(await seen(['LIVE_USER'])).toEqual({ runId: null, running: 1, waiting: 0 })
    expect(await seen(['LIVE_SECRET', 'LIVE_USER'])).toEqual({ runId: run.id, running: 1, waiting: 1 })
  })
})

describe('workers long gone', () => {
  it('are forgotten after a week, with their lanes, unless a held call refers to them', async () => {
    const run = await arena.makeRun({ products: 3 })
    const [old, holder, recent] = [await arena.makeWorker(), await arena.makeWorker(), await arena.makeWorker()]
    for (const worker of [old, holder, recent]) await open(worker, run)
    await claim(arena, run, holder)
    for (const [worker, days] of [
      [old, 8],
      [holder, 8],
      [recent, 6],
    ])
      await arena.db.query(`update collection_workers set heartbeat_at = now() - $2 * interval '1 day' where id = $1`, [
        worker,
        days,
      ])
    const known = async (): Promise<string[]> =>
      (
        await arena.rows<{ id: string }>('select id from collection_workers where id = any($1)', [
          [old, holder, recent],
        ])
      )
        .map(({ id }) => id)
        .sort()
    await forgetOld(arena.db, 7)
    expect(await known()).toEqual([holder, recent].sort())
    expect(await arena.rows('select from collection_lanes where worker_id = $1', [old])).toEqual([])
    await lose(arena, holder)
    await arena.db.query(`update collection_workers set heartbeat_at = now() - interval '8 days' where id = $1`, [
      holder,
    ])
    await forgetOld(arena.db, 7)
    expect(await known()).toEqual([recent])
  })
})
