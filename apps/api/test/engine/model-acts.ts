/**
 * The acts of the model: each says when it is possible, what is done to the engine, and what that means for the model.
 * Here those of workers; those of people are in model-acts-people.ts. A new one is a constant, a line in `ACTS`, and a rule
 * in model-of-runs.ts.
 */
import fc from 'fast-check'
import { expect } from 'vitest'
import { newId } from '../../src/base/ids.ts'
import { withTxRetry } from '../../src/db/client.ts'
import { rescueRuns } from '../../src/engine/rescue.ts'
import { completeRun, failRun, pauseRun } from '../../src/engine/run-acts.ts'
import { isSampleThrough } from '../../src/engine/sample.ts'
import { resumeDue, startWaiting } from '../../src/engine/start.ts'
import { releaseUnsent } from '../../src/ledger/book.ts'
import { finishClimbers } from '../../src/runs/items.ts'
import { LIST_PRICE, PRICE } from './arena.ts'
import { bookAnswers, bookStep, claimListSteps, claimSearches } from './by-hand.ts'
import {
  type Act,
  act,
  always,
  anyRun,
  at,
  onRun,
  onRunThat,
  pick,
  refusedUnless,
  runWith,
  seldom,
  some,
} from './model-act.ts'
import { PEOPLE } from './model-acts-people.ts'
import * as money from './model-of-money.ts'
import type { Kind, ListKind } from './model-of-runs.ts'
import * as rules from './model-of-runs.ts'
import type { Call, Model, Run } from './model-types.ts'
import { DEAD_AFTER_MS, WORKERS, type World } from './model-world.ts'

const isSearch = (call: Call): boolean => call.search !== null
const isBooked = (call: Call): boolean => call.state === 'settled' || call.state === 'released'

/** Calls that wait for an answer. */
const open = (run: Run, wanted: (call: Call) => boolean = () => true): Call[] =>
  run.calls.filter((call) => !call.over && wanted(call))
const openSearch = (call: Call): boolean => !call.over && isSearch(call)
const openStep = (call: Call): boolean => !call.over && !isSearch(call)

const startWaitingRuns = fc.constant(
  act('start-waiting', anyRun, async (model, { arena }) => {
    await Promise.all([startWaiting(arena.db), startWaiting(arena.db)])
    rules.startWaiting(model)
  }),
)

type ClaimInput = Readonly<{ index: number; worker: number; slots: number; others: number }>
const claimInput = fc.record({
  index: at,
  worker: fc.nat({ max: WORKERS - 1 }),
  slots: fc.integer({ min: 1, max: 3 }),
  others: fc.nat({ max: 2 }),
})

/** The run to claim of, now and then one that does not run; and who claims. */
function claimers(model: Model, { index, worker, others }: ClaimInput): { run: Run; by: number[] } {
  const running = model.runs.filter(({ status }) => status === 'running')
  const run = pick(running.length > 0 && index % 8 > 0 ? running : model.runs, index)
  return { run, by: Array.from({ length: 1 + others }, (_, more) => (worker + more) % WORKERS) }
}

const claimSome = claimInput.map((input) =>
  act(`claim ${JSON.stringify(input)}`, anyRun, async (model, { arena, workers }) => {
    const { run, by } = claimers(model, input)
    const { slots } = input
    // Retries wait a random while; here everything is tried at once, but what a sample holds back.
    await arena.db.query(
      `update collection_items set not_before = null where run_id = $1 and not_before < 'infinity'`,
      [run.id],
    )
    const wanted = rules.claimable(model, run, slots * by.length)
    const claim = { runId: run.id, accountId: arena.search.id, slots, priceMicros: PRICE, leaseMs: 600_000 }
    const claimed = await Promise.all(
      by.map((one) => claimSearches(arena.db, { ...claim, workerId: workers[one] ?? '' })),
    )
    const ids = await arena.rows<{ id: string }>(
      `select id from collection_items where run_id = $1 and item_type = 'amazon_product' order by id`,
      [run.id],
    )
    const taken = claimed.flatMap((list, index) =>
      list.map((one) => ({
        claimed: one,
        worker: by[index] ?? 0,
        item: ids.findIndex(({ id }) => id === one.itemId),
      })),
    )
    expect(taken.map(({ item }) => item).sort()).toEqual(wanted.sort())
    for (const one of taken) {
      expect(one.claimed.rung).toBe(run.items[one.item]?.rung)
      rules.take(run, one)
    }
  }),
)

