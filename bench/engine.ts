/**
 * How many products a second the engine claims, holds, sends, books: 20 listings from 8 sellers each, 3 of them new, a
 * provider that answers at once, one worker, the embedded PostgreSQL on the same machine. Beside it the floor: the same
 * rows written by one hand-made set-based SQL script, which neither sends anything nor carries rows through a program.
 *
 *   npm run bench                        20,000 products, three rounds
 *   npm run bench -- --products 50000 --rounds 5 --in-flight 800
 */
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { newId } from '../apps/api/src/base/ids.ts'
import { toMicros } from '../apps/api/src/base/money.ts'
import { connect, type Db, withTx } from '../apps/api/src/db/client.ts'
import { openEmbedded } from '../apps/api/src/db/embedded.ts'
import { migrate } from '../apps/api/src/db/migrate.ts'
import { actorFor } from '../apps/api/src/engine/bootstrap.ts'
import { startRun } from '../apps/api/src/engine/start.ts'
import { workRun } from '../apps/api/src/engine/work-run.ts'
import { DEFAULT_FILTERS } from '../apps/api/src/matching/filters.ts'
import { addProducts } from '../apps/api/src/runs/items.ts'
import { runSnapshot } from '../apps/api/src/runs/snapshot.ts'
import { FLOOR_BATCH, floorScript, loadFloorSource } from './engine-floor.ts'
import { instantAdapter, NEW_SELLERS } from './engine-world.ts'

const PRICE = toMicros(5_000)

const { values } = parseArgs({
  options: {
    products: { type: 'string', default: '20000' },
    rounds: { type: 'string', default: '3' },
    'in-flight': { type: 'string', default: '800' },
  },
})
const products = Number(values.products)
const rounds = Number(values.rounds)
const inFlight = Number(values['in-flight'])

type Round = Readonly<{ engine: number; floor: number; node: number }>

const dataDir = await mkdtemp(join(tmpdir(), 'gleaner-bench-'))
const embedded = await openEmbedded({ dataDir })
const admin = await connect(embedded.url, { statementTimeoutMs: 0 })
try {
  await migrate(admin)
  const actor = await actorFor(admin)
  await loadFloorSource(admin, products)
  const results: Round[] = []
  for (let round = 0; round < rounds; round++) {
    // Side by side in one run, the order turned each round, so that neither side gets the warmer machine.
    const sides = round % 2 === 0 ? (['engine', 'floor'] as const) : (['floor', 'engine'] as const)
    const rates = { engine: 0, floor: 0, node: 0 }
    for (const side of sides) {
      const measured = side === 'engine' ? await engineRate(admin, actor.userId) : await floorRate(admin, actor.userId)
      rates[side] = measured.rate
      if (side === 'engine') rates.node = measured.cpu
    }
    results.push(rates)
    console.log(
      `round ${round + 1}: engine ${Math.round(rates.engine)}/s, floor ${Math.round(rates.floor)}/s, ` +
        `ratio ${(rates.engine / rates.floor).toFixed(2)}, worker process ${(rates.node * 100).toFixed(0)} % of one core`,
    )
  }
  report(results)
} finally {
  await admin.close()
  await embedded.close()
  await rm(dataDir, { recursive: true, force: true })
}

/** A run of an organisation of its own with `products` pending products, so that rounds do not share sellers. */
async function makeRun(db: Db, userId: string): Promise<{ runId: string; accountId: string }> {
  const [orgId, accountId, runId] = [newId(), newId(), newId()]
  await db.query('insert into orgs (id, name) values ($1, $2)', [orgId, `bench ${orgId}`])
  await db.query(
    `insert into provider_accounts (id, name, adapter, base_url) values ($1, $2, 'ebay_browse', 'http://bench.invalid')`,
    [accountId, `bench-${accountId}`],
  )
  await db.query(
    `insert into collection_runs (id, org_id, name, estimated_cost_cents, budget_cap_cents, category_ids, created_by,
       source, phase, search_account_id)
     values ($1, $2, 'bench', 0, 100000000, '{}', $3, 'product_list', 'sellers', $4)`,
    [runId, orgId, userId, accountId],
  )
  for (let from = 0; from < products; from += 1000) {
    const slice = Array.from({ length: Math.min(1000, products - from) }, (_, k) => product(from + k))
    await withTx(db, (tx) => addProducts(tx, runId, slice, null))
  }
  await startRun(db, runId)
  await db.query('vacuum analyze collection_items')
  await db.query('checkpoint')
  return { runId, accountId }
}

function product(n: number) {
  const ladder = [{ kind: 'text', text: `product ${n}` }]
  const data = { title: `Product ${n} with a title of usual length for a best seller`, priceCents: 1999, ladder }
  return { asin: `B${String(n).padStart(9, '0')}`, data, rank: null, skip: null }
}

async function engineRate(db: Db, userId: string): Promise<{ rate: number; cpu: number }> {
  const { runId, accountId } = await makeRun(db, userId)
  const run = await runSnapshot(db, runId)
  if (!run) throw new Error('the bench run is not there')
  const worker = await connect(embedded.url, { name: 'gleaner bench', role: 'service_role', max: 6 })
  const workerId = newId()
  await worker.query(`insert into collection_workers (id, name, version) values ($1, 'bench', '0')`, [workerId])
  const cpuBefore = process.cpuUsage()
  const startedAt = performance.now()
  const ended = await workRun(
    {
      db: worker,
      workerId,
      run,
      filters: DEFAULT_FILTERS,
      search: {
        id: accountId,
        name: 'bench',
        adapter: instantAdapter(PRICE),
        maxInFlight: inFlight,
        maxPerSecond: null,
      },
      list: null,
      log: console.error,
    },
    new AbortController().signal,
  )
  const seconds = (performance.now() - startedAt) / 1000
  const cpu = process.cpuUsage(cpuBefore)
  await worker.close()
  if (ended.status !== 'completed' || ended.processedItems !== products || ended.newSellers < products * NEW_SELLERS) {
    throw new Error(`the engine did not do its work: ${ended.status}, ${ended.processedItems}, ${ended.newSellers}`)
  }
  return { rate: products / seconds, cpu: (cpu.user + cpu.system) / 1e6 / seconds }
}

async function floorRate(db: Db, userId: string): Promise<{ rate: number; cpu: number }> {
  const { runId, accountId } = await makeRun(db, userId)
  const startedAt = performance.now()
  await db.query(floorScript(runId, accountId, products, PRICE))
  const seconds = (performance.now() - startedAt) / 1000
  const run = await runSnapshot(db, runId)
  if (run?.processedItems !== products || run.newSellers < products * NEW_SELLERS) {
    throw new Error(`the floor did not do its work: ${run?.processedItems}, ${run?.newSellers}`)
  }
  return { rate: products / seconds, cpu: 0 }
}

function report(results: readonly Round[]): void {
  const median = (pick: (round: Round) => number): number => {
    const sorted = results.map(pick).toSorted((a, b) => a - b)
    return sorted[Math.floor(sorted.length / 2)] ?? 0
  }
  console.log(
    `\n${products} products, ${rounds} rounds, ${inFlight} in flight, floor in batches of ${FLOOR_BATCH}; medians:`,
  )
  console.table({
    engine: { 'products/s': Math.round(median((round) => round.engine)) },
    'floor (SQL only)': { 'products/s': Math.round(median((round) => round.floor)) },
    ratio: { 'products/s': Number(median((round) => round.engine / round.floor).toFixed(2)) },
  })
}
