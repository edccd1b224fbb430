/** I5 and I7: results, sellers and their evidence; and what was asked again. */
import type { Queryable } from '../../db/client.ts'
import { LIST_RULES } from './list.ts'
import { checkRules, type Finding, type Rule, type Scope } from './types.ts'

const EVIDENCE_FITS_OUTCOME: Rule = `
  select r.number as run, 'evidence of a product against its outcome' as what, jsonb_build_object('item', i.id) as ids,
    case i.outcome when 'found' then 'evidence' else 'no evidence' end as expected, i.outcome as found
  from collection_items i join collection_runs r on r.id = i.run_id
  left join (select distinct item_id from collection_sightings) s on s.item_id = i.id
  where ($1::uuid[] is null or i.run_id = any($1)) and i.item_type = 'amazon_product' and i.outcome is not null
    and (i.outcome = 'found') <> (s.item_id is not null)
  order by r.number limit 20`

const EVIDENCE_HAS_CALL: Rule = `
  select r.number as run, 'call of the evidence' as what,
    jsonb_build_object('item', s.item_id, 'call', s.call_id) as ids,
    'a call of this product and rung that found something' as expected,
    coalesce(c.outcome || ' on rung ' || c.rung, 'no such call') as found
  from collection_sightings s
  join collection_items i on i.id = s.item_id
  join collection_runs r on r.id = i.run_id
  left join collection_calls c on c.id = s.call_id and c.item_id = s.item_id
  where ($1::uuid[] is null or i.run_id = any($1)) and (c.outcome = 'found' and c.rung = s.rung) is not true
  order by r.number limit 20`

const SELLER_ONCE: Rule = `
  select null::int as run, 'seller twice in an organisation' as what,
    jsonb_build_object('sellers', string_agg(id::text, ' ' order by id)) as ids, '1' as expected, count(*)::text as found
  from sellers
  where $1::uuid[] is null or org_id in (select org_id from collection_runs where id = any($1))
  group by org_id, platform, lower(trim(normalize(normalized_name, NFKC))) having count(*) > 1 limit 20`

/**
 * Runs in which a seller was seen, counted. Not counted: items from before the seller came into being (it was deleted and
 * found again; ten minutes are more than a transaction lasts). When a run it was seen in is deleted, fewer are left.
 */
const TIMES_SEEN: Rule = `
  with runs as (
    select id, org_id from collection_runs
    where $1::uuid[] is null or org_id in (select org_id from collection_runs where id = any($1))
  ), counted as (
    select s.id, count(*) as times
    from runs r
    join collection_items i on i.run_id = r.id and i.item_type = 'ebay_seller'
    join sellers s on s.org_id = r.org_id and s.platform = 'ebay' and s.normalized_name = i.external_id
      and i.created_at > s.created_at - interval '10 minutes'
    group by s.id
  )
  select null::int as run, 'times_seen of a seller' as what, jsonb_build_object('seller', s.id) as ids,
    coalesce(c.times, 0)::text as expected, s.times_seen::text as found
  from sellers s left join counted c on c.id = s.id
  where ($1::uuid[] is null or s.org_id in (select org_id from runs))
    and case when s.first_seen_run_id is null or s.last_seen_run_id is null
      then s.times_seen < coalesce(c.times, 0) else s.times_seen <> coalesce(c.times, 0) end
  limit 20`

/** Which sellers the evidence of a run names, once each. */
const NAMED = `
  select i.run_id, seller_id, min(s.item_id::text) as item_id
  from collection_sightings s join collection_items i on i.id = s.item_id
  cross join lateral unnest(s.seller_ids) as seller_id
  where $1::uuid[] is null or i.run_id = any($1) group by 1, 2`

const SELLER_IN_RUN: Rule = `
  with named as (${NAMED})
  select r.number as run, 'seller of the evidence without an item in the run' as what,
    jsonb_build_object('item', n.item_id, 'seller', n.seller_id) as ids, s.normalized_name as expected,
    case when s.org_id <> r.org_id then 'a seller of another organisation' end as found
  from named n
  join collection_runs r on r.id = n.run_id
  join sellers s on s.id = n.seller_id
  left join collection_items i on i.run_id = n.run_id and i.item_type = 'ebay_seller' and i.external_id = s.normalized_name
  where i.id is null or s.org_id <> r.org_id
  order by r.number limit 20`

/**
 * A seller the evidence names and the list lacks was deleted by a person. Then the run still has an item for it, whose
 * seller is missing or younger: there are at least as many of those as of sellers that are missing.
 */
