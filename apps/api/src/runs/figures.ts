/** What earlier runs took and brought, as figures to estimate from. Read from the rows; nothing is kept here. */
import type { Queryable } from '../db/client.ts'

/** One run: its calls, their money, and how fast it went. */
export type RunFigures = Readonly<{
  runId: string
  number: number
  /** When it ended, or now. */
  asOf: Date
  /** Products, and how many of them have been searched. */
  products: number
  searched: number
  /** Lists read to their end, and the products they named together. */
  lists: number
  places: number
  /** Searches that were charged, or may have been: settled and suspect. What was suspect counts with its hold. */
  searchCalls: number
  searchHoldMicros: number
  searchChargeMicros: number
  /** Queries that were asked until something came of them: an answer, or giving up. */
  queries: number
  listCalls: number
  listHoldMicros: number
  listChargeMicros: number
  /** Mean time from sending a search to its answer, ms; null when none was answered. */
  searchMs: number | null
  listMs: number | null
  /** Time it was running, pauses left out, ms. */
  activeMs: number
}>

/** What one category brought in one run; `key` is null for a product list. Only what it named first counts as its own. */
export type CategoryFigures = Readonly<{
  runId: string
  number: number
  key: string | null
  asOf: Date
  /** Products the list named, and those of them no earlier list of the run had named. */
  listed: number
  own: number
  /** Its own products that had nothing to search for. */
  skipped: number
  /** Its own products whose first query was decided, those of them that went on to the second, and so for the second. */
  decided1: number
  climbed1: number
  decided2: number
  climbed2: number
  /** Sellers its own products brought to the organisation. */
  newSellers: number
  /** The cap kept products of the run from asking their next query: climbed is too low. */
  capped: boolean
  /** The organisation had collected this category before. */
  repeat: boolean
  /** The list was read to its end. */
  complete: boolean
}>

export type Likeness = Readonly<{
  orgId: string
  /** Runs that searched with this adapter, in the sandbox or outside. */
  searchAdapter: string
  sandbox: boolean
  listAdapter: string | null
  /** As stored on the run; runs with other filters are taken only when there are none with these. */
  filters: string
}>

export type LikeRun = Readonly<{ runId: string; sameFilters: boolean; sameLists: boolean; ended: boolean }>

/** Fewer searched products than this say nothing about a run. */
const SEARCHED_LEAST = 5

/**
 * The newest runs of the organisation that are like the one planned, at most `most`: ended, running or paused, with
 * something searched. Runs with the same filters when there are any, else those with others.
 */
export async function likeRuns(db: Queryable, like: Likeness, most: number): Promise<LikeRun[]> {
  const { rows } = await db.query<LikeRun>(
    `select r.id as "runId", r.filters = $5::jsonb as "sameFilters", coalesce(l.adapter = $4, false) as "sameLists",
       r.status in ('completed', 'failed', 'cancelled') as ended
     from collection_runs r
     join provider_accounts s on s.id = r.search_account_id
     left join provider_accounts l on l.id = r.list_account_id
     where r.org_id = $1 and s.adapter = $2 and s.sandbox = $3 and r.processed_items - r.skipped_items >= $6
     order by r.filters = $5::jsonb desc, r.number desc limit $7`,
    [like.orgId, like.searchAdapter, like.sandbox, like.listAdapter, like.filters, SEARCHED_LEAST, most],
  )
  return rows[0]?.sameFilters ? rows.filter((row) => row.sameFilters) : rows
}

/**
 * The runs like the one planned that collected one of `keys` last, at most `each` for every key: the category row's run,
 * newest first.
 */
