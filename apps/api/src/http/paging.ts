/**
 * Pages by cursor, never by offset: a cursor is the sort key of the last row and its id, so a page begins where the one
 * before ended whatever was added or removed meanwhile. Cursors are not signed: they say where to begin, not what may be seen.
 */
import { z } from 'zod'
import type { Beside } from '../db/keyset.ts'
import { wrongInput } from './problems.ts'

export const LIMIT_MOST = 200

export const pageQuery = {
  limit: z.coerce
    .number()
    .int()
    .min(1)
    .max(LIMIT_MOST)
    .default(50)
    .meta({ description: `Rows at most, 1 to ${LIMIT_MOST}.`, examples: [50] }),
  cursor: z
    .string()
    .min(1)
    .max(2_000)
    .optional()
    .meta({ description: '`next` or `previous` of another page of the same list; left out for the first page.' }),
}

/** A page of `row`, as the contract has it. */
export function pageOf<T extends z.ZodType>(row: T) {
  return z.object({
    items: z.array(row),
    next: z.string().nullable().describe('Cursor of the page after this one; null on the last one.'),
    previous: z.string().nullable().describe('Cursor of the page before this one; null on the first one.'),
  })
}

/** What a cursor is checked against: somebody may have written it by hand. */
const FORMS = {
  bigint: /^-?\d{1,18}$/,
  uuid: /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/,
  timestamptz: /^(-infinity|\d{4}-\d{2}-\d{2} \d{2}:\d{2}:\d{2}(\.\d{1,6})?\+00)$/,
  text: /^[^\0]{0,1000}$/,
} as const

/** An order of a list: the name it has in cursors, and the types of its sort key and id. */
export type Order = Readonly<{ name: string; key: keyof typeof FORMS; id: keyof typeof FORMS }>

const shape = z.tuple([z.string(), z.string(), z.string(), z.boolean()])

function writeCursor(order: Order, { key, id, back }: Beside): string {
  return Buffer.from(JSON.stringify([order.name, key, id, back])).toString('base64url')
}

/** The row a page begins beside, null for the first page. Throws AppError `input.invalid` for a cursor of another list or order. */
export function readCursor(text: string | undefined, order: Order): Beside | null {
  if (text === undefined) return null
  const { data } = shape.safeParse(parse(text))
  if (!data || data[0] !== order.name || !FORMS[order.key].test(data[1]) || !FORMS[order.id].test(data[2])) {
    throw wrongInput([{ path: 'query.cursor', message: 'is no cursor of this list in this order' }])
  }
  return { key: data[1], id: data[2], back: data[3] }
}

function parse(text: string): unknown {
  try {
    return JSON.parse(Buffer.from(text, 'base64url').toString('utf8'))
  } catch {
    return null
  }
}

export type Page<T> = { items: T[]; next: string | null; previous: string | null }

/**
 * The page of `rows`, which were asked for beside `beside` with one more than `limit`. `keyOf` is the sort key and the id of a
 * row, as text.
 */
export function toPage<T>(
  rows: readonly T[],
  { beside, limit, order }: Readonly<{ beside: Beside | null; limit: number; order: Order }>,
  keyOf: (row: T) => readonly [key: string, id: string],
): Page<T> {
  const back = beside?.back ?? false
  const more = rows.length > limit
  const items = rows.slice(0, limit)
  if (back) items.reverse()
  const at = (row: T | undefined, backwards: boolean): string | null => {
    if (row === undefined) return null
    const [key, id] = keyOf(row)
    return writeCursor(order, { key, id, back: backwards })
  }
  return {
    items,
    next: back || more ? at(items.at(-1), false) : null,
    previous: (back ? more : beside !== null) ? at(items[0], true) : null,
  }
}