const SELLER_EXISTS: Rule = `
  with named as (${NAMED}), missing as (
    select n.run_id, count(*) as sellers, min(n.seller_id::text) as example from named n
    left join sellers s on s.id = n.seller_id where s.id is null group by n.run_id
  )
  select r.number as run, 'sellers the evidence names that never existed' as what,
    jsonb_build_object('seller', m.example) as ids, 'at most ' || orphans.count as expected, m.sellers::text as found
  from missing m
  join collection_runs r on r.id = m.run_id
  cross join lateral (
    select count(*) from collection_items i
    left join sellers s on s.org_id = r.org_id and s.platform = 'ebay' and s.normalized_name = i.external_id
    where i.run_id = r.id and i.item_type = 'ebay_seller' and (s.id is null or s.created_at > i.created_at)
  ) orphans
  where m.sellers > orphans.count
  order by r.number limit 20`

const PARENT: Rule = `
  select r.number as run, 'product that brought a seller' as what, jsonb_build_object('item', i.id) as ids,
    'a product of the same run' as expected, i.parent_id::text as found
  from collection_items i
  join collection_runs r on r.id = i.run_id
  left join collection_items p on p.id = i.parent_id
  where ($1::uuid[] is null or i.run_id = any($1)) and i.item_type = 'ebay_seller'
    and (p.run_id = i.run_id and p.item_type = 'amazon_product') is not true
  order by r.number limit 20`

/** I5: results and evidence fit together, sellers are on the list once, and `times_seen` is exact. */
export function checkResults(tx: Queryable, scope: Scope): Promise<Finding> {
  const counting = `select
    ((select count(*) from collection_items where $1::uuid[] is null or run_id = any($1)) +
     (select count(*) from collection_sightings s where $1::uuid[] is null
       or exists (select from collection_items i where i.id = s.item_id and i.run_id = any($1))) +
     (select count(*) from sellers where $1::uuid[] is null))::int as checked`
  const rules = [
    EVIDENCE_FITS_OUTCOME,
    EVIDENCE_HAS_CALL,
    SELLER_ONCE,
    TIMES_SEEN,
    SELLER_IN_RUN,
    SELLER_EXISTS,
    PARENT,
    ...LIST_RULES,
  ]
  return checkRules(tx, 'I5', scope, counting, rules)
}

/**
 * A claim notes its time when it has its product, a booking before it lets go of it: so the times of one product's calls
 * are in the order of their claims. An answer that came when the product had been asked for again already (`next_at`) was
 * booked, and could not take effect.
 */
const ASKED_AGAIN: Rule = `
  with answered as (
    select item_id, rung, min(booked_at) as at from (
      select item_id, rung, booked_at, state, outcome, lead(held_at) over (partition by item_id order by epoch) as next_at
      from collection_calls where item_id is not null and ($1::uuid[] is null or run_id = any($1))
    ) c
    where outcome in ('found', 'none') and state <> 'released' and (next_at is null or next_at > booked_at)
    group by item_id, rung
  )
  select r.number as run, 'search made again' as what, jsonb_build_object('item', c.item_id, 'call', c.id) as ids,
    'answered at ' || a.at as expected, 'asked at ' || c.held_at as found
  from collection_calls c
  join answered a on a.item_id = c.item_id and a.rung = c.rung and c.held_at > a.at
  join collection_runs r on r.id = c.run_id
  order by r.number limit 20`

const ASKED_WHEN_DONE: Rule = `
  select r.number as run, 'search made for a product that had ended' as what,
    jsonb_build_object('item', i.id, 'call', c.id) as ids, 'ended at ' || i.finished_at as expected,
    'asked at ' || c.held_at as found
  from collection_calls c
  join collection_items i on i.id = c.item_id
  join collection_runs r on r.id = c.run_id
  where ($1::uuid[] is null or c.run_id = any($1)) and c.held_at > i.finished_at
  order by r.number limit 20`

/** Two calls for one product at a time: only when the first was taken for lost, and that was told. */
const TOGETHER: Rule = `
  with together as (
    select run_id, count(*) as calls, min(id::text) as example from (
      select id, run_id, booked_at, lead(held_at) over (partition by coalesce(item_id, category_id) order by epoch) as next_at
      from collection_calls where $1::uuid[] is null or run_id = any($1)
    ) c where booked_at > next_at or (booked_at is null and next_at is not null)
    group by run_id
  ), rescued as (
    select run_id, sum((data ->> 'calls')::int) as calls from collection_events where type = 'calls.rescued' group by run_id
  )
  select r.number as run, 'calls made while an earlier one for the same was not booked' as what,
    jsonb_build_object('call', t.example) as ids, 'at most ' || coalesce(l.calls, 0) || ' (those rescued)' as expected,
    t.calls::text as found
  from together t join collection_runs r on r.id = t.run_id left join rescued l on l.run_id = t.run_id
  where t.calls > coalesce(l.calls, 0)
  order by r.number limit 20`

/** I7: what was answered is not asked again; two calls for one thing at a time only where a worker was lost. */
export function checkRepeats(tx: Queryable, scope: Scope): Promise<Finding> {
  const counting = `select count(*)::int as checked from collection_calls where $1::uuid[] is null or run_id = any($1)`
  return checkRules(tx, 'I7', scope, counting, [ASKED_AGAIN, ASKED_WHEN_DONE, TOGETHER])
}
