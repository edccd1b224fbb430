/** Coming in: passwords, codes, one-time links, the identity provider; and going out. */
import { z } from 'zod'
import { finishIdentity, startIdentity } from '../../auth/identity.ts'
import { openOwnerLink } from '../../auth/owner-links.ts'
import { audit, giveCode, openSession, signIn, signOut } from '../../auth/sign-in.ts'
import { LIMITS, takeTry } from '../../auth/tries.ts'
import { withTx } from '../../db/client.ts'
import { askerOf } from '../authenticate.ts'
import { giveCookies } from '../cookies.ts'
import { localOf, ownPage, requireSignedIn, signInOf } from '../local-sign-in.ts'
import { type Route, route } from '../route.ts'
import { email, givenPassword, linkToken, signedIn } from '../schemas/people.ts'

const DONE = {
  schema: signedIn,
  description: 'How far it came. The cookie of the session is set.',
  example: { signedIn: true },
}

const ways = route({
  method: 'GET',
  path: '/api/v1/auth',
  operationId: 'waysToSignIn',
  tag: 'People',
  summary: 'How people sign in here',
  description: 'What the page of sign-in offers: passwords, an identity provider, or Supabase.',
  access: 'public',
  transaction: 'none',
  answers: {
    200: {
      description: 'The ways.',
      schema: z
        .object({
          password: z.boolean(),
          identity: z.object({ name: z.string().describe('What the button says.') }).nullable(),
          supabase: z.object({ url: z.string() }).nullable(),
        })
        .meta({ id: 'WaysToSignIn' }),
      example: { password: true, identity: null, supabase: null },
    },
  },
})(async ({ deps }) => {
  const how = signInOf(deps)
  const local = how.kind === 'local'
  return {
    status: 200,
    body: {
      password: local,
      identity: local && how.local.identity ? { name: how.local.identity.name } : null,
      supabase: local ? null : { url: how.url },
    },
  }
})

const password = route({
  method: 'POST',
  path: '/api/v1/auth/sign-in',
  operationId: 'signIn',
  tag: 'People',
  summary: 'Sign in with e-mail and password',
  description:
    'The answer and the time it takes are the same whether the address is known or not. With a second factor set, `signedIn` is false and POST /api/v1/auth/code comes next. Five tries in five minutes, then the answer is 429 and says when to try again.',
  access: 'public',
  transaction: 'none',
  body: z.strictObject({ email, password: givenPassword }),
  bodyExample: { email: 'ana@example.org', password: 'correct horse battery' },
  answers: { 200: DONE },
  refuses: ['auth.credentials_wrong', 'auth.too_many_tries', 'auth.not_local'],
})(async ({ deps, request, body }) => {
  const outcome = await signIn(localOf(deps), askerOf(request), body)
  giveCookies(request, outcome.cookies)
  return { status: 200, body: { signedIn: outcome.userId !== null } }
})

const code = route({
  method: 'POST',
  path: '/api/v1/auth/code',
  operationId: 'giveSignInCode',
  tag: 'People',
  summary: 'Give the second factor of a sign-in',
  description:
    'Six digits of the authenticator, or a recovery code, which is used up. Within ten minutes of the password, five codes at most.',
  access: 'public',
  transaction: 'none',
  body: z.strictObject({
    code: z.string().min(1).max(40),
    kind: z.enum(['authenticator', 'recovery']).default('authenticator'),
  }),
  bodyExample: { code: '123456', kind: 'authenticator' },
  answers: { 200: DONE },
  refuses: ['auth.code_wrong', 'auth.sign_in_again', 'auth.too_many_tries', 'auth.not_local'],
})(async ({ deps, request, body }) => {
  const outcome = await giveCode(localOf(deps), askerOf(request), body)
  giveCookies(request, outcome.cookies)
  return { status: 200, body: { signedIn: true } }
})

const out = route({
  method: 'POST',
  path: '/api/v1/auth/sign-out',
  operationId: 'signOut',
  tag: 'People',
  summary: 'Sign out',
  description: 'Ends the session of this browser, at once. Nobody signed in is no error.',
  access: 'public',
  transaction: 'none',
  answers: { 204: { description: 'Nobody is signed in any more.' } },
  refuses: ['auth.not_local'],
})(async ({ deps, request }) => {
  giveCookies(request, await signOut(localOf(deps), askerOf(request)))
  return { status: 204 }
})

