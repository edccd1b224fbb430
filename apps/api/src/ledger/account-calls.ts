/** What the ledger knows of an account's calls, to be held against the provider's own count. */
import type { Queryable } from '../db/client.ts'

/** `items`: calls for products; `categories`: calls for lists. */
export type CallTarget = 'items' | 'categories'

export type AccountCalls = Readonly<{
  /** Every call there is, and those in flight. */
  calls: number
  held: number
  /** Settled by an answer since the moment asked about. */
  settled: number
  /** Suspect since that moment, oldest first. */
  suspects: readonly string[]
  /** Nothing was sent for so long, and no lease is open, ms; null when no call was ever made. */
  quietMs: number | null
  /** Some suspect call may still be answered. */
  mayAnswer: boolean
}>

/**
 * Calls of the account for one kind of target, `settled` and `suspects` counted from `since` on (null: all). What a person
 * settled is nobody's proof and is not counted.
 */
export async function callsOfAccount(
  db: Queryable,
  accountId: string,
  target: CallTarget,
  since: Date | null,
  deadAfterMs: number,
): Promise<AccountCalls> {
  const { rows } = await db.query<AccountCalls>(
    `with mine as materialized (
       select c.id, c.state, c.held_at, c.lease_until, c.error_code, c.worker_id,
         c.resolved_micros is not null and c.overruled_at is null as claimed,
         $3::timestamptz is null or c.held_at >= $3 as counted
       from collection_calls c
       where c.account_id = $1 and case when $2 = 'items' then c.item_id is not null else c.category_id is not null end
     )
     select count(*)::int as calls, count(*) filter (where m.state = 'held')::int as held,
       count(*) filter (where m.counted and m.state = 'settled' and not m.claimed)::int as settled,
       coalesce(array_agg(m.id order by m.id) filter (where m.counted and m.state = 'suspect'), '{}') as suspects,
       (extract(epoch from now() - max(case when m.state in ('held', 'suspect') then greatest(m.held_at, m.lease_until)
         else m.held_at end)) * 1000)::float8 as "quietMs",
       coalesce(bool_or(m.state = 'suspect' and m.error_code is not distinct from 'worker_lost'
         and (m.lease_until > now() or coalesce(w.stopped_at is null
           and w.heartbeat_at >= now() - $4 * interval '1 ms', false))), false) as "mayAnswer"
     from mine m left join collection_workers w on w.id = m.worker_id`,
    [accountId, target, since, deadAfterMs],
  )
  if (!rows[0]) throw new Error('an aggregate has a row')
  return rows[0]
}
