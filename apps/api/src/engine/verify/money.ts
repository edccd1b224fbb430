/** I1 and I3: money and counters of runs against the rows they are made of. */
import type { Queryable } from '../../db/client.ts'
import { checkRules, type Finding, type Rule, type Scope } from './types.ts'

const CALLS = `
  select run_id,
    coalesce(sum(charge_micros) filter (where state = 'settled'), 0)::bigint as spent,
    coalesce(sum(hold_micros) filter (where state = 'held'), 0)::bigint as held,
    coalesce(sum(hold_micros) filter (where state = 'suspect'), 0)::bigint as suspect,
    coalesce(sum(greatest(charge_micros - hold_micros, 0)) filter (where state = 'settled'), 0)::bigint as breach,
    coalesce(sum(greatest(least(charge_micros, hold_micros) - resolved_micros, 0))
      filter (where state = 'settled'), 0)::bigint as contradicted,
    count(*) filter (where state = 'held') as held_calls,
    count(*) filter (where state = 'settled') as settled_calls,
    count(*) filter (where state = 'released') as released_calls,
    count(*) filter (where state = 'suspect') as suspect_calls
  from collection_calls where $1::uuid[] is null or run_id = any($1) group by run_id`

const CAP: Rule = `
  with calls as (${CALLS})
  select r.number as run, 'spent + held + suspect' as what, jsonb_build_object('run', r.id) as ids,
    'at most ' || r.cap_micros + r.breach_micros + r.contradicted_micros as expected,
    greatest(r.spent_micros + r.held_micros + r.suspect_micros, coalesce(c.spent + c.held + c.suspect, 0))::text as found
  from collection_runs r left join calls c on c.run_id = r.id
  where ($1::uuid[] is null or r.id = any($1))
    and (r.spent_micros + r.held_micros + r.suspect_micros > r.cap_micros + r.breach_micros + r.contradicted_micros
      or c.spent + c.held + c.suspect > r.cap_micros + c.breach + c.contradicted)
  order by r.number limit 20`

const MONEY_IS_CALLS: Rule = `
  with calls as (${CALLS})
  select r.number as run, 'money of the run against its calls' as what, jsonb_build_object('run', r.id) as ids,
    coalesce(c.spent + c.held + c.suspect, 0)::text as expected,
    (r.spent_micros + r.held_micros + r.suspect_micros)::text as found
  from collection_runs r left join calls c on c.run_id = r.id
  where ($1::uuid[] is null or r.id = any($1))
    and r.spent_micros + r.held_micros + r.suspect_micros <> coalesce(c.spent + c.held + c.suspect, 0)
  order by r.number limit 20`

/** Calls of all runs of the organisations concerned, by the month they were held in. */
const MONTHS = `
  select r.org_id, date_trunc('month', c.held_at at time zone 'UTC')::date as month,
    coalesce(sum(c.charge_micros) filter (where c.state = 'settled'), 0)::bigint as spent,
    coalesce(sum(c.hold_micros) filter (where c.state = 'held'), 0)::bigint as held,
    coalesce(sum(c.hold_micros) filter (where c.state = 'suspect'), 0)::bigint as suspect,
    coalesce(sum(greatest(c.charge_micros - c.hold_micros, 0)) filter (where c.state = 'settled'), 0)::bigint as breach,
    coalesce(sum(greatest(least(c.charge_micros, c.hold_micros) - c.resolved_micros, 0))
      filter (where c.state = 'settled'), 0)::bigint as contradicted,
    count(*) filter (where c.state = 'held') as held_calls,
    count(*) filter (where c.state = 'settled') as settled_calls,
    count(*) filter (where c.state = 'released') as released_calls,
    count(*) filter (where c.state = 'suspect') as suspect_calls
  from collection_calls c join collection_runs r on r.id = c.run_id
  where $1::uuid[] is null or r.org_id in (select org_id from collection_runs where id = any($1))
  group by 1, 2`

const OF_SCOPE = `($1::uuid[] is null or m.org_id in (select org_id from collection_runs where id = any($1)))`

