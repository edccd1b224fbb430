import { setTimeout as sleep } from 'node:timers/promises'
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest'
import { newId } from '../../../src/base/ids.ts'
import { withTx } from '../../../src/db/client.ts'
import { cancelRun } from '../../../src/engine/run-acts.ts'
import { appendEvents } from '../../../src/events/append.ts'
import { found, PRICE, searchWith, work } from '../../engine/arena.ts'
import { claimSearches } from '../../engine/by-hand.ts'
import type { ServerProcess } from './server-process.ts'
import type { Frame, Reader } from './sse.ts'
import { makeStage, numbers, type Stage } from './stage.ts'

// Longer than any wait within: a busy machine is no failure.
vi.setConfig({ testTimeout: 120_000 })

let stage: Stage
let server: ServerProcess
beforeAll(async () => {
  stage = await makeStage()
  server = await stage.start()
})
afterAll(() => stage.close())

const named = (name: string) => (frame: Frame) => frame.event === name
const withId = (id: string | number) => (frame: Frame) => frame.event === 'message' && frame.id === String(id)
const facts = (reader: Reader) => reader.frames.filter(named('message'))

describe('the stream of a run', () => {
  it('replays what was, then goes on with what comes, each number once', async () => {
    const run = await stage.makeRun()
    await stage.tell(run.id, 450)
    const reader = await server.read(stage.owner, { orgId: stage.orgId, runId: run.id })
    expect(reader.status).toBe(200)
    expect(Object.fromEntries(reader.headers)).toMatchObject({
      'content-type': 'text/event-stream; charset=utf-8',
      'cache-control': 'no-store, no-transform',
      'x-accel-buffering': 'no',
      'x-content-type-options': 'nosniff',
    })
    expect(reader.headers.has('access-control-allow-origin')).toBe(false)
    await reader.until(named('open'))
    await stage.tell(run.id, 50)
    const last = await stage.seqOf(run.id)
    await reader.until(withId(last))
    expect(reader.ids()).toEqual(numbers(1, last))
    const [first] = facts(reader)
    expect(first?.data).toMatchObject({ runId: run.id, seq: 1, type: 'run.created', actorId: null })
    expect(facts(reader).at(-1)?.data.data).toEqual({ spentMicros: 49 })
    reader.close()
  })

  it('goes on after the number it is given: as a parameter at first, from then on by Last-Event-ID', async () => {
    const run = await stage.makeRun()
    await stage.tell(run.id, 10)
    const last = await stage.seqOf(run.id)
    const first = await server.read(stage.owner, { orgId: stage.orgId, runId: run.id, after: '4' })
    await first.until(withId(last))
    expect(first.ids()).toEqual(numbers(5, last))
    first.close()
    // A browser that comes again asks the same address, and says in the header how far it came.
    const again = await server.read(stage.owner, { orgId: stage.orgId, runId: run.id, after: '4' }, '9')
    await again.until(withId(last))
    expect(again.ids()).toEqual(numbers(10, last))
    again.close()
  })

  it('says from where it goes on before anything happens', async () => {
    const run = await stage.makeRun()
    const last = await stage.seqOf(run.id)
    const reader = await server.read(stage.owner, { orgId: stage.orgId, runId: run.id, after: String(last) })
    await reader.until(named('open'))
    expect(reader.lastId()).toBe(String(last))
    expect(reader.retryMs()).toBe(2_000)
    reader.close()
  })

  it('is not left open by who asks for its head only', async () => {
    const run = await stage.makeRun()
    const { viewers } = await server.facts()
    const response = await fetch(server.address({ orgId: stage.orgId, runId: run.id }), {
      method: 'HEAD',
      headers: { authorization: `Bearer ${stage.owner}` },
    })
    expect(response.status).toBe(200)
    await expect.poll(async () => (await server.facts()).viewers, { timeout: 30_000 }).toBeLessThanOrEqual(viewers)
  })

  it('refuses an id that is none', async () => {
    const run = await stage.makeRun()
    const reader = await server.read(stage.owner, { orgId: stage.orgId, runId: run.id, after: 'o4' })
    expect(reader.status).toBe(400)
    expect(JSON.parse(reader.text)).toMatchObject({ code: 'input.invalid' })
    const inHeader = await server.read(stage.owner, { orgId: stage.orgId, runId: run.id }, 'o4')
    expect(JSON.parse(inHeader.text)).toMatchObject({ code: 'input.invalid' })
  })

  it('begins anew, and says so, for a reader that knows of more than there is: the database was set back', async () => {
    const run = await stage.makeRun()
    const last = await stage.seqOf(run.id)
    const reader = await server.read(stage.owner, { orgId: stage.orgId, runId: run.id }, '900')
    await reader.until(withId(last))
    expect(reader.frames.slice(0, 2).map(({ event }) => event)).toEqual(['open', 'reset'])
    expect(reader.ids()).toEqual(numbers(1, last))
    reader.close()
  })

  it('ends when the run has ended and its last event was told, with its last figures before', async () => {
    const run = await stage.makeRun({ products: 30 })
    const reader = await server.read(stage.owner, { orgId: stage.orgId, runId: run.id })
    await reader.until(named('figures'))
    await work(stage.arena, { run, search: searchWith(({ query }) => found([JSON.stringify(query)])) })
    expect(await reader.ended).toBe(true)
    const last = await stage.arena.look(run.id)
    expect(last.status).toBe('completed')
    expect(reader.ids()).toEqual(numbers(1, last.eventSeq))
    const [figures, end] = reader.frames.slice(-2)
    expect(figures).toMatchObject({
      event: 'figures',
      data: {
        eventSeq: last.eventSeq,
        run: { id: run.id, status: 'completed', spentMicros: 30 * PRICE, heldMicros: 0 },
      },
    })
    expect(end).toMatchObject({ event: 'end', data: { runId: run.id, reason: 'ended', eventSeq: last.eventSeq } })
    // EventSource comes again after every end; it stops for good at a 204.
    const again = await server.read(stage.owner, { orgId: stage.orgId, runId: run.id }, reader.lastId())
    expect(again.status).toBe(204)
  })

  it('does not end while calls of an ended run are in flight', async () => {
    const run = await stage.makeRun({ products: 3 })
    const workerId = await stage.arena.makeWorker()
    const wanted = { runId: run.id, workerId, accountId: stage.arena.search.id, slots: 3, priceMicros: PRICE }
    await claimSearches(stage.arena.db, wanted)
    const reader = await server.read(stage.owner, { orgId: stage.orgId, runId: run.id })
    await cancelRun(stage.arena.db, run.id)
    await reader.until(({ event, data }) => event === 'figures' && data.run.status === 'cancelled')
    expect(reader.frames.some(named('end'))).toBe(false)
    await stage.arena.db.query(
      `update collection_calls set state = 'released', outcome = 'unsent', booked_at = clock_timestamp() where run_id = $1`,
      [run.id],
    )
    await withTx(stage.arena.db, (tx) => appendEvents(tx, run.id, [{ type: 'calls.booked' }]))
    expect(await reader.ended).toBe(true)
    expect(reader.ids()).toEqual(numbers(1, await stage.seqOf(run.id)))
  })

  it('ends when the run is deleted', async () => {
    const run = await stage.makeRun({ start: false })
    const reader = await server.read(stage.owner, { orgId: stage.orgId, runId: run.id })
    await reader.until(named('figures'))
    await stage.arena.fresh.db.query('delete from collection_runs where id = $1', [run.id])
    const last = await reader.until(({ event }) => event === 'end' || event === 'cut')
    expect(last.data).toMatchObject(last.event === 'end' ? { reason: 'deleted' } : { code: 'run.not_found' })
    expect(await reader.ended).toBe(true)
  })

  it('gives signs of life while nothing happens', async () => {
    const run = await stage.makeRun()
    const reader = await server.read(stage.owner, { orgId: stage.orgId, runId: run.id })
    const beat = await reader.until(named('beat'), 10_000)
    expect(Date.parse(beat.data.at)).toBeGreaterThan(0)
    reader.close()
  })
})

