/**
 * Booking: what became of calls. The money of an answer is booked whatever happened to its item meanwhile: both calls
 * were paid for. Triggers move the amounts on the run's row in the same transaction.
 */
import { toJson } from '../base/json.ts'
import type { Micros } from '../base/money.ts'
import type { Tx } from '../db/client.ts'
import type { FailureKind } from '../providers/types.ts'

export type CallState = 'settled' | 'released' | 'suspect'

/** How a call ended: with an answer, with a failure, or never sent. */
export type CallOutcome = 'found' | 'none' | FailureKind | 'unsent'

export type CallBooking = Readonly<{
  callId: string
  state: CallState
  /** What it cost; set exactly when `state` is settled. */
  chargeMicros: Micros | null
  outcome: CallOutcome
  errorCode?: string
  errorMessage?: string
  durationMs: number
}>

/**
 * Books calls that are held, and settles or releases those that had become suspect. A call that was given up with its
 * worker and stays suspect learns what came of it. Calls booked before are left as they are. Returns the ids of the calls
 * that were booked now.
 */
export async function bookCalls(tx: Tx, bookings: readonly CallBooking[]): Promise<Set<string>> {
  const { rows } = await tx.query<{ id: string }>({
    name: 'ledger.book_calls',
    text: `
      update collection_calls c set
        state = b.state, charge_micros = b.charge, outcome = b.outcome, error_code = b.error_code,
        error_message = b.error_message, booked_at = clock_timestamp(), duration_ms = b.duration_ms
      from json_to_recordset($1) as b(id uuid, state text, charge bigint, outcome text, error_code text,
        error_message text, duration_ms int)
      where c.id = b.id and (c.state = 'held'
        or (c.state = 'suspect' and (b.state in ('settled', 'released') or c.error_code = 'worker_lost')))
      returning c.id`,
    values: [
      toJson(
        bookings.map((booking) => ({
          id: booking.callId,
          state: booking.state,
          charge: booking.chargeMicros,
          outcome: booking.outcome,
          error_code: booking.errorCode,
          error_message: booking.errorMessage,
          duration_ms: booking.durationMs,
        })),
      ),
    ],
  })
  return new Set(rows.map((row) => row.id))
}

/** Those of `callIds` that are not settled or released yet, locked until the transaction ends. */
export async function lockUnbookedCalls(tx: Tx, callIds: readonly string[]): Promise<Set<string>> {
  const { rows } = await tx.query<{ id: string }>({
    name: 'ledger.lock_unbooked',
    text: `select id from collection_calls where id = any($1) and state in ('held', 'suspect') for no key update`,
    values: [callIds],
  })
  return new Set(rows.map((row) => row.id))
}

/**
 * Releases those of `callIds` that were claimed after all: their worker never sent them, because the answer to the COMMIT
 * of its claim was lost. Their items go back to the queue, the attempt does not count. Returns how many were released.
 */
export async function releaseUnsent(tx: Tx, callIds: readonly string[]): Promise<number> {
  const { rows } = await tx.query<{ released: number }>(
    `with unsent as materialized (
       select id, item_id, category_id, epoch from collection_calls
       where id = any($1) and state in ('held', 'suspect') for update
     ), items as (
       update collection_items i set status = 'pending', attempt = greatest(attempt - 1, 0) from unsent u
       where i.id = u.item_id and i.epoch = u.epoch and i.status = 'processing'
     ), categories as (
       update collection_run_categories c set status = 'pending', attempt = greatest(attempt - 1, 0) from unsent u
       where c.id = u.category_id and c.epoch = u.epoch and c.status = 'processing'
     ), released as (
       update collection_calls c set state = 'released', outcome = 'unsent', booked_at = clock_timestamp()
       from unsent u where c.id = u.id returning c.id
     )
     select count(*)::int as released from released`,
    [callIds],
  )
  return rows[0]?.released ?? 0
}
