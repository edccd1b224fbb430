/**
 * Growth: what a product costs when the tables are full. The same slice of products through the real engine with so many
 * items of finished runs in the tables, in a new run and in one that has just begun on so many products; and the memory of
 * a real worker process with many calls in flight.
 */
import { setTimeout as sleep } from 'node:timers/promises'
import { runSnapshot } from '../apps/api/src/runs/snapshot.ts'
import { makeMarketplace } from '../apps/api/test/engine/sandbox-run.ts'
import { engine } from './booking/engine.ts'
import { measureRun } from './booking/measure.ts'
import { NEW_SELLERS } from './engine-world.ts'
import { fillOpenRun, fillPast, ITEMS_A_PRODUCT, type Past } from './growth/fill.ts'
import { numbersOf, readArgs } from './support/args.ts'
import { spawnWorker } from './support/fleet.ts'
import { beginProfile, PROFILE_SETTINGS, readProfile } from './support/profile.ts'
import { markdownTable, median, progress, rounded, whereMeasured } from './support/report.ts'
import { expectSound, makeRun } from './support/run.ts'
import { onStage, type Stage } from './support/stage.ts'

const args = readArgs('Growth: cost of a product and memory of a worker with many items in the tables.', {
  sizes: { default: '10000,100000,1000000', help: 'items in the tables, the smallest first' },
  products: { default: 5_000, help: 'products of the measured slice' },
  rounds: { default: 3, help: 'rounds; each slice works in a copy of its own' },
  'in-flight': { default: 200, help: 'calls in flight' },
  'memory-products': { default: 2_000, help: 'products a real worker searches while its memory is watched' },
  profile: { default: 'no', help: 'yes: tell where the server spends its time in each slice' },
  'latency-ms': { default: 400, help: 'time the sandbox takes for an answer meanwhile' },
})
/** Sellers met again by a slice, spread over all there are: as many as the smallest size has. */
const CANDIDATES = 7_500
/** Up to this size what was filled in is verified: it is made the same way at every size. */
const PROVED_MOST = 100_000

/** A filled database, to be copied. `openRunId` is of a run that has just begun, when it has one. */
type Filled = Readonly<{ size: number; name: string; past: Past; openRunId: string | null }>
type Row = { filled: Filled; msEach: number[]; memoryMb: number | null; mostInFlight: number }

const settings = args.profile === 'yes' ? { settings: PROFILE_SETTINGS } : {}
await onStage(async (stage) => {
  const rows: Row[] = []
  for (const size of numbersOf('sizes', args.sizes)) {
    for (const filled of await fill(stage, size)) rows.push({ filled, msEach: [], memoryMb: null, mostInFlight: 0 })
  }
  for (let round = 0; round < args.rounds; round++) {
    for (let at = 0; at < rows.length; at++) {
      const row = rows[(at + round) % rows.length] as Row
      row.msEach.push(1000 / (await slice(stage, row.filled)))
      progress(`round ${round + 1}, ${words(row.filled)}: ${rounded(row.msEach.at(-1) ?? 0, 3)} ms a product`)
    }
  }
  for (const row of rows.filter(({ filled }) => filled.openRunId === null)) {
    Object.assign(row, await memory(stage, row.filled))
    progress(
      `memory at ${row.filled.size} items: ${rounded(row.memoryMb ?? 0)} MB, ${row.mostInFlight} calls in flight at most`,
    )
  }
  report(rows)
  console.log(
    `\nSlices of ${args.products} products, ${args.rounds} rounds, ${args['in-flight']} in flight; ${await whereMeasured(stage.admin)}`,
  )
}, settings)

function words({ size, openRunId }: Filled): string {
  return openRunId === null ? `${size} items in finished runs` : `${size} products waiting in the run itself`
}

