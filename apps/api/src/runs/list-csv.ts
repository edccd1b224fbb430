/** Product lists as CSV, row by row: the file is never in memory as a whole. */
import { createReadStream } from 'node:fs'
import { Readable } from 'node:stream'
import { CsvError, type Info, parse } from 'csv-parse'
import { invalidList, MAX_LIST_BYTES, MAX_LIST_COLUMNS, type RawRow, type TextEncodingName } from './list-file.ts'

/** Longer than any row of products; a quote that is never closed would otherwise swallow the rest of the file. */
const MAX_ROW_CHARACTERS = 1_000_000

type CsvFile = Readonly<{ path: string; name: string; encoding: TextEncodingName }>

/**
 * The rows of a CSV file, header first, without blank ones, with the line each begins on. The delimiter (comma, semicolon,
 * tab or bar) is the one the header has most of, unless Excel's `sep=` line names it. Rows may be shorter or longer than
 * the header. Throws AppError `input.list_invalid` when quotes do not match up.
 */
export async function* csvRows(file: CsvFile): AsyncGenerator<RawRow> {
  const decoded = decodeFile(file.path, file.encoding)
  const first = await decoded.next()
  const head = first.done === true ? '' : first.value
  const separator = /^\s*sep=(.)[\r\n]/i.exec(head)
  const source = Readable.from(plainLines(head, decoded))
  const parser = source.pipe(
    parse({
      delimiter: separator?.[1] ?? guessDelimiter(head),
      record_delimiter: '\n',
      relax_quotes: true,
      relax_column_count: true,
      max_record_size: MAX_ROW_CHARACTERS,
      info: true,
    }),
  )
  source.once('error', (error) => parser.destroy(error))
  try {
    yield* numbered(parser, file.name, separator !== null)
  } catch (error) {
    throw error instanceof CsvError ? quoteProblem(file.name, error) : error
  } finally {
    source.destroy()
    parser.destroy()
  }
}

async function* numbered(parser: AsyncIterable<unknown>, name: string, skipFirst: boolean): AsyncGenerator<RawRow> {
  let before = 0
  for await (const chunk of parser) {
    const { record, info } = chunk as { record: string[]; info: Info }
    // `lines` is the line on which the row ends; a quoted cell may span several.
    const line = before + 1
    before = info.lines
    if (record.every((cell) => cell.trim() === '') || (skipFirst && line === 1)) continue
    if (record.length > MAX_LIST_COLUMNS) {
      throw invalidList(`Line ${line} of ${name} has ${record.length} columns.`, 'Check that it is a CSV file.')
    }
    yield { line, cells: record }
  }
}

function quoteProblem(name: string, error: CsvError): Error {
  const line = typeof error['lines'] === 'number' ? ` near line ${error['lines']}` : ''
  return invalidList(
    `The quotes in ${name} do not match up${line}.`,
    'A cell that begins with a quote must end with one, and quotes inside it are doubled. Save it again as CSV or XLSX.',
    error,
  )
}

/** Text of a file in pieces, without its byte-order mark. */
export async function* decodeFile(path: string, encoding: TextEncodingName): AsyncGenerator<string> {
  const decoder = new TextDecoder(encoding)
  for await (const chunk of createReadStream(path, { end: MAX_LIST_BYTES, highWaterMark: 64 * 1024 })) {
    yield decoder.decode(chunk as Buffer, { stream: true })
  }
  yield decoder.decode()
}

/**
 * The text as bytes (csv-parse takes an empty string for the end) with `\n` for every line end. Files put together from
 * several sources mix them, and csv-parse takes the first for all and counts `\r\n` inside quotes as two lines.
 */
async function* plainLines(head: string, rest: AsyncGenerator<string>): AsyncGenerator<Buffer> {
  let kept = head
  for await (const text of rest) {
    // A `\r` at the end may be half of a line end.
    const whole = kept.endsWith('\r') ? kept.slice(0, -1) : kept
    if (whole !== '') yield Buffer.from(whole.replace(/\r\n?/g, '\n'))
    kept = kept.slice(whole.length) + text
  }
  yield Buffer.from(kept.replace(/\r\n?/g, '\n'))
}

/** The candidate the first line with text has most of, outside quotes; the comma when it has none. */
function guessDelimiter(head: string): string {
  const line = /^\s*(.*)/.exec(head)?.[1] ?? ''
  const bare = line.replace(/"(?:[^"]|"")*"/g, '')
  const counted = [',', ';', '\t', '|'].map((mark) => ({ mark, count: bare.split(mark).length - 1 }))
  return counted.reduce((best, other) => (other.count > best.count ? other : best)).mark
}
