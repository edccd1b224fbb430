import { toJson } from '../base/json.ts'
import type { Tx } from '../db/client.ts'

/** The vocabulary of facts a run tells. docs/flow.md lists what each carries. */
export type EventType =
  | 'run.created'
  | 'run.queued'
  | 'run.started'
  | 'run.paused'
  | 'run.resumed'
  | 'run.completed'
  | 'run.failed'
  | 'run.cancelled'
  | 'run.cap_changed'
  | 'run.soft_warning'
  | 'run.retried'
  | 'category.listed'
  | 'category.failed'
  | 'calls.booked'
  | 'calls.rescued'
  | 'calls.resolved'
  | 'calls.contradicted'

export type NewEvent = Readonly<{ type: EventType; data?: Readonly<Record<string, unknown>>; actorId?: string | null }>

/**
 * Appends facts to a run, numbered on from its last one without a gap, and returns the last number. The run's row is
 * locked until the transaction ends, which is what keeps the numbers free of gaps; the database checks them and moves
 * the run's `event_seq` itself (migration 045).
 */
export async function appendEvents(tx: Tx, runId: string, events: readonly NewEvent[]): Promise<number> {
  if (events.length === 0) return 0
  const { rows } = await tx.query<{ event_seq: number }>({
    name: 'events.append',
    text: `
      with run as materialized (
        select event_seq from collection_runs where id = $1 for no key update
      ), written as (
        insert into collection_events (run_id, seq, type, actor_id, data)
        select $1, run.event_seq + e.place, e.type, e.actor_id, coalesce(e.data, '{}')
        from run, json_to_recordset($3) as e(place int, type text, actor_id uuid, data jsonb)
      )
      select event_seq + $2::int as event_seq from run`,
    values: [
      runId,
      events.length,
      toJson(
        events.map((event, index) => ({
          place: index + 1,
          type: event.type,
          actor_id: event.actorId ?? null,
          data: event.data ?? {},
        })),
      ),
    ],
  })
  const last = rows[0]?.event_seq
  if (last === undefined) throw new Error(`no run ${runId} to append events to`)
  return last
}
