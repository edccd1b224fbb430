/** Credentials of provider accounts in the database: sealed, never shown again. */
import type { InstallationKey, Secrets } from '../base/seal.ts'
import type { Queryable, Tx } from '../db/client.ts'
import type { Credentials } from '../providers/types.ts'

/** What may be said of stored credentials. */
export type CredentialsFacts = Readonly<{
  accountId: string
  setAt: Date
  /** auth.users(id) */
  setBy: string
  /** The organisation whose admin set them; null once it is gone. Its admins alone replace or remove them. */
  orgId: string | null
  /** The last four characters of the secret, of a long one; empty otherwise. */
  ends: string
}>

const FIELDS = ['user', 'secret'] as const
type Field = (typeof FIELDS)[number]

/** Four of at least sixteen characters tell which key it is, and leave the rest unknown. */
const LONG_ENOUGH = 16

const about = (accountId: string, field: Field): string => `provider_credentials:${accountId}:${field}`

/** Stores the credentials of an account in place of those it had. */
export async function storeCredentials(
  tx: Tx,
  secrets: Secrets,
  input: Readonly<{ accountId: string; orgId: string; setBy: string; credentials: Credentials }>,
): Promise<void> {
  const { accountId, orgId, setBy, credentials } = input
  for (const field of FIELDS) {
    const text = credentials[field]
    const { keyId, nonce, sealed } = secrets.seal(text, about(accountId, field))
    const ends = field === 'secret' && text.length >= LONG_ENOUGH ? text.slice(-4) : ''
    await tx.query(
      `insert into provider_credentials (account_id, field, org_id, key_id, nonce, sealed, ends, set_by)
       values ($1, $2, $3, $4, $5, $6, $7, $8)
       on conflict (account_id, field) do update set org_id = excluded.org_id, key_id = excluded.key_id,
         nonce = excluded.nonce, sealed = excluded.sealed, ends = excluded.ends, set_by = excluded.set_by, set_at = now()`,
      [accountId, field, orgId, keyId, nonce, sealed, ends, setBy],
    )
  }
}

/** Removes the credentials of an account. True when it had any. */
export async function removeCredentials(tx: Tx, accountId: string): Promise<boolean> {
  const { rowCount } = await tx.query('delete from provider_credentials where account_id = $1', [accountId])
  return rowCount !== 0
}

/** What may be said of the credentials of these accounts; of all when left out. Accounts without any are missing. */
export async function credentialsFacts(db: Queryable, accountIds?: readonly string[]): Promise<CredentialsFacts[]> {
  const { rows } = await db.query<CredentialsFacts>(
    `select account_id as "accountId", set_at as "setAt", set_by as "setBy", org_id as "orgId", ends
     from provider_credentials where field = 'secret' and ($1::uuid[] is null or account_id = any($1))`,
    [accountIds ?? null],
  )
  return rows
}

/** As `credentialsFacts` for one account, its rows locked until the transaction ends. */
export async function lockCredentials(tx: Tx, accountId: string): Promise<CredentialsFacts | null> {
  await tx.query('select from provider_accounts where id = $1 for no key update', [accountId])
  return (await credentialsFacts(tx, [accountId]))[0] ?? null
}

type Row = Readonly<{ accountId: string; field: Field; keyId: string; nonce: Buffer; sealed: Buffer }>

const SELECT = `select account_id as "accountId", field, key_id as "keyId", nonce, sealed from provider_credentials`

/** The credentials stored for an account, or null when there are none. Throws when this process has another key. */
export async function openCredentials(db: Queryable, secrets: Secrets, accountId: string): Promise<Credentials | null> {
  const { rows } = await db.query<Row>(`${SELECT} where account_id = $1`, [accountId])
  const field = (wanted: Field): string | undefined => {
    const row = rows.find((one) => one.field === wanted)
    return row && secrets.open(row, about(accountId, wanted)).toString('utf8')
  }
  const secret = field('secret')
  return secret === undefined ? null : { user: field('user') ?? '', secret }
}

/** Whether credentials are stored for an account, whatever the key. */
export async function hasCredentials(db: Queryable, accountId: string): Promise<boolean> {
  return (await credentialsFacts(db, [accountId])).length > 0
}

/** Seals every stored credential anew, from `current` to `next`. Returns how many accounts they belong to. */
export async function resealCredentials(tx: Tx, current: InstallationKey, next: InstallationKey): Promise<number> {
  const { rows } = await tx.query<Row>(`${SELECT} for no key update`)
  for (const row of rows) {
    const { keyId, nonce, sealed } = next.seal(
      current.open(row, about(row.accountId, row.field)),
      about(row.accountId, row.field),
    )
    await tx.query(
      'update provider_credentials set key_id = $3, nonce = $4, sealed = $5 where account_id = $1 and field = $2',
      [row.accountId, row.field, keyId, nonce, sealed],
    )
  }
  return new Set(rows.map(({ accountId }) => accountId)).size
}
