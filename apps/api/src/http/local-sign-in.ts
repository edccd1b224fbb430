/** Between the routes of sign-in and its room. */
import type { FastifyRequest } from 'fastify'
import type { SignIn } from '../auth/open.ts'
import { type SignedIn, sessionOf } from '../auth/sign-in.ts'
import { AppError } from '../base/errors.ts'
import { askerOf } from './authenticate.ts'
import { giveCookies } from './cookies.ts'
import { type Principal, signInFirst } from './principal.ts'
import type { HttpDeps } from './route.ts'

/** How this installation signs people in. */
export function signInOf(deps: HttpDeps): SignIn {
  if (!deps.signIn) throw new Error('this door was opened without sign-in')
  return deps.signIn
}

/** Accounts of ours. Throws AppError `auth.not_local` where people sign in elsewhere. */
export function localOf(deps: HttpDeps) {
  const signIn = signInOf(deps)
  if (signIn.kind === 'local') return signIn.local
  throw new AppError('auth.not_local', 'People of this installation sign in with Supabase.', {
    hint: 'Use the sign-in of the Supabase project; there are no accounts here.',
  })
}

/** The session a person's request came with. Throws AppError `auth.session_needed` for keys and tokens. */
export function sessionFrom(principal: Principal): SignedIn {
  const { kind, userId, name, sessionId } = principal
  if (kind === 'person' && sessionId !== undefined) return { userId, name, sessionId }
  throw new AppError('auth.session_needed', 'This is for people who are signed in here.')
}

/** Who is signed in, on a route that is open to everybody; null for nobody. */
export async function maybeSignedIn(deps: HttpDeps, request: FastifyRequest): Promise<SignedIn | null> {
  const found = await sessionOf(localOf(deps), askerOf(request))
  if (found) giveCookies(request, found.cookies)
  return found?.who ?? null
}

/** Who is signed in. Throws AppError `auth.required` for nobody. */
export async function requireSignedIn(deps: HttpDeps, request: FastifyRequest): Promise<SignedIn> {
  const who = await maybeSignedIn(deps, request)
  if (!who) throw signInFirst()
  return who
}

/** An address of a page of this installation, with a secret behind `#`, where it reaches no log and no other site. */
export function linkTo(deps: HttpDeps, request: FastifyRequest, page: string, token: string): string {
  const origin = deps.publicOrigin ?? `${request.protocol}://${request.host}`
  return `${origin}${page}#${token}`
}

/** A page of this site, for after a sign-in. Throws AppError `input.invalid` for any other address. */
export function ownPage(path: string): string {
  // A browser reads "//x", "/\x" and control characters before it as another site.
  // oxlint-disable-next-line no-control-regex -- exactly these are meant
  if (/^\/(?![/\\])[^\\\u0000-\u001f]*$/.test(path)) return path
  throw new AppError('input.invalid', 'returnTo is no page of this installation.', {
    details: { errors: [{ path: 'body.returnTo', message: 'must begin with one / and stay on this site' }] },
  })
}
