/** Sellers as CSV (RFC 4180, CRLF) that Excel, Numbers and Sheets open as what it is. Pure. */
import { type Cell, csvCell } from '../sellers/cells.ts'
import type { SellerRow } from '../sellers/list-sellers.ts'

const COLUMNS: readonly (readonly [head: string, cell: (row: SellerRow) => Cell])[] = [
  ['seller', (row) => row.name],
  ['products_matched', (row) => row.matched],
  ['runs_seen', (row) => row.runs],
  ['feedback_score', (row) => row.feedbackScore],
  ['feedback_percent', (row) => (row.feedbackPermille === null ? null : (row.feedbackPermille / 10).toFixed(1))],
  ['listings', (row) => row.listings],
  ['first_seen', (row) => row.firstSeenAt.toISOString()],
  ['last_seen', (row) => row.lastSeenAt.toISOString()],
]

/** The byte-order mark, without which Excel reads UTF-8 as something else, and the header line. */
export function csvHead(): string {
  return `\ufeff${COLUMNS.map(([head]) => head).join(',')}\r\n`
}

/** One line with its line end. */
export function csvLine(row: SellerRow): string {
  return `${COLUMNS.map(([, cell]) => csvCell(cell(row))).join(',')}\r\n`
}
