/** What people do to their own account: password, sessions, second factor. */
import { APIError } from 'better-auth/api'
import { AppError } from '../base/errors.ts'
import { type Db, withTx } from '../db/client.ts'
import { brokenConstraint } from '../db/errors.ts'
import { isPlaceholder } from './owner-links.ts'
import { type Asker, type Cookies, codeRefused, headersOf, type Local, type SignedIn } from './sign-in.ts'
import { LIMITS, takeTry } from './tries.ts'

export type Account = Readonly<{
  name: string
  /** Null until the owner has given one. */
  email: string | null
  hasPassword: boolean
  secondFactor: boolean
  /** Signed in by an identity provider before. */
  identity: boolean
}>

/** How the person signs in. `db` works as gleaner_auth. Null for somebody without an account of ours. */
export async function accountOf(db: Db, userId: string): Promise<Account | null> {
  const { rows } = await db.query<Account & { email: string }>(
    `select u.name, u.email, coalesce(u.two_factor_enabled, false) as "secondFactor",
       exists (select from gleaner_auth.accounts a where a.user_id = u.id and a.password is not null) as "hasPassword",
       exists (select from gleaner_auth.accounts a where a.user_id = u.id and a.provider_id <> 'credential') as identity
     from gleaner_auth.users u where u.id = $1`,
    [userId],
  )
  const row = rows[0]
  return row ? { ...row, email: isPlaceholder(row.email) ? null : row.email } : null
}

/** Changes the name others see. `db` works as gleaner_auth. */
export async function renamePerson(db: Db, userId: string, name: string): Promise<void> {
  await db.query('update gleaner_auth.users set name = $2, updated_at = now() where id = $1', [userId, name])
}

export type PasswordWish = Readonly<{
  /** Needed when there is one. */
  current?: string
  next: string
  /** A new address to sign in with; needed by who has none. */
  email?: string
}>

/**
 * Sets or changes the password, and the address with it. All other sessions of the person end. Throws AppError
 * `auth.current_password_wrong`, `auth.address_taken`, `input.invalid` when no address is known.
 */
export async function setPassword(local: Local, who: SignedIn, wish: PasswordWish): Promise<void> {
  const { password } = await local.auth.$context
  const known = await readPassword(local.db, who.userId)
  if (known.hash !== null) {
    await takeTry(local.db, [{ limit: LIMITS.again, of: who.userId }])
    const right = wish.current !== undefined && (await password.verify({ hash: known.hash, password: wish.current }))
    if (!right) throw new AppError('auth.current_password_wrong', 'The current password is wrong.')
  }
  const email = wish.email?.trim().toLowerCase()
  if (isPlaceholder(known.email) && email === undefined) {
    throw new AppError('input.invalid', 'An e-mail address is needed to sign in with.', {
      details: { errors: [{ path: 'body.email', message: 'is needed with the first password' }] },
    })
  }
  const hash = await password.hash(wish.next)
  try {
    await storePassword(local.db, who, { hash, email, known: known.hash })
  } catch (error) {
    if (!['users_email_unique', 'users_email_key'].includes(brokenConstraint(error) ?? '')) throw error
    throw new AppError('auth.address_taken', 'This e-mail address belongs to another account.', { cause: error })
  }
}

async function readPassword(db: Db, userId: string): Promise<{ hash: string | null; email: string }> {
  const { rows } = await db.query<{ hash: string | null; email: string }>(
    `select a.password as hash, u.email from gleaner_auth.users u
     left join gleaner_auth.accounts a on a.user_id = u.id and a.provider_id = 'credential' where u.id = $1`,
    [userId],
  )
  if (!rows[0]) throw new AppError('auth.not_local', 'This person has no account here.')
  return rows[0]
}

type Stored = Readonly<{ hash: string; email: string | undefined; known: string | null }>

async function storePassword(db: Db, who: SignedIn, { hash, email, known }: Stored): Promise<void> {
  await withTx(db, async (tx) => {
    // Nobody changed it meanwhile: what was checked is what is replaced.
    const { rowCount } = await tx.query(
      `insert into gleaner_auth.accounts as a (user_id, account_id, provider_id, password) values ($1::uuid, $1::uuid::text, 'credential', $2)
       on conflict (provider_id, account_id) do update set password = excluded.password, updated_at = now()
       where a.password is not distinct from $3`,
      [who.userId, hash, known],
    )
    if (rowCount === 0) throw new AppError('auth.current_password_wrong', 'The password was changed meanwhile.')
    if (email !== undefined) {
      await tx.query(
        `update gleaner_auth.users set email = $2, email_verified = email_verified and email = $2, updated_at = now()
         where id = $1`,
        [who.userId, email],
      )
    }
    await tx.query('delete from gleaner_auth.sessions where user_id = $1 and id <> $2', [who.userId, who.sessionId])
  })
}

export type SessionRow = Readonly<{
  id: string
  createdAt: Date
  /** Within the hour. */
  lastSeenAt: Date
  expiresAt: Date
  address: string | null
  userAgent: string | null
}>

