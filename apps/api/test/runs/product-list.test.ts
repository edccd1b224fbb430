import { execFileSync } from 'node:child_process'
import { existsSync, readFileSync } from 'node:fs'
import { mkdtemp, truncate, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { type ListOptions, type ProductList, readProductList } from '../../src/runs/product-list.ts'

const folder = await mkdtemp(join(tmpdir(), 'gleaner-list-'))
let files = 0

async function file(content: string | Buffer, extension = 'csv'): Promise<string> {
  const path = join(folder, `list-${++files}.${extension}`)
  await writeFile(path, content)
  return path
}

async function read(content: string | Buffer, extension = 'csv', options: ListOptions = {}): Promise<ProductList> {
  return readProductList(await file(content, extension), options)
}

function codes(list: ProductList): Record<string, number> {
  return Object.fromEntries(list.warnings.map((warning) => [warning.code, warning.count]))
}

const one = { asin: 'B000000001', title: 'Lamp', priceCents: 2420, rank: null }

describe('CSV', () => {
  it.each([
    ['commas', 'asin,title,price\nB000000001,Lamp,24.20\n'],
    ['semicolons', 'asin;title;price\nB000000001;Lamp;24.20\n'],
    ['tabs', 'asin\ttitle\tprice\r\nB000000001\tLamp\t24.20'],
    ['bars', 'asin|title|price\nB000000001|Lamp|24.20'],
    ['quotes', '"ASIN","Product Title","Price ($)"\r\n"B000000001","Lamp","$24.20"\r\n'],
    ['a byte-order mark', '\ufeffasin,title,price\nB000000001,Lamp,24.20'],
    ["Excel's separator line", 'sep=;\r\nasin;title;price\r\nB000000001;Lamp;24.20'],
    ['blank lines and cells', '\n\n asin , title , price \n\n,,\n b000000001 ,  Lamp  , US$ 24.20 \n\n'],
    ['old Mac line ends', 'asin,title,price\rB000000001,Lamp,24.20\r'],
    ['cents', 'asin,name,price_cents\nB000000001,Lamp,2420'],
    ['cents beside dollars', 'asin,name,price,price_cents\nB000000001,Lamp,99.99,2420'],
  ])('with %s', async (_what, text) => {
    expect((await read(text)).rows).toEqual([one])
  })

  it.each([
    ['UTF-16 LE', Buffer.from('\ufeffasin,title,price\nB000000001,Café 灯,24.20', 'utf16le'), 'Café 灯', {}],
    ['UTF-16 BE', Buffer.from('\ufeffasin,title,price\nB000000001,Café 灯,24.20', 'utf16le').swap16(), 'Café 灯', {}],
    ['UTF-8', Buffer.from('asin,title,price\nB000000001,Café 灯,24.20'), 'Café 灯', {}],
    [
      'Windows-1252',
      Buffer.from('asin,title,price\nB000000001,Caf\u00e9 \u0080,24.20', 'latin1'),
      'Café €',
      { encoding_guessed: 0 },
    ],
  ])('in %s', async (_what, bytes, title, warnings) => {
    const list = await read(bytes)
    expect(list.rows[0]?.title).toBe(title)
    expect(codes(list)).toEqual(warnings)
  })

  it('notices wrong UTF-8 far behind the beginning', async () => {
    const rows = Array.from({ length: 5000 }, (_, at) => `B${String(at).padStart(9, '0')},${'long '.repeat(60)},1`)
    const list = await read(Buffer.from(`asin,title,price\n${rows.join('\n')}\nC000000001,Caf\u00e9,1`, 'latin1'))
    expect(list.rows.at(-1)?.title).toBe('Café')
    expect(list.rows).toHaveLength(5001)
    expect(codes(list)).toEqual({ encoding_guessed: 0 })
  })

  it.each([
    ['Unix', '\n'],
    ['Windows', '\r\n'],
    ['old Mac', '\r'],
  ])('tells the line a row begins on, with %s line ends', async (_what, end) => {
    const text = 'asin,title,price\n\nB000000001,"two\nlines, ""quoted""",x\n\n\nB1,Lamp,\nB000000002,12" pan,1\n'
    const list = await read(text.replaceAll('\n', end))
    expect(list.errors.map(({ line, column }) => [line, column])).toEqual([
      [3, 'price'],
      [7, 'asin'],
    ])
    expect(list.rows).toEqual([{ ...one, asin: 'B000000002', title: '12" pan', priceCents: 100 }])
    expect(list.rowCount).toBe(3)
  })

  it('reads mixed line ends, at any place in the file', async () => {
    const ends = ['\n', '\r\n', '\r']
    const rows = Array.from({ length: 30_000 }, (_, at) => `B${String(at).padStart(9, '0')},Lamp,1${ends[at % 3]}`)
    const list = await read(`asin,title,price\r\n${rows.join('')}C1,Lamp,1`)
    expect(list.rows).toHaveLength(30_000)
    expect(list.errors.map(({ line }) => line)).toEqual([30_002])
  })

  it('counts a line end that is cut between two reads once', async () => {
    const start = 'asin,title,price\r\nB000000001,'
    for (const bytes of [64 * 1024, 128 * 1024]) {
      const list = await read(`${start}${'x'.repeat(bytes - start.length - 3)},1\r\nB1,Lamp,1`)
      expect(list.errors.map(({ line }) => line)).toEqual([3])
    }
  })

  it('reads short and long rows', async () => {
    const list = await read('asin,title,price\nB000000001,Lamp\nB000000002,Lamp,1,extra,cells')
    expect(list.rows.map((row) => row.priceCents)).toEqual([null, 100])
  })

  it('loads back what it is given', async () => {
    const title = fc.string({ unit: fc.constantFrom(...'ab,;"\n\'\t &é灯😀') }).map((text) => `x${text}x`)
    const row = fc.record({ title, cents: fc.integer({ min: 1, max: 9_999_999 }) })
    await fc.assert(
      fc.asyncProperty(
        fc.array(row, { minLength: 1, maxLength: 20 }),
        fc.constantFrom(',', ';', '\t'),
        async (rows, mark) => {
          const quote = (text: string) => `"${text.replaceAll('"', '""')}"`
          const lines = rows.map(({ title, cents }, at) => {
            const price = `${Math.floor(cents / 100)}.${String(cents % 100).padStart(2, '0')}`
            return [`B${String(at).padStart(9, '0')}`, quote(title), price].join(mark)
          })
          const list = await read([['asin', 'title', 'price'].join(mark), ...lines].join('\n'))
          expect(list.errors).toEqual([])
          expect(list.rows.map((found) => found.priceCents)).toEqual(rows.map((given) => given.cents))
          const clean = (text: string) => text.replace(/\s+/g, ' ').trim()
          expect(list.rows.map((found) => found.title)).toEqual(rows.map((given) => clean(given.title)))
        },
      ),
      { numRuns: 50 },
    )
  })
})

describe('cells', () => {
  async function cell(header: string, value: string): Promise<ProductList> {
    return read(`asin\ttitle\t${header}\nB000000001\tLamp\t${value}\nB000000009\tOther\t`, 'tsv')
  }

  it.each([
    ['price', '$24.20', 2420],
    ['price', '1,299.00', 129_900],
    ['Price (USD)', '24.2', 2420],
    ['price', '24', 2400],
    ['price', 'USD 24.20', 2420],
    ['price', '24.20 USD', 2420],
    ['price', '2420', 242_000],
    ['price', '0.00', null],
    ['price', 'N/A', null],
    ['price', '-', null],
    ['price_cents', '2420', 2420],
    ['Price (cents)', '2420.0', 2420],
    ['price in cents', '-1', null],
  ])('%s %j', async (header, value, cents) => {
    const list = await cell(header, value)
    expect(list.errors).toEqual([])
    expect(list.rows[0]?.priceCents).toBe(cents)
    expect(codes(list)).toEqual({ price_missing: cents === null ? 2 : 1 })
  })

  it.each([
    ['price', 'abc'],
    ['price', '24,20'],
    ['price', '24.205'],
    ['price', '$9.99 - $19.99'],
    ['price', '-5'],
    ['price', '€24.20'],
    ['price', '1e3'],
    ['price', '9999999.00'],
    ['price_cents', '24.20'],
    ['price_cents', '-24'],
  ])('refuses %s %j', async (header, value) => {
    const list = await cell(header, value)
    expect(list.errors).toEqual([{ line: 2, column: header, value, problem: expect.any(String) }])
    expect(list.rows.map((row) => row.asin)).toEqual(['B000000009'])
  })

  it('refuses prices of another currency, and rows with several faults with all of them', async () => {
    const list = await read(
      'asin,title,price,currency\nB000000001,Lamp,5,EUR\nB000000002,Lamp,5,usd\nB3,,x,USD\nB000000004,L,,EUR',
    )
    expect(list.errors.map(({ line, column }) => `${line} ${column}`)).toEqual([
      '2 currency',
      '4 asin',
      '4 title',
      '4 price',
    ])
    expect(list.rows.map((row) => row.priceCents)).toEqual([500, null])
  })

  it('reads ASINs as spreadsheets leave them', async () => {
    const list = await read(
      'asin,title,price\n="0306406152",a,1\n306406153,b,1\n97522980X,c,1\n\u200bｂ000000001 ,d,1\n"B00000000",e,1\nB00000000!,f,1\n,g,1',
    )
    expect(list.rows.map((row) => row.asin)).toEqual(['0306406152', '097522980X', 'B000000001'])
    expect(list.errors.map((error) => error.line)).toEqual([3, 6, 7, 8])
    expect(codes(list)).toEqual({ asin_zero_restored: 1 })
  })

  it('cleans titles', async () => {
    const long = `${'x'.repeat(499)}😀tail`
    const list = await read(
      `asin,title,price\nB000000001,Fish &amp; Chips&#39; \u0007caf&eacute;\u202e,1\nB000000002,${long},1\nB000000003,&nbsp; ,1`,
    )
    expect(list.rows[0]?.title).toBe("Fish & Chips' café")
    expect(list.rows[1]?.title).toBe(`${'x'.repeat(499)}😀`)
    expect(codes(list)).toEqual({ title_cut: 1 })
    expect(list.errors).toEqual([{ line: 4, column: 'title', value: '', problem: 'The title is empty.' }])
  })

  it('reads the optional columns and says what it left out', async () => {
    const list = await read(
      'Rank\tASIN\tName\tPrice\tBrand\tUPC\tEAN\tLink\tImage\n' +
        '#1,204\tB000000001\tLamp\t24.20\tVexo &amp; Co\t36000291452\t4006381333931\thttps://example.com/a\thttps://example.com/a.jpg\n' +
        'x\tB000000002\tLamp\t24.20\tN/A\t123\t\tjavascript:alert(1)\t/b.jpg\n',
    )
    expect(list.rows).toEqual([
      {
        ...one,
        rank: 1204,
        brand: 'Vexo & Co',
        gtins: ['036000291452', '4006381333931'],
        imageUrl: 'https://example.com/a.jpg',
        url: 'https://example.com/a',
      },
      { ...one, asin: 'B000000002' },
    ])
    expect(codes(list)).toEqual({ rank_unreadable: 1, gtin_unreadable: 1, url_unreadable: 1 })
    expect(list.warnings[0]).toMatchObject({ lines: [3], message: '1 product: rank left out, it is no number.' })
    expect(list.columns.map(({ field, header }) => `${field}=${header}`).join(' ')).toBe(
      'asin=ASIN title=Name price=Price brand=Brand gtin=UPC gtin=EAN rank=Rank url=Link image_url=Image',
    )
  })

  it('keeps the first of duplicates and reports all', async () => {
    const list = await read(
      'asin,title,price\nB000000001,first,1\nB000000002,x,1\nb000000001,second,2\nB000000001,third,x\nB000000001,4,4',
    )
    expect(list.rows.map((row) => row.title)).toEqual(['first', 'x'])
    expect(list.duplicates).toEqual([{ asin: 'B000000001', lines: [2, 4, 6] }])
    expect(list.errors.map((error) => error.line)).toEqual([5])
    expect(list.rowCount).toBe(5)
  })
})

describe('columns', () => {
  it('are taken as the person says', async () => {
    const text = 'code,asin,title,Was,Now\nB000000001,xx,Lamp,99,24.20'
    expect((await read(text, 'csv', { columns: { asin: 'Code', price: 'now' } })).rows).toEqual([one])
    const cents = await read('asin,title,price\nB000000001,Lamp,2420', 'csv', { columns: { price_cents: 'price' } })
    expect(cents.rows).toEqual([one])
  })

  it('warn when a name occurs twice or there is no price', async () => {
    const list = await read('asin,title,Title\nB000000001,Lamp,Other')
    expect(list.rows[0]?.title).toBe('Lamp')
    expect(Object.keys(codes(list))).toEqual(['column_repeated', 'no_price_column', 'price_missing'])
  })

  it.each([
    ['no title', 'asin,price\nB000000001,1', {}, 'no column for title. Its columns are: asin, price.'],
    ['no header', 'B000000001,Lamp,24.20\n', {}, 'no column for asin'],
    ['an unknown choice', 'asin,title\nB000000001,x', { columns: { price: 'cost' } }, 'no column "cost" for price'],
  ])('refuse %s', async (_what, text, options, message) => {
    await expect(read(text, 'csv', options)).rejects.toMatchObject({
      code: 'input.list_invalid',
      message: expect.stringContaining(message),
      hint: expect.any(String),
    })
  })
})

describe('JSON', () => {
  it.each([
    ['an array', 'json', '[{"asin":"B000000001","title":"Lamp","price":24.2}]'],
    ['products', 'json', '{"products":[{"ASIN":"B000000001","name":"Lamp","price":"$24.20","rank":null}]}'],
    ['lines', 'jsonl', '{"asin":"B000000001","title":"Lamp","price_cents":2420}\n\n'],
    ['lines called json', 'json', '{"asin":"B000000001","title":"Lamp"}\n{"asin":"B000000001","title":"Lamp"}\n'],
    ['any name', 'txt', '\ufeff [{"title":"Lamp","asin":"B000000001","price":24.20}]'],
  ])('as %s', async (_what, extension, text) => {
    expect((await read(text, extension)).rows).toEqual([{ ...one, priceCents: text.includes('24') ? 2420 : null }])
  })

  it('reads lists of numbers in a cell and says which product is wrong', async () => {
    const list = await read(
      '[{"asin":"B000000001","title":"Lamp","price":24.2,"gtin":[4006381333931,"036000291452"]},{"asin":7,"title":{"a":1}}]',
      'json',
    )
    expect(list.rows[0]?.gtins).toEqual(['4006381333931', '036000291452'])
    expect(list.errors).toEqual([
      { line: 2, column: 'asin', value: '7', problem: 'An ASIN has ten letters and digits.' },
    ])
  })

  it.each([
    ['broken text', '[{"asin":'],
    ['another shape', '"text"'],
    ['a list of lists', '[["B000000001"]]'],
    ['a broken line', '{"asin":"B000000001","title":"x"}\n{"asin":\n'],
  ])('refuses %s', async (_what, text) => {
    await expect(read(text, 'json')).rejects.toMatchObject({ code: 'input.list_invalid' })
  })

  it('refuses a key for every product', async () => {
    const items = Array.from({ length: 600 }, (_, at) => ({ asin: 'B000000001', title: 'x', [`key${at}`]: 1 }))
    await expect(read(JSON.stringify(items), 'json')).rejects.toMatchObject({ code: 'input.list_invalid' })
  })
})

describe('limits', () => {
  it('refuses a large file by its size alone', async () => {
    for (const extension of ['csv', 'xlsx', 'json']) {
      const path = await file('asin,title\n', extension)
      await truncate(path, 200 * 1024 * 1024)
      await expect(readProductList(path)).rejects.toMatchObject({
        code: 'input.list_too_large',
        message: expect.stringContaining('200 MB; the limit is 50 MB'),
      })
    }
  })

  it('refuses more than 200,000 rows', async () => {
    const rows = Array.from({ length: 200_001 }, () => 'B,x,1')
    const message = expect.stringContaining('200,000 rows')
    const csv = `asin,title,price\n${rows.join('\n')}`
    await expect(read(csv)).rejects.toMatchObject({ code: 'input.list_too_large', message })
    const items = rows.map(() => ({ asin: 'B', title: 'x' }))
    await expect(read(JSON.stringify(items), 'json')).rejects.toMatchObject({ code: 'input.list_too_large', message })
    // One fewer passes the limit, and is refused for what is in it.
    await expect(read(JSON.stringify(items.slice(1)), 'json')).rejects.toMatchObject({
      code: 'input.list_invalid',
      details: { errorCount: 200_000 },
    })
  })

  it.each([
    ['no bytes', ''],
    ['blank lines', '\n \n'],
    ['a header alone', 'asin,title,price\n'],
    ['an empty array', '[]'],
  ])('refuses %s as empty', async (_what, text) => {
    await expect(read(text)).rejects.toMatchObject({ code: 'input.list_empty', hint: expect.any(String) })
  })

  it('refuses a list without one usable row, with the errors', async () => {
    await expect(read('asin,title,price\nB1,Lamp,1\nB2,Lamp,1')).rejects.toMatchObject({
      code: 'input.list_invalid',
      message: expect.stringContaining('line 2, asin'),
      details: { errorCount: 2 },
    })
  })

  it.each([
    ['a missing file', () => join(folder, 'absent.csv'), 'no such file'],
    ['a directory', () => folder, 'not a file'],
    ['a device', () => '/dev/zero', 'not a file'],
    [
      'a pipe nobody writes to',
      () => {
        const path = join(folder, 'pipe.csv')
        execFileSync('mkfifo', [path])
        return path
      },
      'not a file',
    ],
  ])('refuses %s', async (_what, path, message) => {
    await expect(readProductList(path())).rejects.toMatchObject({
      code: 'input.file_unreadable',
      message: expect.stringContaining(message),
      hint: expect.any(String),
    })
  })

  it.each([
    ['binary data', Buffer.from(Array.from({ length: 5000 }, (_, at) => (at * 7919) % 256)), 'binary file'],
    ['few wild bytes', Buffer.from([0x81, 0x02, 0x90, 0x07, 0x41]), 'binary file'],
    ['UTF-16 without its mark', Buffer.from('asin,title\nB000000001,x', 'utf16le'), 'binary file'],
    ['an old Excel file', Buffer.from('d0cf11e0a1b11ae1000000000000', 'hex'), 'old .xls'],
    [
      'a protected Excel file',
      Buffer.concat([
        Buffer.from('d0cf11e0a1b11ae1', 'hex'),
        Buffer.alloc(512),
        Buffer.from('EncryptedPackage', 'utf16le'),
      ]),
      'password',
    ],
    ['a web page', '<!DOCTYPE html><html>', 'web page'],
    ['a gzip', Buffer.from('1f8b0800', 'hex'), 'compressed'],
    ['an open quote', `asin,title\nB000000001,"x\n${'B000000002,y\n'.repeat(20)}`, 'quotes'],
  ])('refuses %s', async (_what, content, message) => {
    await expect(read(content)).rejects.toMatchObject({
      code: 'input.list_invalid',
      message: expect.stringContaining(message),
      hint: expect.any(String),
    })
  })
})

const sample = join(import.meta.dirname, '../../../../../shared/providers/samples/amazon-bestsellers-normalised.csv')

describe.skipIf(!existsSync(sample))('the best-seller sample (skipped where ../shared is absent)', () => {
  it('loads with every row accounted for', async () => {
    const list = await readProductList(sample)
    expect(list.rowCount).toBe(741)
    expect(list.rows).toHaveLength(646)
    expect(list.errors).toEqual([])
    expect(list.duplicates.reduce((sum, { lines }) => sum + lines.length - 1, 0)).toBe(741 - 646)
    // 546 of the 741 rows have a price; of the 646 rows kept, 138 have none.
    expect(codes(list)).toEqual({ price_missing: 138 })
    expect(list.rows.filter((row) => row.priceCents === null)).toHaveLength(138)
    expect(list.rows.some((row) => /\p{Script=Han}/u.test(row.title))).toBe(true)
    const text = readFileSync(sample, 'utf8').split('\n')
    for (const { asin, lines } of list.duplicates) for (const line of lines) expect(text[line - 1]).toContain(asin)
  })
})
