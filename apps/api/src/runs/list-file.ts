/** What kind of file a product list is, told by its bytes: extensions lie, and a wrong guess reads garbage as products. */
import { type FileHandle, open, stat } from 'node:fs/promises'
import { basename, extname } from 'node:path'
import { AppError } from '../base/errors.ts'

export const MAX_LIST_BYTES = 50 * 1024 * 1024
export const MAX_LIST_ROWS = 200_000
/** No list has so many columns; a bound keeps a crafted file from growing in memory. */
export const MAX_LIST_COLUMNS = 500

/** A row as every format gives it. The first one is the header. */
export type RawRow = Readonly<{
  /** The line in a text file where the row begins, the row of a sheet, or the place in a JSON array, from 1. */
  line: number
  cells: readonly string[]
}>

export type TextEncodingName = 'utf-8' | 'utf-16le' | 'utf-16be' | 'windows-1252'

export type ListFile = Readonly<{ path: string; name: string }> &
  (
    | Readonly<{ kind: 'csv' | 'json' | 'json_lines'; encoding: TextEncodingName }>
    | Readonly<{ kind: 'xlsx' }>
    | Readonly<{ kind: 'empty' }>
  )

const HEAD_BYTES = 64 * 1024

/**
 * Looks at the file without reading more of it than needed: a file above the limit is refused by its size alone, binary
 * ones by their first 64 KB. Text without a byte-order mark is UTF-8 when all of it is, Windows-1252 otherwise.
 * Throws AppError `input.file_unreadable` (missing, no permission, a directory or device), `input.list_too_large`, or
 * `input.list_invalid` (old or protected Excel files, other binary files, web pages), each with what to do instead.
 */
export async function inspectListFile(path: string): Promise<ListFile> {
  const name = basename(path)
  const file = await openList(path, name)
  try {
    const { size } = await file.stat()
    if (size > MAX_LIST_BYTES) throw tooLarge(name, size)
    if (size === 0) return { path, name, kind: 'empty' }
    const head = Buffer.alloc(Math.min(size, HEAD_BYTES))
    await file.read(head, 0, head.length, 0)
    if (head.subarray(0, 4).equals(Buffer.from('PK\u0003\u0004', 'latin1'))) return { path, name, kind: 'xlsx' }
    refuseForeign(name, head)
    const encoding = markedEncoding(head) ?? (await plainEncoding(file, name, head))
    return { path, name, kind: textKind(path, head, encoding), encoding }
  } finally {
    await file.close()
  }
}

async function openList(path: string, name: string): Promise<FileHandle> {
  try {
    // Asked before opening: opening a named pipe would wait for somebody to write into it.
    if ((await stat(path)).isFile()) return await open(path, 'r')
  } catch (cause) {
    const { code, message } = cause as NodeJS.ErrnoException
    const reasons: Record<string, string> = { ENOENT: 'there is no such file', EACCES: 'permission denied' }
    throw new AppError('input.file_unreadable', `${path} cannot be read: ${reasons[code ?? ''] ?? message}.`, {
      hint: 'Check the path and its permissions.',
      cause,
    })
  }
  throw new AppError('input.file_unreadable', `${path} is not a file.`, {
    hint: `Give the path of one CSV, XLSX or JSON file; ${name || path} is a directory, device or pipe.`,
  })
}

function tooLarge(name: string, size: number): AppError {
  const mb = (bytes: number) => Math.ceil(bytes / 1024 / 1024)
  return new AppError('input.list_too_large', `${name} has ${mb(size)} MB; the limit is ${mb(MAX_LIST_BYTES)} MB.`, {
    hint: 'Split the list, or leave out columns other than asin, title, price, brand and gtin.',
    details: { bytes: size, limit: MAX_LIST_BYTES },
  })
}

/** A list with more rows than the limit. */
export function tooManyRows(name: string): AppError {
  const limit = MAX_LIST_ROWS.toLocaleString('en-US')
  return new AppError('input.list_too_large', `${name} has more than ${limit} rows, which is the limit.`, {
    hint: 'Split the list into several runs.',
    details: { limit: MAX_LIST_ROWS },
  })
}

/** A list that is there and cannot be used. */
export function invalidList(message: string, hint: string, cause?: unknown): AppError {
  return new AppError('input.list_invalid', message, { hint, ...(cause === undefined ? {} : { cause }) })
}

const AS_XLSX_OR_CSV = 'Open it in a spreadsheet program and save it as XLSX or as CSV (UTF-8).'

function refuseForeign(name: string, head: Buffer): void {
  const starts = (bytes: string) => head.subarray(0, bytes.length).equals(Buffer.from(bytes, 'latin1'))
  if (starts('\u00d0\u00cf\u0011\u00e0')) {
    // A protected XLSX is wrapped into the container of the old formats, with a stream of this name somewhere in it.
    const isProtected = /\.xlsx$/i.test(name) || head.includes(Buffer.from('EncryptedPackage', 'utf16le'))
    throw isProtected
      ? invalidList(`${name} is protected with a password.`, 'Save a copy without a password, or as CSV.')
      : invalidList(`${name} is an Excel file of the old .xls kind.`, AS_XLSX_OR_CSV)
  }
  if (starts('\u001f\u008b')) throw invalidList(`${name} is compressed (gzip).`, 'Unpack it first.')
  if (starts('%PDF')) throw invalidList(`${name} is a PDF.`, 'Use a CSV, XLSX or JSON file.')
  if (/^\ufeff?\s*<(?:!doctype|html|table|\?xml)/i.test(head.toString('utf8').slice(0, 1000))) {
    throw invalidList(`${name} is a web page or XML, not a list.`, AS_XLSX_OR_CSV)
  }
}

function markedEncoding(head: Buffer): TextEncodingName | null {
  if (head[0] === 0xff && head[1] === 0xfe) return 'utf-16le'
  if (head[0] === 0xfe && head[1] === 0xff) return 'utf-16be'
  return null
}

async function plainEncoding(file: FileHandle, name: string, head: Buffer): Promise<TextEncodingName> {
  const nul = head.indexOf(0) >= 0
  // Text has no control characters but tab, line ends and form feed; one in fifty is far beyond any damaged text.
  const controls = head.reduce((count, byte) => count + Number(byte < 9 || (byte > 13 && byte < 32)), 0)
  if (nul || controls * 50 > head.length) {
    throw invalidList(`${name} is a binary file, not a list.`, 'Use a CSV, XLSX or JSON file; save text as UTF-8.')
  }
  return (await isUtf8(file)) ? 'utf-8' : 'windows-1252'
}

async function isUtf8(file: FileHandle): Promise<boolean> {
  const decoder = new TextDecoder('utf-8', { fatal: true })
  const chunk = Buffer.alloc(1024 * 1024)
  try {
    for (let at = 0; at <= MAX_LIST_BYTES; ) {
      const { bytesRead } = await file.read(chunk, 0, chunk.length, at)
      if (bytesRead === 0) break
      decoder.decode(chunk.subarray(0, bytesRead), { stream: true })
      at += bytesRead
    }
    decoder.decode()
    return true
  } catch (error) {
    if (error instanceof TypeError) return false
    throw error
  }
}

function textKind(path: string, head: Buffer, encoding: TextEncodingName): 'csv' | 'json' | 'json_lines' {
  const text = new TextDecoder(encoding).decode(head).trimStart()
  const extension = extname(path).toLowerCase()
  if (extension === '.jsonl' || extension === '.ndjson') return 'json_lines'
  if (/^[[{]/.test(text)) return 'json'
  return extension === '.json' && text !== '' ? 'json' : 'csv'
}
