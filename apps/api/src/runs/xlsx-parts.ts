/**
 * The parts of an XLSX file, unpacked under a limit. A few kilobytes of ZIP can unpack to gigabytes, and sizes written in
 * the archive are a claim; so each part is unpacked here, counted, and passed on as an archive that holds nothing else.
 */
import { promisify } from 'node:util'
import { crc32, inflateRaw } from 'node:zlib'
import { AppError } from '../base/errors.ts'
import { invalidList, MAX_LIST_COLUMNS, tooManyRows } from './list-file.ts'

const inflate = promisify(inflateRaw)

/**
 * All parts together. Measured: a sheet of 200,000 rows with 6 columns is 81 MB of XML and takes 1 GB of memory to read, with
 * 13 columns 173 MB and 1.6 GB. Larger lists belong into a CSV file, which is streamed (350 MB of memory).
 */
export const MAX_UNPACKED_BYTES = 128 * 1024 * 1024
const MAX_PARTS = 2000
/** Rows times columns the sheet spans. The reader fills gaps, so two cells far apart would cost memory like a full sheet. */
const MAX_CELLS = 20_000_000
const MAX_SHEET_ROWS = 1_048_576

type Part = Readonly<{ name: string; data: Buffer }>

const DAMAGED = 'Open it in a spreadsheet program and save it again as XLSX, or as CSV.'

/**
 * A ZIP of the XML parts in `zip`, stored without compression, of known size, with every cell inside sane bounds.
 * Throws AppError `input.list_invalid` (damaged, protected, cells that span too much) or `input.list_too_large`.
 */
export async function safeXlsx(name: string, zip: Buffer): Promise<Buffer> {
  const parts: Part[] = []
  let left = MAX_UNPACKED_BYTES
  for (const entry of listEntries(name, zip)) {
    // Pictures, printer settings and macros are not read.
    if (!/^(?:\[Content_Types\]\.xml|_rels\/|xl\/(?:[^/]+\.xml$|_rels\/|worksheets\/))/.test(entry.name)) continue
    const data = await unpack(name, zip, entry, left)
    left -= data.length
    // Every part: which of them is a sheet is only written in another part.
    checkSpan(name, data)
    parts.push({ name: entry.name, data })
  }
  if (!parts.some((part) => part.name.startsWith('xl/'))) {
    throw invalidList(`${name} is a ZIP archive without a spreadsheet in it.`, 'Unpack it and give the list itself.')
  }
  return storedZip(parts)
}

type Entry = Readonly<{ name: string; method: number; flags: number; packedBytes: number; offset: number }>

/** Reads the archive's central directory (PKWARE APPNOTE 4.3.12). */
function listEntries(name: string, zip: Buffer): Entry[] {
  const damaged = () => invalidList(`${name} is not a readable XLSX file.`, DAMAGED)
  // The end record is at the very end, before a comment of at most 65,535 bytes.
  const end = zip.lastIndexOf(Buffer.from('PK\u0005\u0006', 'latin1'))
  if (end < 0 || end + 22 > zip.length) throw damaged()
  const count = zip.readUInt16LE(end + 10)
  let at = zip.readUInt32LE(end + 16)
  if (count > MAX_PARTS) throw damaged()
  const entries: Entry[] = []
  for (let index = 0; index < count; index++) {
    if (at + 46 > zip.length || zip.readUInt32LE(at) !== 0x02014b50) throw damaged()
    const nameBytes = zip.readUInt16LE(at + 28)
    entries.push({
      name: zip.toString('utf8', at + 46, at + 46 + nameBytes).replaceAll('\\', '/'),
      flags: zip.readUInt16LE(at + 8),
      method: zip.readUInt16LE(at + 10),
      packedBytes: zip.readUInt32LE(at + 20),
      offset: zip.readUInt32LE(at + 42),
    })
    at += 46 + nameBytes + zip.readUInt16LE(at + 30) + zip.readUInt16LE(at + 32)
  }
  return entries
}