const MONTH_CAP: Rule = `
  with calls as (${MONTHS}), used as (
    select m.*, greatest(m.spent_micros + m.held_micros + m.suspect_micros, c.spent + c.held + c.suspect) + m.deleted_micros as micros,
      least(m.breach_micros, coalesce(c.breach, 0)) + m.deleted_breach_micros + m.contradicted_micros as over
    from collection_months m left join calls c on c.org_id = m.org_id and c.month = m.month where ${OF_SCOPE}
  )
  select null::bigint as run, 'spent + held + suspect of a month' as what,
    jsonb_build_object('org', org_id, 'month', month) as ids,
    'at most ' || cap_micros + over as expected, micros::text as found
  from used where micros > cap_micros + over order by org_id, month limit 20`

const MONTH_CAP_IS_SETTING: Rule = `
  select null::bigint as run, 'cap of a month against the setting' as what,
    jsonb_build_object('org', m.org_id, 'month', m.month) as ids,
    coalesce(s.month_cap_micros::text, 'none') as expected, coalesce(m.cap_micros::text, 'none') as found
  from collection_months m left join collection_settings s on s.org_id = m.org_id
  where ${OF_SCOPE} and m.month >= date_trunc('month', now() at time zone 'UTC')::date
    and m.cap_micros is distinct from s.month_cap_micros
  order by m.org_id, m.month limit 20`

const MONTH_COUNTERS: Rule = `
  with calls as (${MONTHS})
  select null::bigint as run, v.name || ' of a month' as what,
    jsonb_build_object('org', coalesce(m.org_id, c.org_id), 'month', coalesce(m.month, c.month)) as ids,
    coalesce(v.counted, 0)::text as expected, coalesce(v.kept::text, 'no row') as found
  from (select * from collection_months m where ${OF_SCOPE}) m
  full join calls c on c.org_id = m.org_id and c.month = m.month
  cross join lateral (values
    ('spent_micros', m.spent_micros, c.spent), ('held_micros', m.held_micros, c.held),
    ('suspect_micros', m.suspect_micros, c.suspect), ('breach_micros', m.breach_micros, c.breach),
    ('contradicted_micros', m.contradicted_micros, c.contradicted),
    ('held_calls', m.held_calls, c.held_calls), ('settled_calls', m.settled_calls, c.settled_calls),
    ('released_calls', m.released_calls, c.released_calls), ('suspect_calls', m.suspect_calls, c.suspect_calls)
  ) v(name, kept, counted)
  where v.kept is distinct from coalesce(v.counted, 0)
    -- What runs that are deleted brought stays with the month.
    and not (v.name = 'contradicted_micros' and v.kept > coalesce(v.counted, 0))
  order by 3, 2 limit 20`

/**
 * I1: what a run has spent, holds and suspects is under its cap, and so is what all runs of an organisation have of a
 * month; by the kept columns and by the rows of the calls.
 */
export function checkCap(tx: Queryable, scope: Scope): Promise<Finding> {
  const counting = `select
    ((select count(*) from collection_runs where $1::uuid[] is null or id = any($1)) +
     (select count(*) from collection_months m where ${OF_SCOPE}))::int as checked`
  return checkRules(tx, 'I1', scope, counting, [CAP, MONEY_IS_CALLS, MONTH_CAP, MONTH_CAP_IS_SETTING])
}

