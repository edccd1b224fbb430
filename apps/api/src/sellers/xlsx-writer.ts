/**
 * An XLSX file written as it goes. Memory must not grow with the rows; a workbook without styles is a ZIP of six small texts and the sheets. Cells are inline strings and plain numbers, never formulas.
 * A sheet holds 1,048,576 rows: what is beyond goes on in the next sheet of the same file, each with its heading.
 */
import { crc32, createDeflateRaw, type DeflateRaw } from 'node:zlib'
import { safeText, xmlText } from './cells.ts'
import { type ExportColumn, isoTime } from './export-columns.ts'
import type { FileWriter, RawRow } from './export-file.ts'

/** Rows of a sheet beside the heading. */
export const SHEET_ROWS_MOST = 1_048_575

const HEAD = '<?xml version="1.0" encoding="UTF-8" standalone="yes"?>\n'
const MAIN = 'http://schemas.openxmlformats.org/spreadsheetml/2006/main'
const RELATIONS = 'http://schemas.openxmlformats.org/officeDocument/2006/relationships'
const PACKAGE = 'http://schemas.openxmlformats.org/package/2006'
/** A text cell holds so many characters. */
const CELL_MOST = 32_767

/** A writer of a workbook with these columns. `rowsMost` is for tests. */
export function makeWorkbook(
  names: readonly string[],
  kinds: readonly ExportColumn['kind'][],
  safe: boolean,
  rowsMost: number = SHEET_ROWS_MOST,
): FileWriter {
  const zip = makeZip()
  let sheets = 0
  let inSheet = 0
  // Cells carry their address: optional by the standard, and there are readers that cannot do without.
  const letters = names.map((_, at) => columnLetters(at))
  const heading = `<row r="1">${names.map((name, at) => textCell(`${letters[at]}1`, name)).join('')}</row>`
  const rowText = (row: RawRow, number: number): string => {
    let cells = ''
    for (const [at, value] of row.entries()) {
      if (value === null) continue
      const address = `${letters[at]}${number}`
      if (kinds[at] === 'number') cells += `<c r="${address}"><v>${value}</v></c>`
      else cells += textCell(address, kinds[at] === 'time' ? isoTime(value) : safe ? safeText(value) : value)
    }
    return `<row r="${number}">${cells}</row>`
  }
  const openSheet = async (): Promise<Buffer[]> => {
    sheets += 1
    inSheet = 0
    const opened = zip.open(`xl/worksheets/sheet${sheets}.xml`)
    return [opened, await zip.write(`${HEAD}<worksheet xmlns="${MAIN}"><sheetData>${heading}`)]
  }
  const closeSheet = async (): Promise<Buffer[]> => [await zip.write('</sheetData></worksheet>'), await zip.close()]
  return {
    begin: async () => Buffer.concat(await openSheet()),
    rows: async (rows) => {
      const out: Buffer[] = []
      for (let from = 0; from < rows.length; ) {
        if (inSheet === rowsMost) out.push(...(await closeSheet()), ...(await openSheet()))
        const some: readonly RawRow[] = rows.slice(from, from + rowsMost - inSheet)
        out.push(await zip.write(some.map((row, n) => rowText(row, inSheet + n + 2)).join('')))
        inSheet += some.length
        from += some.length
      }
      return Buffer.concat(out)
    },
    end: async () => {
      const out = await closeSheet()
      for (const [name, text] of frame(sheets))
        out.push(zip.open(name), await zip.write(HEAD + text), await zip.close())
      return Buffer.concat([...out, zip.end()])
    },
  }
}

/** A, B, ... Z, AA, AB, ... */
function columnLetters(at: number): string {
  const letter = String.fromCharCode(65 + (at % 26))
  return at < 26 ? letter : `${columnLetters(Math.floor(at / 26) - 1)}${letter}`
}

function textCell(address: string, text: string): string {
  const cut = text.length > CELL_MOST ? text.slice(0, CELL_MOST) : text
  return `<c r="${address}" t="inlineStr"><is><t xml:space="preserve">${xmlText(cut)}</t></is></c>`
}

