/** Paging by keyset: the order and the condition that begin a page beside a row, both ways. */

export type SortKey = Readonly<{
  /** SQL that is never null, e.g. `coalesce(started_at, '-infinity')`. */
  expression: string
  type: 'bigint' | 'text' | 'timestamptz' | 'uuid'
  descending: boolean
}>

/** The row a page begins beside: its sort key as text, its id, and whether the page lies before it. */
export type Beside = Readonly<{ key: string; id: string; back: boolean }>

export type Keyset = Readonly<{
  /** True for rows of the page; `true` for the first page. */
  where: string
  orderBy: string
  /** The sort key of a row as text, exact: what the next cursor is made of. */
  keyText: string
}>

/**
 * The parts of a statement that reads a page. Parameters are appended to `values`. Asked backwards, rows come in the opposite
 * order.
 */
export function keyset(
  sort: SortKey,
  id: Readonly<{ expression: string; type: string }>,
  beside: Beside | null,
  values: unknown[],
): Keyset {
  const down = sort.descending !== (beside?.back ?? false)
  const direction = down ? 'desc' : 'asc'
  const orderBy = `${sort.expression} ${direction}, ${id.expression} ${direction}`
  const keyText = `(${sort.expression})::text`
  if (beside === null) return { where: 'true', orderBy, keyText }
  values.push(beside.key, beside.id)
  const at = values.length
  const where = `(${sort.expression}, ${id.expression}) ${down ? '<' : '>'} ($${at - 1}::${sort.type}, $${at}::${id.type})`
  return { where, orderBy, keyText }
}
