/** I6, I8 and I10: states and the machine behind them, progress, and events. */
import type { Queryable } from '../../db/client.ts'
import { DEAD_AFTER_MS } from '../../ledger/rescue.ts'
import { checkRules, type Finding, finding, notChecked, type Rule, type Scope } from './types.ts'

const RUN_STATE: Rule = `
  select r.number as run, v.what, jsonb_build_object('run', r.id) as ids, v.expected, r.status as found
  from collection_runs r cross join lateral (values
    ('started_at', 'set once it has run', (r.status in ('running', 'paused', 'completed', 'failed')) and r.started_at is null
      or r.status = 'pending' and r.started_at is not null),
    ('completed_at', 'set exactly when it has ended',
      (r.status in ('completed', 'failed', 'cancelled')) <> (r.completed_at is not null)),
    ('paused_at', 'set exactly when it is paused', (r.status = 'paused') <> (r.paused_at is not null)),
    ('pause_reason', 'set exactly when it is paused', (r.status = 'paused') <> (r.pause_reason is not null)),
    ('resume_at', 'set only when it is paused', r.status <> 'paused' and r.resume_at is not null),
    ('failure_reason', 'set exactly when it has failed', (r.status = 'failed') <> (r.failure_reason is not null)),
    ('times', 'created, started, ended in this order', r.started_at < r.created_at or r.completed_at < r.started_at)
  ) v(what, expected, broken)
  where ($1::uuid[] is null or r.id = any($1)) and v.broken
  order by r.number limit 20`

const COMPLETED_IS_DONE: Rule = `
  select r.number as run, 'something open in a completed run' as what, jsonb_build_object(o.kind, o.id) as ids,
    'ended' as expected, o.status as found
  from collection_runs r cross join lateral (
    select 'item' as kind, id, status from collection_items
      where run_id = r.id and status in ('pending', 'processing')
    union all
    select 'category', id, status from collection_run_categories
      where run_id = r.id and status in ('pending', 'processing')
    union all
    select 'call', id, state from collection_calls where run_id = r.id and state = 'held'
  ) o
  where ($1::uuid[] is null or r.id = any($1)) and r.status = 'completed'
  order by r.number limit 20`

/** Work in progress has its held call, and a held call its work in progress: also while workers are busy. */
const IN_WORK_IS_HELD: Rule = `
  with work as (
    select id, run_id, epoch, 'item' as kind from collection_items where status = 'processing'
    union all
    select id, run_id, epoch, 'category' from collection_run_categories where status = 'processing'
  ), held as (
    select id, run_id, epoch, coalesce(item_id, category_id) as target from collection_calls where state = 'held'
  )
  select r.number as run, case when h.id is null then w.kind || ' in work without a held call'
      else 'held call without work' end as what,
    jsonb_strip_nulls(jsonb_build_object('target', coalesce(w.id, h.target), 'call', h.id)) as ids,
    'epoch ' || w.epoch as expected, 'epoch ' || h.epoch as found
  from work w full join held h on h.target = w.id and h.epoch = w.epoch
  join collection_runs r on r.id = coalesce(w.run_id, h.run_id)
  where ($1::uuid[] is null or r.id = any($1)) and (w.id is null or h.id is null)
  order by r.number limit 20`

const ENDED_HAS_TIME: Rule = `
  select r.number as run, o.kind || ' and its finished_at' as what, jsonb_build_object(o.kind, o.id) as ids,
    'set exactly when it has ended' as expected, o.status as found
  from (
    select 'item' as kind, id, run_id, status, finished_at from collection_items
    union all
    select 'category', id, run_id, status, finished_at from collection_run_categories
  ) o join collection_runs r on r.id = o.run_id
  where ($1::uuid[] is null or o.run_id = any($1))
    and (o.status in ('completed', 'failed', 'skipped')) <> (o.finished_at is not null)
  order by r.number limit 20`

const CALL_STATE: Rule = `
  select r.number as run, 'a booked call' as what, jsonb_build_object('call', c.id) as ids,
    'an outcome, and a time not before its hold' as expected, c.state || ' ' || coalesce(c.outcome, 'without outcome') as found
  from collection_calls c join collection_runs r on r.id = c.run_id
  where ($1::uuid[] is null or c.run_id = any($1)) and c.state <> 'held'
    and (c.outcome is null or c.booked_at is null or c.booked_at < c.held_at)
  order by r.number limit 20`

