/** Suspect calls settled by a person: who, what, once; and what happens when an answer comes after all. */
import { describe, expect, it } from 'vitest'
import { newId } from '../../src/base/ids.ts'
import { toMicros } from '../../src/base/money.ts'
import { withTxRetry } from '../../src/db/client.ts'
import { bookListStep } from '../../src/engine/book-list.ts'
import { changeHook } from '../../src/engine/change-hook.ts'
import { changeOrgSettings } from '../../src/engine/change-settings.ts'
import { type ResolveInput, resolveCalls } from '../../src/engine/resolve-calls.ts'
import { cancelRun, changeCap, pauseRun } from '../../src/engine/run-acts.ts'
import { listCalls } from '../../src/ledger/list-calls.ts'
import type { RunSnapshot } from '../../src/runs/snapshot.ts'
import {
  type Arena,
  expectClean,
  FREE,
  failed,
  found,
  LIST_PRICE,
  listed,
  PRICE,
  product,
  searchWith,
  UNKNOWN,
  work,
} from './arena.ts'
import { book, claim, claimListSteps, finished, lose } from './by-hand.ts'
import { three, useArena } from './use-arena.ts'

const arena = useArena()

const NOT_CHARGED = { kind: 'not_charged' } as const
const CHARGED = { kind: 'charged' } as const
const resolve = (run: RunSnapshot, more: Partial<ResolveInput> = {}) =>
  resolveCalls(arena.db, {
    runId: run.id,
    actorId: arena.actor.userId,
    calls: 'all',
    verdict: NOT_CHARGED,
    note: 'the provider says so',
    ...more,
  })
const events = (run: RunSnapshot, type: string) =>
  arena.rows<{ data: Record<string, unknown>; actor: string | null }>(
    'select data, actor_id as actor from collection_events where run_id = $1 and type = $2 order by seq',
    [run.id, type],
  )
const audit = (run: RunSnapshot) =>
  arena.rows<Record<string, unknown>>(
    'select action, actor_id, before, after, note from audit_log where target = $1 order by id',
    [`run:${run.id}`],
  )
const clean = (run: RunSnapshot) => expectClean(arena.db, { runIds: [run.id] })

/** A run with `count` calls whose answers never came, and nothing in flight. */
async function suspectRun(count: number, more: Parameters<Arena['makeRun']>[0] = {}): Promise<RunSnapshot> {
  const run = await arena.makeRun({ products: count, ...more })
  const calls = await claim(arena, run, await arena.makeWorker(), count)
  await book(arena, run, ...calls.map((call) => finished(call, failed('lost', UNKNOWN))))
  const now = await arena.look(run.id)
  expect(now).toMatchObject({ suspectCalls: count, heldCalls: 0 })
  return now
}

/** A run of which one call was lost with its worker, its lease over, its answer still on the way. */
async function zombieRun(
  cap: number,
  orgId = arena.actor.orgId,
): Promise<Readonly<{ run: RunSnapshot; late: Parameters<typeof finished>[0] }>> {
  const run = await arena.makeRun({ products: 2, cap, orgId })
  const worker = await arena.makeWorker()
  const [late] = await claim(arena, run, worker)
  await lose(arena, worker)
  await outlive(run)
  return { run: await arena.look(run.id), late }
}

/** Lets the leases of a run's calls run out. */
const outlive = (run: RunSnapshot) =>
  arena.db.query(`update collection_calls set lease_until = now() - interval '1 s' where run_id = $1`, [run.id])

