/** Who sends a request: an API key, a token of Supabase, or the cookie of a session. */
import type { FastifyRequest } from 'fastify'
import { findKey } from '../auth/key-store.ts'
import type { SignIn } from '../auth/open.ts'
import { type Asker, sessionOf } from '../auth/sign-in.ts'
import { AppError } from '../base/errors.ts'
import type { Db } from '../db/client.ts'
import { giveCookies } from './cookies.ts'
import type { Authenticate, Principal } from './principal.ts'

/** What sign-in may know of a request. */
export function askerOf(request: FastifyRequest): Asker {
  return { cookie: request.headers.cookie, userAgent: request.headers['user-agent'], address: request.ip }
}

/**
 * Finds out who asks. `db` works as service_role. What is said in `authorization` counts alone, also when it is wrong: a
 * program whose key was revoked is told so, and does not go on under a cookie.
 */
export function makeAuthenticate(signIn: SignIn, db: Db): Authenticate {
  return async (request) => {
    const { authorization } = request.headers
    if (authorization !== undefined) return byBearer(signIn, db, authorization)
    return signIn.kind === 'local' ? byCookie(signIn, request) : null
  }
}

async function byBearer(signIn: SignIn, db: Db, authorization: string): Promise<Principal> {
  const token = /^bearer +(\S+)$/i.exec(authorization)?.[1]
  if (token?.startsWith('glk_')) {
    const { keyId, name, orgId, userId, scopes, maxRole } = await findKey(db, token)
    return { kind: 'key', userId, name, keyId, maxRole, orgId, scopes }
  }
  if (token !== undefined && signIn.kind === 'supabase') return { kind: 'person', ...(await signIn.check(token)) }
  throw new AppError('auth.token_invalid', 'The authorization header holds nothing this installation knows.', {
    hint: 'Send "Authorization: Bearer glk_…" with an API key of the organisation.',
  })
}

async function byCookie(signIn: SignIn & { kind: 'local' }, request: FastifyRequest): Promise<Principal | null> {
  const found = await sessionOf(signIn.local, askerOf(request))
  if (!found) return null
  giveCookies(request, found.cookies)
  const { userId, name, sessionId } = found.who
  return { kind: 'person', userId, name, sessionId }
}
