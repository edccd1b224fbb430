/**
 * Resolutions: suspect calls settled without an answer, once and for good, by a person's word or a provider's report. The
 * row that says so is what moves the money (migration 051).
 */
import { toJson } from '../base/json.ts'
import type { Micros } from '../base/money.ts'
import type { Tx } from '../db/client.ts'

export type CallToResolve = Readonly<{
  id: string
  state: 'held' | 'settled' | 'released' | 'suspect'
  holdMicros: Micros
  /** Its lease has not run out, or the worker that sent it is alive and has not told what came of it. */
  mayAnswer: boolean
  /** Who resolved it before, when, and as what; null when nobody did. */
  resolvedBy: string | null
  resolvedAt: Date | null
  verdict: 'charged' | 'not_charged' | null
}>

/**
 * Calls of the run, locked until the transaction ends: those in `callIds`, or all that are suspect when null. A worker is
 * alive when its heart beat within `deadAfterMs`. A call its own worker gave up (timed out, reset) is over: no answer can
 * come. One that was rescued from a worker may still be answered as long as that worker lives.
 */
export async function lockCallsToResolve(
  tx: Tx,
  runId: string,
  callIds: readonly string[] | null,
  deadAfterMs: number,
): Promise<CallToResolve[]> {
  const locked = await tx.query<{ id: string }>(
    `select id from collection_calls
     where run_id = $1 and case when $2::uuid[] is null then state = 'suspect' else id = any($2) end
     order by id for no key update`,
    [runId, callIds],
  )
  // A statement of its own: it sees what others committed while this one waited for their locks.
  const { rows } = await tx.query<CallToResolve>(
    `select c.id, c.state, c.hold_micros as "holdMicros", r.verdict, r.at as "resolvedAt",
       case when r.how = 'report' then 'the provider''s report' else coalesce(u.email, r.actor_id::text) end as "resolvedBy",
       c.error_code is not distinct from 'worker_lost' and (c.lease_until > now()
         or coalesce(w.stopped_at is null and w.heartbeat_at >= now() - $2 * interval '1 ms', false)) as "mayAnswer"
     from collection_calls c
     left join collection_workers w on w.id = c.worker_id
     left join collection_call_resolutions r on r.call_id = c.id
     left join auth.users u on u.id = r.actor_id
     where c.id = any($1) order by c.id`,
    [locked.rows.map(({ id }) => id), deadAfterMs],
  )
  return rows
}

export type Resolution = Readonly<{
  callId: string
  how: 'person' | 'report'
  /** The person; null when nobody asked for it. */
  actorId: string | null
  /** What it cost; null when it was not charged. */
  chargeMicros: Micros | null
  /** Why, for those who look at it later. */
  note: string
}>

/**
 * Writes resolutions of suspect calls. Afterwards each call is settled at its amount or released, its product has cost so
 * much more, and its run's money has moved. The database refuses the lot when one of the calls is not suspect (GL002) or
 * was resolved before.
 */
export async function insertResolutions(tx: Tx, resolutions: readonly Resolution[]): Promise<void> {
  await tx.query(
    `insert into collection_call_resolutions (call_id, how, actor_id, verdict, amount_micros, note)
     select id, how, actor_id, case when amount is null then 'not_charged' else 'charged' end, amount, note
     from json_to_recordset($1) as r(id uuid, how text, actor_id uuid, amount bigint, note text)`,
    [
      toJson(
        resolutions.map(({ callId, how, actorId, chargeMicros, note }) => ({
          id: callId,
          how,
          actor_id: actorId,
          amount: chargeMicros,
          note,
        })),
      ),
    ],
  )
}

export type Overruled = Readonly<{ id: string; moreMicros: Micros }>

/**
 * Answers that came after a person had resolved their calls, and prove a higher charge: the calls are settled at it, once.
 * Every other call is left as it is. Returns by how much each is dearer now.
 */
export async function overruleCalls(
  tx: Tx,
  proved: readonly Readonly<{ callId: string; chargeMicros: Micros }>[],
): Promise<Overruled[]> {
  const { rows } = await tx.query<Overruled>(
    `with higher as materialized (
       select c.id, p.charge, p.charge - coalesce(c.charge_micros, 0) as more
       from json_to_recordset($1) as p(id uuid, charge bigint)
       join collection_calls c on c.id = p.id
       where c.resolved_micros is not null and c.overruled_at is null and p.charge > coalesce(c.charge_micros, 0)
       order by c.id for no key update of c
     )
     update collection_calls c set state = 'settled', charge_micros = h.charge, overruled_at = clock_timestamp()
     from higher h where c.id = h.id returning c.id, h.more as "moreMicros"`,
    [toJson(proved.map(({ callId, chargeMicros }) => ({ id: callId, charge: chargeMicros })))],
  )
  return rows
}