export async function lastRunsOf(
  db: Queryable,
  like: Likeness,
  keys: readonly string[],
  each: number,
): Promise<{ key: string; runId: string; categoryId: string; at: Date }[]> {
  const { rows } = await db.query<{ key: string; runId: string; categoryId: string; at: Date }>(
    `select key, "runId", "categoryId", at from (
       select c.category_key as key, c.run_id as "runId", c.id as "categoryId", coalesce(c.finished_at, now()) as at,
         row_number() over (partition by c.category_key order by r.filters = $5::jsonb desc, r.number desc) as place
       from collection_runs r
       join provider_accounts s on s.id = r.search_account_id
       join provider_accounts l on l.id = r.list_account_id
       join collection_run_categories c on c.run_id = r.id and c.category_key = any($6)
       where r.org_id = $1 and s.adapter = $2 and s.sandbox = $3 and l.adapter = $4 and c.status = 'completed'
         and r.processed_items - r.skipped_items >= $7
     ) ranked where place <= $8 order by key, place`,
    [like.orgId, like.searchAdapter, like.sandbox, like.listAdapter, like.filters, keys, SEARCHED_LEAST, each],
  )
  return rows
}

/** The figures of these runs, from their rows. Runs that never started have none. */
export async function runFigures(db: Queryable, runIds: readonly string[]): Promise<RunFigures[]> {
  if (runIds.length === 0) return []
  const { rows } = await db.query<RunFigures>(RUN_FIGURES, [runIds])
  return rows
}

/** The figures of the categories of these runs, from their rows; of a run over a product list one with the key null. */
export async function categoryFigures(db: Queryable, runIds: readonly string[]): Promise<CategoryFigures[]> {
  if (runIds.length === 0) return []
  const { rows } = await db.query<CategoryFigures>(CATEGORY_FIGURES, [runIds])
  return rows
}

const CALLS_OF_RUNS = `
  select run_id,
    count(*) filter (where item_id is not null and paid) as search_calls,
    coalesce(sum(hold_micros) filter (where item_id is not null and paid), 0) as search_hold,
    coalesce(sum(coalesce(charge_micros, hold_micros)) filter (where item_id is not null and paid), 0) as search_charge,
    count(*) filter (where category_id is not null and paid) as list_calls,
    coalesce(sum(hold_micros) filter (where category_id is not null and paid), 0) as list_hold,
    coalesce(sum(coalesce(charge_micros, hold_micros)) filter (where category_id is not null and paid), 0) as list_charge,
    avg(duration_ms) filter (where item_id is not null and outcome in ('found', 'none')) as search_ms,
    avg(duration_ms) filter (where category_id is not null and outcome in ('found', 'none')) as list_ms
  from (select *, state in ('settled', 'suspect') as paid from collection_calls where run_id = any($1)) c
  group by run_id`

const ACTIVE_OF_RUNS = `
  select run_id, sum(extract(epoch from coalesce(until, now()) - at)) * 1000 as ms
  from (
    select run_id, type, at, lead(at) over (partition by run_id order by seq) as until from collection_events
    where run_id = any($1) and type in
      ('run.started', 'run.resumed', 'run.paused', 'run.completed', 'run.failed', 'run.cancelled')
  ) e where type in ('run.started', 'run.resumed') group by run_id`

const RUN_FIGURES = `
  with calls as (${CALLS_OF_RUNS}), active as (${ACTIVE_OF_RUNS}),
  asked as (
    select run_id, sum(case when finished_at is null then rung - 1 else rung end) as queries
    from collection_items where run_id = any($1) and item_type = 'amazon_product' and status <> 'skipped' group by run_id
  ), lists as (
    select run_id, count(*) as lists, sum(product_count) as places
    from collection_run_categories where run_id = any($1) and status = 'completed' group by run_id
  )
  select r.id as "runId", r.number, coalesce(r.completed_at, now()) as "asOf", r.total_items as products,
    r.processed_items as searched, coalesce(l.lists, 0)::int as lists, coalesce(l.places, 0)::int as places,
    coalesce(c.search_calls, 0)::int as "searchCalls", coalesce(c.search_hold, 0)::bigint as "searchHoldMicros",
    coalesce(c.search_charge, 0)::bigint as "searchChargeMicros", coalesce(a.queries, 0)::int as queries,
    coalesce(c.list_calls, 0)::int as "listCalls", coalesce(c.list_hold, 0)::bigint as "listHoldMicros",
    coalesce(c.list_charge, 0)::bigint as "listChargeMicros", c.search_ms::float8 as "searchMs",
    c.list_ms::float8 as "listMs", coalesce(t.ms, 0)::float8 as "activeMs"
  from collection_runs r
  left join calls c on c.run_id = r.id left join active t on t.run_id = r.id
  left join asked a on a.run_id = r.id left join lists l on l.run_id = r.id
  where r.id = any($1) order by r.number desc`

