/**
 * Sellers and the evidence for each. Everything is set-based: a booking of hundreds of searches is four statements,
 * whatever the number of sellers.
 */
import { newId } from '../base/ids.ts'
import { toJson } from '../base/json.ts'
import type { Tx } from '../db/client.ts'

/** A seller seen in a booking, once per booking. */
export type SeenSeller = Readonly<{
  /** The normalised name: the key within an organisation and platform. */
  key: string
  displayName: string
  feedbackScore: number | null
  feedbackPermille: number | null
  /** Listings it showed in this booking. */
  listings: number
}>

export type RecordedSeller = Readonly<{ key: string; id: string; isNew: boolean }>

/**
 * Makes sure every seller in `seen` (unique by key) is on the organisation's master list. Returns them by key; `isNew`
 * when this call put it there. Two transactions that bring the same seller end with one row.
 */
export async function recordSellers(
  tx: Tx,
  orgId: string,
  runId: string,
  seen: readonly SeenSeller[],
): Promise<Map<string, RecordedSeller>> {
  const recorded = new Map<string, RecordedSeller>()
  if (seen.length === 0) return recorded
  const { rows } = await tx.query<{ key: string; id: string }>({
    name: 'sellers.record',
    text: `
      insert into sellers (id, org_id, display_name, normalized_name, platform, first_seen_run_id, last_seen_run_id,
        feedback_score, feedback_permille, item_count)
      select id, $1, name, key, 'ebay', $2, $2, score, permille, listings
      from json_to_recordset($3) as s(id uuid, key text, name text, score int, permille int, listings int)
      order by key
      on conflict (org_id, normalized_name, platform) do nothing
      returning normalized_name as key, id`,
    values: [
      orgId,
      runId,
      toJson(
        seen.map((seller) => ({
          id: newId(),
          key: seller.key,
          name: seller.displayName,
          score: seller.feedbackScore,
          permille: seller.feedbackPermille,
          listings: seller.listings,
        })),
      ),
    ],
  })
  for (const row of rows) recorded.set(row.key, { ...row, isNew: true })
  await addThoseThere(tx, orgId, seen, recorded)
  return recorded
}

/** Those the insert did not bring are there: committed before, or by a transaction the insert waited for. */
async function addThoseThere(
  tx: Tx,
  orgId: string,
  seen: readonly SeenSeller[],
  recorded: Map<string, RecordedSeller>,
): Promise<void> {
  const missing = seen.filter((seller) => !recorded.has(seller.key)).map((seller) => seller.key)
  if (missing.length === 0) return
  const { rows } = await tx.query<{ key: string; id: string }>({
    name: 'sellers.find',
    // Lateral with a limit: one look-up in the unique index per name, whatever the planner thinks of the table.
    text: `
      select wanted.key, x.id from unnest($2::text[]) as wanted(key) cross join lateral (
        select id from sellers where org_id = $1 and platform = 'ebay' and normalized_name = wanted.key limit 1
      ) x`,
    values: [orgId, missing],
  })
  for (const row of rows) recorded.set(row.key, { ...row, isNew: false })
}

/** The evidence of one answered search. */
export type Evidence = Readonly<{
  itemId: string
  rung: number
  callId: string
  sellerIds: readonly string[]
  /** Aligned with `sellerIds`: [score, permille, [[listing id, title, price in cents, position], ...]]. */
  proofs: readonly SellerProof[]
}>

export type SellerProof = readonly [
  feedbackScore: number | null,
  feedbackPermille: number | null,
  listings: readonly (readonly [listingId: string, title: string, priceCents: number, position: number])[],
]

/**
 * Stores the evidence, one row per search; a second answer for the same rung of the same product replaces the first. Notes
 * that the seller list is to count it: one row for all of it, because this is the hot path.
 */
export async function recordEvidence(tx: Tx, orgId: string, evidence: readonly Evidence[]): Promise<void> {
  if (evidence.length === 0) return
  await tx.query({
    name: 'sellers.evidence',
    text: `
      with kept as (
        insert into collection_sightings (item_id, rung, call_id, seller_ids, listing_counts, evidence)
        select item_id, rung, call_id, seller_ids, listing_counts, evidence
        from json_to_recordset($1) as e(item_id uuid, rung smallint, call_id uuid, seller_ids uuid[],
          listing_counts smallint[], evidence json)
        on conflict (item_id, rung) do update
          set call_id = excluded.call_id, seller_ids = excluded.seller_ids, listing_counts = excluded.listing_counts,
            evidence = excluded.evidence, seen_at = now()
        returning item_id
      )
      insert into seller_list_due (org_id, item_ids) select $2, array_agg(item_id) from kept`,
    values: [
      toJson(
        evidence.map((one) => ({
          item_id: one.itemId,
          rung: one.rung,
          call_id: one.callId,
          seller_ids: one.sellerIds,
          listing_counts: one.proofs.map((proof) => proof[2].length),
          evidence: one.proofs,
        })),
      ),
      orgId,
    ],
  })
}

/** A seller of this booking with the product that brought it. */
export type SellerInRun = RecordedSeller &
  Readonly<{ parentItemId: string; feedbackScore: number | null; feedbackPermille: number | null }>

/**
 * Makes sure each seller has its `ebay_seller` item in the run. A seller the run had not seen before counts one more run
 * in `times_seen`, and its feedback and last sighting are renewed.
 */
export async function recordSellersInRun(tx: Tx, runId: string, sellers: readonly SellerInRun[]): Promise<void> {
  if (sellers.length === 0) return
  await tx.query({
    name: 'sellers.in_run',
    text: `
      with seen as materialized (
        select * from json_to_recordset($2)
          as s(item_id uuid, key text, seller_id uuid, parent_id uuid, is_new boolean, score int, permille int)
      ), added as (
        insert into collection_items (id, run_id, item_type, external_id, status, parent_id, new_to_org, finished_at)
        select item_id, $1, 'ebay_seller', key, 'completed', parent_id, is_new, now() from seen
        order by key
        on conflict (run_id, item_type, external_id) do nothing
        returning external_id
      )
      update sellers x set times_seen = times_seen + 1, last_seen_run_id = $1, last_seen_at = now(),
        feedback_score = coalesce(seen.score, x.feedback_score),
        feedback_permille = coalesce(seen.permille, x.feedback_permille)
      from added join seen on seen.key = added.external_id
      where x.id = seen.seller_id and not seen.is_new`,
    values: [
      runId,
      toJson(
        sellers.map((seller) => ({
          item_id: newId(),
          key: seller.key,
          seller_id: seller.id,
          parent_id: seller.parentItemId,
          is_new: seller.isNew,
          score: seller.feedbackScore,
          permille: seller.feedbackPermille,
        })),
      ),
    ],
  })
}