describe('figures', () => {
  it('come at most four times a second, each with its event number, and never before that event', async () => {
    const run = await stage.makeRun()
    const reader = await server.read(stage.owner, { orgId: stage.orgId, runId: run.id })
    await reader.until(named('figures'))
    const until = performance.now() + 3_000
    while (performance.now() < until) {
      await stage.tell(run.id, 1)
      await sleep(10)
    }
    const last = await stage.seqOf(run.id)
    await reader.until(({ event, data }) => event === 'figures' && data.eventSeq === last)
    const figures = reader.frames.filter(named('figures'))
    const seconds = ((figures.at(-1)?.at ?? 0) - (figures[0]?.at ?? 0)) / 1000
    expect(figures.length).toBeGreaterThan(4)
    expect((figures.length - 1) / seconds).toBeLessThanOrEqual(4.1)
    let seen = 0
    for (const { event, data } of reader.frames) {
      if (event === 'message') seen = data.seq
      if (event === 'figures') expect(data.eventSeq).toBeLessThanOrEqual(seen)
    }
    expect(figures.map(({ data }) => data.eventSeq)).toEqual(figures.map(({ data }) => data.run.eventSeq))
    reader.close()
  })

  it('tell of money that is held, which no event does', async () => {
    const run = await stage.makeRun({ products: 2 })
    const reader = await server.read(stage.owner, { orgId: stage.orgId })
    const workerId = await stage.arena.makeWorker()
    const wanted = { runId: run.id, workerId, accountId: stage.arena.search.id, slots: 2, priceMicros: PRICE }
    await claimSearches(stage.arena.db, wanted)
    const held = await reader.until(({ event, data }) => event === 'figures' && data.run.heldMicros === 2 * PRICE)
    expect(held.data.run.id).toBe(run.id)
    reader.close()
  })
})

