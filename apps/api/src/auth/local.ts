/**
 * Accounts of ours, kept by better-auth: it makes and checks sessions, passwords, second factors and the exchange with an
 * identity provider. Its own HTTP routes are not mounted; ours call its functions, so every route there is stands in the
 * OpenAPI document (docs/adr/0019-sign-in.md).
 */
import { type BetterAuthOptions, type BetterAuthPlugin, betterAuth } from 'better-auth'
import { createAuthEndpoint } from 'better-auth/api'
import { setSessionCookie } from 'better-auth/cookies'
import { genericOAuth, twoFactor } from 'better-auth/plugins'
import { z } from 'zod'
import type { Db } from '../db/client.ts'
import type { OidcConfig } from './config.ts'
import { AUTH_SCHEMA, NAMES, SECOND_FACTOR_NAMES } from './local-schema.ts'

/** Where our routes for sign-in stand. */
export const AUTH_PATH = '/api/v1/auth'
/** The header in which the door hands over the address of the one who asks; never taken from outside. */
export const ADDRESS_HEADER = 'x-gleaner-address'
export const OIDC_PROVIDER = 'oidc'

export const PASSWORD_LENGTH = { least: 10, most: 256 } as const
const DAY_S = 86_400

export type LocalOptions = Readonly<{
  /** Works as gleaner_auth. */
  db: Db
  /** Signs cookies and seals second factors: 256 bits at least, the same for every process of the installation, kept for good. */
  secret: string
  /** Where people reach Gleaner, without a slash at the end. Cookies are Secure when it is https. */
  publicUrl: string
  oidc: OidcConfig | null
  /** Called after an identity provider brought somebody new, with their id in auth.users. */
  onNewPerson: (userId: string) => Promise<void>
  log: (level: 'debug' | 'info' | 'warn' | 'error', message: string) => void
}>

/** The options given to better-auth; also what a test has its schema check look at. */
export function localOptions(options: LocalOptions) {
  const { db, secret, publicUrl, oidc, log } = options
  return {
    appName: 'Gleaner',
    baseURL: publicUrl,
    basePath: AUTH_PATH,
    secret,
    database: { db: db.kysely as never, type: 'postgres', schemaName: AUTH_SCHEMA, transaction: true },
    ...NAMES,
    user: { ...NAMES.user, validateUserInfo: (given) => allowed(oidc, given.user) },
    session: {
      ...NAMES.session,
      expiresIn: 14 * DAY_S,
      // So often a session that is used is prolonged, which is also what "last seen" of the list of sessions says.
      updateAge: 3600,
    },
    account: {
      ...NAMES.account,
      // An address given by hand proves nothing: an identity of the same address is taken up by its own person, signed in.
      accountLinking: { enabled: true, requireLocalEmailVerified: true, allowDifferentEmails: true },
    },
    verification: { ...NAMES.verification, storeIdentifier: 'hashed' },
    emailAndPassword: {
      enabled: true,
      disableSignUp: true,
      minPasswordLength: PASSWORD_LENGTH.least,
      maxPasswordLength: PASSWORD_LENGTH.most,
    },
    advanced: {
      cookiePrefix: 'gleaner',
      database: { generateId: 'uuid' },
      ipAddress: { ipAddressHeaders: [ADDRESS_HEADER] },
      defaultCookieAttributes: { httpOnly: true, sameSite: 'lax' },
    },
    // Counted in the database for all processes, and by our own rules (tries.ts).
    rateLimit: { enabled: false },
    telemetry: { enabled: false },
    databaseHooks: {
      account: { create: { before: withoutTokens }, update: { before: withoutTokens } },
      user: { create: { after: (user) => options.onNewPerson(user.id) } },
    },
    // Only the message: its further arguments hold whatever a request held.
    logger: { log: (level, message) => log(level, `sign-in: ${message}`) },
    plugins: [
      twoFactor({ issuer: 'Gleaner', schema: SECOND_FACTOR_NAMES }),
      ...(oidc ? [identityProvider(oidc, publicUrl)] : []),
      ownSessions(),
    ],
  } satisfies BetterAuthOptions
}

/** better-auth with our names and rules. The schema must be current. */
export function makeLocalAuth(options: LocalOptions) {
  return betterAuth(localOptions(options))
}

export type LocalAuth = ReturnType<typeof makeLocalAuth>

function identityProvider(oidc: OidcConfig, publicUrl: string) {
  return genericOAuth({
    config: [
      {
        providerId: OIDC_PROVIDER,
        name: oidc.name,
        discoveryUrl: `${oidc.issuer}/.well-known/openid-configuration`,
        clientId: oidc.clientId,
        clientSecret: oidc.clientSecret,
        scopes: ['openid', 'email', 'profile'],
        pkce: true,
        // Without a signature that can be checked, nobody comes in.
        requireIdTokenVerification: true,
        redirectURI: `${publicUrl}${AUTH_PATH}/oidc/callback`,
        disableSignUp: oidc.domains.length === 0,
      },
    ],
  })
}

/** Who may come in by the identity provider: addresses it vouches for, of the configured domains when there are any. */
function allowed(oidc: OidcConfig | null, user: Readonly<Record<string, unknown>>): { error: string } | undefined {
  const email = typeof user['email'] === 'string' ? user['email'].toLowerCase() : ''
  if (!oidc) return undefined
  if (user['emailVerified'] !== true) return { error: 'email_not_verified' }
  if (oidc.domains.length > 0 && !oidc.domains.includes(email.split('@').at(-1) ?? ''))
    return { error: 'domain_not_allowed' }
  return undefined
}

/** Nothing is asked of the identity provider after the sign-in: its tokens are not kept. */
function withoutTokens<T extends object>(account: T): Promise<{ data: T }> {
  const none = {
    accessToken: null,
    refreshToken: null,
    idToken: null,
    accessTokenExpiresAt: null,
    refreshTokenExpiresAt: null,
  }
  return Promise.resolve({ data: { ...account, ...none } })
}

/** Signs in somebody who proved themselves by a one-time link. Reachable from our code only. */
function ownSessions() {
  return {
    id: 'gleaner-sessions',
    endpoints: {
      openSession: createAuthEndpoint.serverOnly(
        { method: 'POST', body: z.object({ userId: z.uuid() }), requireHeaders: true },
        async (ctx) => {
          const user = await ctx.context.internalAdapter.findUserById(ctx.body.userId)
          if (!user) throw new Error('a session for a person who does not exist')
          const session = await ctx.context.internalAdapter.createSession(user.id)
          await setSessionCookie(ctx, { session, user })
          return ctx.json({ userId: user.id, sessionId: session.id })
        },
      ),
    },
  } satisfies BetterAuthPlugin
}
