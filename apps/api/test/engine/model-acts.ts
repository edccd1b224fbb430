/**
 * The acts of the model: each says when it is possible, what is done to the engine, and what that means for the model.
 * A new act (a month cap, a retry, a call that is resolved) is a constant here, a line in `ACTS`, and a rule in
 * model-of-runs.ts.
 */
import fc from 'fast-check'
import { expect } from 'vitest'
import { newId } from '../../src/base/ids.ts'
import { toMicros } from '../../src/base/money.ts'
import { withTxRetry } from '../../src/db/client.ts'
import { rescueRuns } from '../../src/engine/rescue.ts'
import { cancelRun, changeCap, completeRun, failRun, pauseRun, resumeRun } from '../../src/engine/run-acts.ts'
import { startRun, startWaiting } from '../../src/engine/start.ts'
import { releaseUnsent } from '../../src/ledger/book.ts'
import { finishClimbers } from '../../src/runs/items.ts'
import { changeSettings } from '../../src/runs/settings.ts'
import { LIST_PRICE, PRICE } from './arena.ts'
import { bookAnswers, bookStep, claimListSteps, claimSearches } from './by-hand.ts'
import type { Call, Kind, ListKind, Model, Run } from './model-of-runs.ts'
import * as rules from './model-of-runs.ts'
import { compare, WORKERS, type World } from './model-world.ts'

export type Act = fc.AsyncCommand<Model, World>

/** How often each act was carried out, by its first word. */
export const acted = new Map<string, number>()

/** One act. Afterwards the engine and the model must agree, and everything must hold. */
function act(
  name: string,
  can: (model: Model) => boolean,
  carryOut: (model: Model, world: World) => Promise<void>,
): Act {
  return {
    toString: () => name,
    check: can,
    run: async (model, world) => {
      await carryOut(model, world)
      await compare(model, world)
      const first = name.split(/[ :]/)[0] ?? ''
      acted.set(first, (acted.get(first) ?? 0) + 1)
    },
  }
}

const pick = <T>(list: readonly T[], at: number): T => list[at % list.length] as T
const at = fc.nat({ max: 50 })
const anyRun = (model: Model): boolean => model.runs.length > 0
const isSearch = (call: Call): boolean => call.search !== null
const isBooked = (call: Call): boolean => call.state === 'settled' || call.state === 'released'

/** Calls that wait for an answer. */
const open = (run: Run, wanted: (call: Call) => boolean = () => true): Call[] =>
  run.calls.filter((call) => !call.over && wanted(call))
const some =
  (wanted: (call: Call) => boolean) =>
  (model: Model): boolean =>
    model.runs.some((run) => run.calls.some(wanted))
const openSearch = (call: Call): boolean => !call.over && isSearch(call)
const openStep = (call: Call): boolean => !call.over && !isSearch(call)
const runWith = (model: Model, wanted: (call: Call) => boolean, index: number): Run =>
  pick(
    model.runs.filter((run) => run.calls.some(wanted)),
    index,
  )

/** The engine does it, or refuses, exactly as the model says. */
async function refusedUnless(allowed: boolean, deed: Promise<unknown>): Promise<void> {
  if (allowed) await deed
  else await expect(deed).rejects.toMatchObject({ code: expect.stringMatching(/^(run\.|GL)/) })
}

type NewRun = Readonly<{ org: number; products: number; categories: number; rungs: number; cap: number }>

/** A run of products, or of categories when there are any. */
export async function createRun(model: Model, { arena, orgs }: World, input: NewRun): Promise<Run> {
  const { products, categories, rungs, cap, org } = input
  const keys = Array.from({ length: categories }, (_, index) => `c${index}`)
  const { id } = await arena.makeRun({
    ...(categories > 0 ? { categories: keys } : { products, rungs }),
    cap,
    orgId: orgs[org]?.id ?? '',
    start: false,
  })
  const run: Run = {
    id,
    org,
    status: 'pending',
    asked: null,
    cap,
    breach: 0,
    items: Array.from({ length: categories > 0 ? 0 : products }, (_, index) => rules.newItem(index)),
    categories: keys.map(() => ({ status: 'pending', failed: false, epoch: 0, attempt: 0 })),
    calls: [],
    events: 0,
  }
  model.runs.push(run)
  return run
}

const create = fc
  .record({
    org: fc.nat({ max: 1 }),
    products: fc.integer({ min: 1, max: 6 }),
    categories: fc.constantFrom(0, 0, 1, 3),
    rungs: fc.integer({ min: 1, max: 3 }),
    cap: fc.nat({ max: 25 * PRICE }),
  })
  .map((input) =>
    act(
      `create ${JSON.stringify(input)}`,
      (model) => model.runs.filter((run) => !rules.isOver(run)).length < 5,
      async (model, world) => void (await createRun(model, world, input)),
    ),
  )

