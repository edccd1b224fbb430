import type { Tx } from '../db/client.ts'

/**
 * Writes `item_count` of the sellers this run saw last: the number of listings they showed in it, a listing
 * counted once for each product it was found for. Done once, at the end of a run, because a count kept during it would rewrite a seller at every sighting. The seller list takes it
 * over when it is kept up the next time.
 */
export async function refreshItemCounts(tx: Tx, runId: string): Promise<void> {
  await tx.query(
    `update sellers x set item_count = shown.listings
     from (
       select seen.seller_id, sum(seen.listings)::int as listings
       from collection_items i
       join collection_sightings s on s.item_id = i.id
       cross join lateral unnest(s.seller_ids, s.listing_counts) as seen(seller_id, listings)
       where i.run_id = $1 and i.item_type = 'amazon_product' group by 1
     ) shown
     where x.id = shown.seller_id and x.last_seen_run_id = $1 and x.item_count is distinct from shown.listings`,
    [runId],
  )
  await tx.query('insert into seller_list_due (org_id, run_id) select org_id, id from collection_runs where id = $1', [
    runId,
  ])
}