describe('resolving suspect calls', () => {
  it('as charged books what was held, for the call, its product and its run, and frees nothing', async () => {
    const run = await suspectRun(3)
    const { run: now, ...figures } = await resolve(run, { verdict: CHARGED })
    expect(figures).toEqual({ calls: 3, chargedMicros: 3 * PRICE, breachMicros: 0, left: 0 })
    expect(now).toMatchObject({ spentMicros: 3 * PRICE, suspectMicros: 0, suspectCalls: 0, settledCalls: 3 })
    const costs = await arena.rows('select cost_micros from collection_items where run_id = $1', [run.id])
    expect(costs).toEqual(Array(3).fill({ cost_micros: PRICE }))
    await clean(run)
  })

  it('as not charged gives the money back to the run', async () => {
    const run = await suspectRun(2, { cap: 2 * PRICE })
    await resolve(run)
    expect(await arena.look(run.id)).toMatchObject({ spentMicros: 0, suspectMicros: 0, releasedCalls: 2 })
    // What is free again can be held again.
    await arena.db.query('update collection_items set not_before = null where run_id = $1', [run.id])
    expect(await claim(arena, run, await arena.makeWorker(), 2)).toHaveLength(2)
  })

  it('takes another amount, also above the hold: then it is a breach, and said', async () => {
    const less = await resolve(await suspectRun(2), { verdict: { kind: 'charged', amountMicros: toMicros(400) } })
    expect(less).toMatchObject({ chargedMicros: 800, breachMicros: 0, run: { spentMicros: 800, suspectMicros: 0 } })
    await clean(less.run)
    const run = await suspectRun(2, { cap: 2 * PRICE })
    const more = await resolve(run, { verdict: { kind: 'charged', amountMicros: toMicros(PRICE + 300) } })
    expect(more).toMatchObject({ breachMicros: 600, run: { spentMicros: 2 * PRICE + 600, breachMicros: 600 } })
    expect(more.run).toMatchObject({ contradictedMicros: 0 })
    await clean(run)
  })

  it('names calls one by one, and leaves the others suspect', async () => {
    const run = await suspectRun(3)
    const [first, second] = await listCalls(arena.db, run.id, { limit: 10, state: 'suspect' })
    await resolve(run, { calls: [first?.id ?? '', first?.id ?? ''], verdict: CHARGED })
    await resolve(run, { calls: [second?.id ?? ''] })
    expect(await arena.calls(run.id)).toEqual({ settled: 1, released: 1, suspect: 1 })
    const told = await listCalls(arena.db, run.id, { limit: 10 })
    expect(told.find(({ id }) => id === first?.id)?.resolution).toMatchObject({
      how: 'person',
      actorId: arena.actor.userId,
      verdict: 'charged',
      note: 'the provider says so',
      overruled: false,
    })
    await clean(run)
  })

  it('works on runs that have ended, and tells of it', async () => {
    const run = await arena.makeRun({ products: 2 })
    let first = true
    const completed = await work(arena, {
      run,
      search: searchWith(() => {
        const answer = first ? failed('lost', UNKNOWN) : found(['anna', 'bert', 'carl'])
        first = false
        return answer
      }),
    })
    expect(completed).toMatchObject({ status: 'completed', suspectMicros: PRICE, foundItems: 2 })
    await resolve(completed, { verdict: CHARGED })
    expect(await arena.look(run.id)).toMatchObject({ status: 'completed', suspectMicros: 0, spentMicros: 3 * PRICE })
    const cancelled = await cancelRun(arena.db, (await suspectRun(1)).id)
    await resolve(cancelled)
    expect(await arena.look(cancelled.id)).toMatchObject({ status: 'cancelled', suspectMicros: 0 })
    await expectClean(arena.db)
  })

  it('is audited in the same transaction: who, what, before, after, why; and told as an event', async () => {
    const run = await suspectRun(2)
    await resolve(run, { verdict: CHARGED, note: '  invoice 12  ' })
    expect((await audit(run)).at(-1)).toEqual({
      action: 'calls.resolved',
      actor_id: arena.actor.userId,
      before: { spentMicros: 0, suspectMicros: 2 * PRICE },
      after: {
        how: 'person',
        verdict: 'charged',
        calls: 2,
        charged_micros: 2 * PRICE,
        spentMicros: 2 * PRICE,
        suspectMicros: 0,
      },
      note: 'invoice 12',
    })
    expect(await events(run, 'calls.resolved')).toEqual([
      { actor: arena.actor.userId, data: { how: 'person', verdict: 'charged', calls: 2, charged_micros: 2 * PRICE } },
    ])
  })
})

