/**
 * A past to measure in: finished runs with their products, calls, sellers and evidence, written by SQL with the triggers
 * off, as the engine would have left them. Ids are UUIDs of version 7 made of a number, so nothing has to be looked up.
 */
import type { Db } from '../../apps/api/src/db/client.ts'
import { actorFor } from '../../apps/api/src/engine/bootstrap.ts'
import { LISTINGS, NEW_SELLERS, SELLERS } from '../engine-world.ts'
import { makeAccount, makeRun, PRICE } from '../support/run.ts'

/** Items of a finished run a product brings: itself, and the sellers it was the first to find. */
export const ITEMS_A_PRODUCT = 1 + NEW_SELLERS
/** Products of one finished run. */
const RUN_PRODUCTS = 2_500

export type Past = Readonly<{ orgId: string; accountId: string; products: number }>

/** `kind` tells the tables apart: 1 runs, 2 products, 3 calls, 4 sellers, 5 sellers in a run. */
const id = (kind: number, number: string): string =>
  `(lpad(to_hex(1700000000000 + ${number}), 12, '0') || '70008000' || lpad('${kind}', 12, '0'))::uuid`

/** Fills the database with about `items` items of one organisation, all in finished runs, and brings statistics up to date. */
export async function fillPast(db: Db, items: number): Promise<Past> {
  const products = Math.ceil(items / ITEMS_A_PRODUCT / RUN_PRODUCTS) * RUN_PRODUCTS
  const { orgId, userId } = await actorFor(db)
  const accountId = await makeAccount(db)
  const client = await db.pool.connect()
  try {
    // Ends with the connection: neither triggers nor foreign keys are asked, so the counters are written as they must be.
    await client.query(`set session_replication_role = replica`)
    for (const statement of statements(products, { orgId, accountId, userId })) await client.query(statement)
  } finally {
    client.release(true)
  }
  await db.query('vacuum analyze')
  await db.query('checkpoint')
  return { orgId, accountId, products }
}

function statements(products: number, ids: Readonly<{ orgId: string; accountId: string; userId: string }>): string[] {
  const { orgId, accountId, userId } = ids
  const last = products - 1
  const runOf = (n: string): string => id(1, `${n} / ${RUN_PRODUCTS}`)
  const spent = RUN_PRODUCTS * PRICE
  const cents = Math.ceil(spent / 10_000)
  return [
    `insert into collection_runs (id, org_id, name, status, budget_cap_cents, cap_micros, spent_micros, actual_cost_cents,
       category_ids, created_by, source, phase, search_account_id, settled_calls, total_items, processed_items, found_items,
       seller_items, new_sellers, event_seq, started_at, completed_at)
     select ${id(1, 'n')}, '${orgId}', 'past ' || n, 'completed', ${cents}, ${spent}, ${spent}, ${cents}, '{}', '${userId}',
       'product_list', 'sellers', '${accountId}', ${RUN_PRODUCTS}, ${RUN_PRODUCTS}, ${RUN_PRODUCTS}, ${RUN_PRODUCTS},
       ${RUN_PRODUCTS * NEW_SELLERS}, ${RUN_PRODUCTS * NEW_SELLERS}, 3, now(), now()
     from generate_series(0, ${products / RUN_PRODUCTS - 1}) n`,
    `insert into collection_events (run_id, seq, type) select ${id(1, 'n')}, e.seq, e.type
     from generate_series(0, ${products / RUN_PRODUCTS - 1}) n,
       (values (1, 'run.created'), (2, 'run.started'), (3, 'run.completed')) e(seq, type)`,
    `insert into collection_items (id, run_id, item_type, external_id, status, outcome, data, epoch, attempt, cost_micros,
       cost_cents, finished_at)
     select ${id(2, 'n')}, ${runOf('n')}, 'amazon_product', 'B' || lpad(n::text, 9, '0'), 'completed', 'found',
       jsonb_build_object('title', 'Product ' || n || ' with a title of usual length for a best seller', 'priceCents', 1999,
         'ladder', jsonb_build_array(jsonb_build_object('kind', 'text', 'text', 'product ' || n))),
       1, 1, ${PRICE}, ceil(${PRICE} / 10000.0), now()
     from generate_series(0, ${last}) n`,
    `insert into collection_items (id, run_id, item_type, external_id, status, parent_id, new_to_org, finished_at)
     select ${id(5, 's')}, ${runOf(`(s / ${NEW_SELLERS})`)}, 'ebay_seller', 'seller_' || s, 'completed',
       ${id(2, `s / ${NEW_SELLERS}`)}, true, now()
     from generate_series(0, ${products * NEW_SELLERS - 1}) s`,
    `insert into collection_calls (id, run_id, account_id, item_id, worker_id, epoch, attempt, rung, state, hold_micros,
       charge_micros, outcome, request, held_at, lease_until, booked_at, duration_ms)
     select ${id(3, 'n')}, ${runOf('n')}, '${accountId}', ${id(2, 'n')}, '${accountId}', 1, 1, 1, 'settled', ${PRICE}, ${PRICE},
       'found', jsonb_build_object('kind', 'text', 'text', 'product ' || n), now() - interval '1 min', now(), now(), 200
     from generate_series(0, ${last}) n`,
    `insert into sellers (id, org_id, display_name, normalized_name, platform, first_seen_run_id, last_seen_run_id,
       feedback_score, feedback_permille, item_count)
     select ${id(4, 's')}, '${orgId}', 'seller_' || s, 'seller_' || s, 'ebay', ${runOf(`(s / ${NEW_SELLERS})`)},
       ${runOf(`(s / ${NEW_SELLERS})`)}, 1000 + s % 5000, 992, ${LISTINGS / SELLERS}::int
     from generate_series(0, ${products * NEW_SELLERS - 1}) s`,
    `insert into collection_months (org_id, month, spent_micros, settled_calls)
     select '${orgId}', date_trunc('month', held_at at time zone 'UTC')::date, sum(charge_micros), count(*)
     from collection_calls group by 2`,
    sightings(last),
  ]
}

