/** One seller: what the list knows of it, what people set, and the evidence, newest first. */
import type { Queryable } from '../db/client.ts'
import type { ListedSeller } from './list-page.ts'
import { scoreParts } from './score.ts'

/** `revision` is raised by every change a person makes; its ETag. 0 before the first. */
export type SellerDetail = Omit<ListedSeller, 'hasNote' | 'listedSeq'> &
  Readonly<{
    normalizedName: string
    platform: string
    platformId: string | null
    note: string | null
    notedAt: Date | null
    notedBy: string | null
    removedBy: string | null
  }>

type Row = Omit<SellerDetail, 'score'> & Readonly<{ likenessPercentSum: number; priceRuleCount: number }>

/** The seller with this id, removed or not, or null when the organisation has none. */
export async function readSeller(db: Queryable, orgId: string, id: string): Promise<SellerDetail | null> {
  const { rows } = await db.query<Row>(
    `select x.id, x.display_name as name, x.normalized_name as "normalizedName", x.platform, x.platform_id as "platformId",
       coalesce(f.matched_count, 0) as matched, coalesce(f.likeness_percent_sum, 0) as "likenessPercentSum",
       coalesce(f.price_rule_count, 0) as "priceRuleCount", x.times_seen as runs,
       f.ratio_low_permille as "ratioLowPermille", f.ratio_high_permille as "ratioHighPermille",
       x.feedback_score as "feedbackScore", x.feedback_permille as "feedbackPermille", x.item_count as items,
       x.first_seen_at as "firstSeenAt", x.last_seen_at as "lastSeenAt", m.flag, m.flagged_at as "flaggedAt",
       m.flagged_by as "flaggedBy", m.note, m.noted_at as "notedAt", m.noted_by as "notedBy",
       f.removed_at as "removedAt", f.removed_by as "removedBy", coalesce(m.revision, 0) as revision
     from sellers x
     left join seller_list f on f.seller_id = x.id
     left join seller_marks m on m.seller_id = x.id
     where x.org_id = $1 and x.id = $2`,
    [orgId, id],
  )
  const row = rows[0]
  if (!row) return null
  const { likenessPercentSum, priceRuleCount, ...rest } = row
  return { ...rest, score: scoreParts({ matched: row.matched, likenessPercentSum, priceRuleCount }) }
}

export type SeenListing = Readonly<{
  itemId: string
  asin: string
  product: string | null
  /** The Amazon price at that time, cents. */
  amazonCents: number | null
  listingId: string
  title: string
  priceCents: number
  /** The price in thousandths of the Amazon price, rounded down. */
  ratioPermille: number | null
  /** Of the seller's listings for this product, over all runs, the best. */
  likenessPercent: number | null
  position: number
  rung: number
  runId: string
  runNumber: number
  runName: string
  seenAt: Date
}>

/** Behind which search a page of evidence begins; the time as the database writes it. */
export type EvidenceCursor = Readonly<{ seenAt: string; itemId: string; rung: number }>

export type EvidencePage = Readonly<{
  listings: readonly SeenListing[]
  /** For the page after it; null when there is none. */
  next: EvidenceCursor | null
  /** Searches that showed this seller and whose evidence is still kept. */
  searches: number
}>

/** The listings of up to `limit` searches that showed this seller, newest first. */
export async function readEvidence(
  db: Queryable,
  sellerId: string,
  page: Readonly<{ limit: number; cursor?: EvidenceCursor }>,
): Promise<EvidencePage> {
  const { cursor, limit } = page
  const { rows } = await db.query<SeenListing & { at: string; searches: number; place: number }>(
    `with keys as materialized (select * from gleaner_sightings_of($1)), paged as materialized (
       select k.*, row_number() over (order by k.seen_at desc, k.item_id desc, k.rung desc)::int as place from keys k
       where $2::timestamptz is null or (k.seen_at, k.item_id, k.rung) < ($2::timestamptz, $3::uuid, $4::smallint)
       order by k.seen_at desc, k.item_id desc, k.rung desc limit $5
     )
     select p.place, p.seen_at::text as at, (select count(*)::int from keys) as searches, i.id as "itemId",
       i.external_id as asin, i.data ->> 'title' as product, (i.data ->> 'priceCents')::int as "amazonCents",
       listing ->> 0 as "listingId", listing ->> 1 as title, (listing ->> 2)::int as "priceCents",
       ((listing ->> 2)::int * 1000 / nullif((i.data ->> 'priceCents')::int, 0))::int as "ratioPermille",
       m.likeness_percent as "likenessPercent", (listing ->> 3)::int as position, p.rung, r.id as "runId",
       r.number as "runNumber", r.name as "runName", p.seen_at as "seenAt"
     from paged p
     join collection_sightings s on s.item_id = p.item_id and s.rung = p.rung
     join collection_items i on i.id = p.item_id
     join collection_runs r on r.id = i.run_id
     left join seller_matches m on m.seller_id = $1 and m.asin = i.external_id collate "C"
     cross join lateral json_array_elements(s.evidence -> (array_position(s.seller_ids, $1::uuid) - 1) -> 2) as listing
     order by p.place, position`,
    [sellerId, cursor?.seenAt ?? null, cursor?.itemId ?? null, cursor?.rung ?? null, limit + 1],
  )
  const shown = rows.filter(({ place }) => place <= limit)
  const last = shown.at(-1)
  const more = rows.some(({ place }) => place > limit)
  return {
    listings: shown.map(({ at: _at, searches: _searches, place: _place, ...listing }) => listing),
    next: more && last ? { seenAt: last.at, itemId: last.itemId, rung: last.rung } : null,
    searches: rows[0]?.searches ?? 0,
  }
}
