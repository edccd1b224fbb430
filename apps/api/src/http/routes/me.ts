/** People and their own accounts. */
import { z } from 'zod'
import { orgsOf } from '../../auth/members.ts'
import {
  accountOf,
  confirmSecondFactor,
  endOtherSessions,
  endSession,
  listSessions,
  newRecoveryCodes,
  renamePerson,
  setPassword,
  startSecondFactor,
  stopSecondFactor,
} from '../../auth/own-account.ts'
import { askerOf } from '../authenticate.ts'
import { giveCookies } from '../cookies.ts'
import { localOf, sessionFrom, signInOf } from '../local-sign-in.ts'
import { type Route, route } from '../route.ts'
import { email, givenPassword, me as meSchema, password, personName, session } from '../schemas/people.ts'

const OWN = { tag: 'People', access: 'signed-in', transaction: 'none' } as const
const EXAMPLE_ID = '0198f6a1-0000-7000-8000-000000000001'

const me = route({
  ...OWN,
  method: 'GET',
  path: '/api/v1/me',
  operationId: 'getMe',
  summary: 'Who is signed in',
  description: 'The person, how they sign in, and the organisations they belong to.',
  answers: {
    200: {
      description: 'The person.',
      schema: meSchema,
      example: {
        id: EXAMPLE_ID,
        name: 'Ana K.',
        email: 'ana@example.org',
        hasPassword: true,
        secondFactor: false,
        identity: false,
        orgs: [{ id: EXAMPLE_ID, name: 'My agency', role: 'owner', createdAt: '2026-11-22T14:02:11.000Z' }],
      },
    },
  },
})(async ({ deps, principal, asMember }) => {
  const how = signInOf(deps)
  const account = how.kind === 'local' ? await accountOf(how.local.db, principal.userId) : null
  const { orgs, row } = await asMember(async (tx) => ({
    orgs: await orgsOf(tx, principal.userId),
    row: (await tx.query<{ name: string | null; email: string | null }>('select name, email from gleaner_me()'))
      .rows[0],
  }))
  const known = account ?? { name: row?.name ?? null, email: row?.email ?? null, ...ELSEWHERE }
  return { status: 200, body: { id: principal.userId, ...known, orgs: [...orgs] } }
})

/** Of people who sign in with Supabase: that is where these are kept. */
const ELSEWHERE = { hasPassword: true, secondFactor: false, identity: true }

const rename = route({
  ...OWN,
  method: 'PATCH',
  path: '/api/v1/me',
  operationId: 'renameMe',
  summary: 'Change your name',
  description: 'The name others see beside what you do.',
  body: z.strictObject({ name: personName }),
  bodyExample: { name: 'Ana K.' },
  answers: { 204: { description: 'Done.' } },
  refuses: ['auth.not_local', 'auth.session_needed'],
})(async ({ deps, principal, body }) => {
  await renamePerson(localOf(deps).db, sessionFrom(principal).userId, body.name)
  return { status: 204 }
})

const changePassword = route({
  ...OWN,
  method: 'PUT',
  path: '/api/v1/me/password',
  operationId: 'setMyPassword',
  summary: 'Set or change your password',
  description:
    'With the current one, when there is one. The first password comes with the e-mail address to sign in with; later the address can be changed the same way. All your other sessions end.',
  body: z.strictObject({ current: givenPassword.optional(), next: password, email: email.optional() }),
  bodyExample: { next: 'correct horse battery', email: 'ana@example.org' },
  answers: { 204: { description: 'Done.' } },
  refuses: [
    'auth.current_password_wrong',
    'auth.address_taken',
    'auth.too_many_tries',
    'auth.not_local',
    'auth.session_needed',
  ],
})(async ({ deps, principal, body }) => {
  const { current, next, email: address } = body
  await setPassword(localOf(deps), sessionFrom(principal), {
    next,
    ...(current === undefined ? {} : { current }),
    ...(address === undefined ? {} : { email: address }),
  })
  return { status: 204 }
})

const sessions = route({
  ...OWN,
  method: 'GET',
  path: '/api/v1/me/sessions',
  operationId: 'listMySessions',
  summary: 'Where you are signed in',
  description: 'Sessions that have not expired, the last used first, 200 at most.',
  answers: {
    200: {
      description: 'The sessions.',
      schema: z.object({ items: z.array(session) }).meta({ id: 'Sessions' }),
      example: {
        items: [
          {
            id: EXAMPLE_ID,
            current: true,
            createdAt: '2026-11-22T14:02:11.000Z',
            lastSeenAt: '2026-11-22T15:02:11.000Z',
            expiresAt: '2026-12-06T15:02:11.000Z',
            address: '192.0.2.7',
            userAgent: 'Mozilla/5.0',
          },
        ],
      },
    },
  },
  refuses: ['auth.not_local', 'auth.session_needed'],
})(async ({ deps, principal }) => {
  const { db } = localOf(deps)
  const { userId, sessionId } = sessionFrom(principal)
  const items = await listSessions(db, userId)
  return { status: 200, body: { items: items.map((item) => ({ ...item, current: item.id === sessionId })) } }
})

