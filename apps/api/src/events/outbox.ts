/**
 * The outbox: what organisations are to be told. Rows are written by the database with their event; here they are taken
 * by workers, and what came of each attempt is booked. An attempt counts only while it is the last one.
 */
import type { Queryable } from '../db/client.ts'

export type NotificationFacts = Readonly<{
  at: string
  number: number
  name: string
  status: string
  data: Readonly<Record<string, unknown>>
  cap_micros: number
  spent_micros: number
  held_micros: number
  suspect_micros: number
}>

export type Notification = Readonly<{
  runId: string
  seq: number
  type: string
  facts: NotificationFacts
  /** Counting this one. */
  attempt: number
  url: string
  secret: string
}>

/** How often one notification is tried, at most. */
export const ATTEMPTS_MOST = 12
/** Of one organisation, over all workers, about so many are sent at a time: a receiver that hangs must not take every slot. */
const AT_ONCE_PER_ORG = 4

/**
 * Takes up to `most` notifications that are due, for `leaseMs`. Each is taken by one worker at a time; one whose worker
 * fell silent is taken again when the lease is over. One that was taken as often as may be and never booked has failed.
 */
export async function takeNotifications(db: Queryable, most: number, leaseMs: number): Promise<Notification[]> {
  const { rows } = await db.query<Notification>({
    name: 'events.take_notifications',
    text: `
      with silent as (
        update collection_notifications set state = 'failed', ended_at = clock_timestamp(), lease_until = null,
          error_message = 'The workers that sent it fell silent.'
        where state = 'pending' and attempts >= $3 and lease_until < now()
      ), due as materialized (
        select n.run_id, n.seq, n.next_at, row_number() over (partition by n.org_id order by n.next_at, n.run_id, n.seq)
          + (select count(*) from collection_notifications b
             where b.org_id = n.org_id and b.state = 'pending' and b.lease_until >= now()) as place
        from collection_notifications n join collection_hooks h on h.org_id = n.org_id
        where n.state = 'pending' and n.next_at <= now() and (n.lease_until is null or n.lease_until < now())
          and n.attempts < $3
      ), picked as materialized (
        select n.run_id, n.seq from collection_notifications n
        where (n.run_id, n.seq) in (select run_id, seq from due where place <= $4 order by next_at limit $1)
          and n.state = 'pending' and (n.lease_until is null or n.lease_until < now())
        for update skip locked
      )
      update collection_notifications n set attempts = n.attempts + 1, lease_until = now() + $2::int * interval '1 ms'
      from picked p, collection_hooks h
      where n.run_id = p.run_id and n.seq = p.seq and h.org_id = n.org_id
      returning n.run_id as "runId", n.seq, n.type, n.facts, n.attempts as attempt, h.url, h.secret`,
    values: [most, leaseMs, ATTEMPTS_MOST, AT_ONCE_PER_ORG],
  })
  return rows
}

type Taken = Pick<Notification, 'runId' | 'seq' | 'attempt'>

/** Books that the receiver took it. */
export async function bookDelivered(db: Queryable, taken: Taken, statusCode: number): Promise<void> {
  await db.query(
    `update collection_notifications set state = 'delivered', ended_at = clock_timestamp(), lease_until = null,
       status_code = $4, error_message = null
     where run_id = $1 and seq = $2 and attempts = $3 and state = 'pending'`,
    [taken.runId, taken.seq, taken.attempt, statusCode],
  )
}

export type Miss = Readonly<{ statusCode: number | null; message: string }>

/** Books that it did not, and when to try again: after `delayMs`, or never when it was the last attempt. */
export async function bookMissed(db: Queryable, taken: Taken, miss: Miss, delayMs: number): Promise<void> {
  await db.query(
    `update collection_notifications set lease_until = null, status_code = $4, error_message = $5,
       next_at = clock_timestamp() + $6 * interval '1 ms',
       state = case when attempts >= $7 then 'failed' else 'pending' end,
       ended_at = case when attempts >= $7 then clock_timestamp() end
     where run_id = $1 and seq = $2 and attempts = $3 and state = 'pending'`,
    [taken.runId, taken.seq, taken.attempt, miss.statusCode, miss.message, delayMs, ATTEMPTS_MOST],
  )
}

