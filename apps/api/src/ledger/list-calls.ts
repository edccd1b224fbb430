import type { Queryable } from '../db/client.ts'
import type { CallOutcome, CallState } from './book.ts'

export type CallRow = Readonly<{
  id: string
  state: CallState | 'held'
  outcome: CallOutcome | null
  /** The ASIN searched for, or the key of the category listed. */
  target: string
  rung: number | null
  attempt: number
  holdMicros: number
  chargeMicros: number | null
  heldAt: Date
  durationMs: number | null
  errorCode: string | null
  errorMessage: string | null
  /** How it was settled without an answer; null when it was not. */
  resolution: Readonly<{
    how: 'person' | 'report'
    actorId: string | null
    at: string
    verdict: 'charged' | 'not_charged'
    note: string
    /** Its answer came after all and proved more. */
    overruled: boolean
  }> | null
}>

/** The select list that makes a `CallRow`, and what it is read from. */
export const CALL_COLUMNS = `
  c.id, c.state, c.outcome, coalesce(i.external_id, k.category_key, '') as target, c.rung, c.attempt,
  c.hold_micros as "holdMicros", c.charge_micros as "chargeMicros", c.held_at as "heldAt",
  c.duration_ms as "durationMs", c.error_code as "errorCode", c.error_message as "errorMessage",
  case when r.call_id is not null then jsonb_build_object('how', r.how, 'actorId', r.actor_id, 'at', r.at,
    'verdict', r.verdict, 'note', r.note, 'overruled', c.overruled_at is not null) end as resolution`
export const CALL_JOINS = `
  from collection_calls c
  left join collection_items i on i.id = c.item_id
  left join collection_run_categories k on k.id = c.category_id
  left join collection_call_resolutions r on r.call_id = c.id`

/** Calls of a run, newest first, at most `limit`; only those in `state` when given. */
export async function listCalls(
  db: Queryable,
  runId: string,
  options: Readonly<{ state?: string; limit: number }>,
): Promise<CallRow[]> {
  const { rows } = await db.query<CallRow>(
    `select ${CALL_COLUMNS} ${CALL_JOINS}
     where c.run_id = $1 and ($2::text is null or c.state = $2) order by c.id desc limit $3`,
    [runId, options.state ?? null, options.limit],
  )
  return rows
}