describe('a resolution is refused', () => {
  it('without a note, without a suspect call, for a call of another run', async () => {
    const run = await suspectRun(1)
    for (const note of ['', '  ', 'x'.repeat(1001)])
      await expect(resolve(run, { note })).rejects.toMatchObject({ code: 'input.invalid' })
    const other = await arena.makeRun({ products: 1 })
    await expect(resolve(other)).rejects.toMatchObject({ code: 'call.none_suspect' })
    const [call] = await listCalls(arena.db, run.id, { limit: 1 })
    await expect(resolve(other, { calls: [call?.id ?? ''] })).rejects.toMatchObject({ code: 'call.unknown' })
    expect(await arena.look(run.id)).toMatchObject({ suspectCalls: 1 })
  })

  it('for calls whose fate is known', async () => {
    const run = await arena.makeRun({ products: 2 })
    const [done, flying] = await claim(arena, run, await arena.makeWorker(), 2)
    await book(arena, run, finished(done, found(['anna'])))
    for (const call of [done, flying])
      await expect(resolve(run, { calls: [call?.callId ?? ''] })).rejects.toMatchObject({ code: 'call.wrong_state' })
  })

  it('a second time, naming who did it', async () => {
    const run = await suspectRun(1)
    const [call] = await listCalls(arena.db, run.id, { limit: 1 })
    const calls = [call?.id ?? '']
    await resolve(run, { calls, verdict: CHARGED })
    await expect(resolve(run, { calls })).rejects.toMatchObject({
      code: 'call.resolved',
      message: expect.stringMatching(/was settled as charged by the operator on \d{4}-/),
    })
    expect(await arena.look(run.id)).toMatchObject({ settledCalls: 1, spentMicros: PRICE })
  })

  it('to all but one of two people at once', async () => {
    for (let round = 0; round < 5; round++) {
      const run = await suspectRun(3)
      const calls = (await listCalls(arena.db, run.id, { limit: 10 })).map(({ id }) => id)
      const both = await Promise.allSettled([
        resolve(run, { calls, verdict: CHARGED }),
        resolve(run, { calls: calls.toReversed() }),
      ])
      expect(both.map(({ status }) => status).sort()).toEqual(['fulfilled', 'rejected'])
      expect(both.find(({ status }) => status === 'rejected')).toMatchObject({ reason: { code: 'call.resolved' } })
      const now = await arena.look(run.id)
      expect([now.settledCalls, now.releasedCalls].sort()).toEqual([0, 3])
      expect(await events(run, 'calls.resolved')).toHaveLength(1)
      await clean(run)
    }
  })

  it('while the worker lives that may still tell, or the time for the answer has not run out', async () => {
    const run = await arena.makeRun({ products: 2 })
    const worker = await arena.makeWorker()
    const calls = await claim(arena, run, worker, 2)
    await lose(arena, worker)
    await expect(resolve(run)).rejects.toMatchObject({ code: 'call.may_answer' })
    await outlive(run)
    await arena.db.query('update collection_workers set heartbeat_at = now() where id = $1', [worker])
    await expect(resolve(run)).rejects.toMatchObject({ code: 'call.may_answer' })
    const [call] = calls
    await expect(resolve(run, { calls: [call?.callId ?? ''] })).rejects.toMatchObject({ code: 'call.may_answer' })
    expect(await arena.calls(run.id)).toEqual({ suspect: 2 })
    // One of the two has been given up by the worker itself: that one is over.
    await book(arena, run, finished(call, failed('lost', UNKNOWN)))
    // Named together, neither is resolved.
    const named = resolve(run, { calls: calls.map(({ callId }) => callId) })
    await expect(named).rejects.toMatchObject({ code: 'call.may_answer' })
    expect(await arena.calls(run.id)).toEqual({ suspect: 2 })
    expect(await resolve(run)).toMatchObject({ calls: 1, left: 1 })
    await arena.db.query('update collection_workers set stopped_at = now() where id = $1', [worker])
    expect(await resolve(run)).toMatchObject({ calls: 1, left: 0 })
  })
})

