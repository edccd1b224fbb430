import { mkdtemp, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { type ListOptions, readProductList } from '../../src/runs/product-list.ts'
import { type SheetCell, sheetXml, workbookParts, xlsx, zip } from '../support/xlsx.ts'

const folder = await mkdtemp(join(tmpdir(), 'gleaner-xlsx-'))
let files = 0

async function read(content: Buffer, options: ListOptions = {}) {
  const path = join(folder, `list-${++files}.xlsx`)
  await writeFile(path, content)
  return readProductList(path, options)
}

const header = ['ASIN', 'Title', 'Price', 'UPC']
const lamp: SheetCell[] = ['B000000001', 'Lamp', { number: '24.2' }, null]

function withSheet(xml: string, more: { deflate?: boolean; claim?: number; flags?: number } = {}): Buffer {
  const parts = workbookParts({ Products: '' })
  return zip(parts.map((part) => (part.name.includes('sheet1') ? { ...part, data: Buffer.from(xml), ...more } : part)))
}

describe('XLSX', () => {
  it('reads rows, with the row of the sheet as the line', async () => {
    const list = await read(
      xlsx([
        [],
        header,
        ['b000000001', 'Fish &amp; <Chips>', { number: '24.199999999999999' }, { number: '36000291452' }],
        [],
        [{ number: '306406152' }, 'Book', null, null],
        ['B000000003', 'Lamp', { number: '0.30000000000000004' }, null],
        ['B000000004', 'Lamp', 'n/a', { number: '4006381333931' }],
        ['B5', 'Lamp', null, null],
      ]),
    )
    expect(list.rows).toEqual([
      { asin: 'B000000001', title: 'Fish & <Chips>', priceCents: 2420, rank: null, gtins: ['036000291452'] },
      { asin: '0306406152', title: 'Book', priceCents: null, rank: null },
      { asin: 'B000000003', title: 'Lamp', priceCents: 30, rank: null },
      { asin: 'B000000004', title: 'Lamp', priceCents: null, rank: null, gtins: ['4006381333931'] },
    ])
    expect(list.errors).toEqual([expect.objectContaining({ line: 8, column: 'asin', value: 'B5' })])
  })

  it('reads compressed archives, whatever the file is called', async () => {
    const path = join(folder, 'list.csv')
    const parts = workbookParts({ Products: sheetXml([header, lamp]) }).map((part) => ({ ...part, deflate: true }))
    await writeFile(path, zip(parts))
    expect((await readProductList(path)).rows).toHaveLength(1)
  })

  it('reads shared texts, formatted ones too, and results of formulas', async () => {
    const main = 'xmlns="http://schemas.openxmlformats.org/spreadsheetml/2006/main"'
    const shared = `<sst ${main}><si><t>ASIN</t></si><si><t>Title</t></si><si><r><t>La</t></r><r><t>mp</t></r></si><si><t>B000000001</t></si></sst>`
    const cell = (at: string, index: number) => `<c r="${at}" t="s"><v>${index}</v></c>`
    const rows =
      `<row r="1">${cell('A1', 0)}${cell('B1', 1)}<c r="C1" t="inlineStr"><is><t>Price</t></is></c></row>` +
      `<row r="2">${cell('A2', 3)}${cell('B2', 2)}<c r="C2"><f>12.1*2</f><v>24.2</v></c></row>` +
      `<row r="3"><c r="A3" t="str"><f>"B"&amp;"000000002"</f><v>B000000002</v></c>${cell('B3', 2)}<c r="C3" t="e"><v>#N/A</v></c></row>`
    const relation =
      '<Relationship Id="rId9" Type="http://schemas.openxmlformats.org/officeDocument/2006/relationships/sharedStrings" Target="sharedStrings.xml"/></Relationships>'
    const parts = workbookParts({ Products: sheetXml([]).replace('<sheetData>', `<sheetData>${rows}`) }).map((part) =>
      part.name === 'xl/_rels/workbook.xml.rels'
        ? { ...part, data: Buffer.from(part.data.toString().replace('</Relationships>', relation)) }
        : part,
    )
    const list = await read(zip([...parts, { name: 'xl/sharedStrings.xml', data: Buffer.from(shared) }]))
    expect(list.rows).toEqual([
      { asin: 'B000000001', title: 'Lamp', priceCents: 2420, rank: null },
      { asin: 'B000000002', title: 'Lamp', priceCents: null, rank: null },
    ])
  })

  it('reads the sheet asked for', async () => {
    const book = zip(workbookParts({ Notes: sheetXml([['hello']]), List: sheetXml([header, lamp]) }))
    expect((await read(book, { sheet: 'List' })).rows).toHaveLength(1)
    expect((await read(book, { sheet: 2 })).rows).toHaveLength(1)
    const missing = expect.objectContaining({
      code: 'input.list_invalid',
      message: expect.stringContaining('no sheet Other'),
    })
    await expect(read(book, { sheet: 'Other' })).rejects.toEqual(missing)
  })

  it('refuses an empty sheet as empty', async () => {
    await expect(read(xlsx([]))).rejects.toMatchObject({ code: 'input.list_empty' })
    await expect(read(xlsx([header]))).rejects.toMatchObject({ code: 'input.list_empty' })
  })

  it('refuses an archive that unpacks to gigabytes, whatever it claims', async () => {
    const size = 130 * 1024 * 1024
    const parts = workbookParts({ Products: '' }).map((part) =>
      part.name.includes('sheet1')
        ? { ...part, data: Buffer.alloc(size, '<c r="A1"/>'), deflate: true, claim: 1000 }
        : part,
    )
    const bomb = zip(parts)
    expect(bomb.length).toBeLessThan(size / 100)
    await expect(read(bomb)).rejects.toMatchObject({
      code: 'input.list_too_large',
      message: expect.stringContaining('128 MB'),
    })
  })

  it.each([
    ['columns', '<row r="1"><c r="XFD1"><v>1</v></c></row>', 'spans 1 rows and 16384 columns'],
    ['rows', '<row r="9999999"><c r="A9999999"><v>1</v></c></row>', 'more than 200,000 rows'],
    ['rows times columns', '<row r="900000"><c r="AZ900000"><v>1</v></c></row>', 'spans 900000 rows and 52 columns'],
    [
      'rows in disguise',
      '<row r="&#57;99999999"><c r="A1"><v>1</v></c></row>',
      'a cell with the address &#57;99999999',
    ],
    ['rows without end', '<row  spans="1" r = \'99999999999\'></row>', 'a cell with the address 99999999999'],
  ])('refuses cells that span too many %s', async (_what, rows, message) => {
    const xml = sheetXml([]).replace('<sheetData>', `<sheetData>${rows}`)
    await expect(read(withSheet(xml))).rejects.toMatchObject({
      code: expect.stringMatching(/^input\.list_(?:invalid|too_large)$/),
      message: expect.stringContaining(message),
      hint: expect.any(String),
    })
  })

  it('does not read what the archive does not list', async () => {
    const hidden = zip([{ name: 'xl/worksheets/sheet1.xml', data: Buffer.from('x'.repeat(1000)) }])
    const local = hidden.subarray(0, hidden.indexOf(Buffer.from('PK\u0001\u0002', 'latin1')))
    const good = zip(workbookParts({ Products: sheetXml([header, lamp]) }))
    // Put before the directory, where only a reader that walks the local headers would find it.
    const directory = good.indexOf(Buffer.from('PK\u0001\u0002', 'latin1'))
    const mixed = Buffer.concat([good.subarray(0, directory), local, good.subarray(directory)])
    mixed.writeUInt32LE(directory + local.length, mixed.length - 6)
    expect((await read(mixed)).rows).toHaveLength(1)
  })

  it.each([
    ['a protected archive', withSheet(sheetXml([header, lamp]), { flags: 1 }), 'password'],
    ['a protected file', Buffer.from('d0cf11e0a1b11ae1000000000000', 'hex'), 'password'],
    ['an archive of something else', zip([{ name: 'photo.jpg', data: Buffer.from('x') }]), 'without a spreadsheet'],
    ['a cut archive', xlsx([header, lamp]).subarray(0, 600), 'not a readable XLSX'],
    ['a sheet that is no XML', withSheet('<worksheet><sheetData><row'), 'cannot be read'],
    ['a beginning alone', Buffer.from('PK\u0003\u0004', 'latin1'), 'not a readable XLSX'],
  ])('refuses %s', async (_what, content, message) => {
    await expect(read(content)).rejects.toMatchObject({
      code: 'input.list_invalid',
      message: expect.stringContaining(message),
    })
  })
})
