/** API keys of an organisation. */
import { z } from 'zod'
import { appendAudit } from '../../audit/append.ts'
import { createKey, type KeyRow, listKeys, revokeKey } from '../../auth/key-store.ts'
import { KEY_ROLES } from '../../auth/keys.ts'
import type { Tx } from '../../db/client.ts'
import { type Order, pageOf, pageQuery, readCursor, toPage } from '../paging.ts'
import { type Route, route } from '../route.ts'
import { line } from '../schemas/common.ts'
import { apiKey, scope } from '../schemas/people.ts'

const EXAMPLE_ID = '0198f6a1-0000-7000-8000-000000000001'
const EXAMPLE = {
  id: EXAMPLE_ID,
  name: 'Nightly report',
  prefix: 'glk_4t0b9xk2qa',
  lastFour: '7F2K',
  scopes: ['read'],
  maxRole: 'viewer',
  createdBy: EXAMPLE_ID,
  createdAt: '2026-11-22T14:02:11.000Z',
  expiresAt: '2027-02-20T14:02:11.000Z',
  lastUsedAt: null,
  revokedAt: null,
}

const order: Order = { name: 'keys', key: 'timestamptz', id: 'uuid' }

const list = route({
  method: 'GET',
  path: '/api/v1/orgs/{orgId}/keys',
  operationId: 'listKeys',
  tag: 'Keys',
  summary: 'The API keys of an organisation',
  description:
    'The newest first, revoked and expired ones too. The keys themselves are shown once, when they are made.',
  access: 'admin',
  transaction: 'read',
  query: z.strictObject(pageQuery),
  answers: {
    200: {
      description: 'A page of keys.',
      schema: pageOf(apiKey).meta({ id: 'ApiKeys' }),
      example: { items: [EXAMPLE], next: null, previous: null },
    },
  },
})(async ({ tx, orgId, query }) => {
  const { limit } = query
  const beside = readCursor(query.cursor, order)
  const rows = await listKeys(tx, orgId, { limit, beside })
  return { status: 200, body: toPage(rows.map(shown), { beside, limit, order }, (row) => [row.sortKey, row.id]) }
})

const create = route({
  method: 'POST',
  path: '/api/v1/orgs/{orgId}/keys',
  operationId: 'createKey',
  tag: 'Keys',
  summary: 'Make an API key',
  description:
    'Answers the key, shown this once. It works for this organisation, for its scopes, up to its role, and never for more than you may do yourself: when you leave, it stops. Send it as `Authorization: Bearer glk_…`.',
  access: 'admin',
  transaction: 'write',
  repeats: 'secret',
  body: z.strictObject({
    name: line(100),
    scopes: z.array(scope).min(1).max(8).default(['read']),
    maxRole: z.enum(KEY_ROLES).default('viewer'),
    days: z.int().min(1).max(730).nullable().default(90).describe('Until it stops working; null: until it is revoked.'),
  }),
  bodyExample: { name: 'Nightly report', scopes: ['read'], maxRole: 'viewer', days: 90 },
  answers: {
    201: {
      description: 'The key.',
      schema: z.object({ key: z.string(), apiKey }).meta({ id: 'NewApiKey' }),
      example: { key: 'glk_4t0b9xk2qa_Jb2nL0qX5c8rT1vW4yZ7aD0gJ3mP6sV9xB2eH5k7F2K', apiKey: EXAMPLE },
    },
  },
  refuses: ['auth.session_needed'],
})(async ({ tx, orgId, principal, body }) => {
  const { name, scopes, maxRole, days } = body
  const { key, row } = await createKey(tx, { orgId, userId: principal.userId, name, scopes, maxRole, days })
  await note(tx, principal.userId, orgId, row, 'key.created')
  return { status: 201, body: { key, apiKey: shown(row) } }
})

const revoke = route({
  method: 'DELETE',
  path: '/api/v1/orgs/{orgId}/keys/{keyId}',
  operationId: 'revokeKey',
  tag: 'Keys',
  summary: 'Revoke an API key',
  description: 'It opens nothing from its next request on. One that is revoked stays as it is.',
  access: 'admin',
  transaction: 'write',
  params: z.object({ keyId: z.uuid().describe('The API key.') }),
  answers: {
    200: {
      description: 'The key as it is now.',
      schema: apiKey,
      example: { ...EXAMPLE, revokedAt: EXAMPLE.createdAt },
    },
  },
  refuses: ['auth.key_unknown', 'auth.session_needed'],
})(async ({ tx, orgId, principal, params }) => {
  const { row, now } = await revokeKey(tx, { orgId, id: params.keyId, userId: principal.userId })
  if (now) await note(tx, principal.userId, orgId, row, 'key.revoked')
  return { status: 200, body: shown(row) }
})

function shown(row: KeyRow) {
  return { ...row, scopes: [...row.scopes] }
}

async function note(tx: Tx, actorId: string, orgId: string, row: KeyRow, action: string): Promise<void> {
  const { name, prefix, scopes, maxRole, expiresAt } = row
  await appendAudit(tx, {
    orgId,
    actorId,
    action,
    target: `key:${row.id}`,
    after: { name, prefix, scopes, maxRole, expiresAt: expiresAt?.toISOString() ?? null },
  })
}

export const keyRoutes: readonly Route[] = [list, create, revoke]
