/** The master list: pages, the exact count, marks for jumping, one seller with its evidence. */
import { z } from 'zod'
import { AppError } from '../../base/errors.ts'
import type { Tx } from '../../db/client.ts'
import type { Role } from '../../db/session.ts'
import { editSeller, sellerTag } from '../../engine/edit-sellers.ts'
import { formerNames } from '../../sellers/edit.ts'
import { countView, indexMarks } from '../../sellers/list-count.ts'
import { uncountedSince } from '../../sellers/list-figures.ts'
import { type ListCursor, type ListOrder, listPage } from '../../sellers/list-page.ts'
import { readEvidence, readSeller, type SellerDetail } from '../../sellers/seller-detail.ts'
import { SORTS } from '../../sellers/view.ts'
import { given } from '../given.ts'
import { pageQuery } from '../paging.ts'
import { wrongInput } from '../problems.ts'
import { type Route, route } from '../route.ts'
import { count, id, line, moment } from '../schemas/common.ts'
import { filterQuery, flag, listedSeller, orderQuery, sellerDetail, viewOf } from '../schemas/seller.ts'
import { checkMatch } from '../versions.ts'

const sellerParams = z.object({ sellerId: z.uuid().describe('The seller.') })
const headers = { etag: 'The version, to be sent as `if-match` with a change.' }

const KEYS = {
  int: /^-?\d{1,10}$/,
  timestamptz: /^\d{4}-\d{2}-\d{2} \d{2}:\d{2}:\d{2}(\.\d{1,6})?\+00$/,
  text: /^[^\0]{1,200}$/,
} as const
const UUID = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/

const listCursor = z.tuple([z.string(), z.string().nullable(), z.string().regex(UUID), z.boolean()])

function write(order: ListOrder, cursor: ListCursor | null): string | null {
  if (!cursor) return null
  return encode([nameOf(order), cursor.key, cursor.id, cursor.back])
}

const nameOf = ({ sort, descending }: ListOrder): string => `${sort} ${descending ? 'down' : 'up'}`
const encode = (parts: unknown): string => Buffer.from(JSON.stringify(parts)).toString('base64url')

function decode(text: string): unknown {
  try {
    return JSON.parse(Buffer.from(text, 'base64url').toString('utf8'))
  } catch {
    return null
  }
}

/** Throws AppError `input.invalid` for a cursor of another list or order. */
function read(text: string | undefined, order: ListOrder): { cursor?: ListCursor } {
  if (text === undefined) return {}
  const { data } = listCursor.safeParse(decode(text))
  const { type, nullable } = SORTS[order.sort]
  const fits = data && data[0] === nameOf(order) && (data[1] === null ? nullable : KEYS[type].test(data[1]))
  if (!data || !fits) throw wrongCursor()
  return { cursor: { key: data[1], id: data[2], back: data[3] } }
}

const wrongCursor = () => wrongInput([{ path: 'query.cursor', message: 'is no cursor of this list in this order' }])

const orderOf = ({ sort, direction }: { sort: ListOrder['sort']; direction: 'asc' | 'desc' }): ListOrder => ({
  sort,
  descending: direction === 'desc',
})

const page = z.object({
  items: z.array(listedSeller),
  next: z.string().nullable().describe('Cursor of the page after this one; null on the last one.'),
  previous: z.string().nullable().describe('Cursor of the page before this one; null on the first one.'),
  uncountedSince: moment
    .nullable()
    .describe(
      'Evidence booked since then is not counted in figures and not listed yet; null when everything is. Usually a second.',
    ),
})

async function detailOf(tx: Tx, seller: SellerDetail, role: Role) {
  const may = role !== 'viewer'
  return { ...seller, formerNames: await formerNames(tx, seller.id), can: { edit: may, remove: may } } as z.output<
    typeof sellerDetail
  >
}

function noSeller(): AppError {
  return new AppError('seller.unknown', 'There is no such seller.')
}

