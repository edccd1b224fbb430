/** Inviting people, and what the invited do with their link. */
import { z } from 'zod'
import { appendAudit } from '../../audit/append.ts'
import {
  acceptInvitation,
  type InvitationRow,
  invite,
  listInvitations,
  lookAtInvitation,
  type OpenInvitation,
  revokeInvitation,
} from '../../auth/invitations.ts'
import { makePerson } from '../../auth/new-person.ts'
import { accountOf } from '../../auth/own-account.ts'
import { asSignIn } from '../../auth/role.ts'
import { openSession, type SignedIn } from '../../auth/sign-in.ts'
import { LIMITS, takeTry } from '../../auth/tries.ts'
import { AppError } from '../../base/errors.ts'
import { type Tx, withTx, withTxRetry } from '../../db/client.ts'
import { asService } from '../../db/session.ts'
import { askerOf } from '../authenticate.ts'
import { giveCookies } from '../cookies.ts'
import { linkTo, localOf, maybeSignedIn } from '../local-sign-in.ts'
import { type Order, pageOf, pageQuery, readCursor, toPage } from '../paging.ts'
import { type HttpDeps, type Route, route } from '../route.ts'
import { moment } from '../schemas/common.ts'
import { email, invitation, linkToken, password, personName, role } from '../schemas/people.ts'

const EXAMPLE_ID = '0198f6a1-0000-7000-8000-000000000001'
const EXAMPLE = {
  id: EXAMPLE_ID,
  email: 'ben@example.org',
  role: 'analyst',
  state: 'open',
  invitedBy: EXAMPLE_ID,
  createdAt: '2026-11-22T14:02:11.000Z',
  expiresAt: '2026-11-29T14:02:11.000Z',
  acceptedAt: null,
  acceptedBy: null,
  revokedAt: null,
}

const order: Order = { name: 'invitations', key: 'timestamptz', id: 'uuid' }

const list = route({
  method: 'GET',
  path: '/api/v1/orgs/{orgId}/invitations',
  operationId: 'listInvitations',
  tag: 'People',
  summary: 'Invitations',
  description: 'The newest first, ended ones too. Links are not among them: each is shown once, when it is made.',
  access: 'admin',
  transaction: 'read',
  query: z.strictObject(pageQuery),
  answers: {
    200: {
      description: 'A page of invitations.',
      schema: pageOf(invitation).meta({ id: 'Invitations' }),
      example: { items: [EXAMPLE], next: null, previous: null },
    },
  },
})(async ({ tx, orgId, query }) => {
  const { limit } = query
  const beside = readCursor(query.cursor, order)
  const rows = await listInvitations(tx, orgId, { limit, beside })
  return { status: 200, body: toPage(rows, { beside, limit, order }, (row) => [row.sortKey, row.id]) }
})

const create = route({
  method: 'POST',
  path: '/api/v1/orgs/{orgId}/invitations',
  operationId: 'invite',
  tag: 'People',
  summary: 'Invite somebody',
  description:
    'Answers a link, shown this once: hand it to the person yourself. It is good once, for seven days, for this address. Admins invite up to admins, owners anybody.',
  access: 'admin',
  transaction: 'write',
  repeats: 'secret',
  body: z.strictObject({ email, role }),
  bodyExample: { email: 'ben@example.org', role: 'analyst' },
  answers: {
    201: {
      description: 'The invitation and its link.',
      schema: z.object({ invitation, link: z.string() }).meta({ id: 'NewInvitation' }),
      example: {
        invitation: EXAMPLE,
        link: 'https://gleaner.example.org/join#Jb2nL0qX5c8rT1vW4yZ7aD0gJ3mP6sV9xB2eH5kN8qU',
      },
    },
  },
  refuses: ['org.already_member', 'org.invited_already', 'auth.not_local', 'auth.session_needed'],
})(async ({ tx, orgId, principal, body, deps, request }) => {
  localOf(deps)
  await mayGive(tx, orgId, body.role)
  const { token, row } = await invite(tx, { orgId, email: body.email, role: body.role, userId: principal.userId })
  await note(tx, principal.userId, orgId, row, 'invitation.created')
  return { status: 201, body: { invitation: row, link: linkTo(deps, request, '/join', token) } }
})

/** Nobody gives more than they have. Row level security says the same; this says it in words. */
async function mayGive(tx: Tx, orgId: string, wanted: string): Promise<void> {
  const { rows } = await tx.query<{ may: boolean }>('select gleaner_has_role($1, $2) as may', [orgId, wanted])
  if (!rows[0]?.may) throw new AppError('auth.role_too_low', 'Owners are invited by owners only.')
}

const revoke = route({
  method: 'DELETE',
  path: '/api/v1/orgs/{orgId}/invitations/{invitationId}',
  operationId: 'revokeInvitation',
  tag: 'People',
  summary: 'Revoke an invitation',
  description: 'Its link opens nothing any more. One that has ended stays as it is.',
  access: 'admin',
  transaction: 'write',
  params: z.object({ invitationId: z.uuid().describe('The invitation.') }),
  answers: {
    200: { description: 'The invitation as it is now.', schema: invitation, example: { ...EXAMPLE, state: 'revoked' } },
  },
  refuses: ['org.invitation_unknown', 'auth.session_needed'],
})(async ({ tx, orgId, principal, params }) => {
  const { row, now } = await revokeInvitation(tx, { orgId, id: params.invitationId, userId: principal.userId })
  if (now) await note(tx, principal.userId, orgId, row, 'invitation.revoked')
  return { status: 200, body: row }
})

