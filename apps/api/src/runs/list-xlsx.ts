/** Product lists as XLSX. */
import { readFile } from 'node:fs/promises'
import { readSheet, SheetNotFoundError } from 'read-excel-file/node'
import { AppError } from '../base/errors.ts'
import { invalidList, type RawRow } from './list-file.ts'
import { safeXlsx } from './xlsx-parts.ts'

type XlsxFile = Readonly<{ path: string; name: string }>

/**
 * The rows of a sheet (the first one, or the one named or numbered from 1), header first, without blank ones; `line` is the
 * row of the sheet. Throws AppError `input.list_invalid` when the file is damaged, protected or has no such sheet, and
 * `input.list_too_large` when it unpacks to too much.
 */
export async function* xlsxRows(file: XlsxFile, sheet: string | number = 1): AsyncGenerator<RawRow> {
  const safe = await safeXlsx(file.name, await readFile(file.path))
  for (const [at, cells] of (await readCells(file.name, safe, sheet)).entries()) {
    const texts = cells.map(cellText)
    if (texts.some((text) => text.trim() !== '')) yield { line: at + 1, cells: texts }
  }
}

async function readCells(name: string, zip: Buffer, sheet: string | number): Promise<unknown[][]> {
  try {
    // Numbers as the text in the file: a price must not pass through a float unseen.
    return (await readSheet(zip, sheet, { parseNumber: (text) => text })) as unknown[][]
  } catch (cause) {
    if (cause instanceof AppError) throw cause
    if (cause instanceof SheetNotFoundError) {
      throw invalidList(
        `${name} has no sheet ${sheet}.`,
        'Sheets are named as on their tabs, or numbered from 1.',
        cause,
      )
    }
    const reason = cause instanceof Error ? cause.message : String(cause)
    throw invalidList(
      `${name} cannot be read as a spreadsheet: ${reason}`,
      'Open it in a spreadsheet program and save it again as XLSX, or as CSV.',
      cause,
    )
  }
}

function cellText(value: unknown): string {
  if (value === null || value === undefined) return ''
  if (value instanceof Date) return Number.isNaN(value.getTime()) ? '' : value.toISOString()
  const text = String(value)
  return /^-?\d+\.?\d*(?:E[+-]?\d+)?$/i.test(text) && text.length > 15 ? asShown(text) : text
}

/**
 * Spreadsheets store 24.2 as the nearest double, at times written out as 24.199999999999999, and show 15 digits of it. What
 * the person saw and meant is those 15 digits.
 */
function asShown(text: string): string {
  const shown = String(Number(Number(text).toPrecision(15)))
  return shown.includes('e') ? text : shown
}
