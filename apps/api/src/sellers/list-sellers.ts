/** The master list, read: sellers with how many products each was matched with. */
import type { Queryable } from '../db/client.ts'

export const SELLER_SORTS = ['matched', 'last-seen', 'feedback', 'name'] as const
export type SellerSort = (typeof SELLER_SORTS)[number]

export type SellerFilter = Readonly<{
  orgId: string
  /** Only sellers seen in this run, matched products counted within it. */
  runId?: string
  /** Only sellers this run brought to the organisation. Needs `runId`. */
  onlyNew?: boolean
  /** Part of the name, in any case. */
  text?: string
  sort?: SellerSort
}>

export type SellerRow = Readonly<{
  id: string
  name: string
  /** Distinct products (ASINs) whose search showed a listing of this seller. */
  matched: number
  /** Distinct runs it was seen in. */
  runs: number
  feedbackScore: number | null
  /** Tenths of a per cent. */
  feedbackPermille: number | null
  /** Listings in the run that saw it last; null while that run is going on. */
  listings: number | null
  firstSeenAt: Date
  lastSeenAt: Date
}>

const ORDERS: Readonly<Record<SellerSort, string>> = {
  matched: 'matched desc, x.feedback_score desc nulls last, x.normalized_name',
  'last-seen': 'x.last_seen_at desc, x.normalized_name',
  feedback: 'x.feedback_score desc nulls last, x.normalized_name',
  name: 'x.normalized_name',
}

const FIELDS = `x.id, x.display_name as name, x.times_seen as runs, x.feedback_score as "feedbackScore",
  x.feedback_permille as "feedbackPermille", x.item_count as listings, x.first_seen_at as "firstSeenAt",
  x.last_seen_at as "lastSeenAt"`

/** $1 organisation, $2 run or null, $3 only new, $4 name pattern or null. Those a person removed are not on the list. */
const CHOSEN = `x.org_id = $1 and ($4::text is null or x.display_name ilike $4 or x.normalized_name ilike $4)
  and ($2::uuid is null or exists (
    select from collection_items i where i.run_id = $2 and i.item_type = 'ebay_seller'
      and i.external_id = x.normalized_name and (i.new_to_org or not $3)))
  and not exists (select from seller_list gone where gone.seller_id = x.id and gone.removed_at is not null)`

/**
 * The statement that reads the sellers of `filter` in order, and its values. Over all runs, matched products are those the
 * list keeps; within a run they are counted: for all its sellers in one pass when they are ordered by that, otherwise only
 * for the rows of the page.
 */
export function sellerQuery(
  filter: SellerFilter,
  page?: Readonly<{ limit: number; offset: number }>,
): Readonly<{ text: string; values: readonly unknown[] }> {
  const sort = filter.sort ?? 'matched'
  const pattern = filter.text ? `%${filter.text.replace(/[\\%_]/g, '\\$&')}%` : null
  const values: unknown[] = [filter.orgId, filter.runId ?? null, filter.onlyNew ?? false, pattern]
  if (page) values.push(page.limit, page.offset)
  const window = page ? 'limit $5 offset $6' : ''
  if (filter.runId === undefined) return { text: asKept(ORDERS[sort], window), values }
  const text = sort === 'matched' || !page ? countedTogether(ORDERS[sort], window) : countedByPage(ORDERS[sort], window)
  return { text, values }
}

function asKept(order: string, window: string): string {
  return `
    select ${FIELDS}, coalesce(l.matched_count, 0) as matched
    from sellers x left join seller_list l on l.seller_id = x.id
    where ${CHOSEN} order by ${order} ${window}`
}

function countedTogether(order: string, window: string): string {
  return `
    with chosen as materialized (select * from sellers x where ${CHOSEN}), matched as (
      select pair.seller_id, count(*)::int as products from (
        select distinct seen.seller_id, i.external_id
        from collection_runs r
        join collection_items i on i.run_id = r.id and i.item_type = 'amazon_product'
        join collection_sightings s on s.item_id = i.id
        cross join lateral unnest(s.seller_ids) as seen(seller_id)
        where r.org_id = $1 and r.id = $2 and seen.seller_id in (select id from chosen)
      ) pair group by pair.seller_id
    )
    select ${FIELDS}, coalesce(m.products, 0) as matched
    from chosen x left join matched m on m.seller_id = x.id order by ${order} ${window}`
}

function countedByPage(order: string, window: string): string {
  return `
    with page as materialized (select * from sellers x where ${CHOSEN} order by ${order} ${window})
    select ${FIELDS}, (
      select count(distinct i.external_id)::int from collection_sightings s join collection_items i on i.id = s.item_id
      where s.seller_ids @> array[x.id] and i.run_id = $2) as matched
    from page x order by ${order}`
}

/** One page of the sellers of `filter`. */
export async function listSellers(
  db: Queryable,
  filter: SellerFilter,
  page: Readonly<{ limit: number; offset: number }>,
): Promise<SellerRow[]> {
  const { text, values } = sellerQuery(filter, page)
  return (await db.query<SellerRow>(text, values)).rows
}

/** How many sellers `filter` has. */
export async function countSellers(db: Queryable, filter: SellerFilter): Promise<number> {
  const { values } = sellerQuery(filter)
  const { rows } = await db.query<{ count: number }>(
    `select count(*)::int as count from sellers x where ${CHOSEN}`,
    values,
  )
  return rows[0]?.count ?? 0
}
