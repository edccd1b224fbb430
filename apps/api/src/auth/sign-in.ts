/** Signing in, staying signed in, signing out: local accounts. */
import { APIError } from 'better-auth/api'
import { AppError } from '../base/errors.ts'
import { type Db, withTx } from '../db/client.ts'
import { ADDRESS_HEADER, type LocalAuth } from './local.ts'
import { forgetExpired, forgive, LIMITS, type Try, takeTry, tooManyTries } from './tries.ts'

export type Local = Readonly<{
  /** Works as gleaner_auth. */
  db: Db
  /** Passwords, sessions, second factors: it never asks anything of the network. */
  auth: LocalAuth
  /** Sign-in by the identity provider; null when none is configured. */
  identity: IdentitySignIn | null
}>

/**
 * A better-auth of its own over the same tables: while its provider hangs, it hangs, and everybody else signs in as ever.
 */
export type IdentitySignIn = Readonly<{
  /** What the button says. */
  name: string
  /** Made when it is needed first: that is when the provider is asked for its addresses. */
  auth: () => LocalAuth
  /** How long a step may take, ms. */
  timeoutMs: number
}>

/** What of a request matters here. */
export type Asker = Readonly<{
  cookie: string | undefined
  userAgent: string | undefined
  /** Where the request came from. */
  address: string
}>

/** The headers better-auth sees: ours, not whatever was sent. */
export function headersOf(asker: Asker): Headers {
  const headers = new Headers({ [ADDRESS_HEADER]: asker.address })
  if (asker.cookie !== undefined) headers.set('cookie', asker.cookie)
  if (asker.userAgent !== undefined) headers.set('user-agent', asker.userAgent.slice(0, 300))
  return headers
}

/** Cookies to be set by the answer, as they stand in its headers. */
export type Cookies = readonly string[]

export type SignedIn = Readonly<{ userId: string; name: string; sessionId: string }>

/**
 * Who the session cookie belongs to, or null; `cookies` prolong it now and then. A session that was ended is ended at once:
 * nothing is cached.
 */
export async function sessionOf(
  local: Local,
  asker: Asker,
): Promise<Readonly<{ who: SignedIn; cookies: Cookies }> | null> {
  if (asker.cookie === undefined || !asker.cookie.includes('session_token')) return null
  const { response, headers } = await local.auth.api.getSession({ headers: headersOf(asker), returnHeaders: true })
  if (!response) return null
  const { session, user } = response
  return { who: { userId: user.id, name: user.name, sessionId: session.id }, cookies: headers.getSetCookie() }
}

export type Outcome = Readonly<{
  /** Null until the second factor is given, too. */
  userId: string | null
  cookies: Cookies
}>

/**
 * Signs in with e-mail and password; with a second factor set, the answer only opens the way for `giveCode`. Throws AppError
 * `auth.credentials_wrong`, the same and after the same work whether the address is known or not, and `auth.too_many_tries`.
 */
export async function signIn(
  local: Local,
  asker: Asker,
  given: Readonly<{ email: string; password: string }>,
): Promise<Outcome> {
  const email = given.email.trim().toLowerCase()
  const own: Try[] = [
    { limit: LIMITS.addressAndEmail, of: `${asker.address} ${email}` },
    { limit: LIMITS.email, of: email },
  ]
  await takeTry(local.db, [...own, { limit: LIMITS.address, of: asker.address }])
  const { response, headers } = await local.auth.api
    .signInEmail({ body: { email, password: given.password }, headers: withoutCookies(asker), returnHeaders: true })
    .catch((error: unknown) => {
      throw error instanceof APIError && error.statusCode < 500 ? wrongCredentials(error) : error
    })
  await forgive(local.db, own)
  const second = 'twoFactorRedirect' in response
  if (second) return { userId: null, cookies: headers.getSetCookie() }
  await audit(local.db, response.user.id, 'person.signed_in', { by: 'password' })
  await forgetExpired(local.db)
  return { userId: response.user.id, cookies: headers.getSetCookie() }
}

/**
 * The second step of a sign-in: the six digits of the authenticator, or one of the recovery codes, which is used up by it.
 * Throws AppError `auth.code_wrong`, `auth.sign_in_again` after ten minutes or five wrong codes, `auth.too_many_tries`.
 */