/** Two databases with `size` items: all of them in the past; and that past with a run besides that has just begun on as many. */
async function fill(stage: Stage, size: number): Promise<Filled[]> {
  const startedAt = performance.now()
  const closed = await stage.fresh()
  const past = await fillPast(closed.db, size)
  // What was written with the triggers off is what the engine would have left: every invariant holds.
  if (size <= PROVED_MOST) await expectSound(closed.db)
  const bytes = await closed.db.query<{ size: string }>(
    'select pg_size_pretty(pg_database_size(current_database())) as size',
  )
  await closed.db.close()
  const open = await stage.fresh(closed.name)
  const openRunId = await fillOpenRun(open.db, past, size)
  await open.db.close()
  const seconds = rounded((performance.now() - startedAt) / 1000)
  progress(`filled with ${past.products * ITEMS_A_PRODUCT} items in ${seconds} s, ${bytes.rows[0]?.size}`)
  return [
    { size, name: closed.name, past, openRunId: null },
    { size, name: open.name, past, openRunId },
  ]
}

/** Products a second of one slice in a copy. */
async function slice(stage: Stage, { name, past, openRunId, size }: Filled): Promise<number> {
  const place = await stage.fresh(name)
  try {
    const { orgId, accountId } = past
    const run = openRunId
      ? { runId: openRunId, orgId, accountId, products: size }
      : await makeRun(place.db, { products: args.products, from: past.products, orgId, accountId })
    const setting = {
      processes: 1,
      inFlight: args['in-flight'],
      from: past.products,
      pastSellers: past.products * NEW_SELLERS,
      candidates: CANDIDATES,
    }
    if (args.profile === 'yes') await beginProfile(place.db)
    const { perSecond } = await measureRun(place, engine, setting, run, Math.min(args.products, run.products))
    if (args.profile === 'yes')
      console.log(
        `\n${size} items in ${openRunId ? 'the run itself' : 'finished runs'}\n\n${await readProfile(place.db)}\n`,
      )
    return perSecond
  } finally {
    await place.close()
  }
}

/** The most memory a real worker needs for a run against the sandbox, and the most calls it had in flight. */
async function memory(stage: Stage, { name }: Filled): Promise<Pick<Row, 'memoryMb' | 'mostInFlight'>> {
  const place = await stage.fresh(name)
  const market = await makeMarketplace(place.db)
  stage.atEnd(() => market.sandbox.stop())
  try {
    await market.sandbox.post('/sandbox/latency', { ms: args['latency-ms'] })
    await place.db.query('update provider_accounts set max_in_flight = $1', [args['in-flight']])
    const { id } = await market.startOn({ products: args['memory-products'], cap: 1_000_000_000 })
    const worker = await spawnWorker(stage, place.url)
    let mostInFlight = 0
    for (let status = 'running'; status === 'running'; await sleep(50)) {
      const run = await runSnapshot(place.db, id)
      mostInFlight = Math.max(mostInFlight, run?.heldCalls ?? 0)
      status = run?.status ?? 'missing'
      if (status !== 'running' && status !== 'completed') throw new Error(`the run of the worker is ${status}`)
    }
    const memoryMb = worker.mostMemoryMb()
    await worker.stop()
    return { memoryMb, mostInFlight }
  } finally {
    await market.sandbox.stop()
    await place.close()
  }
}

function report(rows: readonly Row[]): void {
  const first = (filled: Filled): number => {
    const row = rows.find((other) => (other.filled.openRunId === null) === (filled.openRunId === null))
    return median(row?.msEach ?? [])
  }
  const cells = rows.map(({ filled, msEach, memoryMb, mostInFlight }) => [
    filled.size,
    filled.openRunId === null ? 'finished runs' : 'the run itself, waiting',
    rounded(median(msEach), 3),
    rounded(Math.max(...msEach), 3),
    rounded(median(msEach) / first(filled), 2),
    memoryMb === null ? '' : `${rounded(memoryMb)} MB`,
    memoryMb === null ? '' : String(mostInFlight),
  ])
  const columns = [
    'items',
    'in',
    'ms a product',
    'worst round',
    'of the smallest',
    'memory of a worker',
    'its calls in flight',
  ]
  console.log(markdownTable(columns, cells))
}