async function unpack(name: string, zip: Buffer, entry: Entry, limit: number): Promise<Buffer> {
  const damaged = (cause?: unknown) => invalidList(`${name} is not a readable XLSX file.`, DAMAGED, cause)
  if ((entry.flags & 1) === 1) {
    throw invalidList(`${name} is protected with a password.`, 'Save a copy without a password, or as CSV.')
  }
  const { offset } = entry
  if (offset + 30 > zip.length || zip.readUInt32LE(offset) !== 0x04034b50) throw damaged()
  const start = offset + 30 + zip.readUInt16LE(offset + 26) + zip.readUInt16LE(offset + 28)
  const packed = zip.subarray(start, start + entry.packedBytes)
  if (packed.length !== entry.packedBytes) throw damaged()
  if (entry.method === 0) {
    if (packed.length > limit) throw bomb(name)
    return packed
  }
  if (entry.method !== 8) throw damaged()
  try {
    return await inflate(packed, { maxOutputLength: Math.max(1, limit) })
  } catch (cause) {
    throw (cause as NodeJS.ErrnoException).code === 'ERR_BUFFER_TOO_LARGE' ? bomb(name) : damaged(cause)
  }
}

function bomb(name: string): AppError {
  const mb = MAX_UNPACKED_BYTES / 1024 / 1024
  return new AppError('input.list_too_large', `${name} unpacks to more than ${mb} MB, which is the limit.`, {
    hint: 'Leave out columns that are not needed, or save it as CSV.',
    details: { limit: MAX_UNPACKED_BYTES },
  })
}

/** Refuses a sheet whose cells span more than a list can; each address must be plain, or it could hide its place. */
function checkSpan(name: string, sheet: Buffer): void {
  let rows = 0
  let columns = 0
  for (const address of addresses(sheet)) {
    const parts = /^([A-Z]{0,3})(\d{1,7})$/.exec(address)
    if (parts === null) throw invalidList(`${name} has a cell with the address ${address.slice(0, 20)}.`, DAMAGED)
    rows = Math.max(rows, Number(parts[2]))
    columns = Math.max(columns, columnNumber(parts[1] ?? ''))
  }
  if (rows > MAX_SHEET_ROWS) throw tooManyRows(name)
  if (columns > MAX_LIST_COLUMNS || rows * columns > MAX_CELLS) {
    throw invalidList(
      `The sheet in ${name} spans ${rows} rows and ${columns} columns.`,
      'Delete the empty rows and columns around the list, or save it as CSV.',
    )
  }
}

const SCAN_BYTES = 4 * 1024 * 1024

/** The `r` attributes of rows and cells. In pieces that end before a tag, so that no tag is cut and memory stays small. */
function* addresses(sheet: Buffer): Generator<string> {
  for (let at = 0; at < sheet.length; ) {
    const cut = sheet.lastIndexOf('<', at + SCAN_BYTES)
    const end = at + SCAN_BYTES >= sheet.length || cut <= at ? sheet.length : cut
    const xml = sheet.toString('latin1', at, end)
    for (const match of xml.matchAll(/<(?:\w+:)?(?:row|c)\s(?:[^>]*?\s)?r\s*=\s*(["'])(.*?)\1/gs)) yield match[2] ?? ''
    at = end
  }
}

function columnNumber(letters: string): number {
  return [...letters].reduce((number, letter) => number * 26 + letter.charCodeAt(0) - 64, 0)
}

function storedZip(parts: readonly Part[]): Buffer {
  const bodies: Buffer[] = []
  const directory: Buffer[] = []
  let offset = 0
  for (const { name, data } of parts) {
    const path = Buffer.from(name)
    // The 26 bytes that the local and the central header share: version, UTF-8 flag, stored, no time, sum, sizes, name.
    const shared = Buffer.alloc(26)
    shared.writeUInt16LE(20, 0)
    shared.writeUInt16LE(0x0800, 2)
    shared.writeUInt32LE(crc32(data), 10)
    shared.writeUInt32LE(data.length, 14)
    shared.writeUInt32LE(data.length, 18)
    shared.writeUInt16LE(path.length, 22)
    const place = Buffer.alloc(14)
    place.writeUInt32LE(offset, 10)
    bodies.push(Buffer.from('PK\u0003\u0004', 'latin1'), shared, path, data)
    directory.push(Buffer.from('PK\u0001\u0002\u0014\u0000', 'latin1'), shared, place, path)
    offset += 30 + path.length + data.length
  }
  const end = Buffer.alloc(22)
  end.write('PK\u0005\u0006', 'latin1')
  end.writeUInt16LE(parts.length, 8)
  end.writeUInt16LE(parts.length, 10)
  end.writeUInt32LE(
    directory.reduce((sum, piece) => sum + piece.length, 0),
    12,
  )
  end.writeUInt32LE(offset, 16)
  return Buffer.concat([...bodies, ...directory, end])
}
