/**
 * A product list brought by a person, in place of best-seller categories: CSV, XLSX or JSON. Every row ends up in exactly
 * one of three places (a product, a duplicate of one, or an error with its line), so nothing is lost without a trace.
 */
import { AppError } from '../base/errors.ts'
import type { ListedProduct } from '../providers/types.ts'
import { type ColumnMapping, type Columns, matchColumns, type UsedColumn } from './list-columns.ts'
import { csvRows } from './list-csv.ts'
import { inspectListFile, type ListFile, MAX_LIST_ROWS, type RawRow, tooManyRows } from './list-file.ts'
import { jsonRows } from './list-json.ts'
import { MAX_TITLE_LENGTH, type RowNote, type RowProblem, readRow } from './list-row.ts'
import { xlsxRows } from './list-xlsx.ts'

/** `line`: the line of a text file, the row of a sheet, or the place in a JSON array, from 1. */
export type ListError = RowProblem & Readonly<{ line: number }>

export type WarningCode = RowNote | 'encoding_guessed' | 'column_repeated' | 'no_price_column'

export type ListWarning = Readonly<{
  code: WarningCode
  /** One sentence for a person. */
  message: string
  /** Rows it is about; 0 when it is about the file. */
  count: number
  /** The first five of them. */
  lines: readonly number[]
}>

export type ProductList = Readonly<{
  /** Distinct products in the order of the list. */
  rows: readonly ListedProduct[]
  errors: readonly ListError[]
  /** Products that occur more than once: the first row was kept. All lines, the kept one first. */
  duplicates: readonly Readonly<{ asin: string; lines: readonly number[] }>[]
  warnings: readonly ListWarning[]
  columns: readonly UsedColumn[]
  /** Rows that were not blank, header apart: rows + rows with errors + repeated rows. */
  rowCount: number
}>

export type ListOptions = Readonly<{
  /** Which column holds what, where the names do not tell. */
  columns?: ColumnMapping
  /** Sheet of an XLSX file, by name or number from 1; the first by default. */
  sheet?: string | number
}>

/**
 * Reads a product list. A row with errors is left out and reported; the caller decides whether the rest will do. Throws
 * AppError: `input.file_unreadable`; `input.list_too_large` (above 50 MB before anything is read, above 200,000 rows as
 * soon as that shows); `input.list_invalid` (no such format, asin or title column missing, or no row usable, with the
 * errors in `details`); `input.list_empty`.
 */
export async function readProductList(path: string, options: ListOptions = {}): Promise<ProductList> {
  const file = await inspectListFile(path)
  const reading = startReading()
  let columns: ReturnType<typeof matchColumns> | null = null
  for await (const row of rawRows(file, options)) {
    if (columns === null) {
      columns = matchColumns(row.cells, options.columns)
      continue
    }
    if (reading.rowCount === MAX_LIST_ROWS) throw tooManyRows(file.name)
    take(reading, row, columns.columns)
  }
  if (columns === null || reading.rowCount === 0) throw emptyList(file.name)
  const errors = reading.errors
  if (reading.products.size === 0) throw nothingUsable(file.name, errors)
  return {
    rows: [...reading.products.values()].map((found) => found.product),
    errors,
    duplicates: [...reading.products.values()].flatMap(({ product, lines }) =>
      lines.length > 1 ? [{ asin: product.asin, lines }] : [],
    ),
    warnings: [...fileWarnings(file, columns), ...rowWarnings(reading.notes)],
    columns: columns.used,
    rowCount: reading.rowCount,
  }
}

function rawRows(file: ListFile, options: ListOptions): AsyncIterable<RawRow> | readonly RawRow[] {
  switch (file.kind) {
    case 'empty':
      return []
    case 'csv':
      return csvRows(file)
    case 'xlsx':
      return xlsxRows(file, options.sheet)
    default:
      return jsonRows({ ...file, kind: file.kind })
  }
}

type Reading = {
  rowCount: number
  readonly products: Map<string, { product: ListedProduct; lines: number[] }>
  readonly errors: ListError[]
  readonly notes: Map<RowNote, { count: number; lines: number[] }>
}

function startReading(): Reading {
  return { rowCount: 0, products: new Map(), errors: [], notes: new Map() }
}

function take(reading: Reading, row: RawRow, columns: Columns): void {
  reading.rowCount += 1
  const answer = readRow(row.cells, columns)
  if (!answer.ok) {
    reading.errors.push(...answer.problems.map((problem) => ({ line: row.line, ...problem })))
    return
  }
  const known = reading.products.get(answer.product.asin)
  if (known !== undefined) {
    known.lines.push(row.line)
    return
  }
  reading.products.set(answer.product.asin, { product: answer.product, lines: [row.line] })
  // Warnings are about products that are kept, so their counts agree with what is seen afterwards.
  for (const code of answer.notes) {
    const note = reading.notes.get(code) ?? { count: 0, lines: [] }
    note.count += 1
    if (note.lines.length < 5) note.lines.push(row.line)
    reading.notes.set(code, note)
  }
}

const NOTE_TEXTS: Readonly<Record<RowNote, string>> = {
  price_missing: 'no price, so searched without a price window',
  title_cut: `title of more than ${MAX_TITLE_LENGTH} characters cut`,
  asin_zero_restored: 'leading zeros put back that the ASIN had lost',
  gtin_unreadable: 'GTIN, UPC or EAN left out, its length or check digit is wrong',
  rank_unreadable: 'rank left out, it is no number',
  url_unreadable: 'link left out, it is no web address',
}

function rowWarnings(notes: Reading['notes']): ListWarning[] {
  return [...notes].map(([code, { count, lines }]) => ({
    code,
    message: `${count} ${count === 1 ? 'product' : 'products'}: ${NOTE_TEXTS[code]}.`,
    count,
    lines,
  }))
}

function fileWarnings(file: ListFile, { used, repeated }: ReturnType<typeof matchColumns>): ListWarning[] {
  const about = (code: WarningCode, message: string): ListWarning => ({ code, message, count: 0, lines: [] })
  const warnings: ListWarning[] = []
  if ('encoding' in file && file.encoding === 'windows-1252') {
    warnings.push(
      about('encoding_guessed', 'The file is not UTF-8; it was read as Windows-1252. Check accented letters.'),
    )
  }
  for (const name of new Set(repeated)) {
    warnings.push(about('column_repeated', `There are several columns "${name.trim()}"; the first was used.`))
  }
  if (!used.some(({ field }) => field === 'price' || field === 'price_cents')) {
    warnings.push(about('no_price_column', 'The list has no price column: eBay prices will not be compared.'))
  }
  return warnings
}

function emptyList(name: string): AppError {
  return new AppError('input.list_empty', `${name} has no products in it.`, {
    hint: 'The first row names the columns (asin, title, price); each row below it is one product.',
  })
}

function nothingUsable(name: string, errors: readonly ListError[]): AppError {
  const shown = errors.slice(0, 3).map((error) => `line ${error.line}, ${error.column}: ${error.problem}`)
  return new AppError('input.list_invalid', `No row of ${name} can be used. ${shown.join(' ')}`, {
    hint: 'Check that each column holds what its name says.',
    details: { errors: errors.slice(0, 100), errorCount: errors.length },
  })
}