const hasCategories = (model: Model): boolean => model.runs.some((run) => run.categories.length > 0)
const claimSteps = claimInput.map((input) =>
  act(`list ${JSON.stringify(input)}`, hasCategories, async (model, { arena, workers }) => {
    const listing = { ...model, runs: model.runs.filter((run) => run.categories.length > 0) }
    const { run, by } = claimers(listing, input)
    const { slots } = input
    await arena.db.query('update collection_run_categories set not_before = null where run_id = $1', [run.id])
    const rows = await arena.rows<{ id: string }>(
      'select id from collection_run_categories where run_id = $1 order by position',
      [run.id],
    )
    const wanted = rules.claimableSteps(model, run, slots * by.length)
    const priced = rows.map(({ id }) => ({ id, priceMicros: LIST_PRICE }))
    const claim = { runId: run.id, accountId: arena.list.id, slots, leaseMs: 600_000 }
    const claimed = await Promise.all(
      by.map((one) => claimListSteps(arena.db, { ...claim, workerId: workers[one] ?? '' }, priced)),
    )
    const taken = claimed.flatMap((list, index) =>
      list.map((one) => ({
        claimed: one,
        worker: by[index] ?? 0,
        category: rows.findIndex(({ id }) => id === one.categoryId),
      })),
    )
    expect(taken.map(({ category }) => category).sort()).toEqual(wanted.sort())
    for (const one of taken) {
      expect(one.claimed.step).toEqual({ kind: 'page', page: run.categories[one.category]?.page })
      rules.take(run, one)
    }
  }),
)

function book(
  { arena, orgs }: World,
  run: Run,
  calls: readonly Call[],
  kinds: readonly Kind[],
  mayClimb: boolean,
): Promise<void> {
  const finished = calls.map((call, index) => {
    const claimed = call.search?.claimed
    if (!claimed) throw new Error('not a search')
    const { answer } = rules.KINDS[pick(kinds, index)]
    return { ...claimed, rungs: claimed.data.ladder.length, answer, durationMs: 1 }
  })
  return bookAnswers(arena.db, { id: run.id, orgId: orgs[run.org]?.id ?? '' }, finished, mayClimb)
}

const kind = fc.constantFrom(...(Object.keys(rules.KINDS) as Kind[]), 'three', 'none', 'one', 'lost')
const answerSome = fc
  .record({
    index: at,
    first: at,
    count: fc.integer({ min: 1, max: 4 }),
    kinds: fc.array(kind, { minLength: 4, maxLength: 4 }),
    mayClimb: fc.boolean(),
    twice: fc.constantFrom(false, false, false, true),
  })
  .map(({ index, first, count, kinds, mayClimb, twice }) => {
    const how = `${mayClimb ? ', may climb' : ''}${twice ? ', COMMIT not answered' : ''}`
    return act(
      `answer ${count} of ${index}: ${kinds.slice(0, count)}${how}`,
      some(openSearch),
      async (model, world) => {
        const run = runWith(model, openSearch, index)
        const waiting = open(run, isSearch)
        const calls = [...new Set(Array.from({ length: count }, (_, more) => pick(waiting, first + more)))]
        await book(world, run, calls, kinds, mayClimb)
        // The worker cannot know that it was committed, and books the same again.
        if (twice) await book(world, run, calls, kinds, mayClimb)
        calls.forEach((call, more) => rules.answer(run, call, pick(kinds, more), mayClimb))
      },
    )
  })

