/** Calls of a run, a page at a time, and those in flight with what they ask. */
import type { Queryable } from '../db/client.ts'
import { type Beside, keyset } from '../db/keyset.ts'
import { CALL_COLUMNS, CALL_JOINS, type CallRow } from './list-calls.ts'

export type CallPageQuery = Readonly<{ state?: string; outcome?: string; beside: Beside | null; limit: number }>

/** A page of calls, newest first, and the first of the next page when there is one. */
export async function callPage(db: Queryable, runId: string, query: CallPageQuery): Promise<CallRow[]> {
  const values: unknown[] = [runId, query.state ?? null, query.outcome ?? null, query.limit + 1]
  // Ids are made in the order of time.
  const sort = { expression: 'c.id', type: 'uuid', descending: true } as const
  const page = keyset(sort, { expression: 'c.id', type: 'uuid' }, query.beside, values)
  const { rows } = await db.query<CallRow>(
    `select ${CALL_COLUMNS} ${CALL_JOINS}
     where c.run_id = $1 and ($2::text is null or c.state = $2) and ($3::text is null or c.outcome = $3) and ${page.where}
     order by ${page.orderBy} limit $4`,
    values,
  )
  return rows
}

export type CallInFlight = Readonly<{
  callId: string
  workerId: string
  workerName: string | null
  account: string
  target: string
  rung: number | null
  attempt: number
  holdMicros: number
  /** What is asked, exactly. */
  request: unknown
  heldAt: Date
  /** By the database's clock. */
  forMs: number
}>

/** Calls of the run in flight, longest first, at most `most`. */
export async function callsInFlight(db: Queryable, runId: string, most: number): Promise<CallInFlight[]> {
  const { rows } = await db.query<CallInFlight>(
    `select c.id as "callId", c.worker_id as "workerId", w.name as "workerName", a.name as account,
       coalesce(i.external_id, k.category_key, '') as target, c.rung, c.attempt, c.hold_micros as "holdMicros", c.request,
       c.held_at as "heldAt", greatest(0, extract(epoch from clock_timestamp() - c.held_at) * 1000)::float8 as "forMs"
     from collection_calls c
     join provider_accounts a on a.id = c.account_id
     left join collection_workers w on w.id = c.worker_id
     left join collection_items i on i.id = c.item_id
     left join collection_run_categories k on k.id = c.category_id
     where c.run_id = $1 and c.state = 'held' order by c.held_at, c.id limit $2`,
    [runId, most],
  )
  return rows
}
