/** Making and naming organisations, and their members. What an organisation shows is in orgs.ts. */
import { z } from 'zod'
import { appendAudit } from '../../audit/append.ts'
import {
  changeRole,
  createOrg,
  findMember,
  listMembers,
  type MemberRow,
  ownersOf,
  removeMember,
  renameOrg,
} from '../../auth/members.ts'
import { AppError } from '../../base/errors.ts'
import { newId } from '../../base/ids.ts'
import type { Tx } from '../../db/client.ts'
import { asMember, setRole } from '../../db/session.ts'
import { signInOf } from '../local-sign-in.ts'
import { type Order, pageOf, pageQuery, readCursor, toPage } from '../paging.ts'
import { type Route, route } from '../route.ts'
import { member, org, orgName, role } from '../schemas/people.ts'

const EXAMPLE_ID = '0198f6a1-0000-7000-8000-000000000001'
const ORG = { id: EXAMPLE_ID, name: 'My agency', role: 'owner', createdAt: '2026-11-22T14:02:11.000Z' }
const MEMBER = {
  userId: EXAMPLE_ID,
  name: 'Ana K.',
  email: 'ana@example.org',
  role: 'owner',
  since: '2026-11-22T14:02:11.000Z',
}

const create = route({
  method: 'POST',
  path: '/api/v1/orgs',
  operationId: 'createOrganisation',
  tag: 'Organisations',
  summary: 'Make an organisation',
  description: 'You are its owner. Its runs, sellers, settings and caps are its own.',
  access: 'signed-in',
  transaction: 'write',
  body: z.strictObject({ name: orgName }),
  bodyExample: { name: 'Second agency' },
  answers: { 201: { description: 'The organisation.', schema: org, example: { ...ORG, name: 'Second agency' } } },
  refuses: ['auth.session_needed', 'org.made_elsewhere'],
})(async ({ tx, deps, principal, body }) => {
  if (signInOf(deps).kind === 'supabase') {
    throw new AppError('org.made_elsewhere', 'Organisations of this installation are made in the Supabase project.')
  }
  const orgId = newId()
  await setRole(tx, 'service_role')
  const made = await createOrg(tx, { id: orgId, name: body.name, userId: principal.userId })
  await appendAudit(tx, {
    orgId,
    actorId: principal.userId,
    action: 'org.created',
    target: `org:${orgId}`,
    after: { name: body.name },
  })
  await setRole(tx, 'authenticated')
  return { status: 201, body: made }
})

const rename = route({
  method: 'PATCH',
  path: '/api/v1/orgs/{orgId}',
  operationId: 'renameOrganisation',
  tag: 'Organisations',
  summary: 'Rename an organisation',
  description: 'Everybody in it sees the new name.',
  access: 'admin',
  transaction: 'write',
  body: z.strictObject({ name: orgName }),
  bodyExample: { name: 'Acme' },
  answers: { 204: { description: 'Done.' } },
  refuses: ['auth.session_needed'],
})(async ({ tx, orgId, principal, body }) => {
  const before = await renameOrg(tx, orgId, body.name)
  if (before === null) throw new AppError('auth.role_too_low', 'This organisation can be renamed by its admins only.')
  await appendAudit(tx, {
    orgId,
    actorId: principal.userId,
    action: 'org.renamed',
    target: `org:${orgId}`,
    before: { name: before },
    after: { name: body.name },
  })
  return { status: 204 }
})

const order: Order = { name: 'members', key: 'timestamptz', id: 'uuid' }

const members = route({
  method: 'GET',
  path: '/api/v1/orgs/{orgId}/members',
  operationId: 'listMembers',
  tag: 'People',
  summary: 'The members of an organisation',
  description: 'With their roles, those who joined first first.',
  access: 'viewer',
  transaction: 'read',
  query: z.strictObject(pageQuery),
  answers: {
    200: {
      description: 'A page of members.',
      schema: pageOf(member).meta({ id: 'Members' }),
      example: { items: [MEMBER], next: null, previous: null },
    },
  },
})(async ({ tx, orgId, query }) => {
  const { limit } = query
  const beside = readCursor(query.cursor, order)
  const rows = await listMembers(tx, orgId, { limit, beside })
  return { status: 200, body: toPage(rows, { beside, limit, order }, (row) => [row.sortKey, row.userId]) }
})