const answerTogether = fc
  .record({ index: at, kinds: fc.array(kind, { minLength: 2, maxLength: 6 }) })
  .map(({ index, kinds }) =>
    act(`answer-at-once ${kinds}`, some(openSearch), async (model, world) => {
      const run = runWith(model, openSearch, index)
      // Only one per product: which of two takes effect would depend on who comes first.
      const perItem = new Map(open(run, isSearch).map((call) => [call.search?.item, call]))
      const calls = [...perItem.values()].slice(0, kinds.length)
      await Promise.all(calls.map((call, more) => book(world, run, [call], [pick(kinds, more)], true)))
      calls.forEach((call, more) => rules.answer(run, call, pick(kinds, more), true))
    }),
  )

const listKind = fc.constantFrom(...(Object.keys(rules.LIST_KINDS) as ListKind[]), 'page', 'last')
const answerList = fc.record({ index: at, which: at, as: listKind }).map(({ index, which, as }) =>
  act(`answer-list ${as}`, some(openStep), async (model, { arena, orgs }) => {
    const run = runWith(model, openStep, index)
    const call = pick(
      open(run, (one) => !isSearch(one)),
      which,
    )
    const claimed = call.step?.claimed
    if (!claimed) throw new Error('not a list step')
    const answer = rules.LIST_KINDS[as].answer(rules.pageOf(call))
    const org = { id: run.id, orgId: orgs[run.org]?.id ?? '', retryOfRunId: run.retryOf }
    await bookStep(arena.db, org, { ...claimed, answer, durationMs: 1 })
    rules.answerStep(model, run, call, as)
  }),
)

const bookedSearch = (call: Call): boolean => isBooked(call) && isSearch(call)
const bookAgain = fc.record({ index: at, which: at, as: kind }).map(({ index, which, as }) =>
  act(`book-again as ${as}`, some(bookedSearch), async (model, world) => {
    const run = runWith(model, bookedSearch, index)
    const call = pick(run.calls.filter(bookedSearch), which)
    await book(world, run, [call], [as], true)
    money.overrule(call, rules.KINDS[as])
  }),
)

const unsent = (call: Call): boolean => !call.over && call.resolved === null
const unsend = fc.record({ index: at, which: at }).map(({ index, which }) =>
  act('unsend: a claim whose COMMIT was not answered', some(unsent), async (model, { arena }) => {
    const run = runWith(model, unsent, index)
    const call = pick(run.calls.filter(unsent), which)
    expect(await withTxRetry(arena.db, (tx) => releaseUnsent(tx, [call.id, newId()]))).toBe(1)
    rules.unsend(run, call)
  }),
)

/** Its worker, or another one since, may still wait for it. */
const isLeased = (call: Call): boolean => (call.state === 'held' || call.state === 'suspect') && !call.over
const expire = fc.record({ index: at, which: at }).map(({ index, which }) =>
  act('expire a lease', some(isLeased), async (model, { arena }) => {
    const call = pick(runWith(model, isLeased, index).calls.filter(isLeased), which)
    await arena.db.query(`update collection_calls set lease_until = now() - interval '1 s' where id = $1`, [call.id])
    call.expired = true
  }),
)

const crash = fc.nat({ max: WORKERS - 1 }).map((worker) =>
  act(`crash of worker ${worker}`, anyRun, async (model, { arena, workers }) => {
    await arena.db.query(`update collection_workers set heartbeat_at = now() - interval '1 hour' where id = $1`, [
      workers[worker],
    ])
    model.dead.add(worker)
  }),
)

const wake = fc.nat({ max: WORKERS - 1 }).map((worker) =>
  act(
    `wake worker ${worker}`,
    ({ dead }) => dead.has(worker),
    async (model, { arena, workers }) => {
      await arena.db.query('update collection_workers set heartbeat_at = now() where id = $1', [workers[worker]])
      model.dead.delete(worker)
    },
  ),
)

