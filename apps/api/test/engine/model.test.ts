/**
 * Random acts against the engine and the database, compared after every step with a plain model of what is promised, and
 * with the invariants. GLEANER_MODEL_RUNS sets the number of sequences, GLEANER_MODEL_SEED repeats one.
 */
import fc from 'fast-check'
import { afterAll, beforeAll, expect, it } from 'vitest'
import { newId } from '../../src/base/ids.ts'
import { toMicros } from '../../src/base/money.ts'
import { withTxRetry } from '../../src/db/client.ts'
import { bookSearches } from '../../src/engine/book.ts'
import { rescueRuns } from '../../src/engine/rescue.ts'
import { cancelRun, changeCap, completeRun, pauseRun, resumeRun } from '../../src/engine/run-acts.ts'
import { startRun, startWaiting } from '../../src/engine/start.ts'
import { releaseUnsent } from '../../src/ledger/book.ts'
import { type ClaimedItem, claimItems } from '../../src/ledger/claim.ts'
import { finishClimbers } from '../../src/runs/items.ts'
import { changeSettings } from '../../src/runs/settings.ts'
import { makeKnownSellers } from '../../src/sellers/known.ts'
import { type Arena, expectClean, makeArena, PRICE } from './arena.ts'
import type { Call, Kind, Model, Run } from './model-of-runs.ts'
import * as rules from './model-of-runs.ts'

const RUNS = Number(process.env['GLEANER_MODEL_RUNS'] ?? 15)
const SEED = process.env['GLEANER_MODEL_SEED']
/** More sequences than the suite has: then it says what it did. */
const MOST_IN_SUITE = 50
const WORKERS = 3
const STEPS_MOST = 100

let arena: Arena
beforeAll(async () => {
  arena = await makeArena()
})
afterAll(() => arena.close())

type World = Readonly<{ orgId: string; workers: readonly string[] }>
type Act = fc.AsyncCommand<Model, World>

async function makeWorld(): Promise<World> {
  const [org] = await arena.rows<{ id: string }>(`insert into orgs (name) values ('Model') returning id`)
  const orgId = org?.id ?? ''
  await changeSettings(arena.db, orgId, { maxConcurrentRuns: rules.PLACES })
  return { orgId, workers: await Promise.all(Array.from({ length: WORKERS }, () => arena.makeWorker())) }
}

/** Acts carried out, by their first word. */
const acted = new Map<string, number>()

/** One act: when it is possible, what it does to the engine and to the model. Afterwards both must agree. */
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
      await compare(model)
      const first = name.split(/[ :]/)[0] ?? ''
      acted.set(first, (acted.get(first) ?? 0) + 1)
    },
  }
}

async function compare(model: Model): Promise<void> {
  const runIds = model.runs.map(({ id }) => id)
  // Retries wait a random while; here everything is tried at once.
  await arena.db.query(
    'update collection_items set not_before = null where run_id = any($1) and not_before is not null',
    [runIds],
  )
  for (const run of model.runs) expect(await arena.look(run.id)).toMatchObject(rules.expected(run))
  await expectClean(arena.db, { runIds })
}

const pick = <T>(list: readonly T[], at: number): T => list[at % list.length] as T

function claim(run: Run, world: World, worker: number, slots: number): Promise<ClaimedItem[]> {
  const callIds = Array.from({ length: slots }, newId)
  return withTxRetry(arena.db, (tx) =>
    claimItems(tx, {
      runId: run.id,
      workerId: world.workers[worker] ?? '',
      accountId: arena.search.id,
      callIds,
      priceMicros: PRICE,
      leaseMs: 600_000,
    }),
  )
}

async function book(run: Run, calls: readonly Call[], kinds: readonly Kind[], mayClimb: boolean): Promise<void> {
  const finished = calls.map((call, index) => ({
    ...call.claimed,
    rungs: run.rungs,
    answer: rules.KINDS[pick(kinds, index)].answer,
    durationMs: 1,
  }))
  const { orgId } = await arena.look(run.id)
  await withTxRetry(arena.db, (tx) =>
    bookSearches(tx, { id: run.id, orgId }, finished, { mayClimb, known: makeKnownSellers() }),
  )
}

