/**
 * How often what a run cost, took and brought lay inside its estimate, and how wide the estimate was: runs over categories of
 * generated worlds, one world a seed, each run estimated from those before it.
 *
 *   node bench/estimate-calibration.ts [--seeds 3]
 */
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { parseArgs } from 'node:util'
import { newId } from '../apps/api/src/base/ids.ts'
import { toMicros } from '../apps/api/src/base/money.ts'
import { connect, type Db } from '../apps/api/src/db/client.ts'
import { openEmbedded } from '../apps/api/src/db/embedded.ts'
import { migrate } from '../apps/api/src/db/migrate.ts'
import { chooseAccounts, saveSandboxAccounts } from '../apps/api/src/engine/accounts.ts'
import { type Actor, actorFor } from '../apps/api/src/engine/bootstrap.ts'
import { createRun } from '../apps/api/src/engine/create.ts'
import { openRunLane } from '../apps/api/src/engine/open-run-lane.ts'
import { changeCap, resumeRun } from '../apps/api/src/engine/run-acts.ts'
import { estimateFromSample } from '../apps/api/src/engine/sample.ts'
import { startRun } from '../apps/api/src/engine/start.ts'
import { workRun } from '../apps/api/src/engine/work-run.ts'
import { type Category, loadCategories } from '../apps/api/src/runs/categories.ts'
import type { Estimate } from '../apps/api/src/runs/estimate.ts'
import type { Range } from '../apps/api/src/runs/range.ts'
import type { RunSnapshot } from '../apps/api/src/runs/snapshot.ts'

const { values } = parseArgs({ options: { seeds: { type: 'string' } } })
const SEEDS = Number(values.seeds ?? 3)
const SANDBOX = join(import.meta.dirname, '..', 'apps', 'sandbox', 'src', 'main.ts')
const CAP = toMicros(1_000_000_000)

/** Which of the world's categories each run collects, and what it is there for. */
const PLAN: readonly Readonly<{ kind: string; from: number; to: number; sample?: true }>[] = [
  { kind: 'price list, first run', from: 0, to: 1 },
  ...[1, 2, 3, 4, 5].map((at) => ({ kind: 'a new category', from: at, to: at + 1 })),
  { kind: 'several new categories', from: 6, to: 10 },
  { kind: 'several new categories', from: 10, to: 14 },
  { kind: 'some new, some again', from: 12, to: 16 },
  { kind: 'the same again', from: 0, to: 1 },
  { kind: 'the same again', from: 6, to: 10 },
  { kind: 'after a sample', from: 16, to: 18, sample: true },
  { kind: 'after a sample', from: 18, to: 19, sample: true },
]

type Tally = { runs: number; inside: Record<string, number>; known: Record<string, number>; width: number[] }
const tallies = new Map<string, Tally>()
const dataDir = await mkdtemp(join(tmpdir(), 'gleaner-bench-'))
const embedded = await openEmbedded({ dataDir })
try {
  const db = await connect(embedded.url)
  try {
    await migrate(db)
    for (let seed = 1; seed <= SEEDS; seed++) await collectWorld(db, seed)
  } finally {
    await db.close()
  }
} finally {
  await embedded.close()
  await rm(dataDir, { recursive: true, force: true })
}
report()

