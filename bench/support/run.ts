/** Runs to be measured: an organisation, an account, and products that wait. */
import { newId } from '../../apps/api/src/base/ids.ts'
import { toMicros } from '../../apps/api/src/base/money.ts'
import { type Db, withTx } from '../../apps/api/src/db/client.ts'
import { actorFor } from '../../apps/api/src/engine/bootstrap.ts'
import { startRun } from '../../apps/api/src/engine/start.ts'
import { verify } from '../../apps/api/src/engine/verify.ts'
import { appendEvents } from '../../apps/api/src/events/append.ts'
import { addProducts } from '../../apps/api/src/runs/items.ts'
import { type RunSnapshot, runSnapshot } from '../../apps/api/src/runs/snapshot.ts'
import { NEW_SELLERS } from '../engine-world.ts'

/** What one search costs, micro-dollars. */
export const PRICE = toMicros(5_000)
const CAP_CENTS = 100_000_000

export type BenchRun = Readonly<{ runId: string; orgId: string; accountId: string; products: number }>

export type RunInput = Readonly<{
  products: number
  /** Number of the first product: its listings and sellers follow from it. */
  from?: number
  /** The organisation; one of its own when left out, so that runs do not share sellers. */
  orgId?: string
  accountId?: string
}>

/** An account nothing can be sent to: the adapter answers by itself. */
export async function makeAccount(db: Db): Promise<string> {
  const id = newId()
  await db.query(
    `insert into provider_accounts (id, name, adapter, base_url, max_in_flight)
     values ($1, $2, 'ebay_browse', 'http://bench.invalid', 10000)`,
    [id, `bench-${id}`],
  )
  // As a provider is met that has answered for a while: how a window opens is not what is measured.
  await db.query('update provider_governors set window_calls = 10000 where account_id = $1', [id])
  return id
}

/** A running run with `products` pending products, its statistics fresh and the log written out. */
export async function makeRun(db: Db, input: RunInput): Promise<BenchRun> {
  const actor = await actorFor(db)
  const runId = newId()
  const orgId = input.orgId ?? newId()
  const accountId = input.accountId ?? (await makeAccount(db))
  await db.query('insert into orgs (id, name) values ($1, $2) on conflict do nothing', [orgId, `bench ${orgId}`])
  await db.query(
    `insert into collection_runs (id, org_id, name, estimated_cost_cents, budget_cap_cents, category_ids, created_by,
       source, phase, search_account_id)
     values ($1, $2, 'bench', 0, $3, '{}', $4, 'product_list', 'sellers', $5)`,
    [runId, orgId, CAP_CENTS, actor.userId, accountId],
  )
  await withTx(db, (tx) => appendEvents(tx, runId, [{ type: 'run.created' }]))
  const end = (input.from ?? 0) + input.products
  for (let from = input.from ?? 0; from < end; from += 1000) {
    const slice = Array.from({ length: Math.min(1000, end - from) }, (_, k) => product(from + k))
    await withTx(db, (tx) => addProducts(tx, runId, slice, null))
  }
  await startRun(db, runId)
  await db.query('vacuum analyze collection_items')
  await db.query('checkpoint')
  return { runId, orgId, accountId, products: input.products }
}

function product(n: number) {
  const ladder = [{ kind: 'text', text: `product ${n}` }]
  const data = { title: `Product ${n} with a title of usual length for a best seller`, priceCents: 1999, ladder }
  return { asin: `B${String(n).padStart(9, '0')}`, data, rank: null, skip: null }
}

/** Registers a worker whose heart beat just now; its id. */
export async function makeWorker(db: Db): Promise<string> {
  const id = newId()
  await db.query(`insert into collection_workers (id, name, version) values ($1, 'bench', '0')`, [id])
  return id
}

/**
 * Throws unless every product of the run was found, paid once and has its evidence, and the money and counters of the run
 * are those of its rows.
 */
export async function checkWork(db: Db, { runId, products }: BenchRun): Promise<RunSnapshot> {
  const run = await runSnapshot(db, runId)
  if (!run) throw new Error(`the run ${runId} is gone`)
  const { rows } = await db.query<Record<string, number>>(
    `select
       (select count(*)::int from collection_items where run_id = $1 and item_type = 'amazon_product' and outcome = 'found') as found,
       (select count(*)::int from collection_items where run_id = $1 and item_type = 'ebay_seller') as "sellersInRun",
       (select count(*)::int from collection_sightings s join collection_items i on i.id = s.item_id where i.run_id = $1) as evidence,
       (select count(*)::int from collection_calls where run_id = $1 and state = 'settled') as settled,
       (select coalesce(sum(charge_micros), 0)::bigint from collection_calls where run_id = $1) as charged`,
    [runId],
  )
  const row = rows[0] ?? {}
  const wanted = { found: products, evidence: products, settled: products, charged: products * PRICE }
  for (const [name, value] of Object.entries(wanted)) {
    if (row[name] !== value) throw new Error(`the work is not done: ${name} is ${row[name]}, not ${value}`)
  }
  const kept = [run.foundItems, run.processedItems, run.settledCalls, run.spentMicros / PRICE]
  if (kept.some((count) => count !== products) || run.heldMicros !== 0 || run.sellerItems !== row['sellersInRun']) {
    throw new Error(`the run's counters do not agree: ${JSON.stringify(run)}`)
  }
  if (run.newSellers < products * NEW_SELLERS) throw new Error(`only ${run.newSellers} new sellers`)
  return run
}

/** Throws what `gleaner verify` finds broken; with the address of the sandbox, its bill included. For when no worker is up. */
export async function expectSound(db: Db, sandboxUrl?: string): Promise<void> {
  const billing = sandboxUrl === undefined ? {} : { billing: { origin: sandboxUrl, exclusive: true } }
  const broken = (await verify(db, billing)).filter(({ state }) => state === 'broken')
  if (broken.length === 0) return
  const told = broken.map(({ invariant, title, examples }) => ({ invariant, title, examples: examples.slice(0, 3) }))
  throw new Error(`verify found ${JSON.stringify(told, null, 1)}`)
}
