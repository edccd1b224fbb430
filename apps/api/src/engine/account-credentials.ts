/** Credentials of provider accounts: from the environment of this process, or stored by an admin. */
import { appendAudit } from '../audit/append.ts'
import { AppError } from '../base/errors.ts'
import type { Secrets } from '../base/seal.ts'
import { type Db, type Queryable, type Tx, withTxRetry } from '../db/client.ts'
import { probe } from '../providers/registry.ts'
import type { Credentials, ProviderAccount } from '../providers/types.ts'
import {
  type CredentialsFacts,
  credentialsFacts,
  hasCredentials,
  lockCredentials,
  openCredentials,
  removeCredentials,
  storeCredentials,
} from '../secrets/credentials.ts'
import { missingKey } from '../secrets/installation.ts'
import { type Account, accountById, inEnvironment, withCredentials } from './accounts.ts'
import type { Actor } from './bootstrap.ts'

/** Where a process has the credentials of an account from. */
export type CredentialsSource = 'built_in' | 'environment' | 'stored' | 'none'

/**
 * The account with its credentials: those of the environment, or else those stored in the database. Throws AppError
 * `provider.no_credentials` when there are none, or when they are stored and this process lacks the key to open them.
 */
export async function openAccount(
  db: Queryable & { readonly secrets?: Secrets | null },
  account: Account,
  env: NodeJS.ProcessEnv,
): Promise<ProviderAccount> {
  if (account.sandbox || inEnvironment(account, env)) return withCredentials(account, env)
  const credentials = db.secrets ? await openStored(db, db.secrets, account) : null
  if (credentials) {
    const { adapter, baseUrl, prices } = account
    return { adapter, baseUrl, prices, credentials }
  }
  if (!db.secrets && (await hasCredentials(db, account.id))) {
    throw new AppError('provider.no_credentials', `The credentials of ${account.name} cannot be opened here.`, {
      hint: missingKey().message,
    })
  }
  return withCredentials(account, env)
}

async function openStored(db: Queryable, secrets: Secrets, account: Account): Promise<Credentials | null> {
  try {
    return await openCredentials(db, secrets, account.id)
  } catch (cause) {
    // Sealed anew with another key since this process started, or tampered with: either way not to be used.
    if (cause instanceof Error && 'severity' in cause) throw cause
    throw new AppError('provider.no_credentials', `The credentials of ${account.name} cannot be opened here.`, {
      hint: "Was the installation's key replaced? Start this process again with the new one; else store them anew.",
      cause,
    })
  }
}

/** Where this process would have the credentials of each account from, by account id. */
export async function credentialsSources(
  db: Queryable,
  accounts: readonly Account[],
  env: NodeJS.ProcessEnv,
): Promise<Map<string, Readonly<{ source: CredentialsSource; stored: CredentialsFacts | null }>>> {
  const facts = new Map((await credentialsFacts(db)).map((one) => [one.accountId, one]))
  return new Map(
    accounts.map((account) => {
      const stored = facts.get(account.id) ?? null
      const own = account.sandbox ? 'built_in' : inEnvironment(account, env) ? 'environment' : null
      return [account.id, { source: own ?? (stored ? 'stored' : 'none'), stored }]
    }),
  )
}

const CREDENTIAL_MOST = 4096

/** Checks credentials somebody gave for an account. Throws AppError `input.invalid` naming what is missing; never what was given. */
export function checkCredentials(
  account: Account,
  given: Readonly<{ user?: string | undefined; secret: string }>,
): Credentials {
  const user = account.adapter === 'keepa' ? '' : (given.user ?? '').trim()
  const secret = given.secret.trim()
  const refuse = (message: string): never => {
    throw new AppError('input.invalid', message, { hint: WANTED[account.adapter] })
  }
  if (secret === '') refuse('The secret is empty.')
  if (user === '' && account.adapter !== 'keepa') refuse('The user is missing.')
  if (/[^\x21-\x7e]/.test(secret) || /[^\x21-\x7e]/.test(user)) refuse('Credentials are visible ASCII without spaces.')
  if (secret.length > CREDENTIAL_MOST || user.length > CREDENTIAL_MOST) refuse('That is too long for credentials.')
  return { user, secret }
}

const WANTED: Readonly<Record<Account['adapter'], string>> = {
  ebay_browse: 'User is the client id (App ID), secret the client secret (Cert ID).',
  oxylabs: 'User is the API user, secret its password.',
  keepa: 'Secret is the API key; there is no user.',
}

/**
 * Stores the credentials of an account in place of those it had, and audits that, never what they are. Accounts are shared by
 * all organisations: credentials one of them set are replaced by its own admins only. Throws AppError `provider.unknown`,
 * `input.invalid`, `provider.not_yours`, and `key.missing` when this process lacks the installation's key.
 */
