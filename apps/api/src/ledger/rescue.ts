/**
 * Holds whose worker is gone. Nobody knows whether such a call was sent, so its money becomes suspect and stays counted;
 * its item goes back to the queue and needs a new hold.
 */
import type { Tx } from '../db/client.ts'

export type Rescued = Readonly<{
  runId: string
  calls: number
  items: number
  categories: number
  suspectMicros: number
}>

/** A worker whose last heartbeat is older than this is dead, ms. Workers beat six times as often. */
export const DEAD_AFTER_MS = 6_000
/** Calls rescued at a time, so that the transaction stays short. */
const RESCUED_MOST = 1_000

/** Held calls `c` whose lease has run out, or whose worker `w` is dead, stopped or unknown. */
const orphans = (silentMs: string): string => `
  collection_calls c left join collection_workers w on w.id = c.worker_id
  where c.state = 'held' and (c.lease_until < now() or w.id is null or w.stopped_at is not null
    or w.heartbeat_at < now() - ${silentMs} * interval '1 ms')`

/** SQL: true when there is a call to rescue; `silentMs` is how long a worker may be silent, ms. */
export function someOrphans(silentMs: string): string {
  return `exists (select from ${orphans(silentMs)})`
}

/**
 * Makes suspect every held call whose lease has run out or whose worker is dead, stopped or unknown, and gives its item
 * or category back, at most a thousand calls at a time. An item claimed anew meanwhile is left alone. Returns what was
 * rescued, per run.
 */
export async function rescueCalls(tx: Tx, deadAfterMs: number): Promise<Rescued[]> {
  const { rows } = await tx.query<Rescued>(
    `
    with orphans as materialized (
      select c.id, c.run_id, c.item_id, c.category_id, c.epoch, c.hold_micros from ${orphans('$2')}
      order by c.id limit $1 for update of c skip locked
    ), items as (
      update collection_items i set status = 'pending' from orphans o
      where i.id = o.item_id and i.epoch = o.epoch and i.status = 'processing' returning i.run_id
    ), categories as (
      update collection_run_categories c set status = 'pending' from orphans o
      where c.id = o.category_id and c.epoch = o.epoch and c.status = 'processing' returning c.run_id
    ), calls as (
      update collection_calls c set state = 'suspect', outcome = 'lost', error_code = 'worker_lost',
        error_message = 'The worker fell silent with this call in flight.', booked_at = clock_timestamp()
      from orphans o where c.id = o.id returning c.run_id, c.hold_micros
    )
    select run_id as "runId", count(*)::int as calls, sum(hold_micros)::bigint as "suspectMicros",
      (select count(*)::int from items where items.run_id = calls.run_id) as items,
      (select count(*)::int from categories where categories.run_id = calls.run_id) as categories
    from calls group by run_id order by run_id`,
    [RESCUED_MOST, deadAfterMs],
  )
  return rows
}
