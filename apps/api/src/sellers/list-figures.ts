/** The figures of the seller list, kept from the evidence: what is due, what it shows, and writing it down. */
import { toJson } from '../base/json.ts'
import type { Queryable, Tx } from '../db/client.ts'
import type { SellerProof } from './record.ts'

/** Held to the end of the transaction by whoever keeps the list: one writer at a time. */
const KEEPER_LOCK = 7_205_459_001

/** Becomes the one who keeps the list until `tx` ends, or says that somebody else is at it. */
export async function becomeKeeper(tx: Tx): Promise<boolean> {
  const { rows } = await tx.query<{ mine: boolean }>('select pg_try_advisory_xact_lock($1) as mine', [KEEPER_LOCK])
  return rows[0]?.mine ?? false
}

export type Due = Readonly<{ itemIds: readonly string[]; runIds: readonly string[] }>

/** True when there is something to count. */
export async function isListDue(db: Queryable): Promise<boolean> {
  const { rows } = await db.query<{ due: boolean }>('select exists (select from seller_list_due) as due')
  return rows[0]?.due ?? false
}

/** Takes what is due, the oldest first, up to about `most` searches. It is due again when `tx` is rolled back. */
export async function takeDue(tx: Tx, most: number): Promise<Due> {
  const { rows } = await tx.query<{ itemIds: string[] | null; runId: string | null }>({
    name: 'sellers.take_due',
    text: `
      with oldest as (select id, item_ids from seller_list_due order by id limit 200), ready as (
        select id from (
          select id, sum(coalesce(cardinality(item_ids), 1)) over (order by id) as searches, row_number() over (order by id) as n
          from oldest
        ) summed where n = 1 or searches <= $1
      )
      delete from seller_list_due d using ready where d.id = ready.id
      returning d.item_ids as "itemIds", d.run_id as "runId"`,
    values: [most],
  })
  return {
    itemIds: [...new Set(rows.flatMap(({ itemIds }) => itemIds ?? []))],
    runIds: rows.flatMap(({ runId }) => runId ?? []),
  }
}

/** Since when evidence of the organisation waits to be counted, or null when the list is up to date. */
export async function uncountedSince(db: Queryable, orgId: string): Promise<Date | null> {
  const { rows } = await db.query<{ at: Date | null }>('select min(at) as at from seller_list_due where org_id = $1', [
    orgId,
  ])
  return rows[0]?.at ?? null
}

/** One answered search, as it was stored. */
export type StoredSearch = Readonly<{
  asin: string
  title: string | null
  amazonCents: number | null
  sellerIds: readonly string[]
  proofs: readonly SellerProof[]
  seenAt: Date
}>

/** The evidence of these products, one entry a rung. */
export async function readSearches(tx: Tx, itemIds: readonly string[]): Promise<StoredSearch[]> {
  const { rows } = await tx.query<StoredSearch>({
    name: 'sellers.read_searches',
    text: `
      select i.external_id as asin, i.data ->> 'title' as title, (i.data ->> 'priceCents')::int as "amazonCents",
        s.seller_ids as "sellerIds", s.evidence as proofs, s.seen_at as "seenAt"
      from collection_items i join collection_sightings s on s.item_id = i.id where i.id = any ($1::uuid[])`,
    values: [itemIds],
  })
  return rows
}

/** What a seller was seen with for one product. */
export type SeenMatch = Readonly<{
  sellerId: string
  asin: string
  likenessPercent: number
  priceRule: boolean
  ratioLowPermille: number | null
  ratioHighPermille: number | null
  firstSeenAt: Date
  lastSeenAt: Date
}>

