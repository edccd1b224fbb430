/** Tables without ruling: a dim header, columns two apart, cut to the width of the terminal. */
import Table from 'cli-table3'
import type { Context } from './context.ts'
import { cutTo, widthOf } from './paint.ts'

export type Column<Row> = Readonly<{
  head: string
  /** Numbers stand right. */
  right?: boolean
  /** When the terminal is too narrow, this column gives way first, down to so many columns. At most one of a table. */
  gives?: number
  /** Left out when even that is not enough, the highest number first. */
  spare?: number
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

/** The rows as a table, as wide as the terminal at most; nothing is cut where the output is read by a program. */
export function table<Row>(context: Context, columns: readonly Column<Row>[], rows: readonly Row[]): string {
  const room = process.stdout.isTTY ? context.width() : Number.POSITIVE_INFINITY
  const cellsOf = (some: readonly Column<Row>[]) => rows.map((row) => some.map((column) => column.cell(row)))
  let shown = columns
  while (narrowest(shown, cellsOf(shown)) > room && shown.some(({ spare }) => spare)) {
    const most = Math.max(...shown.map(({ spare }) => spare ?? 0))
    shown = shown.filter(({ spare }) => spare !== most)
  }
  return draw(context, shown, cellsOf(shown), room)
}

type Cells = readonly (readonly string[])[]

function widths<Row>(columns: readonly Column<Row>[], cells: Cells): number[] {
  return columns.map(({ head }, at) => Math.max(widthOf(head), ...cells.map((row) => widthOf(row[at] ?? ''))))
}

const sumWithGaps = (all: readonly number[]) => all.reduce((sum, width) => sum + width + 2, -2)

/** Columns the table takes when the one that gives way has done so. */
function narrowest<Row>(columns: readonly Column<Row>[], cells: Cells): number {
  return sumWithGaps(widths(columns, cells).map((width, at) => Math.min(width, columns[at]?.gives ?? width)))
}

function draw<Row>({ paint }: Context, columns: readonly Column<Row>[], cells: Cells, room: number): string {
  const all = widths(columns, cells)
  const giving = columns.findIndex(({ gives }) => gives !== undefined)
  const over = sumWithGaps(all) - room
  const kept = giving >= 0 && over > 0 ? Math.max(columns[giving]?.gives ?? 0, (all[giving] ?? 0) - over) : null
  const fit = (text: string, at: number): string => (kept !== null && at === giving ? cutTo(text, kept) : text)
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