export async function setCredentials(
  db: Db,
  actor: Pick<Actor, 'orgId' | 'userId'>,
  accountId: string,
  given: Readonly<{ user?: string | undefined; secret: string }>,
): Promise<CredentialsFacts> {
  const { secrets } = db
  if (!secrets) throw missingKey()
  return withTxRetry(db, async (tx) => {
    const account = await accountById(tx, accountId)
    if (account.sandbox) throw builtIn(account)
    const credentials = checkCredentials(account, given)
    const before = await lockCredentials(tx, accountId)
    checkYours(account, actor.orgId, before)
    await storeCredentials(tx, secrets, { accountId, orgId: actor.orgId, setBy: actor.userId, credentials })
    const after = (await credentialsFacts(tx, [accountId]))[0] as CredentialsFacts
    await audit(tx, actor, before ? 'credentials.replaced' : 'credentials.set', account, before, after)
    return after
  })
}

/** Removes the stored credentials of an account; workers without any in their environment stop using it. As `setCredentials`. */
export async function forgetCredentials(
  db: Db,
  actor: Pick<Actor, 'orgId' | 'userId'>,
  accountId: string,
): Promise<boolean> {
  return withTxRetry(db, async (tx) => {
    const account = await accountById(tx, accountId)
    const before = await lockCredentials(tx, accountId)
    if (!before) return false
    checkYours(account, actor.orgId, before)
    await removeCredentials(tx, accountId)
    await audit(tx, actor, 'credentials.removed', account, before, null)
    return true
  })
}

function builtIn(account: Account): AppError {
  return new AppError('input.invalid', `The credentials of ${account.name} are the sandbox's own.`, {
    hint: 'It accepts no others.',
  })
}

function checkYours(account: Account, orgId: string, stored: CredentialsFacts | null): void {
  if (!stored || stored.orgId === null || stored.orgId === orgId) return
  throw new AppError('provider.not_yours', `The credentials of ${account.name} were set by another organisation.`, {
    hint: 'Its admins replace or remove them. An account of your own: gleaner accounts add.',
  })
}

async function audit(
  tx: Tx,
  { orgId, userId }: Pick<Actor, 'orgId' | 'userId'>,
  action: string,
  account: Account,
  before: CredentialsFacts | null,
  after: CredentialsFacts | null,
): Promise<void> {
  const told = (facts: CredentialsFacts | null) => ({ account: account.name, ends: facts?.ends ?? null })
  await appendAudit(tx, {
    orgId,
    actorId: userId,
    action,
    target: `account:${account.id}`,
    before: told(before),
    after: told(after),
  })
}

/** What a test of an account asks, and what it costs: said before it is made. */
export const TESTS: Readonly<Record<Account['adapter'], string>> = {
  ebay_browse: 'Asks eBay for an access token: free, and no call of the day.',
  oxylabs: 'Asks Oxylabs for its usage report: free.',
  keepa: 'Asks Keepa how many tokens are left: free, and costs none.',
}

export type Tested = Readonly<{
  ok: boolean
  /** What was found, or what the provider said, in one sentence. */
  message: string
  /** Of a failure, e.g. `ebay.invalid_client`. */
  code: string | null
  tookMs: number
}>

/**
 * Finds out whether the provider takes the account's credentials, at no cost, and tells the answer in words. Nothing is held
 * or booked, because nothing can be charged (docs/adr). Throws as `openAccount`.
 */
export async function testAccount(db: Db, account: Account, env: NodeJS.ProcessEnv): Promise<Tested> {
  const opened = await openAccount(db, account, env)
  const from = performance.now()
  const answer = await probe(opened)
  const tookMs = Math.round(performance.now() - from)
  return answer.ok
    ? { ok: true, message: answer.note, code: null, tookMs }
    : { ok: false, message: answer.message, code: answer.code, tookMs }
}

/** Who confirmed the provider's terms for the organisation, or null when nobody did. */
export async function termsOf(
  db: Queryable,
  orgId: string,
  accountId: string,
): Promise<Readonly<{ confirmedBy: string; confirmedAt: Date }> | null> {
  const { rows } = await db.query<{ confirmedBy: string; confirmedAt: Date }>(
    `select confirmed_by as "confirmedBy", confirmed_at as "confirmedAt" from provider_terms
     where org_id = $1 and account_id = $2`,
    [orgId, accountId],
  )
  return rows[0] ?? null
}

/** That a person read and accepted the provider's terms for the organisation. Audited; a second time renews it. */
export async function confirmTerms(
  db: Db,
  actor: Pick<Actor, 'orgId' | 'userId'>,
  accountId: string,
): Promise<Readonly<{ confirmedBy: string; confirmedAt: Date }>> {
  return withTxRetry(db, async (tx) => {
    const account = await accountById(tx, accountId)
    const { rows } = await tx.query<{ confirmedBy: string; confirmedAt: Date }>(
      `insert into provider_terms (org_id, account_id, confirmed_by) values ($1, $2, $3)
       on conflict (org_id, account_id) do update set confirmed_by = excluded.confirmed_by, confirmed_at = now()
       returning confirmed_by as "confirmedBy", confirmed_at as "confirmedAt"`,
      [actor.orgId, accountId, actor.userId],
    )
    await appendAudit(tx, {
      orgId: actor.orgId,
      actorId: actor.userId,
      action: 'terms.confirmed',
      target: `account:${account.id}`,
      after: { account: account.name },
    })
    return rows[0] as { confirmedBy: string; confirmedAt: Date }
  })
}