const rescue = fc.constant(
  act('rescue', anyRun, async (model, { arena }) => {
    await Promise.all([rescueRuns(arena.db, DEAD_AFTER_MS), rescueRuns(arena.db, DEAD_AFTER_MS)])
    rules.rescue(model)
  }),
)

const isSampling = (run: Run): boolean => run.sample !== null && !run.sampled && run.status === 'running'
const sampleThrough = onRunThat(isSampling, 'sample-through', async (run, _, { arena }) => {
  expect(await isSampleThrough(arena.db, await arena.look(run.id))).toBe(rules.isSampleThrough(run))
  if (run.status !== 'running' || rules.countCalls(run, 'held') > 0 || !rules.isSampleThrough(run)) return
  await pauseRun(arena.db, run.id, { reason: 'budget', limit: 'run', endsSample: true })
  Object.assign(run, { status: 'paused', sampled: true, pause: 'sample' })
})

/** As a lane that finds nothing to claim because of the month. */
const lacksMonth = (run: Run, model: Model): boolean =>
  run.status === 'running' && money.leftOfMonth(model, run.org) < PRICE
const pauseByMonth = onRunThat(lacksMonth, 'pause-by-month', async (run, _, { arena }) => {
  // The same for all: those of one moment go on in the order of their numbers.
  const resumeAt = new Date('2100-01-01')
  await pauseRun(arena.db, run.id, { reason: 'budget', limit: 'month', resumeAt, needsMicros: PRICE })
  Object.assign(run, { status: 'paused', pause: 'month' })
})

const waitsForMonth = (model: Model): boolean => model.runs.some(({ pause }) => pause === 'month')
const resumeDueRuns = fc.constant(
  act('resume-due', waitsForMonth, async (model, { arena }) => {
    await Promise.all([resumeDue(arena.db), resumeDue(arena.db)])
    rules.resumeDue(model)
  }),
)

const fail = onRun('fail', seldom, async (run, _, { arena }) => {
  await failRun(arena.db, run.id, 'The model says so.')
  if (run.status === 'running') run.status = 'failed'
})

const complete = onRun('complete', always, async (run, _, { arena }) => {
  const done = rules.isDone(run)
  await refusedUnless(done || run.status !== 'running', completeRun(arena.db, run.id))
  if (done && run.status === 'running') run.status = 'completed'
})

const climbersDone = onRun('finish-climbers', always, async (run, _, { arena }) => {
  if (rules.countCalls(run, 'held') > 0) return
  await withTxRetry(arena.db, (tx) => finishClimbers(tx, run.id))
  rules.finishClimbers(run)
})

/** What keeps a run going is drawn more often than what ends it. */
const ACTS: readonly Readonly<{ act: fc.Arbitrary<Act>; times: number }>[] = [
  { act: claimSome, times: 4 },
  { act: answerSome, times: 6 },
  { act: claimSteps, times: 3 },
  { act: answerList, times: 4 },
  { act: startWaitingRuns, times: 1 },
  { act: answerTogether, times: 1 },
  { act: bookAgain, times: 1 },
  { act: unsend, times: 1 },
  { act: expire, times: 2 },
  { act: crash, times: 1 },
  { act: wake, times: 1 },
  { act: rescue, times: 2 },
  { act: complete, times: 1 },
  { act: climbersDone, times: 1 },
  { act: sampleThrough, times: 1 },
  { act: pauseByMonth, times: 1 },
  { act: resumeDueRuns, times: 1 },
  { act: fail, times: 1 },
  ...PEOPLE,
]

/** Every act, as often as it is to be drawn. */
export const drawn: fc.Arbitrary<Act>[] = ACTS.flatMap(({ act: one, times }) =>
  Array.from({ length: times }, () => one),
)
