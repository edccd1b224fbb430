/** Tables without ruling: a dim header, columns two apart, cut to the width of the terminal. */
import Table from 'cli-table3'
import type { Context } from './context.ts'
import { cutTo, widthOf } from './paint.ts'

export type Column<Row> = Readonly<{
  head: string
  /** Numbers stand right. */
  right?: boolean
  /** When the terminal is too narrow, this column gives way first. At most one of a table. */
  gives?: boolean
  cell: (row: Row) => string
}>

const NO_RULES = {
  top: '',
  'top-mid': '',
  'top-left': '',
  'top-right': '',
  bottom: '',
  'bottom-mid': '',
  'bottom-left': '',
  'bottom-right': '',
  left: '',
  'left-mid': '',
  mid: '',
  'mid-mid': '',
  right: '',
  'right-mid': '',
  middle: '  ',
}

const NARROWEST = 8

/** The rows as a table. */
export function table<Row>(context: Context, columns: readonly Column<Row>[], rows: readonly Row[]): string {
  const { paint } = context
  const cells = rows.map((row) => columns.map((column) => column.cell(row)))
  const widths = columns.map((column, at) =>
    Math.max(widthOf(column.head), ...cells.map((row) => widthOf(row[at] ?? ''))),
  )
  // A pipe has no width: nothing is cut there.
  const over = widths.reduce((sum, width) => sum + width + 2, -2) - (process.stdout.isTTY ? context.width() : 10_000)
  const giving = columns.findIndex((column) => column.gives)
  const room = giving >= 0 && over > 0 ? Math.max(NARROWEST, (widths[giving] ?? 0) - over) : null
  const fit = (text: string, at: number): string => (room !== null && at === giving ? cutTo(text, room) : text)
  const drawn = new Table({
    chars: NO_RULES,
    style: { 'padding-left': 0, 'padding-right': 0, head: [], border: [], compact: true },
    head: columns.map((column, at) => paint.dim(fit(column.head, at))),
    colAligns: columns.map((column) => (column.right ? 'right' : 'left')),
  })
  for (const row of cells) drawn.push(row.map(fit))
  return drawn
    .toString()
    .split('\n')
    .map((line) => line.trimEnd())
    .join('\n')
}