/** The engine does it, or refuses, exactly as the model says. */
async function refusedUnless(allowed: boolean, deed: Promise<unknown>): Promise<void> {
  if (allowed) await deed
  else await expect(deed).rejects.toMatchObject({ code: expect.stringMatching(/^(run\.|GL)/) })
}

const at = fc.nat({ max: 50 })
const anyRun = (model: Model): boolean => model.runs.length > 0
const open = (run: Run): Call[] => run.calls.filter(({ over }) => !over)
const someOpen = (model: Model): boolean => model.runs.some((run) => open(run).length > 0)
const withOpen = (model: Model, index: number): Run =>
  pick(
    model.runs.filter((run) => open(run).length > 0),
    index,
  )

async function createRun(
  model: Model,
  { orgId }: World,
  { products, rungs, cap }: Readonly<{ products: number; rungs: number; cap: number }>,
): Promise<void> {
  const { id } = await arena.makeRun({ products, rungs, cap, orgId, start: false })
  const items = Array.from({ length: products }, () => rules.newItem())
  model.runs.push({ id, status: 'pending', asked: null, cap, spent: 0, breach: 0, rungs, items, calls: [] })
}

/** Two runs that run, or most acts would find nothing to act on. */
async function begin(): Promise<{ model: Model; world: World }> {
  const world = await makeWorld()
  const model: Model = { runs: [], asks: 0, dead: new Set() }
  await createRun(model, world, { products: 8, rungs: 3, cap: 40 * PRICE })
  await createRun(model, world, { products: 6, rungs: 1, cap: 9 * PRICE + 1 })
  for (const run of model.runs) {
    await startRun(arena.db, run.id)
    Object.assign(run, { status: 'running', asked: model.asks++ })
  }
  return { model, world }
}

const create = fc
  .record({
    products: fc.integer({ min: 1, max: 6 }),
    rungs: fc.integer({ min: 1, max: 3 }),
    cap: fc.nat({ max: 15 * PRICE }),
  })
  .map(({ products, rungs, cap }) =>
    act(
      `create ${products} products, ${rungs} rungs, cap ${cap}`,
      (model) => model.runs.filter((run) => !rules.isOver(run)).length < 4,
      (model, world) => createRun(model, world, { products, rungs, cap }),
    ),
  )

const start = at.map((index) =>
  act(`start ${index}`, anyRun, async (model) => {
    const run = pick(model.runs, index)
    const free = rules.running(model) < rules.PLACES
    await refusedUnless(run.status === 'pending', startRun(arena.db, run.id))
    if (run.status !== 'pending') return
    run.asked ??= model.asks++
    if (free) run.status = 'running'
  }),
)

const startWaitingRuns = fc.constant(
  act('start those that wait', anyRun, async (model) => {
    await startWaiting(arena.db)
    const waiting = model.runs.filter(({ status, asked }) => status === 'pending' && asked !== null)
    waiting.sort((a, b) => (a.asked ?? 0) - (b.asked ?? 0))
    for (const run of waiting) if (rules.running(model) < rules.PLACES) run.status = 'running'
  }),
)

const claimSome = fc
  .record({
    index: at,
    worker: fc.nat({ max: WORKERS - 1 }),
    slots: fc.integer({ min: 1, max: 3 }),
    others: fc.nat({ max: 2 }),
  })
  .map(({ index, worker, slots, others }) =>
    act(`claim ${slots} of ${index} by ${worker} and ${others} at once`, anyRun, async (model, world) => {
      const running = model.runs.filter(({ status }) => status === 'running')
      // Now and then of one that does not run.
      const run = pick(running.length > 0 && index % 8 > 0 ? running : model.runs, index)
      const claimers = Array.from({ length: 1 + others }, (_, more) => (worker + more) % WORKERS)
      const wanted = rules.claimable(run, slots * claimers.length)
      const claimed = await Promise.all(claimers.map((one) => claim(run, world, one, slots)))
      const ids = await arena.rows<{ id: string }>(
        `select id from collection_items where run_id = $1 and item_type = 'amazon_product' order by id`,
        [run.id],
      )
      const taken = claimed.flatMap((list, by) =>
        list.map((one) => ({ one, by: claimers[by] ?? 0, item: ids.findIndex(({ id }) => id === one.itemId) })),
      )
      expect(taken.map(({ item }) => item).sort()).toEqual(wanted.sort())
      for (const { one, by, item } of taken) rules.take(run, item, by, one)
    }),
  )