export async function giveCode(
  local: Local,
  asker: Asker,
  given: Readonly<{ code: string; kind: 'authenticator' | 'recovery' }>,
): Promise<Outcome> {
  await takeTry(local.db, [{ limit: LIMITS.link, of: asker.address }])
  const call = { body: { code: given.code }, headers: await challengeOnly(local, asker), returnHeaders: true } as const
  const asked = given.kind === 'authenticator' ? local.auth.api.verifyTOTP(call) : local.auth.api.verifyBackupCode(call)
  const { response, headers } = await asked.catch((error: unknown) => {
    throw codeRefused(error)
  })
  const { id } = response.user as { id: string }
  await forgive(local.db, [{ limit: LIMITS.link, of: asker.address }])
  await audit(local.db, id, 'person.signed_in', { by: `password and ${given.kind} code` })
  return { userId: id, cookies: headers.getSetCookie() }
}

/** Signs in somebody who proved themselves in another way; `by` says which, for the audit log. */
export async function openSession(local: Local, asker: Asker, userId: string, by: string): Promise<Outcome> {
  const { headers } = await local.auth.api.openSession({
    body: { userId },
    headers: withoutCookies(asker),
    returnHeaders: true,
  })
  await audit(local.db, userId, 'person.signed_in', { by })
  return { userId, cookies: headers.getSetCookie() }
}

/** Ends the session of the cookie, if there is one; the cookies returned remove it from the browser. */
export async function signOut(local: Local, asker: Asker): Promise<Cookies> {
  const found = await sessionOf(local, asker)
  const { headers } = await local.auth.api.signOut({ headers: headersOf(asker), returnHeaders: true })
  if (found) await audit(local.db, found.who.userId, 'person.signed_out')
  return headers.getSetCookie()
}

/** Writes an act of a person on their own account into the audit log of each of their organisations. */
export async function audit(
  db: Db,
  userId: string,
  act: string,
  fields?: Readonly<Record<string, unknown>>,
): Promise<void> {
  await withTx(db, (tx) =>
    tx.query('select gleaner_auth.audit_person($1, $2, $3)', [userId, act, fields ? JSON.stringify(fields) : null]),
  )
}

function withoutCookies(asker: Asker): Headers {
  return headersOf({ ...asker, cookie: undefined })
}

/** The cookie of the sign-in under way, without that of a session: a code is never taken for the session's own. */
async function challengeOnly(local: Local, asker: Asker): Promise<Headers> {
  const { authCookies } = await local.auth.$context
  const kept = (asker.cookie ?? '')
    .split(/;\s*/)
    .filter((pair) => !pair.startsWith(`${authCookies.sessionToken.name}=`))
  return headersOf({ ...asker, cookie: kept.join('; ') })
}

export function wrongCredentials(cause?: unknown): AppError {
  return new AppError('auth.credentials_wrong', 'E-mail or password is wrong.', { cause })
}

/** better-auth's refusals of a code in our words; anything else as it is. */
export function codeRefused(error: unknown): unknown {
  if (!(error instanceof APIError)) return error
  switch (error.body?.code) {
    case 'INVALID_CODE':
    case 'INVALID_BACKUP_CODE':
      return new AppError('auth.code_wrong', 'The code is wrong.', { cause: error })
    case 'ACCOUNT_TEMPORARILY_LOCKED':
      return tooManyTries(LOCKED_S)
    case 'INVALID_TWO_FACTOR_COOKIE':
    case 'TOO_MANY_ATTEMPTS_REQUEST_NEW_CODE':
    case 'TOTP_NOT_ENABLED':
    case 'BACKUP_CODES_NOT_ENABLED':
      return new AppError('auth.sign_in_again', 'This sign-in is over.', {
        hint: 'Begin again with the password.',
        cause: error,
      })
    default:
      return error.statusCode < 500 ? new AppError('auth.code_wrong', 'The code is wrong.', { cause: error }) : error
  }
}

/** After ten wrong codes in a row the second factor takes none for a quarter of an hour (better-auth's accountLockout). */
const LOCKED_S = 900