/** An organisation of its own for each world: nothing is learned from another. */
async function collectWorld(db: Db, seed: number): Promise<void> {
  const data = await mkdtemp(join(tmpdir(), 'gleaner-world-'))
  const child = spawn(process.execPath, [SANDBOX, '--data', data, '--seed', String(seed), '--latency-ms', '20'], {
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  try {
    const line = await new Promise<string>((resolve) => createInterface({ input: child.stdout }).once('line', resolve))
    const { listening } = JSON.parse(line) as { listening: string }
    const prices = (await (await fetch(`${listening}/sandbox/prices`)).json()) as Record<string, number>
    await saveSandboxAccounts(db, listening, prices)
    const actor = await organisation(db, seed)
    const tree = await loadCategories()
    const physical = tree.rows.filter((row) => row.physical && row.level === 1)
    const mine = physical.slice((seed * 37) % (physical.length - 20)).slice(0, 20)
    for (const step of PLAN) await collectStep(db, actor, step, mine.slice(step.from, step.to))
  } finally {
    child.kill('SIGTERM')
    await once(child, 'exit')
    await rm(data, { recursive: true, force: true })
  }
}

async function organisation(db: Db, seed: number): Promise<Actor> {
  const actor = await actorFor(db)
  const orgId = newId()
  await db.query('insert into orgs (id, name) values ($1, $2)', [orgId, `World ${seed}`])
  await db.query(`insert into org_members (org_id, user_id, role) values ($1, $2, 'owner')`, [orgId, actor.userId])
  return { ...actor, orgId }
}

async function collectStep(
  db: Db,
  actor: Actor,
  { kind, sample }: (typeof PLAN)[number],
  categories: readonly Category[],
): Promise<void> {
  const accounts = await chooseAccounts(db, { list: 'sandbox-oxylabs', search: 'sandbox-ebay' })
  const collect = { kind: 'categories' as const, categories }
  const created = await createRun(db, { actor, collect, accounts, capMicros: CAP, sample: sample ?? false })
  let run = await work(db, await startRun(db, created.run.id))
  let { estimate } = created
  if (sample) {
    estimate = await estimateFromSample(db, run)
    await changeCap(db, run.id, CAP)
    run = await work(db, await resumeRun(db, run.id))
  }
  if (run.status !== 'completed') throw new Error(`run ${run.number} is ${run.status}`)
  tally(kind, run, estimate)
}

async function work(db: Db, run: RunSnapshot): Promise<RunSnapshot> {
  const workerId = newId()
  await db.query(`insert into collection_workers (id, name, version) values ($1, 'bench', '0')`, [workerId])
  const lane = await openRunLane({ db, env: {}, workerId, run, log: () => {} })
  return workRun(lane, new AbortController().signal)
}

function tally(kind: string, run: RunSnapshot, estimate: Estimate): void {
  const seconds = ((run.completedAt?.getTime() ?? 0) - (run.startedAt?.getTime() ?? 0)) / 1000
  const figures: Record<string, readonly [number, Range<number> | null]> = {
    cost: [run.spentMicros, estimate.cost],
    products: [run.totalItems, estimate.products],
    'new sellers': [run.newSellers, estimate.newSellers],
    // Seconds are whole in an estimate.
    duration: [Math.max(1, Math.round(seconds)), estimate.durationSeconds],
  }
  const known = tallies.get(kind) ?? { runs: 0, inside: {}, known: {}, width: [] }
  known.runs += 1
  for (const [name, [actual, range]] of Object.entries(figures)) {
    if (!range) continue
    known.known[name] = (known.known[name] ?? 0) + 1
    const inside = actual >= range.low && actual <= range.high
    known.inside[name] = (known.inside[name] ?? 0) + (inside ? 1 : 0)
    if (!inside) console.log(`outside: ${kind}, ${name} ${actual}, estimated ${JSON.stringify(range)}`)
  }
  known.width.push((estimate.cost.high - estimate.cost.low) / Math.max(1, estimate.cost.likely))
  tallies.set(kind, known)
}

function report(): void {
  const rows: Record<string, unknown> = {}
  for (const [kind, { runs, inside, known, width }] of tallies) {
    const part = (name: string) => (known[name] ? `${inside[name]} of ${known[name]}` : 'unknown')
    const median = width.toSorted((a, b) => a - b)[Math.floor(width.length / 2)] ?? 0
    rows[kind] = {
      runs,
      'cost inside': part('cost'),
      'width of cost, % of likely': Math.round(median * 100),
      products: part('products'),
      'new sellers': part('new sellers'),
      duration: part('duration'),
    }
  }
  console.log(`${SEEDS} worlds`)
  console.table(rows)
}