const kind = fc.constantFrom(...(Object.keys(rules.KINDS) as Kind[]), 'three', 'none', 'one', 'lost')
const answerSome = fc
  .record({
    index: at,
    first: at,
    count: fc.integer({ min: 1, max: 4 }),
    kinds: fc.array(kind, { minLength: 4, maxLength: 4 }),
    mayClimb: fc.boolean(),
  })
  .map(({ index, first, count, kinds, mayClimb }) =>
    act(
      `answer ${count} of ${index}: ${kinds.slice(0, count)}${mayClimb ? ', may climb' : ''}`,
      someOpen,
      async (model) => {
        const run = withOpen(model, index)
        const waiting = open(run)
        const calls = [...new Set(Array.from({ length: count }, (_, more) => pick(waiting, first + more)))]
        await book(run, calls, kinds, mayClimb)
        calls.forEach((call, more) => rules.answer(run, call, pick(kinds, more), mayClimb))
      },
    ),
  )

const answerTogether = fc
  .record({ index: at, kinds: fc.array(kind, { minLength: 2, maxLength: 6 }) })
  .map(({ index, kinds }) =>
    act(`book ${kinds.length} at the same time: ${kinds}`, someOpen, async (model) => {
      const run = withOpen(model, index)
      // Only one per product: which of two takes effect would depend on who comes first.
      const perItem = new Map(open(run).map((call) => [call.item, call]))
      const calls = [...perItem.values()].slice(0, kinds.length)
      await Promise.all(calls.map((call, more) => book(run, [call], [pick(kinds, more)], true)))
      calls.forEach((call, more) => rules.answer(run, call, pick(kinds, more), true))
    }),
  )

const bookAgain = fc.record({ index: at, which: at, as: kind }).map(({ index, which, as }) =>
  act(
    `book again as ${as}`,
    (model) => model.runs.some(({ calls }) => calls.some(isBooked)),
    async (model) => {
      const run = pick(
        model.runs.filter(({ calls }) => calls.some(isBooked)),
        index,
      )
      await book(run, [pick(run.calls.filter(isBooked), which)], [as], true)
    },
  ),
)
const isBooked = (call: Call): boolean => call.state === 'settled' || call.state === 'released'

const unsend = fc.record({ index: at, which: at }).map(({ index, which }) =>
  act('a claim whose COMMIT was not answered', someOpen, async (model) => {
    const run = withOpen(model, index)
    const call = pick(open(run), which)
    expect(await withTxRetry(arena.db, (tx) => releaseUnsent(tx, [call.claimed.callId, newId()]))).toBe(1)
    rules.unsend(run, call)
  }),
)

const crash = fc.nat({ max: WORKERS - 1 }).map((worker) =>
  act(`worker ${worker} falls silent`, anyRun, async (model, world) => {
    await arena.db.query(`update collection_workers set heartbeat_at = now() - interval '1 hour' where id = $1`, [
      world.workers[worker],
    ])
    model.dead.add(worker)
  }),
)

const wake = fc.nat({ max: WORKERS - 1 }).map((worker) =>
  act(
    `worker ${worker} is back`,
    ({ dead }) => dead.has(worker),
    async (model, world) => {
      await arena.db.query('update collection_workers set heartbeat_at = now() where id = $1', [world.workers[worker]])
      model.dead.delete(worker)
    },
  ),
)

