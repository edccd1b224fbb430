/** Who is not collected, who is to be forgotten, and what is held about a seller. */
import { z } from 'zod'
import { AppError } from '../../base/errors.ts'
import { listExcluded } from '../../compliance/do-not-collect.ts'
import { listErasures } from '../../compliance/erasures.ts'
import { personalData } from '../../compliance/personal-data.ts'
import { askErasure } from '../../engine/ask-erasure.ts'
import { collectAgain, doNotCollect } from '../../engine/do-not-collect.ts'
import { type Order, pageOf, pageQuery, readCursor, toPage } from '../paging.ts'
import { type Route, route } from '../route.ts'
import { count, id, line, moment } from '../schemas/common.ts'

const excluded = z
  .object({
    id,
    name: z.string(),
    note: z.string().nullable(),
    addedBy: id,
    addedAt: moment,
    removedSellerId: id.nullable().describe('The seller that was taken off the list with it.'),
  })
  .meta({ id: 'DoNotCollectEntry', description: 'A seller the organisation does not want: no run records it.' })

const whom = {
  sellerId: z.uuid().optional().describe('A seller on the list.'),
  name: line(200).optional().describe('Or an eBay user name, known or not.'),
}
const isOne = (body: { sellerId?: string | undefined; name?: string | undefined }) =>
  (body.sellerId === undefined) !== (body.name === undefined)
const ONE = { message: 'give either sellerId or name' }
const toWhom = (body: { sellerId?: string | undefined; name?: string | undefined }) =>
  body.sellerId === undefined ? { name: body.name ?? '' } : { sellerId: body.sellerId }

const byName: Order = { name: 'do-not-collect', key: 'text', id: 'uuid' }

const listRoutes: readonly Route[] = [
  route({
    method: 'GET',
    path: '/api/v1/orgs/{orgId}/do-not-collect',
    operationId: 'listDoNotCollect',
    tag: 'Compliance',
    summary: 'List sellers that are not collected',
    description: 'By name. Sellers that were erased are not among them: nobody can tell who they were.',
    access: 'viewer',
    transaction: 'read',
    query: z.strictObject({
      ...pageQuery,
      search: z.string().min(1).max(200).optional().meta({ description: 'Part of the name.' }),
    }),
    answers: { 200: { description: 'A page of the list.', schema: pageOf(excluded) } },
  })(async ({ tx, orgId, query: { limit, cursor, search } }) => {
    const beside = readCursor(cursor, byName)
    const rows = await listExcluded(tx, orgId, {
      limit: limit + 1,
      beside,
      ...(search === undefined ? {} : { search }),
    })
    const page = toPage(rows, { beside, limit, order: byName }, (row) => [row.key, row.id])
    return { status: 200, body: { ...page, items: page.items.map(({ key: _key, ...entry }) => entry) } }
  }),
  route({
    method: 'POST',
    path: '/api/v1/orgs/{orgId}/do-not-collect',
    operationId: 'addDoNotCollect',
    tag: 'Compliance',
    summary: 'Stop collecting a seller',
    description:
      'From now on no run records it, and it is taken off the list. Taken back by removing the entry with `restore=true`.',
    access: 'analyst',
    transaction: 'write',
    body: z.strictObject({ ...whom, note: line(1000).optional() }).refine(isOne, ONE),
    bodyExample: { name: 'bluepine-deals', note: 'A customer of ours.' },
    refuses: ['seller.unknown', 'compliance.listed'],
    answers: { 201: { description: 'The entry.', schema: excluded } },
  })(async ({ acting, orgId, member, body }) => {
    const actor = { orgId, userId: member.userId }
    return { status: 201, body: await doNotCollect(acting(), actor, toWhom(body), body.note ?? null) }
  }),
  route({
    method: 'DELETE',
    path: '/api/v1/orgs/{orgId}/do-not-collect/{entryId}',
    operationId: 'removeDoNotCollect',
    tag: 'Compliance',
    summary: 'Collect a seller again',
    description: 'Removes the entry; with `restore=true` the seller that was taken off the list with it is put back.',
    access: 'analyst',
    transaction: 'write',
    params: z.object({ entryId: z.uuid().meta({ description: 'The entry of the list.' }) }),
    query: z.strictObject({
      restore: z.enum(['true', 'false']).default('false').meta({ description: 'Put the seller back on the list.' }),
    }),
    refuses: ['compliance.not_listed'],
    answers: {
      200: { description: 'What was done.', schema: z.object({ restored: z.boolean() }), example: { restored: true } },
    },
  })(async ({ acting, orgId, member, params: { entryId }, query: { restore } }) => {
    const { restored } = await collectAgain(acting(), { orgId, userId: member.userId }, entryId, restore === 'true')
    return { status: 200, body: { restored } }
  }),
]