/** Gives back what was not sent to its end because the worker leaves: the attempt does not count. */
export async function giveBack(db: Queryable, taken: Taken): Promise<void> {
  await db.query(
    `update collection_notifications set lease_until = null, attempts = attempts - 1
     where run_id = $1 and seq = $2 and attempts = $3 and state = 'pending'`,
    [taken.runId, taken.seq, taken.attempt],
  )
}

export type NotificationRow = Readonly<{
  runNumber: number
  seq: number
  type: string
  state: 'pending' | 'delivered' | 'failed'
  attempts: number
  statusCode: number | null
  errorMessage: string | null
  createdAt: Date
  /** Of one that waits: when it is tried next. */
  nextAt: Date | null
  endedAt: Date | null
}>

/** Notifications of the organisation, newest first, at most `limit`; only those in `state` when given. */
export async function listNotifications(
  db: Queryable,
  orgId: string,
  options: Readonly<{ state?: string; limit: number }>,
): Promise<NotificationRow[]> {
  const { rows } = await db.query<NotificationRow>(
    `select (n.facts ->> 'number')::bigint as "runNumber", n.seq, n.type, n.state, n.attempts,
       n.status_code as "statusCode", n.error_message as "errorMessage", n.created_at as "createdAt",
       case when n.state = 'pending' then n.next_at end as "nextAt", n.ended_at as "endedAt"
     from collection_notifications n where n.org_id = $1 and ($2::text is null or n.state = $2)
     order by n.created_at desc, n.run_id, n.seq desc limit $3`,
    [orgId, options.state ?? null, options.limit],
  )
  return rows
}

/** Lets failed notifications of the organisation be tried again from the first attempt on. Returns how many. */
export async function retryFailed(db: Queryable, orgId: string): Promise<number> {
  const { rowCount } = await db.query(
    `update collection_notifications set state = 'pending', ended_at = null, attempts = 0, next_at = clock_timestamp()
     where org_id = $1 and state = 'failed' and exists (select from collection_hooks where org_id = $1)`,
    [orgId],
  )
  return rowCount ?? 0
}

export type Hook = Readonly<{
  url: string | null
  waiting: number
  delivered: number
  failed: number
}>

/** Where the organisation is told, null when nowhere, and what became of its notifications. */
export async function hookOf(db: Queryable, orgId: string): Promise<Hook> {
  const { rows } = await db.query<Hook>(
    `select (select url from collection_hooks where org_id = $1) as url,
       count(*) filter (where state = 'pending')::int as waiting,
       count(*) filter (where state = 'delivered')::int as delivered,
       count(*) filter (where state = 'failed')::int as failed
     from collection_notifications where org_id = $1`,
    [orgId],
  )
  return rows[0] ?? { url: null, waiting: 0, delivered: 0, failed: 0 }
}

/**
 * Sets where the organisation is told. `secret` is stored when there was none, or when `renew` is true; returns whether it
 * was. Afterwards new events of interest are written to the outbox.
 */
export async function saveHook(
  db: Queryable,
  orgId: string,
  hook: Readonly<{ url: string; secret: string; renew: boolean }>,
): Promise<boolean> {
  const { rows } = await db.query<{ stored: boolean }>(
    `insert into collection_hooks as h (org_id, url, secret) values ($1, $2, $3)
     on conflict (org_id) do update set url = excluded.url, secret = case when $4 then excluded.secret else h.secret end
     returning secret = $3 as stored`,
    [orgId, hook.url, hook.secret, hook.renew],
  )
  return rows[0]?.stored ?? false
}

/** The organisation is told nowhere from now on; what still waits has failed. */
export async function removeHook(tx: Queryable, orgId: string): Promise<void> {
  await tx.query('delete from collection_hooks where org_id = $1', [orgId])
  await tx.query(
    `update collection_notifications set state = 'failed', ended_at = clock_timestamp(), lease_until = null,
       error_message = 'The address was switched off.'
     where org_id = $1 and state = 'pending'`,
    [orgId],
  )
}
