/** Organisations of the one who asks. Members, invitations and roles are in members.ts. */
import { z } from 'zod'
import { AppError } from '../../base/errors.ts'
import type { Queryable } from '../../db/client.ts'
import { monthOf } from '../../ledger/month.ts'
import { type Route, route } from '../route.ts'
import { count, id, moment, month } from '../schemas/common.ts'
import { monthView } from '../views.ts'

const role = z.enum(['owner', 'admin', 'analyst', 'viewer'])

const org = z
  .object({ id, name: z.string(), role, createdAt: moment })
  .meta({ id: 'Organisation', description: 'An organisation one belongs to, and the role one has in it.' })

const orgDetail = z
  .object({
    organisation: org,
    month,
    runs: z.object({ running: count, waiting: count, paused: count }).describe('Runs that have not ended.'),
    needsYou: count.describe('Runs a person has to do something about.'),
  })
  .meta({ id: 'OrganisationDetail', description: 'An organisation with what stands above every page.' })

type OrgRow = z.output<typeof org>

async function orgsOf(tx: Queryable, userId: string, orgId: string | null): Promise<OrgRow[]> {
  const { rows } = await tx.query<OrgRow>(
    `select o.id, o.name, m.role, o.created_at as "createdAt" from orgs o join org_members m on m.org_id = o.id
     where m.user_id = $1 and ($2::uuid is null or o.id = $2) order by o.name, o.id`,
    [userId, orgId],
  )
  return rows
}

const example = {
  id: '0198c2f4-7d1e-7a3b-9c55-0a1b2c3d4e5f',
  name: 'My agency',
  role: 'owner',
  createdAt: '2026-11-22T14:02:11.000Z',
}

export const orgRoutes: readonly Route[] = [
  route({
    method: 'GET',
    path: '/api/v1/orgs',
    operationId: 'listOrganisations',
    tag: 'Organisations',
    summary: 'List the organisations one belongs to',
    description: 'All of them, by name, each with the role one has. A key sees the one it was made for.',
    access: 'signed-in',
    transaction: 'read',
    answers: {
      200: {
        description: 'The organisations.',
        schema: z.object({ items: z.array(org) }),
        example: { items: [example] },
      },
    },
  })(async ({ tx, member }) => ({ status: 200, body: { items: await orgsOf(tx, member.userId, null) } })),
  route({
    method: 'GET',
    path: '/api/v1/orgs/{orgId}',
    operationId: 'getOrganisation',
    tag: 'Organisations',
    summary: 'Read an organisation',
    description: 'With the money of its month and how many of its runs are under way or need somebody.',
    access: 'viewer',
    transaction: 'read',
    answers: { 200: { description: 'The organisation.', schema: orgDetail } },
  })(async ({ tx, member, orgId }) => {
    const [found] = await orgsOf(tx, member.userId, orgId)
    if (!found) throw new AppError('org.unknown', 'There is no such organisation.')
    const { rows } = await tx.query<{ running: number; waiting: number; paused: number; needsYou: number }>(
      `select count(*) filter (where status = 'running')::int as running,
           count(*) filter (where status = 'pending' and start_requested_at is not null)::int as waiting,
           count(*) filter (where status = 'paused')::int as paused,
           count(*) filter (where suspect_calls > 0 or status = 'paused'
             and (pause_reason = 'operator' or pause_reason = 'budget' and pause_limit = 'run'))::int as "needsYou"
         from collection_runs where org_id = $1`,
      [orgId],
    )
    const { needsYou = 0, ...runs } = rows[0] ?? { running: 0, waiting: 0, paused: 0 }
    return { status: 200, body: { organisation: found, month: monthView(await monthOf(tx, orgId)), runs, needsYou } }
  }),
]