/** The parts beside the sheets. */
function frame(sheets: number): [name: string, text: string][] {
  const each = (text: (n: number) => string): string => Array.from({ length: sheets }, (_, at) => text(at + 1)).join('')
  const kind = 'application/vnd.openxmlformats-officedocument.spreadsheetml'
  const title = (n: number): string => (n === 1 ? 'Sellers' : `Sellers ${n}`)
  return [
    [
      'xl/workbook.xml',
      `<workbook xmlns="${MAIN}" xmlns:r="${RELATIONS}"><sheets>${each((n) => `<sheet name="${title(n)}" sheetId="${n}" r:id="rId${n}"/>`)}</sheets></workbook>`,
    ],
    [
      'xl/_rels/workbook.xml.rels',
      `<Relationships xmlns="${PACKAGE}/relationships">${each((n) => `<Relationship Id="rId${n}" Type="${RELATIONS}/worksheet" Target="worksheets/sheet${n}.xml"/>`)}</Relationships>`,
    ],
    [
      '_rels/.rels',
      `<Relationships xmlns="${PACKAGE}/relationships"><Relationship Id="rId1" Type="${RELATIONS}/officeDocument" Target="xl/workbook.xml"/></Relationships>`,
    ],
    [
      '[Content_Types].xml',
      `<Types xmlns="${PACKAGE}/content-types"><Default Extension="rels" ContentType="application/vnd.openxmlformats-package.relationships+xml"/><Override PartName="/xl/workbook.xml" ContentType="${kind}.sheet.main+xml"/>${each((n) => `<Override PartName="/xl/worksheets/sheet${n}.xml" ContentType="${kind}.worksheet+xml"/>`)}</Types>`,
    ],
  ]
}

type Entry = { name: Buffer; at: number; crc: number; packed: number; size: number }

/** A ZIP written as it goes: sizes follow each entry, so nothing is read or written twice. Up to 4 GB. */
function makeZip() {
  const entries: Entry[] = []
  let at = 0
  let entry: Entry | undefined
  let deflate: DeflateRaw | undefined
  const given: Buffer[] = []
  const count = (bytes: Buffer): Buffer => {
    at += bytes.length
    if (at > 0xffff_ffff) throw new RangeError('a workbook of more than 4 GB: export CSV or JSONL instead')
    return bytes
  }
  const open = (name: string): Buffer => {
    entry = { name: Buffer.from(name), at, crc: 0, packed: 0, size: 0 }
    entries.push(entry)
    deflate = createDeflateRaw({ level: 1 })
    // Taken at once: a compressor nobody reads from stands still.
    deflate.on('data', (chunk: Buffer) => given.push(chunk))
    const head = Buffer.alloc(30)
    head.writeUInt32LE(0x04034b50, 0)
    head.writeUInt16LE(20, 4)
    // Sizes follow the data; names are UTF-8.
    head.writeUInt16LE(0x0808, 6)
    head.writeUInt16LE(8, 8)
    head.writeUInt16LE(0x21, 12)
    head.writeUInt16LE(entry.name.length, 26)
    return count(Buffer.concat([head, entry.name]))
  }
  /** What the compressor has given since it was asked last. */
  const drain = (): Buffer => {
    const out = Buffer.concat(given)
    given.length = 0
    return out
  }
  const write = async (text: string): Promise<Buffer> => {
    if (!entry || !deflate) throw new Error('no entry of the ZIP is open')
    const bytes = Buffer.from(text)
    entry.crc = crc32(bytes, entry.crc)
    entry.size += bytes.length
    const stream = deflate
    await new Promise<void>((resolve, reject) => stream.write(bytes, (error) => (error ? reject(error) : resolve())))
    const out = drain()
    entry.packed += out.length
    return count(out)
  }
  const close = async (): Promise<Buffer> => {
    if (!entry || !deflate) throw new Error('no entry of the ZIP is open')
    const stream = deflate
    await new Promise<void>((resolve, reject) => stream.once('end', resolve).once('error', reject).end())
    const rest = drain()
    entry.packed += rest.length
    const sizes = Buffer.alloc(16)
    sizes.writeUInt32LE(0x08074b50, 0)
    sizes.writeUInt32LE(entry.crc, 4)
    sizes.writeUInt32LE(entry.packed, 8)
    sizes.writeUInt32LE(entry.size, 12)
    return count(Buffer.concat([rest, sizes]))
  }
  const end = (): Buffer => {
    const begins = at
    const central = entries.map(centralRecord)
    const size = central.reduce((sum, { length }) => sum + length, 0)
    const tail = Buffer.alloc(22)
    tail.writeUInt32LE(0x06054b50, 0)
    tail.writeUInt16LE(entries.length, 8)
    tail.writeUInt16LE(entries.length, 10)
    tail.writeUInt32LE(size, 12)
    tail.writeUInt32LE(begins, 16)
    return Buffer.concat([...central, tail])
  }
  return { open, write, close, end }
}

function centralRecord({ name, at, crc, packed, size }: Entry): Buffer {
  const record = Buffer.alloc(46)
  record.writeUInt32LE(0x02014b50, 0)
  record.writeUInt16LE(20, 4)
  record.writeUInt16LE(20, 6)
  record.writeUInt16LE(0x0808, 8)
  record.writeUInt16LE(8, 10)
  record.writeUInt16LE(0x21, 14)
  record.writeUInt32LE(crc, 16)
  record.writeUInt32LE(packed, 20)
  record.writeUInt32LE(size, 24)
  record.writeUInt16LE(name.length, 28)
  record.writeUInt32LE(at, 42)
  return Buffer.concat([record, name])
}