const rescue = fc.constant(
  act('rescue', anyRun, async (model) => {
    await Promise.all([rescueRuns(arena.db), rescueRuns(arena.db)])
    rules.rescue(model)
  }),
)

const pause = at.map((index) =>
  act(`pause ${index}`, anyRun, async (model) => {
    const run = pick(model.runs, index)
    await pauseRun(arena.db, run.id, { reason: 'operator' })
    if (run.status === 'running') run.status = 'paused'
  }),
)

const resume = at.map((index) =>
  act(`resume ${index}`, anyRun, async (model) => {
    const run = pick(model.runs, index)
    const allowed = run.status === 'running' || (run.status === 'paused' && rules.running(model) < rules.PLACES)
    await refusedUnless(allowed, resumeRun(arena.db, run.id))
    if (allowed) run.status = 'running'
  }),
)

const cancel = at.map((index) =>
  act(
    `cancel ${index}`,
    // Seldom, or there would soon be nothing left to act on.
    (model) => index % 4 === 0 && model.runs.length > 1,
    async (model) => {
      const run = pick(model.runs, index)
      await refusedUnless(run.status !== 'completed', cancelRun(arena.db, run.id))
      if (run.status !== 'completed') run.status = 'cancelled'
    },
  ),
)

const cap = fc.record({ index: at, micros: fc.nat({ max: 40 * PRICE }) }).map(({ index, micros }) =>
  act(`cap of ${index} to ${micros}`, anyRun, async (model) => {
    const run = pick(model.runs, index)
    const allowed = !rules.isOver(run) && micros >= rules.used(run)
    await refusedUnless(allowed, changeCap(arena.db, run.id, toMicros(micros)))
    if (allowed) run.cap = micros
  }),
)

const complete = at.map((index) =>
  act(`complete ${index}`, anyRun, async (model) => {
    const run = pick(model.runs, index)
    const done = run.items.every(({ status }) => status === 'ended') && rules.countCalls(run, 'held') === 0
    await refusedUnless(done || run.status !== 'running', completeRun(arena.db, run.id))
    if (done && run.status === 'running') run.status = 'completed'
  }),
)

const climbersDone = at.map((index) =>
  act(`finish climbers of ${index}`, anyRun, async (model) => {
    const run = pick(model.runs, index)
    if (rules.countCalls(run, 'held') > 0) return
    await withTxRetry(arena.db, (tx) => finishClimbers(tx, run.id))
    rules.finishClimbers(run)
  }),
)

// What keeps a run going is drawn more often than what ends it.
const acts = [
  create,
  start,
  start,
  startWaitingRuns,
  claimSome,
  claimSome,
  claimSome,
  claimSome,
  answerSome,
  answerSome,
  answerSome,
  answerSome,
  answerSome,
  answerSome,
  answerTogether,
  bookAgain,
  unsend,
  crash,
  wake,
  rescue,
  rescue,
  pause,
  resume,
  resume,
  cap,
  cap,
  complete,
  climbersDone,
]

it(
  'random acts do what the model says, and every invariant holds after each',
  async () => {
    const started = Date.now()
    await fc.assert(
      fc.asyncProperty(fc.commands([...acts, cancel], { maxCommands: STEPS_MOST, size: 'max' }), async (commands) => {
        const { model, world } = await begin()
        await fc.asyncModelRun(() => ({ model, real: world }), commands)
        // Runs of a sequence that is over would stand in the line of the next one.
        await arena.db.query(
          `update collection_runs set status = 'cancelled' where org_id = $1 and status in ('pending', 'running', 'paused')`,
          [world.orgId],
        )
      }),
      { numRuns: RUNS, ...(SEED === undefined ? {} : { seed: Number(SEED) }) },
    )
    const seconds = Math.round((Date.now() - started) / 1000)
    if (RUNS > MOST_IN_SUITE) console.log(`${RUNS} sequences in ${seconds} s:`, Object.fromEntries(acted))
  },
  60_000 + RUNS * 30_000,
)
