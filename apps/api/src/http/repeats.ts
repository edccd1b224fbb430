/**
 * Idempotency-Key: a write sent twice is done once, and answered twice the same. What it was answered is kept in the
 * transaction of the write itself, so there is never a write without its answer, nor the other way round. A write that was
 * refused left nothing, and is tried anew.
 */
import { createHash } from 'node:crypto'
import { AppError } from '../base/errors.ts'
import type { Tx } from '../db/client.ts'
import { type Principal, principalOf } from './principal.ts'

/** An answer as it went out. */
export type Kept = Readonly<{ status: number; headers: Readonly<Record<string, string>>; answer: string | null }>

export type Repeatable = Readonly<{
  principal: Principal
  key: string
  /** SHA-256 of method, path and body. */
  hash: Buffer
}>

const KEPT_FOR = `interval '24 hours'`

/** Names the request for `remember` and `keep`. Throws AppError `input.invalid` for a key of more than 200 characters. */
export function repeatable(
  principal: Principal,
  key: string,
  request: Readonly<{ method: string; url: string; body: unknown }>,
): Repeatable {
  if (!/^[\x21-\x7e]{1,200}$/.test(key)) {
    throw new AppError('input.invalid', 'An Idempotency-Key is 1 to 200 printable ASCII characters without spaces.', {
      hint: 'A UUID made for this one request does.',
    })
  }
  const text = JSON.stringify([request.method, request.url, request.body ?? null])
  return { principal, key, hash: createHash('sha256').update(text).digest() }
}

/**
 * Takes the key for this request, or returns what the request was answered before. One that is being carried out elsewhere
 * is waited for. Throws AppError `request.key_reused` when the key stands for another request, `request.key_done` when its
 * answer was not kept.
 */
export async function remember(tx: Tx, { principal, key, hash }: Repeatable): Promise<Kept | null> {
  const name = principalOf(principal)
  await tx.query(`delete from api_requests where principal = $1 and created_at < now() - ${KEPT_FOR}`, [name])
  const taken = await tx.query(
    `insert into api_requests (principal, key, user_id, request_hash) values ($1, $2, $3, $4)
     on conflict (principal, key) do nothing`,
    [name, key, principal.userId, hash],
  )
  if (taken.rowCount === 1) return null
  const { rows } = await tx.query<{
    hash: Buffer
    status: number | null
    headers: Kept['headers']
    answer: string | null
  }>(`select request_hash as hash, status, headers, answer from api_requests where principal = $1 and key = $2`, [
    name,
    key,
  ])
  const [row] = rows
  if (!row) throw new Error('the request is neither new nor known')
  if (!row.hash.equals(hash)) {
    throw new AppError('request.key_reused', 'This Idempotency-Key was used for another request.', {
      hint: 'Use a new key for a new request.',
    })
  }
  if (row.status === null) {
    throw new AppError('request.key_done', 'This request was carried out. Its answer held a secret and was not kept.', {
      hint: 'Make a new secret, with a new Idempotency-Key.',
    })
  }
  return { status: row.status, headers: row.headers, answer: row.answer }
}

/** Keeps what the request is answered, for 24 hours. */
export async function keep(tx: Tx, { principal, key }: Repeatable, { status, headers, answer }: Kept): Promise<void> {
  await tx.query(`update api_requests set status = $3, headers = $4, answer = $5 where principal = $1 and key = $2`, [
    principalOf(principal),
    key,
    status,
    JSON.stringify(headers),
    answer,
  ])
}
