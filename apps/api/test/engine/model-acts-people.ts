/** The acts of people in the model: runs, caps, retries, and what is said of calls nobody knows the fate of. */
import fc from 'fast-check'
import { expect } from 'vitest'
import { toMicros } from '../../src/base/money.ts'
import { changeOrgSettings } from '../../src/engine/change-settings.ts'
import { type ResolveInput, resolveCalls } from '../../src/engine/resolve-calls.ts'
import { RETRIED_BY_DEFAULT, retryRun } from '../../src/engine/retry.ts'
import { cancelRun, changeCap, pauseRun, resumeRun } from '../../src/engine/run-acts.ts'
import { startRun } from '../../src/engine/start.ts'
import { RETRY_REASONS } from '../../src/runs/retries.ts'
import { changeSettings } from '../../src/runs/settings.ts'
import { PRICE } from './arena.ts'
import {
  type Act,
  act,
  always,
  anyRun,
  at,
  createRun,
  onRun,
  pick,
  refusedUnless,
  refusedWith,
  runWith,
  seldom,
  some,
} from './model-act.ts'
import * as money from './model-of-money.ts'
import * as retries from './model-of-retries.ts'
import * as rules from './model-of-runs.ts'
import type { Call, Model } from './model-types.ts'
import { DEAD_AFTER_MS } from './model-world.ts'

/** Runs of a sequence at most, and of those so many that have not ended: every check reads them all. */
const RUNS_MOST = 10
const OPEN_MOST = 5
const hasRoom = ({ runs }: Model): boolean =>
  runs.length < RUNS_MOST && runs.filter((run) => !rules.isOver(run)).length < OPEN_MOST

const create = fc
  .record({
    org: fc.nat({ max: 1 }),
    products: fc.integer({ min: 1, max: 6 }),
    categories: fc.constantFrom(0, 0, 1, 3),
    rungs: fc.integer({ min: 1, max: 3 }),
    cap: fc.nat({ max: 25 * PRICE }),
    sample: fc.constantFrom(null, null, 1, 3),
  })
  .map((input) =>
    act(
      `create ${JSON.stringify(input)}`,
      hasRoom,
      async (model, world) => void (await createRun(model, world, input)),
    ),
  )

const start = fc.record({ index: at, twice: fc.boolean() }).map(({ index, twice }) =>
  act(`start ${index}${twice ? ' twice at once' : ''}`, anyRun, async (model, { arena }) => {
    const run = pick(model.runs, index)
    const starts = () => startRun(arena.db, run.id)
    const ends = await Promise.allSettled(twice ? [starts(), starts()] : [starts()])
    const done = ends.filter(({ status }) => status === 'fulfilled').length
    const refusal = rules.startRefusal(model, run)
    for (const end of ends) {
      if (end.status === 'rejected') expect(end.reason).toMatchObject({ code: refusal ?? 'run.wrong_state' })
    }
    if (refusal !== null) return expect(done).toBe(0)
    run.asked ??= model.asks++
    if (!rules.hasPlace(model, run.org)) return expect(done).toBe(ends.length)
    run.status = 'running'
    expect(done).toBe(1)
  }),
)

const pause = onRun('pause', always, async (run, _, { arena }) => {
  await pauseRun(arena.db, run.id, { reason: 'operator' })
  if (run.status === 'running') Object.assign(run, { status: 'paused', pause: 'operator' })
})

const resume = fc.record({ index: at, price: fc.constantFrom(0, 0, PRICE) }).map(({ index, price }) =>
  act(`resume ${index}${price > 0 ? ', looking at the price' : ''}`, anyRun, async (model, { arena }) => {
    const run = pick(model.runs, index)
    const refusal = rules.resumeRefusal(model, run, price)
    await refusedWith(refusal, resumeRun(arena.db, run.id, { callPriceMicros: toMicros(price) }))
    if (refusal === null) rules.resume(run)
  }),
)