// A product belongs to the first list that named it, a new seller to the product that brought it first. So the parts of a
// run add up to the run.
const CATEGORY_FIGURES = `
  with first as (
    select distinct on (p.item_id) p.item_id, c.id as category_id
    from collection_run_categories c join collection_category_products p on p.category_id = c.id
    where c.run_id = any($1) order by p.item_id, c.position
  ), brought as (
    select parent_id, count(*) as sellers from collection_items
    where run_id = any($1) and item_type = 'ebay_seller' and new_to_org group by parent_id
  ), parts as (
    select i.run_id, f.category_id, count(*) as own,
      count(*) filter (where i.status = 'skipped') as skipped,
      count(*) filter (where i.status <> 'skipped' and (i.finished_at is not null or i.rung > 1)) as decided1,
      count(*) filter (where i.rung > 1) as climbed1,
      count(*) filter (where i.rung > 1 and (i.finished_at is not null or i.rung > 2)) as decided2,
      count(*) filter (where i.rung > 2) as climbed2,
      coalesce(sum(b.sellers), 0) as sellers
    from collection_items i
    left join first f on f.item_id = i.id
    left join brought b on b.parent_id = i.id
    where i.run_id = any($1) and i.item_type = 'amazon_product' group by i.run_id, f.category_id
  ), price as (
    select run_id, max(hold_micros) as micros from collection_calls
    where run_id = any($1) and item_id is not null group by run_id
  )
  select r.id as "runId", r.number, c.category_key as key, coalesce(r.completed_at, now()) as "asOf",
    coalesce(c.product_count, r.total_items) as listed, p.own::int, p.skipped::int, p.decided1::int, p.climbed1::int,
    p.decided2::int, p.climbed2::int, p.sellers::int as "newSellers",
    -- A next query is asked only while the cap covers a first one for every product that waits (engine/claim.ts).
    r.cap_micros - r.spent_micros - r.held_micros - r.suspect_micros < price.micros * (r.pending_items + 1)
      or exists (select from collection_events e where e.run_id = r.id and e.type = 'run.paused' and e.data ->> 'reason' = 'budget')
      as capped,
    exists (
      select from collection_run_categories o join collection_runs before on before.id = o.run_id
      where o.category_key = c.category_key and before.org_id = r.org_id and before.number < r.number
        and before.processed_items > 0
    ) as repeat,
    coalesce(c.status = 'completed', true) as complete
  from parts p join collection_runs r on r.id = p.run_id
  left join collection_run_categories c on c.id = p.category_id
  left join price on price.run_id = r.id
  where p.decided1 > 0
  order by r.number desc, c.position`

/**
 * Of the lists that were read before, in this order: how many products each names, and how many of them no earlier one
 * names. `categoryIds` are rows of `collection_run_categories`, of any runs.
 */
export async function ownProducts(
  db: Queryable,
  categoryIds: readonly string[],
): Promise<Map<string, Readonly<{ listed: number; own: number }>>> {
  const { rows } = await db.query<{ id: string; listed: number; own: number }>(
    `with wanted as (select id, place from unnest($1::uuid[]) with ordinality as w(id, place)),
     named as (
       select w.id, row_number() over (partition by i.external_id order by w.place) = 1 as first
       from wanted w
       join collection_category_products p on p.category_id = w.id
       join collection_items i on i.id = p.item_id
     )
     select id, count(*)::int as listed, (count(*) filter (where first))::int as own from named group by id`,
    [categoryIds],
  )
  return new Map(rows.map(({ id, listed, own }) => [id, { listed, own }]))
}
