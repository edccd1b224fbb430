/** Acts on many sellers with their undo, and saved views of the list. */
import { z } from 'zod'
import { actOnSellers, undoOnSellers } from '../../engine/edit-sellers.ts'
import { changeView, dropView, saveView } from '../../engine/seller-desk.ts'
import type { BulkAct } from '../../sellers/acts.ts'
import { listViews, type SavedView } from '../../sellers/saved-views.ts'
import { given } from '../given.ts'
import { type Route, route } from '../route.ts'
import { count, id, line, moment } from '../schemas/common.ts'
import { flag, sellerFilter, sortKey, viewOf } from '../schemas/seller.ts'
import { checkMatch } from '../versions.ts'

const note = z
  .string()
  .max(2000)
  .regex(/^[^\0]*$/)

const act = z
  .discriminatedUnion('kind', [
    z.strictObject({ kind: z.literal('flag'), flag: flag.nullable().describe('Null takes the flag away.') }),
    z.strictObject({ kind: z.literal('note'), note: note.nullable().describe('Null or empty takes the note away.') }),
    z.strictObject({ kind: z.literal('remove') }),
    z.strictObject({ kind: z.literal('restore') }),
  ])
  .meta({ id: 'SellerAct', description: 'What is done to each of the sellers.' })

const viewParams = z.object({ viewId: z.uuid().describe('The saved view.') })

const viewFields = {
  name: line(100),
  filter: sellerFilter.describe('The filters, kept as given.'),
  sort: sortKey,
  descending: z.boolean(),
  columns: z
    .array(z.string().regex(/^[a-z-]{1,40}$/))
    .max(50)
    .describe('Columns shown, in the words of the screen.'),
}

const savedView = z
  .object({
    id,
    ...viewFields,
    filter: z.record(z.string(), z.unknown()),
    revision: count,
    createdBy: id,
    createdAt: moment,
  })
  .meta({ id: 'SellerView', description: 'A saved view of the list: filters, order and columns under a name.' })

const tagOf = ({ revision }: Pick<SavedView, 'revision'>): string => `"${revision}"`
const headers = { etag: 'The version, to be sent as `if-match` with a change.' }
const shown = (view: SavedView): z.output<typeof savedView> => ({ ...view, columns: [...view.columns] })

/** As it goes over the wire: dates as text. */
const kept = (filter: z.output<typeof sellerFilter>) => z.encode(sellerFilter, filter) as Record<string, unknown>

