/** API keys in the database. Whoever makes, lists and revokes them does so as a member: policies decide. */
import { AppError } from '../base/errors.ts'
import type { Db, Tx } from '../db/client.ts'
import { type Beside, keyset } from '../db/keyset.ts'
import { type KeyRole, makeKey, prefixOf, type Scope } from './keys.ts'
import { hashSecret, sameHash } from './secrets.ts'

export type KeyRow = Readonly<{
  id: string
  name: string
  /** Its first characters. */
  prefix: string
  lastFour: string
  scopes: readonly Scope[]
  maxRole: KeyRole
  createdBy: string
  createdAt: Date
  expiresAt: Date | null
  lastUsedAt: Date | null
  revokedAt: Date | null
  /** When it was made, to the microsecond, as text. */
  sortKey: string
}>

export type Page = Readonly<{ limit: number; beside: Beside | null }>

const COLUMNS = `id, name, prefix, last_four as "lastFour", scopes, max_role as "maxRole", created_by as "createdBy",
  created_at as "createdAt", expires_at as "expiresAt", last_used_at as "lastUsedAt", revoked_at as "revokedAt", created_at::text as "sortKey"`

export type KeyWish = Readonly<{
  orgId: string
  /** Whose it is: it never may more than this person may. */
  userId: string
  name: string
  scopes: readonly Scope[]
  maxRole: KeyRole
  /** Days until it stops working; null = until it is revoked. */
  days: number | null
}>

/** Makes a key. The whole of it is returned, for the only time. Fails as row level security says for who may not. */
export async function createKey(tx: Tx, wish: KeyWish): Promise<Readonly<{ key: string; row: KeyRow }>> {
  const made = makeKey()
  const { rows } = await tx.query<KeyRow>(
    `insert into api_keys (org_id, name, prefix, last_four, secret_hash, scopes, max_role, created_by, expires_at)
     values ($1, $2, $3, $4, $5, $6, $7, $8, clock_timestamp() + make_interval(days => $9))
     returning ${COLUMNS}`,
    [
      wish.orgId,
      wish.name,
      made.prefix,
      made.lastFour,
      made.hash,
      [...new Set(wish.scopes)],
      wish.maxRole,
      wish.userId,
      wish.days,
    ],
  )
  return { key: made.key, row: rows[0] as KeyRow }
}

/** Keys of the organisation, newest first, revoked and expired ones too; one more than the limit, so that it shows whether there are more. */
export async function listKeys(tx: Tx, orgId: string, page: Page): Promise<readonly KeyRow[]> {
  const values: unknown[] = [orgId, page.limit + 1]
  const { where, orderBy } = keyset(BY_AGE, { expression: 'id', type: 'uuid' }, page.beside, values)
  const text = `select ${COLUMNS} from api_keys where org_id = $1 and ${where} order by ${orderBy} limit $2`
  return (await tx.query<KeyRow>(text, values)).rows
}

const BY_AGE = { expression: 'created_at', type: 'timestamptz', descending: true } as const

/** Revokes the key at once. One that is revoked already stays as it was. Throws AppError `auth.key_unknown`. */
export async function revokeKey(
  tx: Tx,
  ask: Readonly<{ orgId: string; id: string; userId: string }>,
): Promise<Readonly<{ row: KeyRow; now: boolean }>> {
  const { rows: revoked } = await tx.query<KeyRow>(
    `update api_keys set revoked_at = clock_timestamp(), revoked_by = $3
     where id = $1 and org_id = $2 and revoked_at is null returning ${COLUMNS}`,
    [ask.id, ask.orgId, ask.userId],
  )
  if (revoked[0]) return { row: revoked[0], now: true }
  const { rows } = await tx.query<KeyRow>(`select ${COLUMNS} from api_keys where id = $1 and org_id = $2`, [
    ask.id,
    ask.orgId,
  ])
  if (rows[0]) return { row: rows[0], now: false }
  throw new AppError('auth.key_unknown', 'There is no such key in this organisation.')
}

/** A key that was presented and is good. */
export type KeyHolder = Readonly<{
  keyId: string
  name: string
  orgId: string
  /** Whose key it is. */
  userId: string
  scopes: readonly Scope[]
  maxRole: KeyRole
}>

type Found = KeyHolder & Readonly<{ hash: Buffer; revoked: boolean; expired: boolean; member: boolean; stale: boolean }>

/** Compared with when there is no such prefix, so that both ways take the same steps. */
const NOBODY = hashSecret('no key has this prefix')

/**
 * Who presents `key`. `db` works as service_role. Notes the use, at most once a minute. Throws AppError `auth.key_invalid`
 * when it is none, was revoked, has expired, or its person is no member any more; what of it is said only to who has the
 * whole key.
 */
export async function findKey(db: Db, key: string): Promise<KeyHolder> {
  const prefix = prefixOf(key)
  if (prefix === null) throw invalidKey('This is no API key.')
  const { rows } = await db.query<Found>({
    name: 'find_key',
    text: `select k.id as "keyId", k.name, k.org_id as "orgId", k.created_by as "userId", k.scopes, k.max_role as "maxRole",
        k.secret_hash as hash, k.revoked_at is not null as revoked, coalesce(k.expires_at <= now(), false) as expired,
        exists (select from org_members m where m.org_id = k.org_id and m.user_id = k.created_by) as member,
        coalesce(k.last_used_at < now() - interval '1 minute', true) as stale
      from api_keys k where k.prefix = $1`,
    values: [prefix],
  })
  const found = rows[0]
  if (!sameHash(hashSecret(key), found?.hash ?? NOBODY) || !found) throw invalidKey('This API key does not exist.')
  if (found.revoked) throw invalidKey('This API key was revoked.')
  if (found.expired) throw invalidKey('This API key has expired.')
  if (!found.member) throw invalidKey('The person this API key belongs to is no member any more.')
  if (found.stale) await noteUse(db, found.keyId)
  const { keyId, name, orgId, userId, scopes, maxRole } = found
  return { keyId, name, orgId, userId, scopes, maxRole }
}

/** Skipped when another request is just noting the same: nobody waits for it. */
async function noteUse(db: Db, keyId: string): Promise<void> {
  await db.query(
    `update api_keys set last_used_at = now() where id = (
       select id from api_keys where id = $1 and coalesce(last_used_at < now() - interval '1 minute', true)
       for no key update skip locked)`,
    [keyId],
  )
}

function invalidKey(message: string): AppError {
  return new AppError('auth.key_invalid', message, {
    hint: 'Send a key of the organisation as "Authorization: Bearer glk_…". Admins make and revoke them in Settings, Keys.',
  })
}