const cancel = onRun('cancel', seldom, async (run, _, { arena }) => {
  const ended = run.status === 'completed' || run.status === 'failed'
  await refusedUnless(!ended, cancelRun(arena.db, run.id))
  if (!ended) Object.assign(run, { status: 'cancelled', pause: null })
})

const cap = fc.record({ index: at, micros: fc.nat({ max: 60 * PRICE }) }).map(({ index, micros }) =>
  act(`cap of ${index} to ${micros}`, anyRun, async (model, { arena }) => {
    const run = pick(model.runs, index)
    const allowed = !rules.isOver(run) && micros >= money.used(run)
    await refusedUnless(allowed, changeCap(arena.db, run.id, toMicros(micros)))
    if (allowed) run.cap = micros
  }),
)

/** Around what is used, or most of them would either be refused or change nothing. */
const monthCap = fc
  .record({ org: fc.nat({ max: 1 }), more: fc.option(fc.integer({ min: -4 * PRICE, max: 30 * PRICE }), { freq: 6 }) })
  .map(({ org, more }) =>
    act(`month-cap of ${org}: ${more === null ? 'none' : `used + ${more}`}`, anyRun, async (model, { arena, orgs }) => {
      const micros = more === null ? null : Math.max(0, money.usedOfMonth(model, org) + more)
      const refusal = money.monthCapRefusal(model, org, micros)
      const actor = { orgId: orgs[org]?.id ?? '', userId: arena.actor.userId }
      const change = { monthCapMicros: micros === null ? null : toMicros(micros) }
      await refusedWith(refusal, changeOrgSettings(arena.db, actor, change))
      if (refusal === null) model.caps[org] = micros
    }),
  )

const places = fc.record({ org: fc.nat({ max: 1 }), most: fc.integer({ min: 1, max: 3 }) }).map(({ org, most }) =>
  act(`places of ${org}: ${most}`, anyRun, async (model, { arena, orgs }) => {
    await changeSettings(arena.db, orgs[org]?.id ?? '', { maxConcurrentRuns: most })
    model.places[org] = most
  }),
)

const retry = fc
  .record({
    index: at,
    all: fc.boolean(),
    twice: fc.constantFrom(false, false, true),
    cap: fc.nat({ max: 25 * PRICE }),
  })
  .map(({ index, all, twice, cap: micros }) =>
    act(
      `retry ${index}${all ? ', rejected too' : ''}${twice ? ', twice at once' : ''}`,
      (model) => hasRoom(model) && model.runs.some(rules.isOver),
      async (model, { arena, orgs }) => {
        // Now and then one that goes on, which is refused.
        const ended = model.runs.filter(rules.isOver)
        const parent = pick(index % 8 > 0 ? ended : model.runs, index)
        const reasons = all ? RETRY_REASONS : RETRIED_BY_DEFAULT
        const actor = { ...arena.actor, orgId: orgs[parent.org]?.id ?? '' }
        const input = { actor, runId: parent.id, reasons, capMicros: toMicros(micros), upToCap: true }
        const refusal = retries.refusal(model, parent, reasons)
        const ends = await Promise.allSettled(Array.from({ length: twice ? 2 : 1 }, () => retryRun(arena.db, input)))
        const done = ends.flatMap((end) => (end.status === 'fulfilled' ? [end.value.run] : []))
        for (const end of ends) {
          if (end.status === 'rejected') expect(end.reason).toMatchObject({ code: refusal ?? 'run.retry_open' })
        }
        expect(done).toHaveLength(refusal === null ? 1 : 0)
        if (done[0]) retries.retry(model, parent, { id: done[0].id, cap: micros, reasons })
      },
    ),
  )