/** The person's sessions that have not expired, last used first. At most 200: older ones are left out. */
export async function listSessions(db: Db, userId: string): Promise<readonly SessionRow[]> {
  const { rows } = await db.query<SessionRow>(
    `select id, created_at as "createdAt", updated_at as "lastSeenAt", expires_at as "expiresAt",
       nullif(ip_address, '') as address, nullif(user_agent, '') as "userAgent"
     from gleaner_auth.sessions where user_id = $1 and expires_at > now() order by updated_at desc, id limit 200`,
    [userId],
  )
  return rows
}

/** Ends one session of the person, at once. Throws AppError `auth.session_unknown` when it is none of theirs. */
export async function endSession(db: Db, userId: string, sessionId: string): Promise<void> {
  await withTx(db, async (tx) => {
    const { rowCount } = await tx.query('delete from gleaner_auth.sessions where id = $1 and user_id = $2', [
      sessionId,
      userId,
    ])
    if (rowCount === 0) throw new AppError('auth.session_unknown', 'There is no such session of yours.')
    await tx.query('select gleaner_auth.audit_person($1, $2)', [userId, 'person.session_ended'])
  })
}

/** Ends every session of the person but this one. Returns how many. */
export async function endOtherSessions(db: Db, who: SignedIn): Promise<number> {
  return withTx(db, async (tx) => {
    const { rowCount } = await tx.query(
      'delete from gleaner_auth.sessions where user_id = $1 and id <> $2 and expires_at > now()',
      [who.userId, who.sessionId],
    )
    const ended = rowCount ?? 0
    if (ended > 0) {
      const fields = JSON.stringify({ sessions: ended })
      await tx.query('select gleaner_auth.audit_person($1, $2, $3)', [who.userId, 'person.sessions_ended', fields])
    }
    return ended
  })
}

export type SecondFactor = Readonly<{
  /** otpauth://…, as a QR code shows it. */
  uri: string
  /** Each lets its person in once, without the authenticator. Shown once. */
  recoveryCodes: readonly string[]
}>

/**
 * Begins to set up a second factor: it guards nothing until `confirmSecondFactor`. Begun again, the codes before are void.
 * Throws AppError `auth.current_password_wrong`, `auth.second_factor_on`.
 */
export async function startSecondFactor(
  local: Local,
  asker: Asker,
  who: SignedIn,
  password: string,
): Promise<SecondFactor> {
  await takeTry(local.db, [{ limit: LIMITS.again, of: who.userId }])
  const made = await local.auth.api
    .enableTwoFactor({ body: { password, method: 'totp' }, headers: headersOf(asker) })
    .catch((error: unknown) => {
      throw passwordRefused(error)
    })
  const { totpURI, backupCodes } = made as { totpURI: string; backupCodes: string[] }
  return { uri: totpURI, recoveryCodes: backupCodes }
}

/** Turns the second factor on, once its first code is right. The session goes on under the cookies returned. */
export async function confirmSecondFactor(local: Local, asker: Asker, who: SignedIn, code: string): Promise<Cookies> {
  await takeTry(local.db, [{ limit: LIMITS.again, of: who.userId }])
  const { headers } = await local.auth.api
    .verifyTOTP({ body: { code }, headers: headersOf(asker), returnHeaders: true })
    .catch((error: unknown) => {
      throw codeRefused(error)
    })
  return headers.getSetCookie()
}

/** Turns the second factor off; its recovery codes are void. The session goes on under the cookies returned. */
export async function stopSecondFactor(local: Local, asker: Asker, who: SignedIn, password: string): Promise<Cookies> {
  await takeTry(local.db, [{ limit: LIMITS.again, of: who.userId }])
  const { headers } = await local.auth.api
    .disableTwoFactor({ body: { password }, headers: headersOf(asker), returnHeaders: true })
    .catch((error: unknown) => {
      throw passwordRefused(error)
    })
  return headers.getSetCookie()
}

/** New recovery codes; those before are void. Throws as `startSecondFactor`, and `auth.second_factor_off`. */
export async function newRecoveryCodes(
  local: Local,
  asker: Asker,
  who: SignedIn,
  password: string,
): Promise<readonly string[]> {
  await takeTry(local.db, [{ limit: LIMITS.again, of: who.userId }])
  const { backupCodes } = await local.auth.api
    .generateBackupCodes({ body: { password }, headers: headersOf(asker) })
    .catch((error: unknown) => {
      throw passwordRefused(error)
    })
  return backupCodes
}

function passwordRefused(error: unknown): unknown {
  if (!(error instanceof APIError) || error.statusCode >= 500) return error
  switch (error.body?.code) {
    case 'TOTP_ALREADY_ENABLED':
      return new AppError('auth.second_factor_on', 'The second factor is on already.', { cause: error })
    case 'TWO_FACTOR_NOT_ENABLED':
      return new AppError('auth.second_factor_off', 'There is no second factor.', { cause: error })
    default:
      return new AppError('auth.current_password_wrong', 'The current password is wrong.', { cause: error })
  }
}
