/** Which column of a product list holds what: by its header, or as the person says. */
import { AppError } from '../base/errors.ts'
import { foldText } from '../base/text.ts'

export const LIST_FIELDS = [
  'asin',
  'title',
  'price',
  'price_cents',
  'currency',
  'brand',
  'gtin',
  'rank',
  'url',
  'image_url',
] as const
export type ListField = (typeof LIST_FIELDS)[number]

/** Explicit choices, `{ asin: 'Product code' }`: they go before the names below. */
export type ColumnMapping = Readonly<Partial<Record<ListField, string>>>

/** Where each field stands, best first; only `gtin` has more than one place (a upc beside an ean column). */
export type Columns = Readonly<Record<ListField, readonly number[]>>

export type UsedColumn = Readonly<{ field: ListField; header: string }>

/**
 * Header names, best first, without case, diacritics, spaces and signs ("Price ($)" is "price"). Whether a price is in
 * dollars or cents is decided here and nowhere else: a number alone never tells.
 */
const NAMES: Readonly<Record<ListField, readonly string[]>> = {
  asin: ['asin', 'amazonasin', 'productasin', 'asincode', 'asinisbn', 'asinisbn10'],
  title: ['title', 'producttitle', 'productname', 'name', 'itemname', 'itemtitle', 'amazontitle', 'product'],
  price: [
    'price',
    'priceusd',
    'usdprice',
    'priceindollars',
    'pricedollars',
    'amazonprice',
    'currentprice',
    'buyboxprice',
  ],
  price_cents: ['pricecents', 'priceincents', 'centsprice', 'pricecentsusd', 'priceusdcents', 'amazonpricecents'],
  currency: ['currency', 'pricecurrency', 'currencycode'],
  brand: ['brand', 'brandname', 'manufacturer'],
  gtin: [
    'gtin',
    'upc',
    'ean',
    'gtin12',
    'gtin13',
    'gtin14',
    'ean13',
    'upca',
    'upccode',
    'eancode',
    'upcean',
    'barcode',
    'isbn13',
  ],
  rank: ['rank', 'bestsellerrank', 'position', 'pos'],
  url: ['url', 'producturl', 'link', 'productlink', 'amazonurl', 'detailpageurl'],
  image_url: ['imageurl', 'image', 'imagelink', 'imgurl', 'img', 'thumbnail', 'photo', 'picture', 'mainimage'],
}

/**
 * Finds the columns in a header row. An explicit price column, in either unit, switches off the search for the other.
 * `repeated` are names that occur twice among the columns used: the first is taken.
 * Throws AppError `input.list_invalid` naming the columns there are, when asin or title has none or an explicit name is
 * not among them.
 */
export function matchColumns(
  header: readonly string[],
  mapping: ColumnMapping = {},
): { columns: Columns; used: UsedColumn[]; repeated: string[] } {
  const folded = header.map(foldName)
  const chosenPrice = mapping.price !== undefined || mapping.price_cents !== undefined
  const repeated: string[] = []
  const places = (field: ListField): number[] => {
    const chosen = mapping[field]
    if (chosen !== undefined) return [findChosen(header, folded, field, chosen)]
    if (chosenPrice && (field === 'price' || field === 'price_cents')) return []
    const found = NAMES[field].flatMap((name) => {
      const [first, ...more] = folded.flatMap((other, at) => (other === name ? [at] : []))
      if (more.length > 0 && first !== undefined) repeated.push(header[first] ?? name)
      return first === undefined ? [] : [first]
    })
    return field === 'gtin' ? found : found.slice(0, 1)
  }
  const columns = Object.fromEntries(LIST_FIELDS.map((field) => [field, places(field)])) as Record<ListField, number[]>
  for (const field of ['asin', 'title'] as const) if (columns[field].length === 0) throw missing(header, field)
  const used = LIST_FIELDS.flatMap((field) =>
    columns[field].map((at) => ({ field, header: (header[at] ?? '').trim() })),
  )
  return { columns, used, repeated }
}

function foldName(name: string): string {
  return foldText(name).replace(/[^\p{L}\p{N}]/gu, '')
}

function findChosen(header: readonly string[], folded: readonly string[], field: ListField, chosen: string): number {
  const exact = header.findIndex((name) => name.trim() === chosen.trim())
  const at = exact >= 0 ? exact : folded.indexOf(foldName(chosen))
  if (at >= 0 && foldName(chosen) !== '') return at
  throw new AppError('input.list_invalid', `The list has no column "${chosen}" for ${field}. ${shown(header)}`, {
    hint: 'Use one of the names in the first row of the list.',
    details: { field, columns: header },
  })
}

function missing(header: readonly string[], field: ListField): AppError {
  const data = header.some((cell) => /^(?:B0[A-Z0-9]{8}|\d{9}[\dX])$/.test(cell.trim()))
  return new AppError('input.list_invalid', `The list has no column for ${field}. ${shown(header)}`, {
    hint: data
      ? 'The first row must name the columns, for example: asin,title,price.'
      : `Name the column ${field}, or say which one it is: ${field}=<its name>.`,
    details: { field, columns: header },
  })
}

function shown(header: readonly string[]): string {
  const names = header.map((name) => name.trim()).filter((name) => name !== '')
  const some = names.slice(0, 30).map((name) => (name.length > 40 ? `${name.slice(0, 40)}…` : name))
  return `Its columns are: ${some.join(', ') || 'none'}${names.length > 30 ? ', …' : ''}.`
}
