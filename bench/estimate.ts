/**
 * How long an estimate takes over generated runs: the first one, which sums up the rows of each run, and those after it.
 *
 *   node bench/estimate.ts [--products 20000] [--runs 10]
 */
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { connect, type Db, withTx } from '../apps/api/src/db/client.ts'
import { openEmbedded } from '../apps/api/src/db/embedded.ts'
import { migrate } from '../apps/api/src/db/migrate.ts'
import { chooseAccounts, saveSandboxAccounts } from '../apps/api/src/engine/accounts.ts'
import { actorFor } from '../apps/api/src/engine/bootstrap.ts'
import { estimateRun } from '../apps/api/src/engine/estimate-run.ts'
import { DEFAULT_FILTERS } from '../apps/api/src/matching/filters.ts'
import { keepFigures } from '../apps/api/src/runs/keep-figures.ts'

const { values } = parseArgs({ options: { products: { type: 'string' }, runs: { type: 'string' } } })
const PRODUCTS = Number(values.products ?? 20_000)
const RUNS = Number(values.runs ?? 10)
const ROUNDS = 5

const dataDir = await mkdtemp(join(tmpdir(), 'gleaner-bench-'))
const embedded = await openEmbedded({ dataDir })
const db = await connect(embedded.url, { statementTimeoutMs: 0 })
try {
  await migrate(db)
  const actor = await actorFor(db)
  await saveSandboxAccounts(db, 'http://127.0.0.1:9', {
    'ebay.search': 5_000,
    'oxylabs.amazon_bestsellers': 5_000,
    'oxylabs.ebay': 6_000,
    'keepa.token': 60,
  })
  const accounts = await chooseAccounts(db, { list: 'sandbox-oxylabs', search: 'sandbox-ebay' })
  for (let run = 1; run <= RUNS; run++)
    await makeRun(db, actor.orgId, actor.userId, accounts.list?.id ?? '', accounts.search.id, run)
  await db.query('vacuum analyze')
  const { rows } = await db.query<{ id: string }>('select id from collection_runs order by number')
  const ids = rows.map(({ id }) => id)
  const categories = Array.from({ length: 20 }, (_, at) => ({ key: `c${at + 1}`, name: `c${at + 1}` }))
  const request = { orgId: actor.orgId, amount: { categories }, accounts, filters: DEFAULT_FILTERS }
  const table: Record<string, unknown> = {}
  const measure = async (name: string, work: () => Promise<unknown>) => {
    const times: number[] = []
    for (let round = 0; round < ROUNDS; round++) {
      const from = performance.now()
      await work()
      times.push(performance.now() - from)
    }
    const sorted = times.toSorted((a, b) => a - b)
    table[name] = { 'median ms': Math.round(sorted[2] ?? 0), 'most ms': Math.round(sorted.at(-1) ?? 0) }
  }
  await measure('summing up one run', () => withTx(db, (tx) => keepFigures(tx, ids[0] ?? '')))
  await db.query('delete from collection_run_figures')
  const from = performance.now()
  await estimateRun(db, request)
  const first = Math.round(performance.now() - from)
  table[`the first estimate: sums up ${RUNS} runs`] = { 'median ms': first, 'most ms': first }
  await measure('an estimate of 20 categories after that', () => estimateRun(db, request))
  console.log(`${RUNS} runs of ${PRODUCTS} products, PostgreSQL ${db.serverVersion}`)
  console.table(table)
} finally {
  await db.close()
  await embedded.close()
  await rm(dataDir, { recursive: true, force: true })
}

/** One completed run: a category for each hundred products, 1.5 searches and three sellers a product. Triggers are off. */
async function makeRun(
  to: Db,
  orgId: string,
  userId: string,
  listId: string,
  searchId: string,
  number: number,
): Promise<void> {
  await withTx(to, async (tx) => {
    await tx.query('set local session_replication_role = replica')
    const { rows } = await tx.query<{ id: string }>(
      `insert into collection_runs (org_id, name, status, budget_cap_cents, cap_micros, category_ids, created_by, phase,
         list_account_id, search_account_id, filters, started_at, completed_at, total_items, processed_items, found_items,
         spent_micros, actual_cost_cents)
       values ($1, 'Run', 'completed', 100000000, 1000000000000, '{}', $2, 'sellers', $3, $4, $5, now() - interval '1 h',
         now(), $6::int, $6::int, $6::int, 7500::bigint * $6::int, ceil(7500::bigint * $6::int / 10000.0)) returning id`,
      [orgId, userId, listId, searchId, JSON.stringify(DEFAULT_FILTERS), PRODUCTS],
    )
    const run = rows[0]?.id
    await tx.query(
      `insert into collection_run_categories (run_id, category_key, name, position, category, status, step, product_count, finished_at)
       select $1, 'c' || n, 'c' || n, n, '{}', 'completed', '{}', 100, now() from generate_series(1, $2::int / 100) n`,
      [run, PRODUCTS],
    )
    await tx.query(
      `insert into collection_items (id, run_id, item_type, external_id, status, outcome, rung, finished_at, data)
       select gen_random_uuid(), $1, 'amazon_product', 'B' || n, 'completed', 'found',
         case when n % 5 < 3 then 1 when n % 5 = 3 then 2 else 3 end, now(), jsonb_build_object('title', repeat('word ', 20))
       from generate_series(1, $2::int) n`,
      [run, PRODUCTS],
    )
    await tx.query(
      `insert into collection_category_products (category_id, item_id, rank)
       select c.id, i.id, 1 from collection_items i
       join collection_run_categories c on c.run_id = i.run_id and c.position = 1 + (substr(i.external_id, 2)::int - 1) / 100
       where i.run_id = $1`,
      [run],
    )
    await tx.query(
      `insert into collection_items (id, run_id, item_type, external_id, status, parent_id, new_to_org, finished_at)
       select gen_random_uuid(), $1, 'ebay_seller', i.external_id || ' ' || n, 'completed', i.id, $2::int = 1, now()
       from collection_items i cross join generate_series(1, 3) n where i.run_id = $1 and i.item_type = 'amazon_product'`,
      [run, number],
    )
    await tx.query(
      `insert into collection_calls (id, run_id, account_id, item_id, worker_id, epoch, attempt, rung, state, hold_micros,
         charge_micros, outcome, request, lease_until, booked_at, duration_ms)
       select gen_random_uuid(), $1, $2, i.id, $2, n, 1, n, 'settled', 5000, 5000, 'found', '{"text":"some words to search"}',
         now(), now(), 300
       from collection_items i cross join lateral generate_series(1, i.rung) n
       where i.run_id = $1 and i.item_type = 'amazon_product'`,
      [run, searchId],
    )
    await tx.query(
      `insert into collection_events (run_id, seq, type, data)
       select $1, n, case n when 1 then 'run.started' when $2::int / 100 + 2 then 'run.completed' else 'calls.booked' end, '{}'
       from generate_series(1, $2::int / 100 + 2) n`,
      [run, PRODUCTS],
    )
  })
}