/** "Members can be changed by owners only. Owners: Ana K., Ben T." */
async function ownersOnly(tx: Tx, orgId: string): Promise<AppError> {
  const owners = await ownersOf(tx, orgId)
  return new AppError('auth.role_too_low', 'Members can be changed by owners only.', {
    hint: `Owners: ${owners.join(', ')}`,
  })
}

const memberParams = z.object({ userId: z.uuid().describe('The member.') })

const change = route({
  method: 'PATCH',
  path: '/api/v1/orgs/{orgId}/members/{userId}',
  operationId: 'changeMemberRole',
  tag: 'People',
  summary: 'Give a member another role',
  description: 'For owners. An organisation keeps at least one owner. It holds from the member’s next request on.',
  access: 'owner',
  tooLow: ownersOnly,
  transaction: 'write',
  params: memberParams,
  body: z.strictObject({ role }),
  bodyExample: { role: 'analyst' },
  answers: {
    200: { description: 'The member as it is now.', schema: member, example: { ...MEMBER, role: 'analyst' } },
  },
  refuses: ['org.member_unknown', 'org.last_owner', 'auth.session_needed'],
})(async ({ tx, orgId, principal, params, body }) => {
  const before = await changeRole(tx, orgId, params.userId, body.role)
  if (!before) throw await ownersOnly(tx, orgId)
  if (before.role !== body.role) await noteMember(tx, principal.userId, orgId, before, 'member.role_changed', body.role)
  return { status: 200, body: await findMember(tx, orgId, params.userId) }
})

const remove = route({
  method: 'DELETE',
  path: '/api/v1/orgs/{orgId}/members/{userId}',
  operationId: 'removeMember',
  tag: 'People',
  summary: 'Remove a member',
  description:
    'For owners. An organisation keeps at least one owner. It holds from the member’s next request on, and for their API keys.',
  access: 'owner',
  tooLow: ownersOnly,
  transaction: 'write',
  params: memberParams,
  answers: { 204: { description: 'The member is gone.' } },
  refuses: ['org.member_unknown', 'org.last_owner', 'auth.session_needed'],
})(async ({ tx, orgId, principal, params }) => {
  await leave(tx, orgId, params.userId, principal.userId)
  return { status: 204 }
})

const leaveOrg = route({
  method: 'DELETE',
  path: '/api/v1/me/memberships/{orgId}',
  operationId: 'leaveOrganisation',
  tag: 'People',
  summary: 'Leave an organisation',
  description: 'Your API keys of it stop. An organisation keeps at least one owner.',
  access: 'signed-in',
  transaction: 'write',
  params: z.object({ orgId: z.uuid().describe('The organisation.') }),
  answers: { 204: { description: 'You are no member any more.' } },
  refuses: ['org.unknown', 'org.last_owner', 'auth.session_needed'],
})(async ({ tx, principal, params }) => {
  const { userId } = principal
  await asMember(tx, { userId, orgId: params.orgId })
  const { rows } = await tx.query<{ role: string | null }>('select member_role($1) as role', [params.orgId])
  if (!rows[0]?.role) throw new AppError('org.unknown', 'There is no such organisation.')
  await leave(tx, params.orgId, userId, userId)
  return { status: 204 }
})

/** Ends the membership. Who leaves may write nothing afterwards: the audit comes first, and goes back with the rest when it is refused. */
async function leave(tx: Tx, orgId: string, userId: string, actorId: string): Promise<void> {
  const before = await findMember(tx, orgId, userId)
  await noteMember(tx, actorId, orgId, before, userId === actorId ? 'member.left' : 'member.removed')
  if (!(await removeMember(tx, orgId, userId))) throw await ownersOnly(tx, orgId)
}

async function noteMember(
  tx: Tx,
  actorId: string,
  orgId: string,
  before: MemberRow,
  action: string,
  after?: MemberRow['role'],
): Promise<void> {
  await appendAudit(tx, {
    orgId,
    actorId,
    action,
    target: `person:${before.userId}`,
    before: { role: before.role },
    ...(after === undefined ? {} : { after: { role: after } }),
  })
}

export const memberRoutes: readonly Route[] = [create, rename, members, change, remove, leaveOrg]

/** Writes down that an identity provider brought a new member. `tx` works as service_role. */
export async function noteJoined(tx: Tx, orgId: string, userId: string, given: string): Promise<void> {
  await appendAudit(tx, {
    orgId,
    actorId: userId,
    action: 'member.joined',
    target: `person:${userId}`,
    after: { role: given, by: 'identity provider' },
  })
}