/** Evidence of the size the engine stores: 20 listings, of the product's own sellers, which keeps the run's counters true. */
function sightings(last: number): string {
  const each = Math.floor(LISTINGS / NEW_SELLERS)
  const listing = `json_build_array((200000000000 + n * ${LISTINGS} + k * ${each} + l)::text,
    'Insulated Stainless Steel Travel Mug 20 oz Leakproof Lid Double Wall Vacuum Navy', 1999 + l, k * ${each} + l + 1)`
  return `
    insert into collection_sightings (item_id, rung, call_id, seller_ids, listing_counts, evidence)
    select ${id(2, 'n')}, 1, ${id(3, 'n')}, proof.sellers, proof.counts, proof.evidence
    from generate_series(0, ${last}) n cross join lateral (
      select array_agg(${id(4, `n * ${NEW_SELLERS} + k`)}) as sellers, array_agg(${each}::smallint) as counts,
        json_agg(json_build_array(1000 + n % 5000, 992, (select json_agg(${listing}) from generate_series(0, ${each - 1}) l)))
        as evidence
      from generate_series(0, ${NEW_SELLERS - 1}) k
    ) proof`
}

/** A run of the same organisation that has just begun, with `products` pending products: what a claim has to find its way in. */
export async function fillOpenRun(db: Db, past: Past, products: number): Promise<string> {
  const { runId } = await makeRun(db, { ...past, products: 1, from: past.products })
  const client = await db.pool.connect()
  try {
    await client.query(`set session_replication_role = replica`)
    await client.query(
      `insert into collection_items (id, run_id, item_type, external_id, status, data)
       select uuidv7(), '${runId}', 'amazon_product', 'B' || lpad((${past.products} + n)::text, 9, '0'), 'pending',
         jsonb_build_object('title', 'Product ' || n || ' with a title of usual length for a best seller', 'priceCents', 1999,
           'ladder', jsonb_build_array(jsonb_build_object('kind', 'text', 'text', 'product ' || (${past.products} + n))))
       from generate_series(1, ${products - 1}) n`,
    )
    await client.query(`update collection_runs set total_items = $2, pending_items = $2 where id = $1`, [
      runId,
      products,
    ])
  } finally {
    client.release(true)
  }
  await db.query('vacuum analyze collection_items')
  await db.query('checkpoint')
  return runId
}
