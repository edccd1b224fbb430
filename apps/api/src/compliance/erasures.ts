/** Erasures as rows: asked for, taken by a worker, carried out in steps, done. */
import type { InstallationKey, Sealed, Secrets } from '../base/seal.ts'
import { cutText } from '../base/text.ts'
import type { Queryable, Tx } from '../db/client.ts'
import { type Beside, keyset } from '../db/keyset.ts'
import { aboutErasure, readSubject, type Subject } from './subject.ts'

/** What was erased in an organisation, rows of each kind. */
export type ErasedCounts = Readonly<Record<string, number>>

export type Erasure = Readonly<{
  id: string
  source: 'ebay' | 'owner'
  /** Null: in all organisations. */
  orgId: string | null
  requestedBy: string | null
  attempts: number
  sealed: Sealed
}>

const SEALED = `identity_key_id as "keyId", identity_nonce as nonce, identity_sealed as sealed`

type Row = Omit<Erasure, 'sealed'> & Sealed

const toErasure = ({ keyId, nonce, sealed, ...rest }: Row): Erasure => ({ ...rest, sealed: { keyId, nonce, sealed } })

export type NewErasure = Readonly<{
  id: string
  source: 'ebay' | 'owner'
  notificationId: string | null
  orgId: string | null
  requestedBy: string | null
  subject: Subject
}>

/** Asks for an erasure. False when eBay's notification was there already: then nothing is written. */
export async function insertErasure(db: Queryable, secrets: Secrets, input: NewErasure): Promise<boolean> {
  const { keyId, nonce, sealed } = secrets.seal(JSON.stringify(input.subject), aboutErasure(input.id))
  const { rowCount } = await db.query(
    `insert into compliance_erasures (id, source, notification_id, org_id, requested_by, identity_key_id, identity_nonce,
       identity_sealed)
     values ($1, $2, $3, $4, $5, $6, $7, $8) on conflict (notification_id) do nothing`,
    [input.id, input.source, input.notificationId, input.orgId, input.requestedBy, keyId, nonce, sealed],
  )
  return rowCount === 1
}

/** How long a worker has for one before another takes it up, as an interval. Two at the same time do no harm. */
const LEASE = `interval '2 minutes'`

/** Takes the erasure that has waited longest of those that are due; null when none is. */
export async function takeErasure(db: Queryable): Promise<Erasure | null> {
  const { rows } = await db.query<Row>(
    `update compliance_erasures set attempts = attempts + 1, next_at = now() + ${LEASE}
     where id = (
       select id from compliance_erasures where state = 'pending' and next_at <= now()
       order by next_at limit 1 for update skip locked)
     returning id, source, org_id as "orgId", requested_by as "requestedBy", attempts, ${SEALED}`,
  )
  return rows[0] ? toErasure(rows[0]) : null
}

/** Whom the erasure is about. Throws when it was sealed with another key. */
export function openSubject(erasure: Erasure, secrets: Secrets): Subject {
  return readSubject(secrets.open(erasure.sealed, aboutErasure(erasure.id)).toString('utf8'))
}

/** Keeps what became known of whom it is about, for whoever goes on with it. False when it is done already. */
export async function keepSubject(tx: Tx, secrets: Secrets, id: string, subject: Subject): Promise<boolean> {
  const { keyId, nonce, sealed } = secrets.seal(JSON.stringify(subject), aboutErasure(id))
  const { rowCount } = await tx.query(
    `update compliance_erasures set identity_key_id = $2, identity_nonce = $3, identity_sealed = $4
     where id = $1 and state = 'pending'`,
    [id, keyId, nonce, sealed],
  )
  return rowCount === 1
}

/** Adds to what the erasure has removed in an organisation, in the transaction that removes it. */
export async function countErased(tx: Tx, id: string, orgId: string, what: string, count: number): Promise<void> {
  if (count === 0) return
  await tx.query(
    `update compliance_erasures set counts = jsonb_set(
       case when counts ? $2 then counts else counts || jsonb_build_object($2::text, '{}'::jsonb) end,
       array[$2::text, $3::text], to_jsonb(coalesce((counts #>> array[$2::text, $3::text])::bigint, 0) + $4))
     where id = $1`,
    [id, orgId, what, count],
  )
}