/** Adds what was seen to the matches, each seller and product named once. Sellers deleted meanwhile are left out. */
export async function addMatches(tx: Tx, seen: readonly SeenMatch[]): Promise<void> {
  if (seen.length === 0) return
  await tx.query({
    name: 'sellers.add_matches',
    text: `
      insert into seller_matches as m (seller_id, asin, org_id, likeness_percent, price_rule, ratio_low_permille,
        ratio_high_permille, first_seen_at, last_seen_at)
      select s.id, x.asin, s.org_id, x.likeness, x.rule, x.low, x.high, x.first_at, x.last_at
      from json_to_recordset($1) as x(seller uuid, asin text, likeness smallint, rule boolean, low int, high int,
        first_at timestamptz, last_at timestamptz)
      join sellers s on s.id = x.seller
      order by s.id, x.asin collate "C"
      on conflict (seller_id, asin) do update set
        likeness_percent = greatest(m.likeness_percent, excluded.likeness_percent),
        price_rule = m.price_rule or excluded.price_rule,
        ratio_low_permille = least(m.ratio_low_permille, excluded.ratio_low_permille),
        ratio_high_permille = greatest(m.ratio_high_permille, excluded.ratio_high_permille),
        first_seen_at = least(m.first_seen_at, excluded.first_seen_at),
        last_seen_at = greatest(m.last_seen_at, excluded.last_seen_at)`,
    values: [
      toJson(
        seen.map((one) => ({
          seller: one.sellerId,
          asin: one.asin,
          likeness: one.likenessPercent,
          rule: one.priceRule,
          low: one.ratioLowPermille,
          high: one.ratioHighPermille,
          first_at: one.firstSeenAt,
          last_at: one.lastSeenAt,
        })),
      ),
    ],
  })
}

/** Brings the rows of these sellers in the list up to what their matches, and `sellers`, say. */
export async function refreshList(tx: Tx, sellerIds: readonly string[]): Promise<void> {
  if (sellerIds.length === 0) return
  await tx.query({
    name: 'sellers.refresh_list',
    text: `
      with summed as (
        select seller_id, count(*)::int as matched, sum(likeness_percent)::int as likeness,
          (count(*) filter (where price_rule))::int as rule, min(ratio_low_permille) as low, max(ratio_high_permille) as high
        from seller_matches where seller_id = any ($1::uuid[]) group by seller_id
      )
      insert into seller_list as l (seller_id, org_id, name, first_run_id, run_count, matched_count, likeness_percent_sum,
        price_rule_count, ratio_low_permille, ratio_high_permille, feedback_score, listing_count, first_seen_at, last_seen_at)
      select s.id, s.org_id, s.normalized_name, s.first_seen_run_id, s.times_seen, coalesce(m.matched, 0),
        coalesce(m.likeness, 0), coalesce(m.rule, 0), m.low, m.high, s.feedback_score, s.item_count, s.first_seen_at,
        s.last_seen_at
      from sellers s left join summed m on m.seller_id = s.id where s.id = any ($1::uuid[]) order by s.id
      on conflict (seller_id) do update set
        name = excluded.name, first_run_id = excluded.first_run_id, run_count = excluded.run_count,
        matched_count = excluded.matched_count, likeness_percent_sum = excluded.likeness_percent_sum,
        price_rule_count = excluded.price_rule_count, ratio_low_permille = excluded.ratio_low_permille,
        ratio_high_permille = excluded.ratio_high_permille, feedback_score = excluded.feedback_score,
        listing_count = excluded.listing_count, first_seen_at = excluded.first_seen_at, last_seen_at = excluded.last_seen_at
      where (l.name, l.first_run_id, l.run_count, l.matched_count, l.likeness_percent_sum, l.price_rule_count,
        l.ratio_low_permille, l.ratio_high_permille, l.feedback_score, l.listing_count, l.first_seen_at, l.last_seen_at)
        is distinct from (excluded.name, excluded.first_run_id, excluded.run_count, excluded.matched_count,
        excluded.likeness_percent_sum, excluded.price_rule_count, excluded.ratio_low_permille, excluded.ratio_high_permille,
        excluded.feedback_score, excluded.listing_count, excluded.first_seen_at, excluded.last_seen_at)`,
    values: [sellerIds],
  })
}

/** The sellers of a run, by the items it has for them. */
export async function sellersOfRun(tx: Tx, runId: string): Promise<string[]> {
  const { rows } = await tx.query<{ id: string }>(
    `select x.id from collection_runs r
     join collection_items i on i.run_id = r.id and i.item_type = 'ebay_seller'
     cross join lateral (
       select s.id from sellers s where s.org_id = r.org_id and s.platform = 'ebay' and s.normalized_name = i.external_id
       limit 1
     ) x where r.id = $1`,
    [runId],
  )
  return rows.map(({ id }) => id)
}
