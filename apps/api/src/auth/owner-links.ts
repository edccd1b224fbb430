/** The link printed on the server by which the owner gets in, the first time or again. */

import { AppError } from '../base/errors.ts'
import type { Db, Tx } from '../db/client.ts'
import { hashSecret, newToken } from './secrets.ts'

/** Whose link it is. */
export type Owner = Readonly<{ orgId: string; userId: string }>

/**
 * Makes a link for the owner, good for one use within 24 hours; those made before stop working. Returns its token, which is
 * not kept. `tx` works as gleaner_auth.
 */
export async function makeOwnerLink(tx: Tx, owner: Owner): Promise<string> {
  const token = newToken()
  await tx.query(
    'update gleaner_auth.owner_links set expires_at = clock_timestamp() where user_id = $1 and used_at is null and expires_at > now()',
    [owner.userId],
  )
  await tx.query(
    `insert into gleaner_auth.owner_links (org_id, user_id, token_hash, expires_at)
     values ($1, $2, $3, clock_timestamp() + interval '24 hours')`,
    [owner.orgId, owner.userId, hashSecret(token)],
  )
  await tx.query('select gleaner_auth.audit_person($1, $2)', [owner.userId, 'person.owner_link_printed'])
  return token
}

/**
 * True while nobody can sign in: no password, no identity, no session. Then a start prints the link unasked. `db` works as
 * gleaner_auth.
 */
export async function nobodyCanSignIn(db: Db): Promise<boolean> {
  const { rows } = await db.query<{ nobody: boolean }>(
    `select not exists (select from gleaner_auth.accounts)
       and not exists (select from gleaner_auth.sessions where expires_at > now()) as nobody`,
  )
  return rows[0]?.nobody ?? false
}

/**
 * Uses the link up and makes its owner a person who can be signed in. Of any number of tries at the same moment one gets
 * through. Throws AppError `auth.link_invalid`. `tx` works as gleaner_auth.
 */
export async function openOwnerLink(tx: Tx, token: string): Promise<Owner> {
  const { rows } = await tx.query<Owner>(
    `update gleaner_auth.owner_links set used_at = clock_timestamp()
     where token_hash = $1 and used_at is null and expires_at > now() returning org_id as "orgId", user_id as "userId"`,
    [hashSecret(token)],
  )
  const owner = rows[0]
  if (!owner) throw await deadLink(tx, token)
  await tx.query(
    `insert into gleaner_auth.users (id, name, email) values ($1, 'Owner', $2) on conflict (id) do nothing`,
    [owner.userId, placeholderEmail(owner.userId)],
  )
  await tx.query('select gleaner_auth.audit_person($1, $2)', [owner.userId, 'person.owner_link_used'])
  return owner
}

/** An address nobody has (RFC 2606), until the owner gives one together with a password. */
export function placeholderEmail(userId: string): string {
  return `owner-${userId}@gleaner.invalid`
}

/** True of addresses that only fill the place of one. */
export function isPlaceholder(email: string | null): boolean {
  return email === null || email.endsWith('@gleaner.invalid')
}

async function deadLink(tx: Tx, token: string): Promise<AppError> {
  const { rows } = await tx.query<{ usedAt: Date | null }>(
    'select used_at as "usedAt" from gleaner_auth.owner_links where token_hash = $1',
    [hashSecret(token)],
  )
  const usedAt = rows[0]?.usedAt
  const what = usedAt
    ? `This link was used on ${usedAt.toISOString().slice(0, 16).replace('T', ' ')} UTC.`
    : rows[0]
      ? 'This link is old.'
      : 'This link is not one of this installation.'
  return new AppError('auth.link_invalid', what, {
    hint: 'Sign in, or print a new one on the server: gleaner owner-link',
    details: { usedAt: usedAt?.toISOString() ?? null },
  })
}