const end = route({
  ...OWN,
  method: 'DELETE',
  path: '/api/v1/me/sessions/{sessionId}',
  operationId: 'endMySession',
  summary: 'End one of your sessions',
  description: 'Whoever uses it is signed out with their next request.',
  params: z.object({ sessionId: z.uuid().describe('The session.') }),
  answers: { 204: { description: 'It has ended.' } },
  refuses: ['auth.session_unknown', 'auth.not_local', 'auth.session_needed'],
})(async ({ deps, principal, params }) => {
  await endSession(localOf(deps).db, sessionFrom(principal).userId, params.sessionId)
  return { status: 204 }
})

const endOthers = route({
  ...OWN,
  method: 'DELETE',
  path: '/api/v1/me/sessions',
  operationId: 'endMyOtherSessions',
  summary: 'End all your sessions but this one',
  description: 'Everywhere else you are signed out with the next request.',
  answers: {
    200: {
      description: 'How many have ended.',
      schema: z.object({ ended: z.int().min(0) }).meta({ id: 'EndedSessions' }),
      example: { ended: 2 },
    },
  },
  refuses: ['auth.not_local', 'auth.session_needed'],
})(async ({ deps, principal }) => ({
  status: 200,
  body: { ended: await endOtherSessions(localOf(deps).db, sessionFrom(principal)) },
}))

const PASSWORD_AGAIN = z.strictObject({ password: givenPassword })
const AGAIN_REFUSED = [
  'auth.current_password_wrong',
  'auth.too_many_tries',
  'auth.not_local',
  'auth.session_needed',
] as const

const startFactor = route({
  ...OWN,
  method: 'POST',
  path: '/api/v1/me/second-factor',
  operationId: 'startSecondFactor',
  summary: 'Begin to set up a second factor',
  description:
    'Show `uri` as a QR code to an authenticator, keep the recovery codes, then confirm with a first code: until then nothing is guarded.',
  body: PASSWORD_AGAIN,
  bodyExample: { password: 'correct horse battery' },
  answers: {
    200: {
      description: 'What the authenticator needs, and the recovery codes, shown once.',
      schema: z.object({ uri: z.string(), recoveryCodes: z.array(z.string()) }).meta({ id: 'SecondFactor' }),
      example: {
        uri: 'otpauth://totp/Gleaner:ana%40example.org?secret=JBSWY3DP&issuer=Gleaner',
        recoveryCodes: ['aB3dE-fG6hI'],
      },
    },
  },
  refuses: [...AGAIN_REFUSED, 'auth.second_factor_on'],
})(async ({ deps, principal, request, body }) => {
  const made = await startSecondFactor(localOf(deps), askerOf(request), sessionFrom(principal), body.password)
  return { status: 200, body: { uri: made.uri, recoveryCodes: [...made.recoveryCodes] } }
})

const confirmFactor = route({
  ...OWN,
  method: 'POST',
  path: '/api/v1/me/second-factor/confirm',
  operationId: 'confirmSecondFactor',
  summary: 'Turn the second factor on',
  description: 'With the first code of the authenticator. From now on a password alone signs nobody in.',
  body: z.strictObject({ code: z.string().min(1).max(40) }),
  bodyExample: { code: '123456' },
  answers: { 204: { description: 'It is on. The cookie of the session is new.' } },
  refuses: ['auth.code_wrong', 'auth.sign_in_again', 'auth.too_many_tries', 'auth.not_local', 'auth.session_needed'],
})(async ({ deps, principal, request, body }) => {
  giveCookies(request, await confirmSecondFactor(localOf(deps), askerOf(request), sessionFrom(principal), body.code))
  return { status: 204 }
})

const stopFactor = route({
  ...OWN,
  method: 'POST',
  path: '/api/v1/me/second-factor/off',
  operationId: 'stopSecondFactor',
  summary: 'Turn the second factor off',
  description: 'Its recovery codes are void.',
  body: PASSWORD_AGAIN,
  bodyExample: { password: 'correct horse battery' },
  answers: { 204: { description: 'It is off. The cookie of the session is new.' } },
  refuses: AGAIN_REFUSED,
})(async ({ deps, principal, request, body }) => {
  giveCookies(request, await stopSecondFactor(localOf(deps), askerOf(request), sessionFrom(principal), body.password))
  return { status: 204 }
})

const renewCodes = route({
  ...OWN,
  method: 'POST',
  path: '/api/v1/me/recovery-codes',
  operationId: 'renewRecoveryCodes',
  summary: 'Make new recovery codes',
  description: 'Those before are void.',
  body: PASSWORD_AGAIN,
  bodyExample: { password: 'correct horse battery' },
  answers: {
    200: {
      description: 'The codes, shown once.',
      schema: z.object({ recoveryCodes: z.array(z.string()) }).meta({ id: 'RecoveryCodes' }),
      example: { recoveryCodes: ['aB3dE-fG6hI'] },
    },
  },
  refuses: [...AGAIN_REFUSED, 'auth.second_factor_off'],
})(async ({ deps, principal, request, body }) => {
  const recoveryCodes = await newRecoveryCodes(localOf(deps), askerOf(request), sessionFrom(principal), body.password)
  return { status: 200, body: { recoveryCodes: [...recoveryCodes] } }
})

export const meRoutes: readonly Route[] = [
  me,
  rename,
  changePassword,
  sessions,
  end,
  endOthers,
  startFactor,
  confirmFactor,
  stopFactor,
  renewCodes,
]
