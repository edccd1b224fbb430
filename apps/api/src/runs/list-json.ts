/** Product lists as JSON: an array of objects, `{"products": [...]}`, or one object a line. */
import { decodeFile } from './list-csv.ts'
import {
  invalidList,
  MAX_LIST_COLUMNS,
  MAX_LIST_ROWS,
  type RawRow,
  type TextEncodingName,
  tooManyRows,
} from './list-file.ts'

type JsonFile = Readonly<{ path: string; name: string; kind: 'json' | 'json_lines'; encoding: TextEncodingName }>
type Item = Readonly<{ line: number; fields: Readonly<Record<string, unknown>> }>

const EXPECTED = 'It must be an array of objects, {"products": [...]}, or one object a line.'

/**
 * The rows of a JSON file, header first: the header is every key that occurs. A file of at most 50 MB is read whole.
 * Text that is no JSON as a whole is tried line by line, whatever the file is called.
 * Throws AppError `input.list_invalid` when it is neither, and `input.list_too_large` beyond the row limit.
 */
export async function* jsonRows(file: JsonFile): AsyncGenerator<RawRow> {
  let text = ''
  for await (const piece of decodeFile(file.path, file.encoding)) text += piece
  const items = file.kind === 'json_lines' ? readLines(file.name, text) : readWhole(file.name, text)
  if (items.length > MAX_LIST_ROWS) throw tooManyRows(file.name)
  const keys = new Set<string>()
  for (const { fields } of items) {
    for (const key of Object.keys(fields)) keys.add(key)
    if (keys.size > MAX_LIST_COLUMNS) {
      throw invalidList(`The products in ${file.name} have more than ${MAX_LIST_COLUMNS} different keys.`, EXPECTED)
    }
  }
  if (items.length === 0) return
  const header = [...keys]
  yield { line: 0, cells: header }
  for (const { line, fields } of items) {
    yield { line, cells: header.map((key) => (Object.hasOwn(fields, key) ? cellText(fields[key]) : '')) }
  }
}

function readWhole(name: string, text: string): Item[] {
  let parsed: unknown
  try {
    parsed = JSON.parse(text)
  } catch (whole) {
    if (/^\s*\{[^\n]*\}\s*\n\s*\{/.test(text)) return readLines(name, text)
    throw invalidList(`${name} is not valid JSON: ${(whole as Error).message}`, EXPECTED, whole)
  }
  const list = isObject(parsed) && 'products' in parsed ? parsed['products'] : isObject(parsed) ? [parsed] : parsed
  if (!Array.isArray(list)) throw invalidList(`${name} holds no list of products.`, EXPECTED)
  return list.map((item, at) => toItem(name, item, at + 1))
}

function readLines(name: string, text: string): Item[] {
  const items: Item[] = []
  for (const [at, line] of text.split('\n').entries()) {
    if (line.trim() === '') continue
    if (items.length === MAX_LIST_ROWS) throw tooManyRows(name)
    let parsed: unknown
    try {
      parsed = JSON.parse(line)
    } catch (cause) {
      throw invalidList(`Line ${at + 1} of ${name} is not valid JSON: ${(cause as Error).message}`, EXPECTED, cause)
    }
    items.push(toItem(name, parsed, at + 1))
  }
  return items
}

function toItem(name: string, item: unknown, line: number): Item {
  if (!isObject(item)) throw invalidList(`Product ${line} in ${name} is not an object.`, EXPECTED)
  return { line, fields: item }
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}

/** A number prints as the shortest decimal that reads back as itself, which is what stood in the file. */
function cellText(value: unknown): string {
  if (value === null || value === undefined) return ''
  if (Array.isArray(value)) return value.map(cellText).join('|')
  return typeof value === 'object' ? JSON.stringify(value) : String(value)
}
