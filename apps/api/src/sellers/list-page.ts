/**
 * Pages of the seller list: any filter, any order, both ways, at a million sellers. A page is looked for in three ways, each
 * bounded: along the order from where the page before ended; if that meets too few within some thousands of rows, from the
 * filters, when those let through few; and only if they let through many whom the order keeps apart, along the order to the
 * end. ADR 0020 has the figures.
 */
import { AppError } from '../base/errors.ts'
import type { Queryable } from '../db/client.ts'
import { type ScoreParts, scoreParts } from './score.ts'
import {
  type Access,
  conditionsOf,
  makeValues,
  type SellerSortKey,
  type SellerView,
  SORTS,
  type Values,
} from './view.ts'

export type PageBounds = Readonly<{
  /** Rows a page looks at along the order before it tries the filters. */
  walk: number
  /** Sellers the filters may let through to be sorted as a whole. */
  set: number
}>

/** Some milliseconds for the one, some tens for the other. */
const BOUNDS: PageBounds = { walk: 4_000, set: 20_000 }

export type ListOrder = Readonly<{ sort: SellerSortKey; descending: boolean }>

/** Where a page begins: behind this seller in the order, or before it. */
export type ListCursor = Readonly<{
  /** The sort key of that seller as text, exactly as the database writes it; null when it is not known. */
  key: string | null
  id: string
  /** True: the page that ends before this seller. */
  back: boolean
}>

export type ListedSeller = Readonly<{
  id: string
  name: string
  score: ScoreParts
  /** Distinct best sellers matched. */
  matched: number
  runs: number
  ratioLowPermille: number | null
  ratioHighPermille: number | null
  feedbackScore: number | null
  feedbackPermille: number | null
  items: number | null
  firstSeenAt: Date
  lastSeenAt: Date
  flag: string | null
  flaggedAt: Date | null
  flaggedBy: string | null
  hasNote: boolean
  removedAt: Date | null
  revision: number
  /** Its number in the order of listing. */
  listedSeq: number
}>

export type ListPage = Readonly<{
  sellers: readonly ListedSeller[]
  /** For the page after this one, and the one before; null where there is none. */
  next: ListCursor | null
  previous: ListCursor | null
}>

type Row = Omit<ListedSeller, 'score'> &
  Readonly<{ likenessPercentSum: number; priceRuleCount: number; key: string | null; size?: number }>

/**
 * One page of the sellers of `view`, in order; equal keys by id. Call it inside a transaction that says on whose behalf it
 * reads. Throws AppError `input.invalid` when too many ids are named or the cursor does not fit the order.
 */
export async function listPage(
  db: Queryable,
  orgId: string,
  view: SellerView,
  order: ListOrder,
  page: Readonly<{ limit: number; cursor?: ListCursor /** Other ones, for tests. */; within?: PageBounds }>,
): Promise<ListPage> {
  const { cursor, limit, within = BOUNDS } = page
  const back = cursor?.back ?? false
  // Backwards is the other direction, turned round afterwards.
  const descending = back ? !order.descending : order.descending
  const rows: Row[] = []
  for (const segment of segmentsOf(order, back, cursor)) {
    const want = limit + 1 - rows.length
    if (want <= 0) break
    rows.push(...(await readSegment(db, { orgId, view, sort: order.sort, descending, want, within, ...segment })))
  }
  const more = rows.length > limit
  const shown = rows.slice(0, limit)
  if (back) shown.reverse()
  const [first, last] = [shown[0], shown.at(-1)]
  const begins = back ? more : cursor !== undefined
  const goesOn = back ? true : more
  return {
    sellers: shown.map(toListed),
    next: goesOn && last ? { key: last.key, id: last.id, back: false } : null,
    previous: begins && first ? { key: first.key, id: first.id, back: true } : null,
  }
}

type Segment = Readonly<{
  /** The part of the order without a key comes last, whatever the direction. */
  nulls: boolean
  cursor: ListCursor | undefined
}>

function segmentsOf({ sort }: ListOrder, back: boolean, cursor: ListCursor | undefined): Segment[] {
  const known = { nulls: false }
  if (!SORTS[sort].nullable) {
    if (cursor?.key === null) throw wrongCursor()
    return [{ ...known, cursor }]
  }
  const unknown = { nulls: true }
  if (!cursor)
    return [
      { ...known, cursor },
      { ...unknown, cursor },
    ]
  if (cursor.key === null)
    return back
      ? [
          { ...unknown, cursor },
          { ...known, cursor: undefined },
        ]
      : [{ ...unknown, cursor }]
  return back
    ? [{ ...known, cursor }]
    : [
        { ...known, cursor },
        { ...unknown, cursor: undefined },
      ]
}

/** The cursor was not made by this order. */
export function wrongCursor(): AppError {
  return new AppError('input.invalid', 'The cursor does not fit the order of the list.', {
    hint: 'Begin without a cursor, or pass on the one the page before brought.',
  })
}

type Reading = Segment &
  Readonly<{
    orgId: string
    view: SellerView
    sort: SellerSortKey
    descending: boolean
    want: number
    within: PageBounds
  }>

async function readSegment(db: Queryable, reading: Reading): Promise<Row[]> {
  const first = statementOf(reading, 'walk')
  if (!first.filtered) return run(db, statementOf(reading, 'all'))
  const walked = await run(db, first)
  if (walked.length === reading.want) return walked
  for (const way of ['named', 'set'] as const) {
    const statement = statementOf(reading, way)
    if (!statement.possible) continue
    const chosen = await run(db, statement)
    // One row always comes, with the size. Within the limit nobody was left out, and what there is, is the page.
    if ((chosen[0]?.size ?? 0) <= reading.within.set) return chosen.filter(({ id }) => id !== null)
  }
  return run(db, statementOf(reading, 'all'))
}