const start = fc.record({ index: at, twice: fc.boolean() }).map(({ index, twice }) =>
  act(`start ${index}${twice ? ' twice at once' : ''}`, anyRun, async (model, { arena }) => {
    const run = pick(model.runs, index)
    const starts = () => startRun(arena.db, run.id)
    const ends = await Promise.allSettled(twice ? [starts(), starts()] : [starts()])
    const done = ends.filter(({ status }) => status === 'fulfilled').length
    for (const end of ends) {
      if (end.status === 'rejected') expect(end.reason).toMatchObject({ code: 'run.wrong_state' })
    }
    if (run.status !== 'pending') return expect(done).toBe(0)
    run.asked ??= model.asks++
    if (!rules.hasPlace(model, run.org)) return expect(done).toBe(ends.length)
    run.status = 'running'
    expect(done).toBe(1)
  }),
)

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
    // Retries wait a random while; here everything is tried at once.
    await arena.db.query('update collection_items set not_before = null where run_id = $1 and not_before is not null', [
      run.id,
    ])
    const wanted = rules.claimable(run, slots * by.length)
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
    for (const one of taken) rules.take(run, one)
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
    const wanted = rules.claimableSteps(run, slots * by.length)
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
    for (const one of taken) rules.take(run, one)
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
    const org = { id: run.id, orgId: orgs[run.org]?.id ?? '' }
    await bookStep(arena.db, org, { ...claimed, answer, durationMs: 1 })
    rules.answerStep(run, call, as)
  }),
)

const bookedSearch = (call: Call): boolean => isBooked(call) && isSearch(call)
const bookAgain = fc.record({ index: at, which: at, as: kind }).map(({ index, which, as }) =>
  act(`book-again as ${as}`, some(bookedSearch), async (model, world) => {
    const run = runWith(model, bookedSearch, index)
    await book(world, run, [pick(run.calls.filter(bookedSearch), which)], [as], true)
  }),
)

const anyOpen = (call: Call): boolean => !call.over
const unsend = fc.record({ index: at, which: at }).map(({ index, which }) =>
  act('unsend: a claim whose COMMIT was not answered', some(anyOpen), async (model, { arena }) => {
    const run = runWith(model, anyOpen, index)
    const call = pick(open(run), which)
    expect(await withTxRetry(arena.db, (tx) => releaseUnsent(tx, [call.id, newId()]))).toBe(1)
    rules.unsend(run, call)
  }),
)

const isHeld = (call: Call): boolean => call.state === 'held'
const expire = fc.record({ index: at, which: at }).map(({ index, which }) =>
  act('expire a lease', some(isHeld), async (model, { arena }) => {
    const call = pick(runWith(model, isHeld, index).calls.filter(isHeld), which)
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
    await Promise.all([rescueRuns(arena.db), rescueRuns(arena.db)])
    rules.rescue(model)
  }),
)

/** An act on one run, chosen by number. */
const onRun = (
  name: string,
  can: (model: Model, index: number) => boolean,
  carryOut: (run: Run, model: Model, world: World) => Promise<void>,
): fc.Arbitrary<Act> =>
  at.map((index) =>
    act(
      `${name} ${index}`,
      (model) => anyRun(model) && can(model, index),
      (model, world) => carryOut(pick(model.runs, index), model, world),
    ),
  )
const always = (): boolean => true
// Seldom, or there would soon be nothing left to act on.
const seldom = (model: Model, index: number): boolean => index % 4 === 0 && model.runs.length > 1

const pause = onRun('pause', always, async (run, _, { arena }) => {
  await pauseRun(arena.db, run.id, { reason: 'operator' })
  if (run.status === 'running') run.status = 'paused'
})

const resume = onRun('resume', always, async (run, model, { arena }) => {
  const allowed = run.status === 'running' || (run.status === 'paused' && rules.hasPlace(model, run.org))
  await refusedUnless(allowed, resumeRun(arena.db, run.id))
  if (allowed) run.status = 'running'
})

const cancel = onRun('cancel', seldom, async (run, _, { arena }) => {
  const ended = run.status === 'completed' || run.status === 'failed'
  await refusedUnless(!ended, cancelRun(arena.db, run.id))
  if (!ended) run.status = 'cancelled'
})

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

const cap = fc.record({ index: at, micros: fc.nat({ max: 60 * PRICE }) }).map(({ index, micros }) =>
  act(`cap of ${index} to ${micros}`, anyRun, async (model, { arena }) => {
    const run = pick(model.runs, index)
    const allowed = !rules.isOver(run) && micros >= rules.used(run)
    await refusedUnless(allowed, changeCap(arena.db, run.id, toMicros(micros)))
    if (allowed) run.cap = micros
  }),
)

const places = fc.record({ org: fc.nat({ max: 1 }), most: fc.integer({ min: 1, max: 3 }) }).map(({ org, most }) =>
  act(`places of ${org}: ${most}`, anyRun, async (model, { arena, orgs }) => {
    await changeSettings(arena.db, orgs[org]?.id ?? '', { maxConcurrentRuns: most })
    model.places[org] = most
  }),
)

/** What keeps a run going is drawn more often than what ends it. */
const ACTS: readonly Readonly<{ act: fc.Arbitrary<Act>; times: number }>[] = [
  { act: claimSome, times: 4 },
  { act: answerSome, times: 6 },
  { act: claimSteps, times: 3 },
  { act: answerList, times: 4 },
  { act: create, times: 1 },
  { act: start, times: 2 },
  { act: startWaitingRuns, times: 1 },
  { act: answerTogether, times: 1 },
  { act: bookAgain, times: 1 },
  { act: unsend, times: 1 },
  { act: expire, times: 1 },
  { act: crash, times: 1 },
  { act: wake, times: 1 },
  { act: rescue, times: 2 },
  { act: pause, times: 1 },
  { act: resume, times: 2 },
  { act: cap, times: 2 },
  { act: places, times: 1 },
  { act: complete, times: 1 },
  { act: climbersDone, times: 1 },
  { act: cancel, times: 1 },
  { act: fail, times: 1 },
]

/** Every act, as often as it is to be drawn. */
export const drawn: fc.Arbitrary<Act>[] = ACTS.flatMap(({ act: one, times }) =>
  Array.from({ length: times }, () => one),
)