export const sellerActRoutes: readonly Route[] = [
  route({
    method: 'POST',
    path: '/api/v1/orgs/{orgId}/seller-acts',
    operationId: 'actOnSellers',
    tag: 'Sellers',
    summary: 'Act on many sellers',
    description:
      'Flags, notes, removes or restores every seller the filter lets through, in one transaction and one line of the audit log. Answers the true number and a token to undo it: once, within 24 hours.',
    access: 'analyst',
    transaction: 'write',
    body: z.strictObject({ filter: sellerFilter, act }),
    bodyExample: { filter: { matchedFrom: 3, except: [] }, act: { kind: 'flag', flag: 'promising' } },
    refuses: ['export.profile_unknown'],
    answers: {
      200: {
        description: 'What was done.',
        schema: z.object({
          sellers: count.describe('How many sellers it concerned.'),
          undoToken: id.nullable().describe('Takes it back; null when it concerned nobody.'),
          undoUntil: moment.nullable(),
        }),
      },
    },
  })(async ({ tx, orgId, body, member }) => {
    const view = await viewOf(tx, orgId, body.filter)
    const done = await actOnSellers(tx, { orgId, userId: member.userId }, view, body.act as BulkAct)
    return { status: 200, body: done }
  }),
  route({
    method: 'POST',
    path: '/api/v1/orgs/{orgId}/seller-undos',
    operationId: 'undoOnSellers',
    tag: 'Sellers',
    summary: 'Undo an act on sellers',
    description:
      'Every seller of the act is again what it was before, except those somebody changed since. Once, within 24 hours.',
    access: 'analyst',
    transaction: 'write',
    body: z.strictObject({ undoToken: z.uuid() }),
    bodyExample: { undoToken: '01937d50-0000-7000-8000-000000000000' },
    refuses: ['seller.undo_unknown', 'seller.undo_used', 'seller.undo_expired'],
    answers: {
      200: {
        description: 'What was put back.',
        schema: z.object({
          restored: count,
          changedSince: count.describe('Left as they are, because they were changed since.'),
        }),
      },
    },
  })(async ({ tx, orgId, body, member }) => ({
    status: 200,
    body: await undoOnSellers(tx, { orgId, userId: member.userId }, body.undoToken),
  })),
  route({
    method: 'GET',
    path: '/api/v1/orgs/{orgId}/seller-views',
    operationId: 'listSellerViews',
    tag: 'Sellers',
    summary: 'List saved views',
    description: 'The saved views of the organisation, by name.',
    access: 'viewer',
    transaction: 'read',
    answers: { 200: { description: 'The views.', schema: z.object({ items: z.array(savedView) }) } },
  })(async ({ tx, orgId }) => ({ status: 200, body: { items: (await listViews(tx, orgId)).map(shown) } })),
  route({
    method: 'POST',
    path: '/api/v1/orgs/{orgId}/seller-views',
    operationId: 'saveSellerView',
    tag: 'Sellers',
    summary: 'Save a view',
    description: 'Keeps filters, order and columns under a name, for everybody in the organisation. Audited.',
    access: 'analyst',
    transaction: 'write',
    body: z.strictObject(viewFields),
    bodyExample: {
      name: 'Worth a look',
      filter: { scoreFrom: 60, flag: 'none' },
      sort: 'score',
      descending: true,
      columns: [],
    },
    refuses: ['seller.name_taken'],
    answers: { 201: { description: 'The view.', schema: savedView, headers } },
  })(async ({ tx, orgId, body, member }) => {
    const view = await saveView(tx, { orgId, userId: member.userId }, { ...body, filter: kept(body.filter) })
    return { status: 201, body: shown(view), headers: { etag: tagOf(view) } }
  }),
  route({
    method: 'PATCH',
    path: '/api/v1/orgs/{orgId}/seller-views/{viewId}',
    operationId: 'changeSellerView',
    tag: 'Sellers',
    summary: 'Change a saved view',
    description: 'What is left out stays. Audited.',
    access: 'analyst',
    transaction: 'write',
    versioned: true,
    params: viewParams,
    body: z.strictObject(viewFields).partial(),
    bodyExample: { descending: false },
    refuses: ['seller.view_unknown', 'seller.name_taken'],
    answers: { 200: { description: 'The view as it is now.', schema: savedView, headers } },
  })(async ({ tx, orgId, params, body, member, ifMatch }) => {
    const { filter, ...rest } = body
    const change = { ...given(rest), ...(filter ? { filter: kept(filter) } : {}) }
    const actor = { orgId, userId: member.userId }
    const view = await changeView(tx, actor, params.viewId, change, (now) => checkMatch(ifMatch, tagOf(now)))
    return { status: 200, body: shown(view), headers: { etag: tagOf(view) } }
  }),
  route({
    method: 'DELETE',
    path: '/api/v1/orgs/{orgId}/seller-views/{viewId}',
    operationId: 'deleteSellerView',
    tag: 'Sellers',
    summary: 'Delete a saved view',
    description: 'For everybody in the organisation. Audited with what it was.',
    access: 'analyst',
    transaction: 'write',
    params: viewParams,
    refuses: ['seller.view_unknown'],
    answers: { 204: { description: 'It is gone.' } },
  })(async ({ tx, orgId, params, member }) => {
    await dropView(tx, { orgId, userId: member.userId }, params.viewId)
    return { status: 204 }
  }),
]
