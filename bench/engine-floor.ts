/** The floor of bench/engine.ts: the same rows, written by SQL alone. */
import { toJson } from '../apps/api/src/base/json.ts'
import type { Micros } from '../apps/api/src/base/money.ts'
import type { Db } from '../apps/api/src/db/client.ts'
import { listingsOf } from './engine-world.ts'

/** Products a transaction of the floor writes unless told; as many as a busy engine books together. */
export const FLOOR_BATCH = 400

/** Puts what the searches of all products bring into tables, so that the script finds it there. */
export async function loadFloorSource(db: Db, products: number): Promise<void> {
  await db.query('create unlogged table bench_seen (n int, seller text, place int, listings int, proof jsonb)')
  for (let from = 0; from < products; from += 1000) {
    const rows: unknown[] = []
    for (let n = from; n < Math.min(from + 1000, products); n++) {
      const bySeller = new Map<string, unknown[]>()
      for (const listing of listingsOf(n)) {
        const row = [listing.listingId, listing.title, listing.priceCents, listing.position]
        bySeller.set(listing.seller.username, [...(bySeller.get(listing.seller.username) ?? []), row])
      }
      let place = 0
      for (const [seller, listings] of bySeller) {
        rows.push({ n, seller, place: ++place, listings: listings.length, proof: [1000 + (n % 5000), 992, listings] })
      }
    }
    await db.query(
      `insert into bench_seen select * from json_to_recordset($1) as r(n int, seller text, place int, listings int, proof jsonb)`,
      [toJson(rows)],
    )
  }
  await db.query('create index on bench_seen (n)')
  await db.query('vacuum analyze bench_seen')
}

/**
 * One script for all batches, a transaction each: hold, take, sellers, evidence, sellers of the run, results, money, event.
 * It begins and ends with the rows the engine begins and ends with.
 */
export function floorScript(
  runId: string,
  accountId: string,
  products: number,
  price: Micros,
  batch: number = FLOOR_BATCH,
): string {
  return `
do $$
declare
  run constant uuid := '${runId}';
  org constant uuid := (select org_id from collection_runs where id = run);
  low int;
begin
  create temp table bench_work on commit preserve rows as
    select right(external_id, 9)::int as n, id as item_id, gen_random_uuid() as call_id
    from collection_items where run_id = run and item_type = 'amazon_product';
  create index on bench_work (n);
  analyze bench_work;
  commit;
  for low in select generate_series(0, ${products - 1}, ${batch}) loop
    insert into collection_calls (id, run_id, account_id, item_id, worker_id, epoch, attempt, rung, hold_micros, lease_until, request)
      select call_id, run, '${accountId}', item_id, run, 1, 1, 1, ${price}, now() + interval '1 min', '{"kind":"text"}'
      from bench_work where n >= low and n < low + ${batch};
    update collection_items i set status = 'processing', epoch = 1, attempt = 1 from bench_work w
      where i.id = w.item_id and w.n >= low and w.n < low + ${batch};
    insert into sellers (id, org_id, display_name, normalized_name, platform, first_seen_run_id, last_seen_run_id,
        feedback_score, feedback_permille, item_count)
      select gen_random_uuid(), org, seller, seller, 'ebay', run, run, 1000, 992, sum(listings)
      from bench_seen where n >= low and n < low + ${batch} group by seller order by seller
      on conflict (org_id, normalized_name, platform) do nothing;
    insert into collection_sightings (item_id, rung, call_id, seller_ids, listing_counts, evidence)
      select w.item_id, 1, w.call_id, array_agg(s.id order by b.place), array_agg(b.listings order by b.place),
        jsonb_agg(b.proof order by b.place)
      from bench_work w join bench_seen b on b.n = w.n
      join sellers s on s.org_id = org and s.platform = 'ebay' and s.normalized_name = b.seller
      where w.n >= low and w.n < low + ${batch} group by w.item_id, w.call_id;
    insert into collection_items (id, run_id, item_type, external_id, status, parent_id, new_to_org, finished_at)
      select gen_random_uuid(), run, 'ebay_seller', b.seller, 'completed', (array_agg(w.item_id))[1], true, now()
      from bench_work w join bench_seen b on b.n = w.n
      where w.n >= low and w.n < low + ${batch} group by b.seller order by b.seller
      on conflict (run_id, item_type, external_id) do nothing;
    update collection_items i set status = 'completed', outcome = 'found', finished_at = now(),
        cost_micros = ${price}, cost_cents = ceil(${price} / 10000.0)
      from bench_work w where i.id = w.item_id and w.n >= low and w.n < low + ${batch};
    update collection_calls c set state = 'settled', charge_micros = ${price}, outcome = 'found',
        booked_at = clock_timestamp(), duration_ms = 0
      from bench_work w where c.id = w.call_id and w.n >= low and w.n < low + ${batch};
    insert into collection_events (run_id, seq, type) select run, event_seq + 1, 'calls.booked' from collection_runs where id = run;
    commit;
  end loop;
  drop table bench_work;
end
$$`
}