/** Moves as the events tell them: what may come after what. */
const MOVES: Readonly<Record<string, readonly string[]>> = {
  '': ['run.created'],
  'run.created': ['run.queued', 'run.started', 'run.cancelled'],
  'run.queued': ['run.queued', 'run.started', 'run.cancelled'],
  'run.started': ['run.paused', 'run.completed', 'run.failed', 'run.cancelled'],
  'run.paused': ['run.resumed', 'run.cancelled'],
  'run.resumed': ['run.paused', 'run.completed', 'run.failed', 'run.cancelled'],
}
const LEGAL = Object.entries(MOVES).flatMap(([from, next]) => next.map((to) => `('${from}', '${to}')`))

const TOLD = `
  select run_id, seq, type, lag(type, 1, '') over (partition by run_id order by seq) as before
  from collection_events
  where type in ('run.created', 'run.queued', 'run.started', 'run.paused', 'run.resumed', 'run.completed', 'run.failed',
    'run.cancelled') and ($1::uuid[] is null or run_id = any($1))`

const LEGAL_MOVES: Rule = `
  select r.number as run, 'move told by event ' || t.seq as what, jsonb_build_object('run', r.id) as ids,
    'a legal move' as expected, t.before || ' -> ' || t.type as found
  from (${TOLD}) t join collection_runs r on r.id = t.run_id
  where (t.before, t.type) not in (${LEGAL.join(', ')})
  order by r.number, t.seq limit 20`

const STATUS_AS_TOLD: Rule = `
  with told as (
    select distinct on (run_id) run_id, type from (${TOLD}) t order by run_id, seq desc
  )
  select r.number as run, 'status against the last event that tells of it' as what, jsonb_build_object('run', r.id) as ids,
    coalesce(t.type, 'no event') as expected, r.status as found
  from collection_runs r left join told t on t.run_id = r.id
  where ($1::uuid[] is null or r.id = any($1))
    and r.status <> case t.type when 'run.started' then 'running' when 'run.resumed' then 'running'
      when 'run.paused' then 'paused' when 'run.completed' then 'completed' when 'run.failed' then 'failed'
      when 'run.cancelled' then 'cancelled' else 'pending' end
  order by r.number limit 20`

/** I6: every state is one it may be in, and the events tell of legal moves only. */
export function checkStates(tx: Queryable, scope: Scope): Promise<Finding> {
  const counting = `select
    ((select count(*) from collection_runs where $1::uuid[] is null or id = any($1)) +
     (select count(*) from collection_items where $1::uuid[] is null or run_id = any($1)) +
     (select count(*) from collection_run_categories where $1::uuid[] is null or run_id = any($1)) +
     (select count(*) from collection_calls where $1::uuid[] is null or run_id = any($1)))::int as checked`
  const rules = [RUN_STATE, COMPLETED_IS_DONE, IN_WORK_IS_HELD, ENDED_HAS_TIME, CALL_STATE, LEGAL_MOVES, STATUS_AS_TOLD]
  return checkRules(tx, 'I6', scope, counting, rules)
}

const STILL_MS = 60_000
const FREE_PLACE = `
  (select count(*) from collection_runs o where o.org_id = r.org_id and o.status = 'running') <
    coalesce((select max_concurrent_runs from collection_settings s where s.org_id = r.org_id), 3)`

/** A call in flight within its lease, and work that waits for its moment, are reasons to stand still. */
const STANDING_STILL: Rule = `
  select r.number as run, v.what, jsonb_build_object('run', r.id) as ids, v.expected, r.status || ' since ' || v.since as found
  from collection_runs r cross join lateral (values
    ('a running run that does not move', 'progress within 60 s', greatest(r.updated_at, r.started_at),
      r.status = 'running'
      and not exists (select from collection_calls c where c.run_id = r.id and c.state = 'held' and c.lease_until > now())
      and not exists (select from collection_items i where i.run_id = r.id and i.status = 'pending'
        and i.not_before > now() - interval '60 s' and i.not_before < 'infinity')
      and not exists (select from collection_run_categories k where k.run_id = r.id and k.status = 'pending'
        and k.not_before > now() - interval '60 s' and k.not_before < 'infinity')),
    ('a waiting run that is not started', 'started within 60 s', greatest(r.updated_at, r.start_requested_at),
      r.status = 'pending' and r.start_requested_at is not null and ${FREE_PLACE}),
    ('a paused run that does not resume', 'resumed within 60 s', greatest(r.updated_at, r.resume_at),
      r.status = 'paused' and r.resume_at is not null and ${FREE_PLACE})
  ) v(what, expected, since, broken)
  where ($1::uuid[] is null or r.id = any($1)) and v.broken and v.since < now() - ${STILL_MS} * interval '1 ms'
  order by r.number limit 20`

