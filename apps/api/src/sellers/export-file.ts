/** The three forms of an exported file, written row by row: memory does not grow with the number of rows. */
import { csvCell, safeText } from './cells.ts'
import { EXPORT_COLUMNS, type ExportColumnName, isoTime } from './export-columns.ts'
import { makeWorkbook } from './xlsx-writer.ts'

export type ExportFormat = 'csv' | 'xlsx' | 'jsonl'

/** Values of a row as the database writes them. */
export type RawRow = readonly (string | null)[]

/** Takes the rows in order; what it returns, one after the other, is the file. */
export type FileWriter = Readonly<{
  begin: () => Promise<Buffer>
  rows: (rows: readonly RawRow[]) => Promise<Buffer>
  end: () => Promise<Buffer>
}>

/** A writer of this format. `safe`: text that looks like a formula is made text. */
export function makeWriter(format: ExportFormat, columns: readonly ExportColumnName[], safe: boolean): FileWriter {
  const kinds = columns.map((name) => EXPORT_COLUMNS[name].kind)
  if (format === 'xlsx') return makeWorkbook(columns, kinds, safe)
  const nothing = async (): Promise<Buffer> => Buffer.alloc(0)
  const shown = (value: string | null, at: number): string | null =>
    value !== null && kinds[at] === 'time' ? isoTime(value) : value
  if (format === 'csv') {
    const cell = (value: string | null, at: number): string =>
      kinds[at] === 'number' ? (value ?? '') : csvCell(shown(value, at), safe && kinds[at] === 'text')
    return {
      // The byte-order mark, without which Excel reads UTF-8 as something else.
      begin: async () => Buffer.from(`\ufeff${columns.join(',')}\r\n`),
      rows: async (rows) => Buffer.from(rows.map((row) => `${row.map(cell).join(',')}\r\n`).join('')),
      end: nothing,
    }
  }
  const keys = columns.map((name) => `${JSON.stringify(name)}:`)
  const field = (value: string | null, at: number): string => {
    if (value === null) return `${keys[at]}null`
    return `${keys[at]}${kinds[at] === 'number' ? value : JSON.stringify(shown(value, at))}`
  }
  return {
    begin: nothing,
    rows: async (rows) => Buffer.from(rows.map((row) => `{${row.map(field).join(',')}}\n`).join('')),
    end: nothing,
  }
}

/** The first rows exactly as they will stand in the file: cells as text. */
export function previewCells(columns: readonly ExportColumnName[], rows: readonly RawRow[], safe: boolean): string[][] {
  return rows.map((row) =>
    row.map((value, at) => {
      const kind = EXPORT_COLUMNS[columns[at] as ExportColumnName].kind
      if (value === null) return ''
      if (kind === 'time') return isoTime(value)
      return safe && kind === 'text' ? safeText(value) : value
    }),
  )
}