type Verdict = ResolveInput['verdict']
const verdict = fc.oneof(
  { weight: 3, arbitrary: fc.constant<Verdict>({ kind: 'not_charged' }) },
  { weight: 2, arbitrary: fc.constant<Verdict>({ kind: 'charged' }) },
  {
    weight: 2,
    arbitrary: fc
      .nat({ max: 2 * PRICE })
      .map((micros): Verdict => ({ kind: 'charged', amountMicros: toMicros(micros) })),
  },
)
const isSuspect = (call: Call): boolean => call.state === 'suspect'
const isDecided = (call: Call): boolean => call.state !== 'held' && !isSuspect(call)

const resolveAll = fc.record({ index: at, as: verdict }).map(({ index, as }) =>
  act(`resolve-all as ${JSON.stringify(as)}`, some(isSuspect), async (model, { arena }) => {
    // Now and then of a run that has none.
    const run = index % 8 > 0 ? runWith(model, isSuspect, index) : pick(model.runs, index)
    const refusal = money.resolveAllRefusal(model, run)
    const input = {
      runId: run.id,
      actorId: arena.actor.userId,
      calls: 'all',
      verdict: as,
      note: 'by the model',
      deadAfterMs: DEAD_AFTER_MS,
    } as const
    await refusedWith(refusal, resolveCalls(arena.db, input))
    if (refusal !== null) return
    for (const call of run.calls.filter(isSuspect)) {
      if (!money.mayAnswer(model, call)) money.resolve(call, as)
    }
  }),
)

const resolveOne = fc
  .record({ index: at, which: at, as: verdict, decided: fc.constantFrom(false, false, false, true) })
  .map(({ index, which, as, decided }) => {
    const wanted = decided ? isDecided : isSuspect
    const what = decided ? ', which is decided' : ''
    return act(`resolve-one as ${JSON.stringify(as)}${what}`, some(wanted), async (model, { arena }) => {
      const run = runWith(model, wanted, index)
      const call = pick(run.calls.filter(wanted), which)
      const refusal = money.resolveRefusal(model, call)
      const input = {
        runId: run.id,
        actorId: arena.actor.userId,
        verdict: as,
        note: 'by the model',
        deadAfterMs: DEAD_AFTER_MS,
      }
      await refusedWith(refusal, resolveCalls(arena.db, { ...input, calls: [call.id] }))
      if (refusal === null) money.resolve(call, as)
    })
  })

/**
 * An answer comes after all, from a worker that was taken for dead, to a call whose fate a person has settled. Otherwise so
 * much would have to come together that it would hardly be seen.
 */
const zombie = fc.record({ index: at, which: at, as: verdict }).map(({ index, which, as }) =>
  act(`zombie: resolved as ${as.kind} before it answers`, some(isOpenSuspect), async (model, { arena }) => {
    const run = runWith(model, isOpenSuspect, index)
    const call = pick(run.calls.filter(isOpenSuspect), which)
    await arena.db.query(`update collection_calls set lease_until = now() - interval '1 s' where id = $1`, [call.id])
    call.expired = true
    const refusal = money.resolveRefusal(model, call)
    const input = {
      runId: run.id,
      actorId: arena.actor.userId,
      calls: [call.id],
      note: 'by the model',
      deadAfterMs: DEAD_AFTER_MS,
    }
    await refusedWith(refusal, resolveCalls(arena.db, { ...input, verdict: as }))
    if (refusal === null) money.resolve(call, as)
  }),
)

function isOpenSuspect(call: Call): boolean {
  return isSuspect(call) && !call.over
}

export const PEOPLE: readonly Readonly<{ act: fc.Arbitrary<Act>; times: number }>[] = [
  { act: create, times: 1 },
  { act: start, times: 2 },
  { act: pause, times: 1 },
  { act: resume, times: 2 },
  { act: cancel, times: 1 },
  { act: cap, times: 2 },
  { act: monthCap, times: 2 },
  { act: places, times: 1 },
  { act: retry, times: 2 },
  { act: resolveAll, times: 1 },
  { act: resolveOne, times: 1 },
  { act: zombie, times: 2 },
]
