/** Everything an organisation holds about one seller: what the seller has a right to be told. */
import type { Queryable } from '../db/client.ts'

export type PersonalData = Readonly<{
  seller: Readonly<Record<string, unknown>>
  marks: Readonly<Record<string, unknown>> | null
  figures: Readonly<Record<string, unknown>> | null
  names: readonly Readonly<Record<string, unknown>>[]
  matches: readonly Readonly<Record<string, unknown>>[]
  runs: readonly Readonly<Record<string, unknown>>[]
  sightings: readonly Readonly<Record<string, unknown>>[]
  doNotCollect: Readonly<Record<string, unknown>> | null
  audit: readonly Readonly<Record<string, unknown>>[]
}>

/** Listings at most: more than any seller showed within the days evidence is kept. */
const SIGHTINGS_MOST = 50_000

/** All of it, as the rows are, or null when there is no such seller. As much of the audit log as the one who asks may read. */
export async function personalData(db: Queryable, orgId: string, sellerId: string): Promise<PersonalData | null> {
  const { rows } = await db.query<{ data: PersonalData }>(
    `select jsonb_build_object(
       'seller', to_jsonb(x) - 'org_id',
       'marks', (select to_jsonb(m) - 'org_id' - 'seller_id' from seller_marks m where m.seller_id = x.id),
       'figures', (select to_jsonb(l) - 'org_id' - 'seller_id' from seller_list l where l.seller_id = x.id),
       'names', coalesce((select jsonb_agg(to_jsonb(n) - 'org_id' - 'seller_id' - 'id' order by n.id)
         from seller_names n where n.seller_id = x.id), '[]'),
       'matches', coalesce((select jsonb_agg(to_jsonb(m) - 'org_id' - 'seller_id' order by m.asin)
         from seller_matches m where m.seller_id = x.id), '[]'),
       'runs', coalesce((select jsonb_agg(jsonb_build_object('run', r.number, 'name', r.name, 'seenAt', i.created_at,
           'newToOrganisation', i.new_to_org) order by r.number)
         from collection_runs r join collection_items i on i.run_id = r.id and i.item_type = 'ebay_seller'
           and i.external_id = x.normalized_name where r.org_id = $1), '[]'),
       'sightings', coalesce((select jsonb_agg(to_jsonb(v) - 'seller_id' - 'call_id') from (
           select * from sightings s where s.seller_id = x.id
             and s.item_id in (select k.item_id from gleaner_sightings_of(x.id) k) limit ${SIGHTINGS_MOST}) v), '[]'),
       'doNotCollect', (select to_jsonb(d) - 'org_id' from compliance_do_not_collect d
         where d.org_id = $1 and d.normalized_name = x.normalized_name),
       'audit', coalesce((select jsonb_agg(to_jsonb(a) - 'org_id' order by a.id) from audit_log a
         where a.org_id = $1 and a.target = 'seller:' || x.id), '[]')) as data
     from sellers x where x.org_id = $1 and x.id = $2`,
    [orgId, sellerId],
  )
  return rows[0]?.data ?? null
}
