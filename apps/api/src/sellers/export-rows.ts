/** The rows of an export on their way out of the database: any number, a few thousand in memory at a time, all of one moment. */
import type pg from 'pg'
import type { Queryable, Tx } from '../db/client.ts'
import { EXPORT_COLUMNS, type ExportColumnName } from './export-columns.ts'
import type { RawRow } from './export-file.ts'
import type { ListOrder } from './list-page.ts'
import { conditionsOf, makeValues, type SellerView, SORTS } from './view.ts'

const ROWS_AT_ONCE = 2_000

export type ExportedRows = Readonly<{
  orgId: string
  view: SellerView
  order: ListOrder
  columns: readonly ExportColumnName[]
}>

/** As the server sends it: parsing what is only written again would cost half the time. */
const AS_TEXT: pg.CustomTypesConfig = { getTypeParser: () => (text: string | Buffer) => text }

function statementOf({
  orgId,
  view,
  order,
  columns,
}: ExportedRows): Readonly<{ text: string; values: readonly unknown[] }> {
  const values = makeValues()
  const { base, filters, pattern, search } = conditionsOf(view, orgId, values, { access: 'set' })
  const named = pattern === null ? 'seller_list' : `gleaner_sellers_named($1, ${pattern}, ${Number.MAX_SAFE_INTEGER})`
  const wanted = [...base, ...filters, ...(pattern === null && search !== null ? [search] : [])]
  const { column } = SORTS[order.sort]
  const direction = order.descending ? 'desc' : 'asc'
  const marks = columns.some((name) => EXPORT_COLUMNS[name].sql.includes('m.'))
  return {
    text: `
      select ${columns.map((name) => EXPORT_COLUMNS[name].sql).join(', ')}
      from ${named} f join sellers x on x.id = f.seller_id
      ${marks ? 'left join seller_marks m on m.seller_id = f.seller_id' : ''}
      where ${wanted.join(' and ')}
      order by f.${column} ${direction} nulls last, f.seller_id ${direction}`,
    values: values.list,
  }
}

/**
 * Hands the rows to `take` in order, some thousands at a time; while it has them, the next are fetched. `tx` must be
 * repeatable read. Returns how many there were. Stops early when `take` answers false.
 */
export async function eachRows(
  tx: Tx,
  rows: ExportedRows,
  take: (rows: readonly RawRow[]) => Promise<boolean | void>,
): Promise<number> {
  const { text, values } = statementOf(rows)
  // The reader sets the pace; and all of it will be read, not the first tenth.
  await tx.query('set local statement_timeout = 0')
  await tx.query('set local idle_in_transaction_session_timeout = 0')
  await tx.query('set local cursor_tuple_fraction = 1')
  await tx.query(`declare export_rows no scroll cursor for ${text}`, values)
  const fetch = async (): Promise<RawRow[]> => {
    const query = { text: `fetch ${ROWS_AT_ONCE} from export_rows`, rowMode: 'array' as const, types: AS_TEXT }
    return (await tx.query(query)).rows as unknown as RawRow[]
  }
  let total = 0
  for (let next = fetch(); ; ) {
    const some = await next
    if (some.length === 0) return total
    next = fetch()
    // When `take` throws, this promise is nobody's any more.
    next.catch(() => {})
    if ((await take(some)) === false) {
      await next
      return total
    }
    total += some.length
  }
}

/** The first rows of an export. */
export async function firstRows(db: Queryable, rows: ExportedRows, most: number): Promise<RawRow[]> {
  const { text, values } = statementOf(rows)
  const query = { text: `${text} limit ${most}`, rowMode: 'array' as const, types: AS_TEXT }
  return (await db.query(query, values)).rows as unknown as RawRow[]
}

/** The highest number of listing the organisation has now: what comes later is new. */
export async function lastListed(db: Queryable, orgId: string): Promise<number> {
  const { rows } = await db.query<{ last: number | null }>(
    'select max(listed_seq) as last from seller_list where org_id = $1 and removed_at is null',
    [orgId],
  )
  return rows[0]?.last ?? 0
}
