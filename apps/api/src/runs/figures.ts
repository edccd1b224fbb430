/** What earlier runs took and brought, as figures to estimate from: kept for each run by keep-figures.ts. */
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
 * something searched. Not retries: what they search for is what others had no answer to. Runs with the same filters when there are any, else those with others.
 */
export async function likeRuns(db: Queryable, like: Likeness, most: number): Promise<LikeRun[]> {
  const { rows } = await db.query<LikeRun>(
    `select r.id as "runId", r.filters = $5::jsonb as "sameFilters", coalesce(l.adapter = $4, false) as "sameLists",
       r.status in ('completed', 'failed', 'cancelled') as ended
     from collection_runs r
     join provider_accounts s on s.id = r.search_account_id
     left join provider_accounts l on l.id = r.list_account_id
     where r.org_id = $1 and s.adapter = $2 and s.sandbox = $3 and r.retry_of_run_id is null
       and r.processed_items - r.skipped_items >= $6
     order by r.filters = $5::jsonb desc, r.number desc limit $7`,
    [like.orgId, like.searchAdapter, like.sandbox, like.listAdapter, like.filters, SEARCHED_LEAST, most],
  )
  return rows[0]?.sameFilters ? rows.filter((row) => row.sameFilters) : rows
}

/**
 * The runs like the one planned that collected one of `keys` last, at most `each` for every key, newest first: runs with the
 * same filters before those with others. Only runs whose figures are kept.
 */
export async function lastRunsOf(
  db: Queryable,
  like: Likeness,
  keys: readonly string[],
  each: number,
): Promise<{ key: string; runId: string; categoryId: string }[]> {
  const { rows } = await db.query<{ key: string; runId: string; categoryId: string }>(
    `select key, "runId", "categoryId" from (
       select f.category_key as key, f.run_id as "runId", c.id as "categoryId",
         row_number() over (partition by f.category_key order by r.filters = $5::jsonb desc, r.number desc) as place
       from collection_category_figures f
       join collection_runs r on r.id = f.run_id
       join provider_accounts s on s.id = r.search_account_id
       join provider_accounts l on l.id = r.list_account_id
       join collection_run_categories c on c.run_id = f.run_id and c.category_key = f.category_key
       where f.org_id = $1 and f.category_key = any($6) and f.complete
         and s.adapter = $2 and s.sandbox = $3 and l.adapter = $4 and r.retry_of_run_id is null
     ) ranked where place <= $7 order by key, place`,
    [like.orgId, like.searchAdapter, like.sandbox, like.listAdapter, like.filters, keys, each],
  )
  return rows
}

/** The kept figures of these runs, newest first; none for a run without. */
export async function runFigures(db: Queryable, runIds: readonly string[]): Promise<RunFigures[]> {
  const { rows } = await db.query<RunFigures>(
    `select f.run_id as "runId", r.number, coalesce(r.completed_at, f.computed_at) as "asOf", f.products, f.searched, f.lists,
       f.places, f.search_calls as "searchCalls", f.search_hold_micros as "searchHoldMicros",
       f.search_charge_micros as "searchChargeMicros", f.queries, f.list_calls as "listCalls",
       f.list_hold_micros as "listHoldMicros", f.list_charge_micros as "listChargeMicros", f.mean_search_ms as "searchMs",
       f.mean_list_ms as "listMs", f.active_ms as "activeMs"
     from collection_run_figures f join collection_runs r on r.id = f.run_id
     where f.run_id = any($1) order by r.number desc`,
    [runIds],
  )
  return rows
}

/**
 * The kept figures of the categories of these runs, newest run first; of a run over a product list one with the key null.
 * Of runs with many categories the `most` first ones, and always those in `keys`.
 */
export async function categoryFigures(
  db: Queryable,
  runIds: readonly string[],
  keys: readonly string[],
  most: number,
): Promise<CategoryFigures[]> {
  const { rows } = await db.query<CategoryFigures>(
    `select f.run_id as "runId", r.number, nullif(f.category_key, '') as key, coalesce(r.completed_at, now()) as "asOf",
       f.listed, f.own, f.skipped, f.decided_first as decided1, f.climbed_first as climbed1, f.decided_second as decided2,
       f.climbed_second as climbed2, f.new_sellers as "newSellers", f.capped, f.complete,
       exists (
         select from collection_category_figures o join collection_runs before on before.id = o.run_id
         where o.org_id = f.org_id and o.category_key = f.category_key and before.number < r.number
       ) as repeat
     from (
       select *, row_number() over (partition by run_id order by category_key) as place
       from collection_category_figures where run_id = any($1)
     ) f join collection_runs r on r.id = f.run_id
     where f.place <= $3 or f.category_key = any($2)
     order by r.number desc, f.category_key`,
    [runIds, keys, most],
  )
  return rows
}

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