const ownerLink = route({
  method: 'POST',
  path: '/api/v1/auth/owner-link',
  operationId: 'openOwnerLink',
  tag: 'People',
  summary: 'Sign in by the link printed on the server',
  description:
    'What `gleaner start` prints the first time, and `gleaner owner-link` at any time: good once, for 24 hours.',
  access: 'public',
  transaction: 'none',
  body: z.strictObject({ token: linkToken }),
  bodyExample: { token: 'Jb2nL0qX5c8rT1vW4yZ7aD0gJ3mP6sV9xB2eH5kN8qU' },
  answers: { 200: DONE },
  refuses: ['auth.link_invalid', 'auth.too_many_tries', 'auth.not_local'],
})(async ({ deps, request, body }) => {
  const local = localOf(deps)
  const asker = askerOf(request)
  await takeTry(local.db, [{ limit: LIMITS.link, of: asker.address }])
  const owner = await withTx(local.db, (tx) => openOwnerLink(tx, body.token))
  const { cookies } = await openSession(local, asker, owner.userId, 'owner link')
  giveCookies(request, cookies)
  return { status: 200, body: { signedIn: true } }
})

const startWithIdentity = route({
  method: 'POST',
  path: '/api/v1/auth/identity',
  operationId: 'startIdentitySignIn',
  tag: 'People',
  summary: 'Begin a sign-in by the identity provider',
  description:
    'Answers where the browser goes next. Afterwards it comes to `returnTo`, or, refused, to `/sign-in?error=…`. With `link` the identity is added to the account that is signed in, which is how somebody with a password takes up an identity of the same address.',
  access: 'public',
  transaction: 'none',
  body: z.strictObject({ returnTo: z.string().max(500).default('/'), link: z.boolean().default(false) }),
  bodyExample: { returnTo: '/runs', link: false },
  answers: {
    200: {
      description: 'Where to go.',
      schema: z.object({ url: z.string() }).meta({ id: 'IdentityStart' }),
      example: { url: 'https://login.example.org/authorize?client_id=gleaner' },
    },
  },
  refuses: [
    'auth.not_local',
    'auth.no_identity_provider',
    'auth.provider_down',
    'auth.too_many_tries',
    'auth.required',
  ],
})(async ({ deps, request, body }) => {
  const local = localOf(deps)
  if (body.link) await requireSignedIn(deps, request)
  const started = await startIdentity(local, askerOf(request), { returnTo: ownPage(body.returnTo), link: body.link })
  giveCookies(request, started.cookies)
  return { status: 200, body: { url: started.url } }
})

const backFromIdentity = route({
  method: 'GET',
  path: '/api/v1/auth/oidc/callback',
  operationId: 'finishIdentitySignIn',
  // For browsers on their way back; it has no answer a client could want, and Redocly asks for one.
  hidden: true,
  tag: 'People',
  summary: 'Where the identity provider sends the browser back to',
  description:
    'For browsers on their way back, with the cookie they left with; register this address with the identity provider.',
  access: 'public',
  transaction: 'none',
  query: z.object({
    code: z.string().max(4000).optional(),
    state: z.string().max(1000).optional(),
    iss: z.string().max(1000).optional(),
    error: z.string().max(200).optional(),
    error_description: z.string().max(1000).optional(),
  }),
  answers: {
    303: {
      description: 'On to the page that was asked for, or to /sign-in?error=….',
      headers: { location: 'Where to go.' },
    },
  },
  refuses: ['auth.not_local', 'auth.no_identity_provider', 'auth.sign_in_again'],
})(async ({ deps, request, query }) => {
  const local = localOf(deps)
  const given = Object.entries(query).filter((pair): pair is [string, string] => typeof pair[1] === 'string')
  const { location, cookies, userId } = await finishIdentity(local, askerOf(request), Object.fromEntries(given))
  giveCookies(request, cookies)
  if (userId !== null) await audit(local.db, userId, 'person.signed_in', { by: 'identity provider' })
  return { status: 303, headers: { location } }
})

export const signInRoutes: readonly Route[] = [
  ways,
  password,
  code,
  out,
  ownerLink,
  startWithIdentity,
  backFromIdentity,
]