describe('the stream of an organisation', () => {
  it('tells of all its runs, also of those created later, and goes on where it was', async () => {
    const before = await stage.makeRun()
    const reader = await server.read(stage.owner, { orgId: stage.orgId })
    const from = Number(
      reader.frames.find(named('open'))?.id.slice(1) ?? (await reader.until(named('open'))).id.slice(1),
    )
    const later = await stage.makeRun()
    await Promise.all([stage.tell(before.id, 30), stage.tell(later.id, 30)])
    const first = await reader.until(
      ({ event, data }) => event === 'message' && data.seq === 10 && data.runId === later.id,
    )
    reader.close()
    const again = await server.read(stage.owner, { orgId: stage.orgId }, first.id)
    const end =
      (
        await stage.arena.rows<{ at: number }>(
          'select last_position as at from collection_positions where org_id = $1',
          [stage.orgId],
        )
      )[0]?.at ?? 0
    await again.until(withId(`o${end}`))
    const upTo = reader.ids().indexOf(first.id) + 1
    expect([...reader.ids().slice(0, upTo), ...again.ids()]).toEqual(numbers(from + 1, end, 'o'))
    const told = [...facts(reader).slice(0, upTo), ...facts(again)]
    for (const run of [before, later]) {
      const seqs = told.filter(({ data }) => data.runId === run.id).map(({ data }) => data.seq)
      expect(seqs).toEqual(seqs.map((_, index) => (seqs[0] ?? 0) + index))
      expect(seqs.at(-1)).toBe(await stage.seqOf(run.id))
    }
    expect(told.filter(({ data }) => data.runId === later.id)[0]?.data).toMatchObject({ seq: 1, type: 'run.created' })
    again.close()
  })

  it('tells of nothing that belongs to another', async () => {
    const other = await stage.makeOrg()
    const stranger = await stage.makeMember(other, 'owner')
    const theirs = await stage.makeRun({ orgId: other })
    const reader = await server.read(stage.owner, { orgId: stage.orgId })
    const across = await server.read(stranger, { orgId: other, after: 'o0' })
    await across.until(withId('o1'))
    const ours = await stage.makeRun()
    await stage.tell(theirs.id, 5)
    await reader.until(({ event, data }) => event === 'message' && data.runId === ours.id)
    await across.until(({ event, data }) => event === 'message' && data.seq === 6)
    expect(new Set(facts(reader).map(({ data }) => data.runId))).not.toContain(theirs.id)
    expect(new Set(across.frames.flatMap(({ data }) => data.runId ?? data.run?.id ?? []))).toEqual(new Set([theirs.id]))
    reader.close()
    across.close()
  })
})

describe('who may', () => {
  it('nobody of another organisation, neither by its address nor by their own', async () => {
    const run = await stage.makeRun()
    const other = await stage.makeOrg()
    const stranger = await stage.makeMember(other, 'owner')
    for (const where of [{ orgId: stage.orgId, runId: run.id }, { orgId: stage.orgId }]) {
      expect(JSON.parse((await server.read(stranger, where)).text)).toMatchObject({ status: 404, code: 'org.unknown' })
    }
    const own = await server.read(stranger, { orgId: other, runId: run.id })
    expect(JSON.parse(own.text)).toMatchObject({ status: 404, code: 'run.not_found' })
    const none = await server.read(stranger, { orgId: other, runId: newId() })
    expect(JSON.parse(none.text)).toMatchObject({ status: 404, code: 'run.not_found' })
  })

  it('a member until removed, a session until ended: cut within 10 s, and not let in again', async () => {
    const run = await stage.makeRun()
    const [removed, signedOut, stays] = await Promise.all([stage.makeMember(), stage.makeMember(), stage.makeMember()])
    const where = { orgId: stage.orgId, runId: run.id }
    const readers = await Promise.all([
      server.read(removed, where),
      server.read(removed, { orgId: stage.orgId }),
      server.read(signedOut, where),
    ])
    const kept = await server.read(stays, where)
    await Promise.all([...readers, kept].map((reader) => reader.until(named('open'))))
    const from = performance.now()
    await stage.arena.fresh.db.query('delete from org_members where user_id = $1', [removed])
    server.revoke(signedOut)
    expect(await Promise.all(readers.map(({ ended }) => ended))).toEqual([true, true, true])
    expect(performance.now() - from).toBeLessThan(10_000)
    expect(readers.map(({ frames }) => frames.at(-1)?.event)).toEqual(['cut', 'cut', 'cut'])
    expect((await server.read(removed, where)).status).toBe(404)
    expect((await server.read(signedOut, where)).status).toBe(401)
    await stage.tell(run.id, 1)
    await kept.until(withId(await stage.seqOf(run.id)))
    kept.close()
  })

  it('20 streams each', async () => {
    const member = await stage.makeMember()
    const readers = await Promise.all(Array.from({ length: 20 }, () => server.read(member, { orgId: stage.orgId })))
    const tooMany = await server.read(member, { orgId: stage.orgId })
    expect(JSON.parse(tooMany.text)).toMatchObject({ status: 429, code: 'request.too_many' })
    readers[0]?.close()
    await expect
      .poll(
        async () => {
          const reader = await server.read(member, { orgId: stage.orgId })
          readers.push(reader)
          return reader.status
        },
        { timeout: 30_000, interval: 500 },
      )
      .toBe(200)
    for (const reader of readers) reader.close()
  })
})
