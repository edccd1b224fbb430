import { z } from 'zod'
import { type AuditRow, auditPage } from '../../audit/read.ts'
import { given } from '../given.ts'
import { type Order, pageOf, pageQuery, readCursor, toPage } from '../paging.ts'
import { type Route, route } from '../route.ts'
import { id, moment } from '../schemas/common.ts'

const entry = z
  .object({
    id: z.int(),
    at: moment,
    actorId: id.describe('The person.'),
    keyId: id.nullable().describe('The API key it was done with; null for a person at the screen or the command line.'),
    action: z.string(),
    target: z.string().describe('What was acted on, as kind:id.'),
    before: z.unknown().describe('The fields the act changed, as they were; null when there was nothing before.'),
    after: z.unknown().describe('The same fields as they were afterwards.'),
    note: z.string().nullable(),
  })
  .meta({
    id: 'AuditEntry',
    description: 'One act of a person or a key. Written with the act; never changed, never removed alone.',
  })

const order: Order = { name: 'audit', key: 'bigint', id: 'bigint' }

export const auditRoutes: readonly Route[] = [
  route({
    method: 'GET',
    path: '/api/v1/orgs/{orgId}/audit',
    operationId: 'listAudit',
    tag: 'Audit',
    summary: 'Read the audit log',
    description: 'Who did what, newest first.',
    access: 'admin',
    transaction: 'read',
    query: z.strictObject({
      ...pageQuery,
      actorId: z.uuid().optional().meta({ description: 'Only acts of this person.' }),
      action: z
        .string()
        .regex(/^[a-z_]+(\.[a-z_]+)?$/)
        .max(100)
        .optional()
        .meta({ description: 'Only this action, or all of a kind: `run.paused`, `run`.' }),
      target: z.string().min(1).max(250).optional().meta({ description: 'Only acts on this, as kind:id.' }),
      from: moment.optional().meta({ description: 'Not before this moment.' }),
      to: moment.optional().meta({ description: 'Before this moment.' }),
    }),
    answers: { 200: { description: 'A page of the log.', schema: pageOf(entry) } },
  })(async ({ tx, orgId, query }) => {
    const { limit, cursor, actorId, action, target, from, to } = query
    const beside = readCursor(cursor, order)
    const rows = await auditPage(tx, orgId, {
      beside,
      limit,
      ...given({ actorId, action, target, from, to }),
    })
    return {
      status: 200,
      body: toPage<AuditRow>(rows, { beside, limit, order }, (row) => [String(row.id), String(row.id)]),
    }
  }),
]
