/** Spreadsheets and ZIP archives written by hand, so that a test can also write what no program would. */
import { crc32, deflateRawSync } from 'node:zlib'

export type ZipPart = Readonly<{
  name: string
  data: Buffer
  /** Compress it. */
  deflate?: boolean
  /** General purpose flags: 1 is "encrypted". */
  flags?: number
  /** The unpacked size to claim. */
  claim?: number
}>

/** A ZIP of the parts, in order. */
export function zip(parts: readonly ZipPart[]): Buffer {
  const bodies: Buffer[] = []
  const directory: Buffer[] = []
  let offset = 0
  for (const part of parts) {
    const path = Buffer.from(part.name)
    const packed = part.deflate === true ? deflateRawSync(part.data) : part.data
    const shared = Buffer.alloc(26)
    shared.writeUInt16LE(20, 0)
    shared.writeUInt16LE(part.flags ?? 0, 2)
    shared.writeUInt16LE(part.deflate === true ? 8 : 0, 4)
    shared.writeUInt32LE(crc32(part.data), 10)
    shared.writeUInt32LE(packed.length, 14)
    shared.writeUInt32LE(part.claim ?? part.data.length, 18)
    shared.writeUInt16LE(path.length, 22)
    const place = Buffer.alloc(14)
    place.writeUInt32LE(offset, 10)
    bodies.push(Buffer.from('PK\u0003\u0004', 'latin1'), shared, path, packed)
    directory.push(Buffer.from('PK\u0001\u0002\u0014\u0000', 'latin1'), shared, place, path)
    offset += 30 + path.length + packed.length
  }
  const central = Buffer.concat(directory)
  const end = Buffer.alloc(22)
  end.write('PK\u0005\u0006', 'latin1')
  end.writeUInt16LE(parts.length, 8)
  end.writeUInt16LE(parts.length, 10)
  end.writeUInt32LE(central.length, 12)
  end.writeUInt32LE(offset, 16)
  return Buffer.concat([...bodies, central, end])
}

/** A number is written as the text given, the way a program would print its double. */
export type SheetCell = string | null | Readonly<{ number: string }>

const HEAD = '<?xml version="1.0" encoding="UTF-8" standalone="yes"?>'
const MAIN = 'http://schemas.openxmlformats.org/spreadsheetml/2006/main'
const RELATIONS = 'http://schemas.openxmlformats.org/officeDocument/2006/relationships'
const PACKAGE = 'http://schemas.openxmlformats.org/package/2006/relationships'

/** The XML of a sheet; row n of `rows` is row n + 1 of the sheet. */
export function sheetXml(rows: readonly (readonly SheetCell[])[]): string {
  const body = rows.map(
    (cells, row) => `<row r="${row + 1}">${cells.map((cell, at) => cellXml(cell, at, row)).join('')}</row>`,
  )
  return `${HEAD}<worksheet xmlns="${MAIN}"><sheetData>${body.join('')}</sheetData></worksheet>`
}

function cellXml(cell: SheetCell, at: number, row: number): string {
  if (cell === null) return ''
  const address = `${String.fromCharCode(65 + at)}${row + 1}`
  if (typeof cell !== 'string') return `<c r="${address}"><v>${cell.number}</v></c>`
  const text = cell.replaceAll('&', '&amp;').replaceAll('<', '&lt;')
  return `<c r="${address}" t="inlineStr"><is><t xml:space="preserve">${text}</t></is></c>`
}

/** The parts of a workbook with the given sheets (name to XML). */
export function workbookParts(sheets: Readonly<Record<string, string>>): ZipPart[] {
  const names = Object.keys(sheets)
  const part = (name: string, xml: string): ZipPart => ({ name, data: Buffer.from(xml) })
  return [
    part(
      '_rels/.rels',
      `${HEAD}<Relationships xmlns="${PACKAGE}"><Relationship Id="rId1" Type="${RELATIONS}/officeDocument" Target="xl/workbook.xml"/></Relationships>`,
    ),
    part(
      'xl/workbook.xml',
      `${HEAD}<workbook xmlns="${MAIN}" xmlns:r="${RELATIONS}"><sheets>${names
        .map((name, at) => `<sheet name="${name}" sheetId="${at + 1}" r:id="rId${at + 1}"/>`)
        .join('')}</sheets></workbook>`,
    ),
    part(
      'xl/_rels/workbook.xml.rels',
      `${HEAD}<Relationships xmlns="${PACKAGE}">${names
        .map(
          (_name, at) =>
            `<Relationship Id="rId${at + 1}" Type="${RELATIONS}/worksheet" Target="worksheets/sheet${at + 1}.xml"/>`,
        )
        .join('')}</Relationships>`,
    ),
    ...names.map((name, at) => part(`xl/worksheets/sheet${at + 1}.xml`, sheets[name] ?? '')),
  ]
}

/** A workbook with one sheet. */
export function xlsx(rows: readonly (readonly SheetCell[])[]): Buffer {
  return zip(workbookParts({ Products: sheetXml(rows) }))
}