describe('an answer that comes after all', () => {
  it('and was charged, for a call settled as not charged: is booked beyond the cap, once, and shown', async () => {
    const { run, late } = await zombieRun(PRICE)
    await resolve(run)
    // The money that was free again is spent for the other product.
    const [other] = await claim(arena, run, await arena.makeWorker())
    await book(arena, run, finished(other, found(three)))
    expect(await arena.look(run.id)).toMatchObject({ capMicros: PRICE, spentMicros: PRICE })

    for (let times = 0; times < 2; times++) await book(arena, run, finished(late, found(['late-one'])))
    expect(await arena.look(run.id)).toMatchObject({
      spentMicros: 2 * PRICE,
      contradictedMicros: PRICE,
      breachMicros: 0,
      suspectMicros: 0,
      settledCalls: 2,
      releasedCalls: 0,
    })
    expect(await events(run, 'calls.contradicted')).toEqual([
      { actor: null, data: { calls: 1, micros: PRICE, ids: [late?.callId] } },
    ])
    expect(await arena.rows(`select from sellers where normalized_name = 'late-one'`)).toEqual([])
    // Nothing more is held on the strength of it.
    expect(await claim(arena, run, await arena.makeWorker())).toEqual([])
    const [told] = await listCalls(arena.db, run.id, { limit: 9, state: 'settled' })
    expect([told?.resolution?.overruled, told?.chargeMicros]).toContain(PRICE)
    await clean(run)
  })

  it('above the hold: the rest is a breach', async () => {
    const { run, late } = await zombieRun(PRICE)
    await resolve(run, { verdict: { kind: 'charged', amountMicros: toMicros(400) } })
    await book(arena, run, finished(late, found(three, PRICE + 50)))
    expect(await arena.look(run.id)).toMatchObject({
      spentMicros: PRICE + 50,
      contradictedMicros: 600,
      breachMicros: 50,
    })
    await clean(run)
  })

  it.each([
    ['was not charged', failed('fault', FREE)],
    ['tells nothing', failed('lost', UNKNOWN)],
    ['was charged as the person said', found(three)],
  ])('and %s, for a call settled as charged: changes nothing', async (_what, answer) => {
    const { run, late } = await zombieRun(3 * PRICE)
    await resolve(run, { verdict: CHARGED })
    const before = await arena.look(run.id)
    await book(arena, run, finished(late, answer))
    expect(await arena.look(run.id)).toMatchObject({
      spentMicros: PRICE,
      contradictedMicros: 0,
      settledCalls: before.settledCalls,
      releasedCalls: 0,
    })
    expect(await events(run, 'calls.contradicted')).toEqual([])
    await clean(run)
  })

  it('is booked beyond the cap of the month as well', async () => {
    const orgId = newId()
    await arena.fresh.db.query(`insert into orgs (id, name) values ($1, 'Monthly')`, [orgId])
    await changeOrgSettings(arena.db, { ...arena.actor, orgId }, { monthCapMicros: PRICE })
    const { run, late } = await zombieRun(9 * PRICE, orgId)
    await resolve(run)
    const [other] = await claim(arena, run, await arena.makeWorker(), 2)
    await book(arena, run, finished(other, found(three)))
    await book(arena, run, finished(late, found(three)))
    const months = await arena.rows(
      'select spent_micros as spent, contradicted_micros as contradicted from collection_months where org_id = $1 and spent_micros > 0',
      [orgId],
    )
    expect(months).toEqual([{ spent: 2 * PRICE, contradicted: PRICE }])
    expect(await claim(arena, run, await arena.makeWorker())).toEqual([])
    await clean(run)
  })

  it('to a run that has ended is booked as well', async () => {
    const { run, late } = await zombieRun(PRICE)
    await cancelRun(arena.db, run.id)
    await resolve(run)
    await book(arena, run, finished(late, found(three)))
    expect(await arena.look(run.id)).toMatchObject({
      status: 'cancelled',
      spentMicros: PRICE,
      contradictedMicros: PRICE,
    })
    await clean(run)
  })

  it('of a list is booked as well, and its products are left out', async () => {
    const run = await arena.makeRun({ categories: ['a'], cap: LIST_PRICE })
    const worker = await arena.makeWorker()
    const wanted = await arena.rows<{ id: string }>('select id from collection_run_categories where run_id = $1', [
      run.id,
    ])
    const [claimed] = await claimListSteps(
      arena.db,
      { runId: run.id, workerId: worker, accountId: arena.list.id, slots: 1 },
      wanted.map(({ id }) => ({ id, priceMicros: LIST_PRICE })),
    )
    if (!claimed) throw new Error('nothing was claimed')
    await lose(arena, worker)
    await outlive(run)
    await resolve(run)
    const step = { ...claimed, answer: listed([product(1, 1)]), durationMs: 1 }
    const bookOnce = () => withTxRetry(arena.db, (tx) => bookListStep(tx, run, step))
    expect(await bookOnce()).toMatchObject({ run: { spentMicros: LIST_PRICE, contradictedMicros: LIST_PRICE } })
    expect(await bookOnce()).toBeNull()
    expect(await arena.look(run.id)).toMatchObject({ totalItems: 0, spentMicros: LIST_PRICE })
    await clean(run)
  })

  it('at the same moment as the resolution: one of the two is first, and the money is booked once', async () => {
    for (let round = 0; round < 8; round++) {
      const { run, late } = await zombieRun(3 * PRICE)
      const [resolved] = await Promise.allSettled([resolve(run), book(arena, run, finished(late, found(three)))])
      const now = await arena.look(run.id)
      expect(now).toMatchObject({ spentMicros: PRICE, suspectMicros: 0, releasedCalls: 0, settledCalls: 1 })
      expect(now.contradictedMicros).toBe(resolved.status === 'fulfilled' ? PRICE : 0)
      await clean(run)
    }
  })
})