const COUNTERS: Rule = `
  with calls as (${CALLS}), items as (
    select run_id,
      count(*) filter (where product) as total,
      count(*) filter (where product and status = 'pending') as pending,
      count(*) filter (where product and status = 'processing') as processing,
      count(*) filter (where product and status in ('completed', 'failed', 'skipped')) as processed,
      count(*) filter (where product and status = 'failed') as failed,
      count(*) filter (where product and outcome = 'found') as found,
      count(*) filter (where product and outcome = 'none') as none,
      count(*) filter (where product and outcome = 'blocked') as blocked,
      count(*) filter (where product and outcome = 'drift') as drift,
      count(*) filter (where product and outcome = 'rejected') as rejected,
      count(*) filter (where product and outcome = 'skipped') as skipped,
      count(*) filter (where not product) as sellers,
      count(*) filter (where not product and new_to_org) as new_sellers
    from (select *, item_type = 'amazon_product' as product from collection_items
      where $1::uuid[] is null or run_id = any($1)) i
    group by run_id
  ), categories as (
    select run_id, count(*) as total, count(*) filter (where status in ('pending', 'processing')) as open,
      count(*) filter (where status = 'failed') as failed
    from collection_run_categories where $1::uuid[] is null or run_id = any($1) group by run_id
  )
  select r.number as run, v.name as what, jsonb_build_object('run', r.id) as ids,
    coalesce(v.counted, 0)::text as expected, v.kept::text as found
  from collection_runs r
  left join calls c on c.run_id = r.id
  left join items i on i.run_id = r.id
  left join categories k on k.run_id = r.id
  cross join lateral (values
    ('spent_micros', r.spent_micros, c.spent), ('held_micros', r.held_micros, c.held),
    ('suspect_micros', r.suspect_micros, c.suspect), ('breach_micros', r.breach_micros, c.breach),
    ('contradicted_micros', r.contradicted_micros, c.contradicted),
    ('actual_cost_cents', r.actual_cost_cents, ceil(c.spent / 10000.0)::bigint),
    ('held_calls', r.held_calls, c.held_calls), ('settled_calls', r.settled_calls, c.settled_calls),
    ('released_calls', r.released_calls, c.released_calls), ('suspect_calls', r.suspect_calls, c.suspect_calls),
    ('total_categories', r.total_categories, k.total), ('open_categories', r.open_categories, k.open),
    ('failed_categories', r.failed_categories, k.failed),
    ('total_items', r.total_items, i.total), ('pending_items', r.pending_items, i.pending),
    ('processing_items', r.processing_items, i.processing), ('processed_items', r.processed_items, i.processed),
    ('failed_items', r.failed_items, i.failed), ('found_items', r.found_items, i.found),
    ('none_items', r.none_items, i.none), ('blocked_items', r.blocked_items, i.blocked),
    ('drift_items', r.drift_items, i.drift), ('rejected_items', r.rejected_items, i.rejected),
    ('skipped_items', r.skipped_items, i.skipped), ('seller_items', r.seller_items, i.sellers),
    ('new_sellers', r.new_sellers, i.new_sellers)
  ) v(name, kept, counted)
  where ($1::uuid[] is null or r.id = any($1)) and v.kept <> coalesce(v.counted, 0)
  order by r.number limit 20`

const ITEM_COSTS: Rule = `
  with spent as (
    select item_id, sum(charge_micros)::bigint as micros from collection_calls
    where state = 'settled' and item_id is not null and ($1::uuid[] is null or run_id = any($1)) group by item_id
  )
  select r.number as run, 'cost_micros of a product' as what, jsonb_build_object('item', i.id) as ids,
    coalesce(s.micros, 0)::text as expected, i.cost_micros::text as found
  from collection_items i join collection_runs r on r.id = i.run_id left join spent s on s.item_id = i.id
  where ($1::uuid[] is null or i.run_id = any($1)) and i.cost_micros <> coalesce(s.micros, 0)
  order by r.number limit 20`

/** I3: every counter of a run, and the cost of every product, against the rows of calls, products and categories. */
export function checkCounters(tx: Queryable, scope: Scope): Promise<Finding> {
  const counting = `select
    ((select count(*) from collection_runs where $1::uuid[] is null or id = any($1)) +
     (select count(*) from collection_months m where ${OF_SCOPE}) +
     (select count(*) from collection_items where $1::uuid[] is null or run_id = any($1)) +
     (select count(*) from collection_calls where $1::uuid[] is null or run_id = any($1)))::int as checked`
  return checkRules(tx, 'I3', scope, counting, [COUNTERS, MONTH_COUNTERS, ITEM_COSTS])
}