async function note(tx: Tx, actorId: string, orgId: string, row: InvitationRow, action: string): Promise<void> {
  await appendAudit(tx, {
    orgId,
    actorId,
    action,
    target: `invitation:${row.id}`,
    after: { email: row.email, role: row.role, state: row.state },
  })
}

const look = route({
  method: 'POST',
  path: '/api/v1/auth/invitation',
  operationId: 'lookAtInvitation',
  tag: 'People',
  summary: 'What an invitation leads to',
  description: 'For the page behind the link. A POST, because the token of a link belongs in no address and no log.',
  access: 'public',
  transaction: 'none',
  body: z.strictObject({ token: linkToken }),
  bodyExample: { token: 'Jb2nL0qX5c8rT1vW4yZ7aD0gJ3mP6sV9xB2eH5kN8qU' },
  answers: {
    200: {
      description: 'The open invitation.',
      schema: z
        .object({ orgId: z.uuid(), orgName: z.string(), email: z.string(), role, expiresAt: moment })
        .meta({ id: 'OpenInvitation' }),
      example: {
        orgId: EXAMPLE_ID,
        orgName: 'Acme',
        email: 'ben@example.org',
        role: 'analyst',
        expiresAt: EXAMPLE.expiresAt,
      },
    },
  },
  refuses: ['auth.link_invalid', 'auth.too_many_tries', 'auth.not_local'],
})(async ({ deps, request, body }) => {
  await takeTry(localOf(deps).db, [{ limit: LIMITS.link, of: request.ip }])
  const { orgId, orgName, email: address, role: given, expiresAt } = await lookAtInvitation(deps.db, body.token)
  return { status: 200, body: { orgId, orgName, email: address, role: given, expiresAt } }
})

const accept = route({
  method: 'POST',
  path: '/api/v1/auth/invitation/accept',
  operationId: 'acceptInvitation',
  tag: 'People',
  summary: 'Join by an invitation',
  description:
    'Somebody new gives a name and a password and is signed in with the address of the invitation. Somebody with an account signs in first and sends the token alone. The link is used up.',
  access: 'public',
  transaction: 'none',
  body: z.strictObject({ token: linkToken, name: personName.optional(), password: password.optional() }),
  bodyExample: {
    token: 'Jb2nL0qX5c8rT1vW4yZ7aD0gJ3mP6sV9xB2eH5kN8qU',
    name: 'Ben T.',
    password: 'correct horse battery',
  },
  answers: {
    200: {
      description: 'The organisation joined. The cookie of the session is set.',
      schema: z.object({ orgId: z.uuid(), orgName: z.string(), role }).meta({ id: 'Joined' }),
      example: { orgId: EXAMPLE_ID, orgName: 'Acme', role: 'analyst' },
    },
  },
  refuses: ['auth.link_invalid', 'auth.sign_in_first', 'auth.other_address', 'auth.too_many_tries', 'auth.not_local'],
})(async ({ deps, request, body }) => {
  const local = localOf(deps)
  await takeTry(local.db, [{ limit: LIMITS.link, of: request.ip }])
  const open = await lookAtInvitation(deps.db, body.token)
  const who = await maybeSignedIn(deps, request)
  const joined = who ? await joinAs(deps, body.token, open, who) : await joinNew(deps, body, open)
  if (!who) giveCookies(request, (await openSession(local, askerOf(request), joined.userId, 'invitation')).cookies)
  return { status: 200, body: { orgId: joined.orgId, orgName: joined.orgName, role: joined.role } }
})

type Joined = Readonly<{ userId: string; orgId: string; orgName: string; role: OpenInvitation['role'] }>

async function joinAs(deps: HttpDeps, token: string, open: OpenInvitation, who: SignedIn): Promise<Joined> {
  const account = await accountOf(localOf(deps).db, who.userId)
  if (account?.email !== open.email) {
    throw new AppError('auth.other_address', `This invitation is for ${open.email}.`, {
      hint: 'Sign in with that address, or ask for an invitation to yours.',
    })
  }
  return withTxRetry(deps.db, (tx) => join(tx, token, who.userId))
}

async function joinNew(
  deps: HttpDeps,
  given: Readonly<{ token: string; name?: string | undefined; password?: string | undefined }>,
  open: OpenInvitation,
): Promise<Joined> {
  const { token, name, password: chosen } = given
  if (name === undefined || chosen === undefined) {
    const errors = Object.entries({ name, password: chosen }).filter(([, value]) => value === undefined)
    throw new AppError('input.invalid', 'A new person gives a name and a password.', {
      hint: 'Who has an account signs in first, then opens the link again.',
      details: { errors: errors.map(([field]) => ({ path: `body.${field}`, message: 'is needed by a new person' })) },
    })
  }
  const context = await localOf(deps).auth.$context
  const passwordHash = await context.password.hash(chosen)
  return withTx(deps.db, async (tx) => {
    await asSignIn(tx)
    const userId = await makePerson(tx, { name, email: open.email, passwordHash })
    return join(tx, token, userId)
  })
}

async function join(tx: Tx, token: string, userId: string): Promise<Joined> {
  await asService(tx)
  const used = await acceptInvitation(tx, token, userId)
  await appendAudit(tx, {
    orgId: used.orgId,
    actorId: userId,
    action: used.joined ? 'member.joined' : 'invitation.accepted',
    target: `person:${userId}`,
    after: { role: used.role, invitation: used.id },
  })
  return { userId, orgId: used.orgId, orgName: used.orgName, role: used.role }
}

export const invitationRoutes: readonly Route[] = [list, create, revoke, look, accept]
