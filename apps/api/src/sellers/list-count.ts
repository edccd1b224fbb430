/** How many sellers a view has, exactly; and the marks of its sort key, for jumping. Apart from the rows: they may take longer. */
import type { Queryable } from '../db/client.ts'
import { scoreOf } from './score.ts'
import { type Conditions, conditionsOf, makeValues, type SellerSortKey, type SellerView, SORTS } from './view.ts'

/** The exact number of sellers of `view`. A million take some tenths of a second. */
export async function countView(db: Queryable, orgId: string, view: SellerView): Promise<number> {
  const values = makeValues()
  const conditions = conditionsOf(view, orgId, values, { access: 'set' })
  const { table, wanted } = source(conditions)
  const { rows } = await db.query<{ count: number }>(
    `select count(*)::int as count from ${table} f where ${wanted.join(' and ')}`,
    values.list,
  )
  return rows[0]?.count ?? 0
}

/** The list, or what the index on parts of names finds of it, and the conditions that are left. */
function source({ base, filters, pattern, search }: Conditions): Readonly<{ table: string; wanted: string[] }> {
  if (pattern !== null) {
    return { table: `gleaner_sellers_named($1, ${pattern}, ${Number.MAX_SAFE_INTEGER})`, wanted: [...base, ...filters] }
  }
  return { table: 'seller_list', wanted: [...base, ...filters, ...(search === null ? [] : [search])] }
}

export type IndexMark = Readonly<{
  /** Per cent of the way down the list. */
  percent: number
  /** The sort key there: a number, an ISO time, a name; a score for the order by score. */
  label: string
  /** For the cursor of a page that begins there. */
  key: string
  id: string
}>

/** Eleven: the first, the last, and nine between. */
const MARKS = 11
/** From so many sellers on the marks come from a sample: they are for jumping, not for counting. */
const EXACT_MOST = 50_000
const SAMPLE = 20_000

/**
 * Eleven marks of the sort key, evenly spread over the sellers of `view` that have one; fewer when there are fewer sellers.
 * `count` is what `countView` said. Above 50,000 sellers they come from a sample of about 20,000, except the first and
 * the last: `exact` says so.
 */
export async function indexMarks(
  db: Queryable,
  orgId: string,
  view: SellerView,
  order: Readonly<{ sort: SellerSortKey; descending: boolean }>,
  count: number,
): Promise<Readonly<{ exact: boolean; marks: readonly IndexMark[] }>> {
  const exact = count <= EXACT_MOST
  const { column } = SORTS[order.sort]
  const direction = order.descending ? 'desc' : 'asc'
  const by = `f.${column} ${direction}, f.seller_id ${direction}`
  const values = makeValues()
  const conditions = conditionsOf(view, orgId, values, { access: exact ? 'set' : 'probe' })
  const { base, filters, search } = conditions
  const { table, wanted } = exact
    ? source(conditions)
    : { table: 'seller_list', wanted: [...base, ...filters, ...(search === null ? [] : [search])] }
  const sample = exact ? '' : `tablesample system (${values.add((SAMPLE / count) * 100)})`
  const { rows } = await db.query<{ key: string; id: string }>(
    `with chosen as (
       select f.${column} as key, f.seller_id as id, row_number() over (order by ${by}) as n, count(*) over () as total
       from ${table} f ${sample} where ${[...wanted, `f.${column} is not null`].join(' and ')}
     )
     select key::text as key, id from chosen
     where n in (select 1 + round((total - 1) * mark / ${MARKS - 1}.0) from generate_series(0, ${MARKS - 1}) mark) order by n`,
    values.list,
  )
  const marks = rows.map((row, at) => ({
    ...row,
    percent: rows.length === 1 ? 0 : Math.round((at * 100) / (rows.length - 1)),
    label: labelOf(order.sort, row.key),
  }))
  return { exact, marks }
}

function labelOf(sort: SellerSortKey, key: string): string {
  if (sort === 'score') return String(scoreOf(Number(key)))
  if (SORTS[sort].type === 'timestamptz') return new Date(key).toISOString()
  return key
}
