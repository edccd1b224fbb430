/** Keeping figures: what a run took and brought, summed up from its rows once, so that estimates need not. */
import type { Queryable, Tx } from '../db/client.ts'

/**
 * Sums up the run as its rows stand. Two that do so at the same time leave the figures of the later one. A run of a
 * million products takes seconds: it is not done under the lock of the run.
 */
export async function keepFigures(tx: Tx, runId: string): Promise<void> {
  await tx.query(KEEP_RUN, [runId])
  await tx.query(KEEP_CATEGORIES, [runId])
}

/** A run that still goes on is summed up anew after so long. */
const FRESH = `interval '30 s'`

/**
 * Runs of the organisation that have something to tell and no figures, or figures from before something happened to them;
 * newest first. A completed run does not change any more.
 */
export async function runsToSumUp(db: Queryable, orgId: string, most: number): Promise<string[]> {
  const { rows } = await db.query<{ id: string }>(
    `select r.id from collection_runs r left join collection_run_figures f on f.run_id = r.id
     where r.org_id = $1 and r.processed_items > r.skipped_items and (
       f.run_id is null
       or (r.status <> 'completed' and f.event_seq < r.event_seq and f.computed_at < now() - ${FRESH}))
     order by r.number desc limit $2`,
    [orgId, most],
  )
  return rows.map(({ id }) => id)
}

const CALLS_OF_RUN = `
  select
    count(*) filter (where item_id is not null and paid) as search_calls,
    coalesce(sum(hold_micros) filter (where item_id is not null and paid), 0) as search_hold,
    coalesce(sum(coalesce(charge_micros, hold_micros)) filter (where item_id is not null and paid), 0) as search_charge,
    count(*) filter (where category_id is not null and paid) as list_calls,
    coalesce(sum(hold_micros) filter (where category_id is not null and paid), 0) as list_hold,
    coalesce(sum(coalesce(charge_micros, hold_micros)) filter (where category_id is not null and paid), 0) as list_charge,
    avg(duration_ms) filter (where item_id is not null and outcome in ('found', 'none')) as search_ms,
    avg(duration_ms) filter (where category_id is not null and outcome in ('found', 'none')) as list_ms
  from (select *, state in ('settled', 'suspect') as paid from collection_calls where run_id = $1) c`

const ACTIVE_OF_RUN = `
  select sum(extract(epoch from coalesce(until, now()) - at)) * 1000 as ms
  from (
    select type, at, lead(at) over (order by seq) as until from collection_events
    where run_id = $1 and type in
      ('run.started', 'run.resumed', 'run.paused', 'run.completed', 'run.failed', 'run.cancelled')
  ) e where type in ('run.started', 'run.resumed')`

const KEEP_RUN = `
  with calls as (${CALLS_OF_RUN}), active as (${ACTIVE_OF_RUN}),
  asked as (
    select sum(case when finished_at is null then rung - 1 else rung end) as queries
    from collection_items where run_id = $1 and item_type = 'amazon_product' and status <> 'skipped'
  ), lists as (
    select count(*) as lists, sum(product_count) as places
    from collection_run_categories where run_id = $1 and status = 'completed'
  )
  insert into collection_run_figures (run_id, org_id, event_seq, computed_at, products, searched, lists, places, search_calls,
    search_hold_micros, search_charge_micros, queries, list_calls, list_hold_micros, list_charge_micros, mean_search_ms,
    mean_list_ms, active_ms)
  select r.id, r.org_id, r.event_seq, now(), r.total_items, r.processed_items, l.lists, coalesce(l.places, 0),
    c.search_calls, c.search_hold, c.search_charge, coalesce(a.queries, 0), c.list_calls, c.list_hold, c.list_charge,
    c.search_ms, c.list_ms, coalesce(t.ms, 0)
  from collection_runs r, calls c, active t, asked a, lists l where r.id = $1
  on conflict (run_id) do update set event_seq = excluded.event_seq, computed_at = excluded.computed_at,
    products = excluded.products, searched = excluded.searched, lists = excluded.lists, places = excluded.places,
    search_calls = excluded.search_calls, search_hold_micros = excluded.search_hold_micros,
    search_charge_micros = excluded.search_charge_micros, queries = excluded.queries, list_calls = excluded.list_calls,
    list_hold_micros = excluded.list_hold_micros, list_charge_micros = excluded.list_charge_micros,
    mean_search_ms = excluded.mean_search_ms, mean_list_ms = excluded.mean_list_ms, active_ms = excluded.active_ms`

// A product belongs to the first list that named it, a new seller to the product that brought it first. So the parts of a
// run add up to the run.
const KEEP_CATEGORIES = `
  with first as (
    select distinct on (p.item_id) p.item_id, c.id as category_id
    from collection_run_categories c join collection_category_products p on p.category_id = c.id
    where c.run_id = $1 order by p.item_id, c.position
  ), brought as (
    select parent_id, count(*) as sellers from collection_items
    where run_id = $1 and item_type = 'ebay_seller' and new_to_org group by parent_id
  ), parts as (
    select f.category_id, count(*) as own,
      count(*) filter (where i.status = 'skipped') as skipped,
      count(*) filter (where i.status <> 'skipped' and (i.finished_at is not null or i.rung > 1)) as decided1,
      count(*) filter (where i.rung > 1) as climbed1,
      count(*) filter (where i.rung > 1 and (i.finished_at is not null or i.rung > 2)) as decided2,
      count(*) filter (where i.rung > 2) as climbed2,
      coalesce(sum(b.sellers), 0) as sellers
    from collection_items i
    left join first f on f.item_id = i.id
    left join brought b on b.parent_id = i.id
    where i.run_id = $1 and i.item_type = 'amazon_product' group by f.category_id
  ), price as (
    select max(hold_micros) as micros from collection_calls where run_id = $1 and item_id is not null
  )
  insert into collection_category_figures (run_id, org_id, category_key, listed, own, skipped, decided_first, climbed_first,
    decided_second, climbed_second, new_sellers, capped, complete)
  select r.id, r.org_id, coalesce(c.category_key, ''), coalesce(c.product_count, r.total_items), p.own, p.skipped, p.decided1,
    p.climbed1, p.decided2, p.climbed2, p.sellers,
    -- A next query is asked only while cap and month cover a first one for every product that waits (engine/claim.ts). A
    -- sample has a cap of its own, which covers all its queries. A retry may stand at a second query before
    -- its first call, and then has no price.
    coalesce((least(r.cap_micros - r.spent_micros - r.held_micros - r.suspect_micros, m.left_micros) < price.micros * (r.pending_items + 1)
      or exists (select from collection_events e
        where e.run_id = r.id and e.type = 'run.paused' and e.data ->> 'reason' = 'budget' and e.at > coalesce(r.sampled_at, '-infinity')))
      and (r.sampled_at is null or r.processed_items > r.sample_products), false),
    coalesce(c.status = 'completed', true)
  from parts p join collection_runs r on r.id = $1
  left join collection_run_categories c on c.id = p.category_id
  left join price on true
  left join collection_months m on m.org_id = r.org_id and m.month = date_trunc('month', now() at time zone 'UTC')::date
  where p.decided1 > 0
  on conflict (run_id, category_key) do update set listed = excluded.listed, own = excluded.own, skipped = excluded.skipped,
    decided_first = excluded.decided_first, climbed_first = excluded.climbed_first, decided_second = excluded.decided_second,
    climbed_second = excluded.climbed_second, new_sellers = excluded.new_sellers, capped = excluded.capped,
    complete = excluded.complete`
