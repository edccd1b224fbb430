/** One seller with the evidence for it. */
import type { Queryable } from '../db/client.ts'

export type SellerSighting = Readonly<{
  asin: string
  product: string | null
  /** The Amazon price at that time, cents. */
  amazonCents: number | null
  listingId: string
  title: string
  priceCents: number
  position: number
  rung: number
  run: number
  seenAt: Date
}>

/** The sellers of the organisation with this normalised name: one, or none. Returns its id. */
export async function findSeller(db: Queryable, orgId: string, normalizedName: string): Promise<string | null> {
  const { rows } = await db.query<{ id: string }>(
    `select id from sellers where org_id = $1 and platform = 'ebay' and normalized_name = $2`,
    [orgId, normalizedName],
  )
  return rows[0]?.id ?? null
}

/** Its listings as they were seen, newest first, at most `limit`. */
export async function sightingsOf(db: Queryable, sellerId: string, limit: number): Promise<SellerSighting[]> {
  const { rows } = await db.query<SellerSighting>(
    `select v.asin, i.data ->> 'title' as product, (i.data ->> 'priceCents')::int as "amazonCents",
       v.listing_id as "listingId", v.title, v.price_cents as "priceCents", v.position, v.rung, r.number as run,
       v.seen_at as "seenAt"
     from collection_sightings s
     join sightings v on v.item_id = s.item_id and v.rung = s.rung and v.seller_id = $1
     join collection_items i on i.id = s.item_id
     join collection_runs r on r.id = i.run_id
     where s.seller_ids @> array[$1::uuid]
     order by v.seen_at desc, v.asin, v.position limit $2`,
    [sellerId, limit],
  )
  return rows
}