/** Ends the erasure: nothing in it tells any more who it was about. Returns what was erased, by organisation; null when it was done before. */
export async function finishErasure(tx: Tx, id: string): Promise<Readonly<Record<string, ErasedCounts>> | null> {
  const { rows } = await tx.query<{ counts: Record<string, ErasedCounts> }>(
    `update compliance_erasures set state = 'done', done_at = now(), trouble = null, identity_key_id = null,
       identity_nonce = null, identity_sealed = null
     where id = $1 and state = 'pending' returning counts`,
    [id],
  )
  return rows[0]?.counts ?? null
}

const TROUBLE_LENGTH = 300

/** It could not be carried out to its end: it is tried again after `waitMs`. */
export async function postponeErasure(db: Queryable, id: string, trouble: string, waitMs: number): Promise<void> {
  await db.query(
    `update compliance_erasures set trouble = $2, next_at = now() + $3 * interval '1 ms' where id = $1 and state = 'pending'`,
    [id, cutText(trouble, TROUBLE_LENGTH), waitMs],
  )
}

export type ErasureRow = Readonly<{
  id: string
  source: 'ebay' | 'owner'
  state: 'pending' | 'done'
  receivedAt: Date
  dueAt: Date
  doneAt: Date | null
  /** Not done, and its time is over. */
  overdue: boolean
  attempts: number
  trouble: string | null
  requestedBy: string | null
  /** What was erased in this organisation. */
  counts: ErasedCounts
}>

/**
 * The erasures that concern the organisation of the claims, newest first: those its owners asked for, those of eBay that found
 * something in it, and those of eBay that are still to be carried out, because they may. To its admins; nothing to others.
 */
export async function listErasures(
  tx: Queryable,
  query: Readonly<{ limit: number; beside: Beside | null }>,
): Promise<(ErasureRow & { key: string })[]> {
  const values: unknown[] = [query.limit]
  const sort = { expression: 'received_at', type: 'timestamptz', descending: true } as const
  const page = keyset(sort, { expression: 'id', type: 'uuid' }, query.beside, values)
  const { rows } = await tx.query<ErasureRow & { key: string }>(
    `select id, source, state, received_at as "receivedAt", due_at as "dueAt", done_at as "doneAt",
       state = 'pending' and due_at < now() as overdue, attempts, trouble, requested_by as "requestedBy", counts,
       ${page.keyText} as key
     from gleaner_erasures() where ${page.where} order by ${page.orderBy} limit $1`,
    values,
  )
  return rows
}

/** Seals whom every pending erasure is about anew, from `current` to `next`. */
export async function resealErasures(tx: Tx, current: InstallationKey, next: InstallationKey): Promise<number> {
  const { rows } = await tx.query<Sealed & { id: string }>(
    `select id, ${SEALED} from compliance_erasures where state = 'pending' for no key update`,
  )
  for (const { id, ...sealed } of rows) {
    const anew = next.seal(current.open(sealed, aboutErasure(id)), aboutErasure(id))
    await tx.query(
      'update compliance_erasures set identity_key_id = $2, identity_nonce = $3, identity_sealed = $4 where id = $1',
      [id, anew.keyId, anew.nonce, anew.sealed],
    )
  }
  return rows.length
}

/** Notes that the rows are gone, the first time, and returns when that was and in which organisations something was erased. */
export async function noteRowsGone(
  tx: Tx,
  id: string,
): Promise<Readonly<{ goneAt: Date; orgIds: readonly string[] }> | null> {
  const { rows } = await tx.query<{ goneAt: Date; orgIds: string[] }>(
    `update compliance_erasures set rows_gone_at = coalesce(rows_gone_at, clock_timestamp()) where id = $1
     returning rows_gone_at as "goneAt", array(select key::uuid from jsonb_object_keys(counts) as key) as "orgIds"`,
    [id],
  )
  return rows[0] ?? null
}