/** I8: with a live worker, what can go on has gone on within a minute. */
export async function checkProgress(tx: Queryable, scope: Scope): Promise<Finding> {
  const open = `select count(*)::int as checked from collection_runs
    where ($1::uuid[] is null or id = any($1)) and (status = 'running' or (status = 'pending' and start_requested_at is not null)
      or (status = 'paused' and resume_at is not null))`
  const alive = await tx.query(
    `select from collection_workers
     where stopped_at is null and heartbeat_at > now() - $1 * interval '1 ms'
       and started_at < now() - $2 * interval '1 ms' limit 1`,
    [DEAD_AFTER_MS, STILL_MS],
  )
  if (alive.rowCount) return checkRules(tx, 'I8', scope, open, [STANDING_STILL])
  const { rows } = await tx.query<{ checked: number }>(open, [scope])
  if (rows[0]?.checked === 0) return finding('I8', 0, [])
  return notChecked('I8', 'No worker has been alive for the last minute, and runs do not move by themselves.')
}

const NO_GAP: Rule = `
  with counted as (
    select run_id, count(*) as events, min(seq) as first, max(seq) as last from collection_events
    where $1::uuid[] is null or run_id = any($1) group by run_id
  )
  select r.number as run, 'numbers of its events' as what, jsonb_build_object('run', r.id) as ids,
    '1 to ' || r.event_seq as expected,
    coalesce(c.events || ' events from ' || c.first || ' to ' || c.last, 'no events') as found
  from collection_runs r left join counted c on c.run_id = r.id
  where ($1::uuid[] is null or r.id = any($1))
    and (coalesce(c.events, 0), coalesce(c.first, 1), coalesce(c.last, 0)) <> (r.event_seq, 1, r.event_seq)
  order by r.number limit 20`

const IN_TIME: Rule = `
  select r.number as run, 'time of event ' || e.seq as what, jsonb_build_object('run', r.id) as ids,
    'not before ' || e.before as expected, e.at::text as found
  from (
    select run_id, seq, at, lag(at) over (partition by run_id order by seq) as before from collection_events
    where $1::uuid[] is null or run_id = any($1)
  ) e join collection_runs r on r.id = e.run_id
  where e.at < e.before
  order by r.number, e.seq limit 20`

const POSITIONS: Rule = `
  select null::bigint as run, 'positions of an organisation' as what, jsonb_build_object('org', p.org_id) as ids,
    '1 to ' || p.last_position as expected,
    count(f.position) || ' up to ' || coalesce(max(f.position), 0) as found
  from collection_positions p left join collection_feed f on f.org_id = p.org_id
  where $1::uuid[] is null or p.org_id in (select org_id from collection_runs where id = any($1))
  group by p.org_id, p.last_position
  having count(f.position) <> p.last_position or coalesce(max(f.position), 0) <> p.last_position
  limit 20`

const IN_POSITION: Rule = `
  with placed as (
    select e.run_id, e.seq, f.position, lag(f.position, 1, 0) over (partition by e.run_id order by e.seq) as before
    from collection_events e
    left join (collection_feed f join collection_runs o on o.id = f.run_id and o.org_id = f.org_id)
      on f.run_id = e.run_id and f.seq = e.seq
    where $1::uuid[] is null or e.run_id = any($1)
  )
  select r.number as run, 'position of event ' || p.seq as what, jsonb_build_object('run', r.id) as ids,
    'one after ' || coalesce(p.before::text, 'none') as expected, coalesce(p.position::text, 'none') as found
  from placed p join collection_runs r on r.id = p.run_id
  where p.position is null or p.position <= p.before
  order by r.number, p.seq limit 20`

/**
 * I10: the events of every run are numbered 1, 2, 3, ... up to its `event_seq`, and their times never go back; those of an
 * organisation have positions without a gap, which follow the numbers of each run.
 */
export function checkEvents(tx: Queryable, scope: Scope): Promise<Finding> {
  const counting = `select count(*)::int as checked from collection_events where $1::uuid[] is null or run_id = any($1)`
  return checkRules(tx, 'I10', scope, counting, [NO_GAP, IN_TIME, POSITIONS, IN_POSITION])
}