describe('acts of people', () => {
  it('are in the audit log, with what they changed; those of workers are not', async () => {
    const { userId } = arena.actor
    const run = await arena.makeRun({ products: 1, cap: 5_000 })
    await pauseRun(arena.db, run.id, { reason: 'operator', actorId: userId })
    await changeCap(arena.db, run.id, toMicros(9_000), userId)
    await cancelRun(arena.db, run.id, userId)
    const byItself = await arena.makeRun({ products: 1 })
    await pauseRun(arena.db, byItself.id, { reason: 'provider', note: 'in trouble' })
    expect(await audit(byItself)).toEqual([])
    expect((await audit(run)).map(({ action, before, after }) => ({ action, before, after }))).toEqual([
      {
        action: 'run.paused',
        before: { status: 'running', pauseReason: null },
        after: { status: 'paused', pauseReason: 'operator', reason: 'operator', note: null, resume_at: null },
      },
      {
        action: 'run.cap_changed',
        before: { capMicros: 5_000 },
        after: { capMicros: 9_000, from_micros: 5_000, to_micros: 9_000 },
      },
      {
        action: 'run.cancelled',
        before: { status: 'paused', pauseReason: 'operator' },
        after: { status: 'cancelled', pauseReason: null, left: 1 },
      },
    ])
  })

  it('and changes of settings too, unless nothing changed', async () => {
    const { orgId, userId } = arena.actor
    for (let times = 0; times < 2; times++) {
      await changeOrgSettings(arena.db, arena.actor, { budgetCapCents: 4_200, softWarningPercent: 80 })
    }
    const rows = await arena.rows(`select actor_id, action, before, after from audit_log where target = $1`, [
      `settings:${orgId}`,
    ])
    expect(rows).toEqual([
      {
        actor_id: userId,
        action: 'settings.changed',
        before: { budgetCapCents: 2_500 },
        after: { budgetCapCents: 4_200 },
      },
    ])
  })

  it('and changes of where it is told, by host only: the path may be a secret', async () => {
    const { orgId, userId } = arena.actor
    await changeHook(arena.db, orgId, { url: 'https://example.org/hooks/secret' }, userId)
    const [row] = await arena.rows(
      `select actor_id, target, before, after from audit_log where action = 'hook.changed' order by id desc limit 1`,
    )
    expect(row).toEqual({
      actor_id: userId,
      target: `settings:${orgId}`,
      before: { notifyHost: null },
      after: { notifyHost: 'example.org', newSecret: true },
    })
  })

  it('are not done at all when they cannot be written down', async () => {
    const run = await arena.makeRun({ products: 1 })
    const paused = pauseRun(arena.db, run.id, { reason: 'operator', actorId: 'nobody' })
    await expect(paused).rejects.toThrow()
    expect(await arena.look(run.id)).toMatchObject({ status: 'running' })
  })
})
