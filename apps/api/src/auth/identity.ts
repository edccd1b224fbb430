/** Sign-in by the identity provider of the configuration (OpenID Connect, code flow with PKCE). */
import { APIError } from 'better-auth/api'
import { AppError } from '../base/errors.ts'
import { OIDC_PROVIDER } from './local.ts'
import { type Asker, type Cookies, headersOf, type IdentitySignIn, type Local } from './sign-in.ts'
import { LIMITS, takeTry } from './tries.ts'

export type Started = Readonly<{
  /** Where the browser goes now. */
  url: string
  cookies: Cookies
}>

/**
 * Begins a sign-in; afterwards the browser comes to `returnTo`, or, refused, to the page of sign-in with `?error=`. With
 * `link` the identity is added to the account that is signed in. Throws AppError `auth.no_identity_provider`, and
 * `auth.provider_down` when the provider could not be asked in time.
 */
export async function startIdentity(
  local: Local,
  asker: Asker,
  ask: Readonly<{ returnTo: string; link: boolean }>,
): Promise<Started> {
  const identity = identityOf(local)
  await takeTry(local.db, [{ limit: LIMITS.link, of: asker.address }])
  const body = {
    provider: OIDC_PROVIDER,
    callbackURL: ask.returnTo,
    errorCallbackURL: SIGN_IN_PAGE,
    disableRedirect: true,
  }
  const call = { body, headers: headersOf(asker), returnHeaders: true } as const
  const { api } = identity.auth()
  const asked = inTime(identity, ask.link ? api.linkSocialAccount(call) : api.signInSocial(call))
  const { response, headers } = await asked.catch((error: unknown) => {
    throw error instanceof APIError && error.statusCode !== 401 ? providerDown(identity, error) : error
  })
  return { url: (response as { url: string }).url, cookies: headers.getSetCookie() }
}

/** Where somebody who did not get in comes to. */
const SIGN_IN_PAGE = '/sign-in'

export type Finished = Readonly<{ location: string; cookies: Cookies; userId: string | null }>

/**
 * Ends a sign-in when the browser comes back. `location` is where it goes next: it carries `error` when nobody got in.
 * Throws as `startIdentity`.
 */
export async function finishIdentity(
  local: Local,
  asker: Asker,
  query: Readonly<Record<string, string>>,
): Promise<Finished> {
  const identity = identityOf(local)
  const { api } = identity.auth()
  const call = {
    params: { id: OIDC_PROVIDER },
    query,
    headers: headersOf(asker),
    method: 'GET',
    asResponse: true,
  } as const
  const answer = await inTime(identity, api.callbackOAuth(call))
  const cookies = answer.headers.getSetCookie()
  const location = onOwnSite(answer.headers.get('location'))
  return { location, cookies, userId: await whoGotIn(local, asker, cookies) }
}

/** Of its own page of errors, which is not served, only what was wrong is kept. */
function onOwnSite(location: string | null): string {
  if (location?.startsWith('/')) return location
  const error = location === null ? null : new URL(location).searchParams.get('error')
  return `${SIGN_IN_PAGE}?error=${encodeURIComponent(error ?? 'unknown')}`
}

function identityOf(local: Local): IdentitySignIn {
  if (local.identity) return local.identity
  throw new AppError('auth.no_identity_provider', 'No identity provider is configured.', {
    hint: 'Set GLEANER_OIDC_ISSUER, GLEANER_OIDC_CLIENT_ID and GLEANER_OIDC_CLIENT_SECRET; see docs/sign-in.md.',
  })
}

/** What `step` comes to, within the time there is: the library itself waits for a provider as long as that takes. */
async function inTime<T>(identity: IdentitySignIn, step: Promise<T>): Promise<T> {
  let timer: NodeJS.Timeout | undefined
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(providerDown(identity)), identity.timeoutMs)
  })
  // Should it fail after all, once nobody waits any more, that is no news.
  step.catch(() => {})
  return Promise.race([step, late]).finally(() => clearTimeout(timer))
}

function providerDown({ name }: IdentitySignIn, cause?: unknown): AppError {
  return new AppError('auth.provider_down', `The identity provider (${name}) does not answer.`, {
    hint: 'Sign in with a password, or try again later.',
    cause,
  })
}

/** Whose session the answer opened. */
async function whoGotIn(local: Local, asker: Asker, cookies: Cookies): Promise<string | null> {
  const { authCookies } = await local.auth.$context
  const name = `${authCookies.sessionToken.name}=`
  const pair = cookies.find((cookie) => cookie.startsWith(name))?.split(';')[0]
  if (pair === undefined || pair === name) return null
  const found = await local.auth.api.getSession({ headers: headersOf({ ...asker, cookie: pair }) })
  return found?.user.id ?? null
}
