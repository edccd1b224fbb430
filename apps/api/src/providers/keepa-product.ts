/** One product of a Keepa answer as a best seller. Pure. */
import { cleanLine, decodeEntities } from '../base/text.ts'
import type { KeepaProduct } from './schemas.ts'
import type { ListedProduct } from './types.ts'

/** Index of a price series in `stats.current` and `csv`. Source: README of the Keepa API, "csv". */
const AMAZON = 0
const NEW = 1
const BUY_BOX_SHIPPING = 18

/** Why a `productType` is no product to search for; 0 is the ordinary one. 5 is a parent of variations, without offers. */
const UNFIT_TYPES: Readonly<Record<number, string>> = {
  1: 'not_physical',
  2: 'not_physical',
  3: 'hidden',
  4: 'invalid',
  5: 'parent',
}

/** The product, or the reason why it is none. Prices are integer cents on the wire; -1 and 0 are "none". */
export function readProduct(product: KeepaProduct, rank: number): ListedProduct | string {
  const unfit = UNFIT_TYPES[product.productType ?? 0]
  if (unfit !== undefined) return unfit
  const title = cleanLine(decodeEntities(product.title ?? ''))
  if (title === '') return 'no_title'
  const brand = cleanLine(decodeEntities(product.brand ?? ''))
  const gtins = readGtins(product)
  const image = imageName(product)
  return {
    asin: product.asin,
    title,
    priceCents: currentPrice(product),
    rank,
    ...(brand === '' ? {} : { brand }),
    ...(gtins.length === 0 ? {} : { gtins }),
    ...(image === null ? {} : { imageUrl: `https://m.media-amazon.com/images/I/${image}` }),
    url: `https://www.amazon.com/dp/${product.asin}`,
  }
}

/** Buy box with shipping, else Amazon's own offer, else the cheapest new one; of the statistics, else of the history. */
function currentPrice({ stats, csv }: KeepaProduct): number | null {
  for (const series of [BUY_BOX_SHIPPING, AMAZON, NEW]) {
    const price = stats?.current?.[series] ?? lastPrice(csv?.[series], series)
    if (price !== null && Number.isInteger(price) && price > 0 && price <= 1_000_000_000) return price
  }
  return null
}

/** The last value of a series of (time, price) pairs, or of (time, price, shipping) triples. */
function lastPrice(series: readonly number[] | null | undefined, index: number): number | null {
  const width = index === BUY_BOX_SHIPPING ? 3 : 2
  if (!series || series.length < width || series.length % width !== 0) return null
  const price = series.at(1 - width) ?? -1
  const shipping = width === 3 ? (series.at(-1) ?? -1) : 0
  return price < 0 || shipping < 0 ? null : price + shipping
}

/** UPCs first, because most US listings carry those; each once, in whichever form, and only with a right check digit. */
function readGtins({ upcList, eanList, gtinList }: KeepaProduct): string[] {
  const byNumber = new Map<string, string>()
  for (const text of [...(upcList ?? []), ...(eanList ?? []), ...(gtinList ?? [])]) {
    const digits = text.trim()
    const number = digits.padStart(14, '0')
    if (isGtin(digits) && !byNumber.has(number)) byNumber.set(number, digits)
  }
  return [...byNumber.values()]
}

/** GTIN-8, -12, -13 or -14 whose check digit is right (GS1 General Specifications, 7.9). */
function isGtin(digits: string): boolean {
  if (!/^(\d{8}|\d{12,14})$/.test(digits) || /^0+$/.test(digits)) return false
  const sum = [...digits.padStart(14, '0')].reduce(
    (total, digit, at) => total + Number(digit) * (at % 2 === 0 ? 3 : 1),
    0,
  )
  return sum % 10 === 0
}

function imageName({ images, imagesCSV }: KeepaProduct): string | null {
  const name = images?.[0]?.l ?? images?.[0]?.m ?? imagesCSV?.split(',')[0] ?? ''
  return /^[\w.+%-]{1,100}$/.test(name) ? name : null
}