/**
 * `walk`: along the order, some thousands of rows. `named`: from the index on parts of names. `set`: from the other filters.
 * `all`: along the order to its end.
 */
type Way = 'walk' | 'named' | 'set' | 'all'

type Statement = Readonly<{
  text: string
  values: readonly unknown[]
  /** The view lets only some through. */
  filtered: boolean
  /** This way leads anywhere for the view. */
  possible: boolean
}>

async function run(db: Queryable, { text, values }: Statement): Promise<Row[]> {
  return (await db.query<Row>(text, values)).rows
}

function statementOf(reading: Reading, way: Way): Statement {
  const values = makeValues()
  const access: Access = way === 'set' ? 'set' : 'probe'
  // A set is sorted as a whole: what the filters imply for the sort key says nothing there.
  const key = way === 'set' ? {} : { sort: reading.sort }
  const conditions = conditionsOf(reading.view, reading.orgId, values, { access, ...key })
  const { bounds, order } = along(reading, values)
  const base = [...conditions.base, ...conditions.implied, ...bounds]
  const { filters, pattern, search } = conditions
  const all = search === null ? filters : [...filters, search]
  const page = `order by ${order} limit ${values.add(reading.want)}`
  const { column } = SORTS[reading.sort]
  const statement = (text: string, possible = true): Statement => ({
    text,
    values: values.list,
    filtered: all.length > 0,
    possible,
  })
  if (way === 'walk') {
    const walked = `select * from seller_list f ${where(base)} order by ${order} limit ${reading.within.walk}`
    return statement(detailed(`select f.* from (${walked}) f ${where(all)} ${page}`, column, order))
  }
  if (way === 'all')
    return statement(detailed(`select * from seller_list f ${where([...base, ...all])} ${page}`, column, order))
  if (way === 'named') {
    const set = `select * from gleaner_sellers_named($1, ${pattern ?? 'null'}, ${reading.within.set + 1})`
    return statement(sized(set, [...base, ...filters], page, column, order), pattern !== null)
  }
  // Without what bounds the sort key: its index would be taken for that, and the filters' own are what is wanted here.
  const set = `select * from seller_list f ${where([...conditions.base, ...filters])} limit ${reading.within.set + 1}`
  const rest = [...bounds, ...(search === null ? [] : [search])]
  return statement(sized(set, rest, page, column, order), filters.length > 0)
}

/** The page of a set, with the set's size; when the page is empty one row that has nothing but the size. */
function sized(set: string, rest: readonly string[], page: string, column: string, order: string): string {
  const rows = detailed(`select f.* from chosen f ${where(rest)} ${page}`, column, order)
  return `with chosen as materialized (${set}), paged as (${rows})
    select sized.size, paged.* from (select count(*)::int as size from chosen) sized left join paged on true`
}

/** Where the segment begins, and its order. */
function along(reading: Reading, values: Values): Readonly<{ bounds: string[]; order: string }> {
  const { column, type, nullable } = SORTS[reading.sort]
  const [direction, beyond] = reading.descending ? ['desc', '<'] : ['asc', '>']
  const { cursor, nulls } = reading
  if (nulls) {
    const bounds = [`f.${column} is null`]
    if (cursor) bounds.push(`f.seller_id ${beyond} ${values.add(cursor.id)}`)
    return { bounds, order: `f.seller_id ${direction}` }
  }
  const bounds = nullable ? [`f.${column} is not null`] : []
  if (cursor) {
    const key = `${values.add(cursor.key)}::${type}`
    bounds.push(`(f.${column}, f.seller_id) ${beyond} (${key}, ${values.add(cursor.id)}::uuid)`)
  }
  return { bounds, order: `f.${column} ${direction}, f.seller_id ${direction}` }
}

function where(conditions: readonly string[]): string {
  return conditions.length === 0 ? '' : `where ${conditions.join(' and ')}`
}

/** The rows `from` brings, with what else is shown of them. */
function detailed(from: string, column: string, order: string): string {
  return `
    select f.seller_id as id, x.display_name as name, f.${column}::text as key, f.matched_count as matched,
      f.likeness_percent_sum as "likenessPercentSum", f.price_rule_count as "priceRuleCount", f.run_count as runs,
      f.ratio_low_permille as "ratioLowPermille", f.ratio_high_permille as "ratioHighPermille",
      f.feedback_score as "feedbackScore", x.feedback_permille as "feedbackPermille", f.listing_count as items,
      f.first_seen_at as "firstSeenAt", f.last_seen_at as "lastSeenAt", m.flag, m.flagged_at as "flaggedAt",
      m.flagged_by as "flaggedBy", m.note is not null as "hasNote", f.removed_at as "removedAt",
      coalesce(m.revision, 0) as revision, f.listed_seq as "listedSeq"
    from (${from}) f
    join sellers x on x.id = f.seller_id
    left join seller_marks m on m.seller_id = f.seller_id
    order by ${order}`
}

function toListed(row: Row): ListedSeller {
  const { likenessPercentSum, priceRuleCount, key: _key, size: _size, ...rest } = row
  return { ...rest, score: scoreParts({ matched: row.matched, likenessPercentSum, priceRuleCount }) }
}
