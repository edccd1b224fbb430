/** Of I5: the seller list counts what the evidence shows, no more and no less, except what is not counted yet. */
import type { Rule } from './types.ts'

/** Sellers whose last evidence waits to be counted: their figures may be behind. */
const WAITING = `
  select distinct seller_id from seller_list_due d cross join unnest(d.item_ids) as item_id
  join collection_sightings s on s.item_id = item_id.item_id cross join unnest(s.seller_ids) as seller_id
  union
  select x.id from seller_list_due d join sellers x on x.last_seen_run_id = d.run_id`

const LIST_FIGURES: Rule = `
  with waiting as (${WAITING}), summed as (
    select seller_id, count(*)::int as matched, sum(likeness_percent)::int as likeness,
      (count(*) filter (where price_rule))::int as rule, min(ratio_low_permille) as low, max(ratio_high_permille) as high
    from seller_matches group by seller_id
  ), compared as (
    select x.id, x.org_id, l.seller_id is not null as listed,
      to_jsonb(array[x.normalized_name, x.times_seen::text, coalesce(m.matched, 0)::text, coalesce(m.likeness, 0)::text,
        coalesce(m.rule, 0)::text, m.low::text, m.high::text, x.feedback_score::text, x.item_count::text,
        x.last_seen_at::text]) as expected,
      to_jsonb(array[l.name, l.run_count::text, l.matched_count::text, l.likeness_percent_sum::text, l.price_rule_count::text,
        l.ratio_low_permille::text, l.ratio_high_permille::text, l.feedback_score::text, l.listing_count::text,
        l.last_seen_at::text]) as found
    from sellers x left join summed m on m.seller_id = x.id left join seller_list l on l.seller_id = x.id
    where m.seller_id is not null or l.seller_id is not null
  )
  select null::int as run, 'figures of a seller in the list' as what, jsonb_build_object('seller', c.id) as ids,
    c.expected::text as expected, case when c.listed then c.found::text end as found
  from compared c
  where ($1::uuid[] is null or c.org_id in (select org_id from collection_runs where id = any($1)))
    and (not c.listed or c.expected <> c.found) and c.id not in (select seller_id from waiting)
  limit 20`

const MATCHES_COUNTED: Rule = `
  select r.number as run, 'seller of the evidence the list does not count for the product' as what,
    jsonb_build_object('item', i.id, 'seller', x.id) as ids, i.external_id as expected, null as found
  from collection_sightings s
  join collection_items i on i.id = s.item_id
  join collection_runs r on r.id = i.run_id
  cross join lateral unnest(s.seller_ids) as seen(seller_id)
  join sellers x on x.id = seen.seller_id
  left join seller_matches m on m.seller_id = x.id and m.asin = i.external_id collate "C"
  where ($1::uuid[] is null or i.run_id = any($1)) and m.seller_id is null
    and not exists (select from seller_list_due d where i.id = any (d.item_ids))
  order by r.number limit 20`

const LIST_ORGANISATION: Rule = `
  select null::int as run, 'organisation of a row about a seller' as what,
    jsonb_build_object('seller', x.id, 'table', t.name) as ids, x.org_id::text as expected, t.org_id::text as found
  from (
    select 'seller_list' as name, seller_id, org_id from seller_list
    union all select 'seller_matches', seller_id, org_id from seller_matches
    union all select 'seller_marks', seller_id, org_id from seller_marks
    union all select 'seller_names', seller_id, org_id from seller_names
  ) t join sellers x on x.id = t.seller_id
  where ($1::uuid[] is null or x.org_id in (select org_id from collection_runs where id = any($1))) and x.org_id <> t.org_id
  limit 20`

/** The rules. */
export const LIST_RULES: readonly Rule[] = [LIST_FIGURES, MATCHES_COUNTED, LIST_ORGANISATION]