const erasure = z
  .object({
    id,
    source: z.enum(['ebay', 'owner']).describe('Who asked: eBay, for all organisations, or an owner of this one.'),
    state: z.enum(['pending', 'done']),
    receivedAt: moment,
    dueAt: moment.describe('It has to be done by then.'),
    doneAt: moment.nullable(),
    overdue: z.boolean(),
    attempts: count,
    trouble: z.string().nullable().describe('Why the last attempt did not come to its end.'),
    requestedBy: id.nullable(),
    counts: z.record(z.string(), count).describe('What was erased in this organisation, rows of each kind.'),
  })
  .meta({ id: 'Erasure', description: 'A seller to be forgotten, or that was. It does not say who.' })

const newest: Order = { name: 'erasures', key: 'timestamptz', id: 'uuid' }

const erasureRoutes: readonly Route[] = [
  route({
    method: 'GET',
    path: '/api/v1/orgs/{orgId}/erasures',
    operationId: 'listErasures',
    tag: 'Compliance',
    summary: 'List erasures',
    description:
      'Newest first: those owners asked for, those of eBay that found something here, and those of eBay that are still open.',
    access: 'admin',
    transaction: 'read',
    query: z.strictObject(pageQuery),
    answers: { 200: { description: 'A page of erasures.', schema: pageOf(erasure) } },
  })(async ({ tx, query: { limit, cursor } }) => {
    const beside = readCursor(cursor, newest)
    const rows = await listErasures(tx, { limit: limit + 1, beside })
    const page = toPage(rows, { beside, limit, order: newest }, (row) => [row.key, row.id])
    return {
      status: 200,
      body: { ...page, items: page.items.map(({ key: _key, ...row }) => ({ ...row, counts: { ...row.counts } })) },
    }
  }),
  route({
    method: 'POST',
    path: '/api/v1/orgs/{orgId}/erasures',
    operationId: 'eraseSeller',
    tag: 'Compliance',
    summary: 'Erase a seller',
    description:
      'Every trace of it in this organisation, within the hour, for good; and it is not collected again. Cannot be taken back.',
    access: 'owner',
    transaction: 'write',
    body: z.strictObject(whom).refine(isOne, ONE),
    bodyExample: { name: 'bluepine-deals' },
    refuses: ['seller.unknown', 'key.missing'],
    answers: { 202: { description: 'It was written down.', schema: z.object({ id }) } },
  })(async ({ acting, orgId, member, body }) => ({
    status: 202,
    body: { id: await askErasure(acting(), { orgId, userId: member.userId }, toWhom(body)) },
  })),
  route({
    method: 'GET',
    path: '/api/v1/orgs/{orgId}/sellers/{sellerId}/personal-data',
    operationId: 'getPersonalData',
    tag: 'Compliance',
    summary: 'Everything held about a seller',
    description: 'What the seller has a right to be told: every row about it, as it is stored.',
    access: 'admin',
    transaction: 'read',
    params: z.object({ sellerId: z.uuid().meta({ description: 'The seller.' }) }),
    refuses: ['seller.unknown'],
    answers: {
      200: {
        description: 'All of it.',
        schema: z.object({
          seller: z.record(z.string(), z.unknown()),
          marks: z.record(z.string(), z.unknown()).nullable(),
          figures: z.record(z.string(), z.unknown()).nullable(),
          names: z.array(z.record(z.string(), z.unknown())),
          matches: z.array(z.record(z.string(), z.unknown())),
          runs: z.array(z.record(z.string(), z.unknown())),
          sightings: z.array(z.record(z.string(), z.unknown())),
          doNotCollect: z.record(z.string(), z.unknown()).nullable(),
          audit: z.array(z.record(z.string(), z.unknown())),
        }),
      },
    },
  })(async ({ tx, orgId, params: { sellerId } }) => {
    const data = await personalData(tx, orgId, sellerId)
    if (!data) throw new AppError('seller.unknown', 'There is no such seller.')
    return { status: 200, body: data as never }
  }),
]

export const complianceRoutes: readonly Route[] = [...listRoutes, ...erasureRoutes]