const listing = z
  .object({
    itemId: id,
    asin: z.string(),
    product: z.string().nullable(),
    amazonCents: count.nullable().describe('The Amazon price at that time.'),
    listingId: z.string(),
    title: z.string(),
    priceCents: count,
    ratioPermille: count.nullable().describe('The price in thousandths of the Amazon price.'),
    likenessPercent: count
      .nullable()
      .describe('Of its listings for this product, over all runs, the best likeness of titles.'),
    position: z.int(),
    rung: z.int().describe('Query of the ladder that found it.'),
    runId: id,
    runNumber: z.int(),
    runName: z.string(),
    seenAt: moment,
  })
  .meta({ id: 'SeenListing', description: 'A listing as it was seen: evidence for a seller.' })

const evidenceCursor = z.tuple([
  z.literal('evidence'),
  z.string().regex(KEYS.timestamptz),
  z.string().regex(UUID),
  z.int().min(0).max(99),
])

export const sellerRoutes: readonly Route[] = [
  route({
    method: 'GET',
    path: '/api/v1/orgs/{orgId}/sellers',
    operationId: 'listSellers',
    tag: 'Sellers',
    summary: 'List sellers',
    description:
      'A page of the master list, by any filters, in any order, forwards and backwards. Count them with `countSellers`.',
    access: 'viewer',
    transaction: 'read',
    refuses: ['export.profile_unknown'],
    query: z.strictObject({ ...pageQuery, ...orderQuery, ...filterQuery }),
    answers: { 200: { description: 'A page of the list.', schema: page } },
  })(async ({ tx, orgId, query }) => {
    const { limit, cursor, sort, direction, ...filter } = query
    const order = orderOf({ sort, direction })
    const view = await viewOf(tx, orgId, filter)
    const found = await listPage(tx, orgId, view, order, { limit, ...read(cursor, order) })
    const body = {
      items: [...found.sellers] as z.output<typeof listedSeller>[],
      next: write(order, found.next),
      previous: write(order, found.previous),
      uncountedSince: await uncountedSince(tx, orgId),
    }
    return { status: 200, body }
  }),
  route({
    method: 'GET',
    path: '/api/v1/orgs/{orgId}/seller-list/count',
    operationId: 'countSellers',
    tag: 'Sellers',
    summary: 'Count sellers',
    description:
      'The exact number of sellers the filters let through. Apart from the rows, because it may take longer.',
    access: 'viewer',
    transaction: 'read',
    refuses: ['export.profile_unknown'],
    query: z.strictObject(filterQuery),
    answers: {
      200: { description: 'The number.', schema: z.object({ count }), example: { count: 240_318 } },
    },
  })(async ({ tx, orgId, query }) => ({
    status: 200,
    body: { count: await countView(tx, orgId, await viewOf(tx, orgId, query)) },
  })),
  route({
    method: 'GET',
    path: '/api/v1/orgs/{orgId}/seller-list/marks',
    operationId: 'markSellers',
    tag: 'Sellers',
    summary: 'Read the marks of the order',
    description:
      'Eleven marks of the sort key, evenly spread over the sellers the filters let through, each with the cursor of the page behind it. From 50,000 sellers on they come from a sample.',
    access: 'viewer',
    transaction: 'read',
    refuses: ['export.profile_unknown'],
    query: z.strictObject({ ...orderQuery, ...filterQuery }),
    answers: {
      200: {
        description: 'The marks, and the exact count they rest on.',
        schema: z.object({
          count,
          exact: z.boolean(),
          marks: z.array(
            z.object({
              percent: z.int().describe('Of the way down the list.'),
              label: z.string().describe('The sort key there.'),
              cursor: z.string().describe('Of the page that begins behind it.'),
            }),
          ),
        }),
      },
    },
  })(async ({ tx, orgId, query }) => {
    const { sort, direction, ...filter } = query
    const order = orderOf({ sort, direction })
    const view = await viewOf(tx, orgId, filter)
    const counted = await countView(tx, orgId, view)
    const { exact, marks } = await indexMarks(tx, orgId, view, order, counted)
    const told = marks.map(({ percent, label, key, id: at }) => ({
      percent,
      label,
      cursor: encode([nameOf(order), key, at, false]),
    }))
    return { status: 200, body: { count: counted, exact, marks: told } }
  }),
  route({
    method: 'GET',
    path: '/api/v1/orgs/{orgId}/sellers/{sellerId}',
    operationId: 'getSeller',
    tag: 'Sellers',
    summary: 'Read a seller',
    description:
      'One seller, on the list or taken off it: figures, the parts of its score, flag, note and former names.',
    access: 'viewer',
    transaction: 'read',
    params: sellerParams,
    refuses: ['seller.unknown'],
    answers: { 200: { description: 'The seller.', schema: sellerDetail, headers } },
  })(async ({ tx, orgId, params, role }) => {
    const seller = await readSeller(tx, orgId, params.sellerId)
    if (!seller) throw noSeller()
    return { status: 200, body: await detailOf(tx, seller, role), headers: { etag: sellerTag(seller) } }
  }),
  route({
    method: 'GET',
    path: '/api/v1/orgs/{orgId}/sellers/{sellerId}/evidence',
    operationId: 'listEvidence',
    tag: 'Sellers',
    summary: 'Read the evidence for a seller',
    description: 'The listings it was seen with, newest first. A page holds the listings of so many searches.',
    access: 'viewer',
    transaction: 'read',
    params: sellerParams,
    query: z.strictObject(pageQuery),
    refuses: ['seller.unknown'],
    answers: {
      200: {
        description: 'A page of listings.',
        schema: z.object({
          items: z.array(listing),
          next: z.string().nullable().describe('Cursor of the page after this one; null on the last one.'),
          searches: count.describe('Searches that showed this seller and whose evidence is still kept.'),
        }),
      },
    },
  })(async ({ tx, orgId, params, query }) => {
    if (!(await readSeller(tx, orgId, params.sellerId))) throw noSeller()
    const { limit, cursor } = query
    const { data } = evidenceCursor.safeParse(cursor === undefined ? null : decode(cursor))
    if (cursor !== undefined && !data) throw wrongCursor()
    const at = data ? { cursor: { seenAt: data[1], itemId: data[2], rung: data[3] } } : {}
    const { listings, next, searches } = await readEvidence(tx, params.sellerId, { limit, ...at })
    const behind = next && encode(['evidence', next.seenAt, next.itemId, next.rung])
    return { status: 200, body: { items: [...listings], next: behind, searches } }
  }),
  route({
    method: 'PATCH',
    path: '/api/v1/orgs/{orgId}/sellers/{sellerId}',
    operationId: 'changeSeller',
    tag: 'Sellers',
    summary: 'Change a seller',
    description:
      'Its flag, note, the name it is shown under, or whether it is on the list; what is left out stays. Audited. A seller taken off stays off when a run sees it again.',
    access: 'analyst',
    transaction: 'write',
    versioned: true,
    params: sellerParams,
    body: z.strictObject({
      flag: flag.nullable().optional().describe('Null takes it away.'),
      note: z
        .string()
        .max(2000)
        .regex(/^[^\0]*$/)
        .nullable()
        .optional()
        .describe('Null or empty takes it away.'),
      name: line(200).optional(),
      removed: z.boolean().optional().describe('True takes it off the list, false puts it back.'),
    }),
    bodyExample: { flag: 'promising' },
    refuses: ['seller.unknown'],
    answers: { 200: { description: 'The seller as it is now.', schema: sellerDetail, headers } },
  })(async ({ tx, orgId, params, body, member, role, ifMatch }) => {
    const actor = { orgId, userId: member.userId }
    const seller = await editSeller(tx, actor, params.sellerId, given(body), (tag) => checkMatch(ifMatch, tag))
    return { status: 200, body: await detailOf(tx, seller, role), headers: { etag: sellerTag(seller) } }
  }),
]
