/** The end of every booking: phase, checkpoint, soft warning and the event, on the run's row that is locked already. */
import type { Tx } from '../db/client.ts'
import { appendEvents, type NewEvent } from '../events/append.ts'
import { type RunSnapshot, SNAPSHOT_COLUMNS } from '../runs/snapshot.ts'

/** What a booking tells in its event: how many calls, and how many of each outcome. */
export type BookedFacts = Readonly<{ calls: number; outcomes: Readonly<Record<string, number>> }>

/**
 * Moves the run's phase and checkpoint on, warns once when the soft mark is passed, and appends the events. Returns the
 * run as the transaction leaves it.
 */
export async function closeBooking(
  tx: Tx,
  runId: string,
  facts: BookedFacts,
  more: readonly NewEvent[] = [],
): Promise<RunSnapshot> {
  const { rows } = await tx.query<RunSnapshot & { warned: boolean }>({
    name: 'engine.close_booking',
    text: `
      with before as materialized (
        select soft_warned_at as warned_before from collection_runs where id = $1 for no key update
      )
      update collection_runs set
        phase = case when open_categories = 0 then 'sellers' else phase end,
        soft_warned_at = case
          when soft_warned_at is null and (spent_micros + suspect_micros) * 100 >= cap_micros * soft_warning_percent
            and spent_micros + suspect_micros > 0
          then now() else soft_warned_at end,
        checkpoint = jsonb_build_object('categories_left', open_categories, 'products', total_items,
          'products_done', processed_items, 'sellers', seller_items, 'at', now())
      from before where id = $1
      returning ${SNAPSHOT_COLUMNS}, warned_before is null and soft_warned_at is not null as warned`,
    values: [runId],
  })
  const run = rows[0]
  if (!run) throw new Error(`no run ${runId} to book for`)
  const events: NewEvent[] = [{ type: 'calls.booked', data: { ...facts, ...amounts(run) } }, ...more]
  if (run.warned) events.push({ type: 'run.soft_warning', data: { percent: run.softWarningPercent, ...amounts(run) } })
  const eventSeq = await appendEvents(tx, runId, events)
  return { ...run, eventSeq }
}

function amounts(run: RunSnapshot): Record<string, number> {
  return {
    spent_micros: run.spentMicros,
    held_micros: run.heldMicros,
    suspect_micros: run.suspectMicros,
    products_done: run.processedItems,
    products: run.totalItems,
    sellers: run.sellerItems,
    new_sellers: run.newSellers,
  }
}
