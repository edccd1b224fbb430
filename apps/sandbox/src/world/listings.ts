/**
 * Every listing of a product: a pure function of seed and product. Sellers who match the product's filters, and a
 * background that does not: used, auctions, abroad, paid shipping, far off in price.
 */
import { hash53, type Random, randomOf } from '../random.ts'
import type { Product } from './products.ts'
import { POOL_SIZES, type Seller, type SellerKind, sellerOf, shownName } from './sellers.ts'
import { partsOf, type TitleParts, type TitleStyle, writeTitle } from './titles.ts'
import { tokensOf } from './words.ts'

export type Listing = Readonly<{
  legacyId: string
  /** `0` for a listing without variations. */
  variationId: string
  asin: string
  home: string
  title: string
  /** ` word word `: whole-word test by `includes`. */
  tokens: string
  seller: Seller
  username: string
  /** US cents. */
  cents: number
  /** Set when the seller priced in another currency. */
  convertedFrom: Readonly<{ cents: number; currency: string }> | null
  conditionId: string | null
  condition: string | null
  shipping: Readonly<{ type: 'FIXED' | 'CALCULATED'; cents: number | null }>
  country: string
  buyingOptions: readonly string[]
  gtin: string | null
  createdMs: number
  /** Best match: higher first. */
  score: number
}>

/** The sellers' price limits relative to the true price: nothing lies near 0.80 or 1.60, so rounding decides nothing. */
export const WINDOW = { min: 0.8, max: 1.6 } as const

type Draft = {
  seller: Seller
  ratioPermille: number
  style: TitleStyle
  conditionId: string | null
  condition: string | null
  shipping: { type: 'FIXED' | 'CALCULATED'; cents: number | null }
  country: string
  buyingOptions: readonly string[]
  currency: string
  prefix: string
}

const NEWEST_MS = Date.UTC(2026, 0, 1)

export function listingsOf(seed: number, product: Product): readonly Listing[] {
  const random = randomOf(`${seed}|listings|${product.asin}`)
  const drafts = draftsOf(seed, product, random)
  const parts = partsOf(product.title, product.home === 'catalogue' ? null : product.brand)
  return drafts.flatMap((draft, number) => finish(seed, product, parts, draft, number, random))
}

function draftsOf(seed: number, product: Product, random: Random): Draft[] {
  const profile = random.next()
  if (profile < 0.08) return []
  const drafts: Draft[] = []
  const background = random.int(4, 12)
  if (profile >= 0.13) {
    for (const seller of matchingSellers(seed, product, random)) {
      drafts.push(matching(seller, random))
      if (random.chance(0.08)) drafts.push(matching(seller, random))
    }
    const dominating = drafts[0]
    if (profile > 0.92 && dominating) {
      const extra = Math.max(8, drafts.length + background) + random.int(0, 6)
      for (let i = 0; i < extra; i++) drafts.push(matching(dominating.seller, random))
    }
  }
  for (let i = 0; i < background; i++) drafts.push(mismatch(seed, product, random))
  return drafts
}

function matchingSellers(seed: number, product: Product, random: Random): Iterable<Seller> {
  const sellers = new Map<string, Seller>()
  const add = (kind: SellerKind, pool: string, count: number, index: () => number): void => {
    for (let i = 0; i < count; i++) {
      const seller = sellerOf(seed, kind, pool, index())
      sellers.set(seller.key, seller)
    }
  }
  const skewed = (size: number) => () => Math.floor(size * random.next() ** 2)
  const oneOff = (): number => random.int(0, 9)
  add('arbitrage', 'arbitrage', random.int(0, 5), skewed(POOL_SIZES.arbitrage))
  add('retailer', 'retailer', random.int(0, 2), skewed(POOL_SIZES.retailer))
  add('specialist', `specialist|${specialityOf(product)}`, random.int(0, 3), skewed(POOL_SIZES.specialist))
  add('one_off', `one_off|${product.asin}`, random.int(0, 2), oneOff)
  return sellers.values()
}

function specialityOf(product: Product): string {
  return product.home === 'catalogue' ? `catalogue${hash53(product.asin) % 20}` : product.home
}

function matching(seller: Seller, random: Random): Draft {
  const ratioPermille = {
    arbitrage: () => random.int(1150, 1500),
    retailer: () => random.int(840, 1250),
    specialist: () => random.int(880, 1350),
    one_off: () => random.int(840, 1540),
    background: () => random.int(840, 1540),
  }[seller.kind]()
  const roll = random.next()
  return {
    seller,
    ratioPermille,
    style: roll < 0.3 ? 'copied' : roll < 0.6 ? 'shortened' : roll < 0.93 ? 'rewritten' : 'careless',
    conditionId: '1000',
    condition: random.chance(0.2) ? 'Brand New' : 'New',
    shipping: { type: 'FIXED', cents: 0 },
    country: 'US',
    buyingOptions: random.chance(0.3) ? ['FIXED_PRICE', 'BEST_OFFER'] : ['FIXED_PRICE'],
    currency: 'USD',
    prefix: '',
  }
}

/** One listing that fails exactly one of the default filters (a foreign one may fail two). */
function mismatch(seed: number, product: Product, random: Random): Draft {
  const roll = random.next()
  const seller =
    roll < 0.5
      ? sellerOf(seed, 'background', 'background', random.int(0, POOL_SIZES.background - 1))
      : roll < 0.75
        ? sellerOf(seed, 'background', `odd|${product.asin}`, random.int(0, 9))
        : sellerOf(seed, 'arbitrage', 'arbitrage', random.int(0, POOL_SIZES.arbitrage - 1))
  return { ...matching(seller, random), ...random.pick(MISMATCHES)(random) }
}

const MISMATCHES: readonly ((random: Random) => Partial<Draft>)[] = [
  (random) => ({
    ...random.pick([
      { conditionId: '3000', condition: 'Pre-Owned' },
      { conditionId: '3000', condition: 'Used' },
      { conditionId: '1500', condition: 'Open box' },
      { conditionId: '1750', condition: 'New with imperfections' },
      { conditionId: '2500', condition: 'Seller refurbished' },
      { conditionId: '7000', condition: 'For parts or not working' },
    ]),
    ratioPermille: random.int(300, 1100),
  }),
  () => ({ conditionId: null, condition: null }),
  (random) => ({ buyingOptions: ['AUCTION'], ratioPermille: random.int(100, 1100) }),
  (random) => ({
    country: random.pick(['CN', 'CN', 'HK', 'GB', 'CA', 'DE', 'JP']),
    currency: random.pick(['USD', 'GBP', 'CNY', 'EUR']),
  }),
  (random) => ({ shipping: { type: 'FIXED', cents: random.pick([399, 499, 599, 899, 1299]) } }),
  () => ({ shipping: { type: 'CALCULATED', cents: null } }),
  (random) => ({ ratioPermille: random.int(250, 740) }),
  (random) => ({ ratioPermille: random.int(1710, 3200) }),
  (random) => ({
    ratioPermille: random.int(120, 480),
    prefix: random.pick(['Replacement Filter for', 'Case for', 'Charger Compatible with', 'Spare Lid for']),
  }),
]

function finish(
  seed: number,
  product: Product,
  parts: TitleParts,
  draft: Draft,
  number: number,
  random: Random,
): Listing[] {
  const id = `${seed}|listing|${product.asin}|${number}`
  const written = writeTitle(parts, product.title, draft.style, random)
  const title = draft.prefix === '' ? written : `${draft.prefix} ${parts.brand} ${parts.telling.join(' ')}`.slice(0, 80)
  const cents = priceAt(product.trueCents, draft.ratioPermille)
  const base = {
    legacyId: `${listingPrefix(product.asin)}${String(hash53(id) % 1_000_000).padStart(6, '0')}`,
    asin: product.asin,
    home: product.home,
    title,
    tokens: ` ${tokensOf(title).join(' ')} `,
    seller: draft.seller,
    username: shownName(draft.seller, random.next()),
    conditionId: draft.conditionId,
    condition: draft.condition,
    shipping: draft.shipping,
    country: draft.country,
    buyingOptions: draft.buyingOptions,
    gtin: product.gtin !== null && draft.prefix === '' && random.chance(0.6) ? product.gtin : null,
    createdMs: NEWEST_MS - random.int(0, 900 * 86_400) * 1000,
    score: random.next(),
    convertedFrom: converted(cents, draft.currency),
  }
  if (!random.chance(0.06)) return [{ ...base, variationId: '0', cents }]
  return Array.from({ length: random.int(2, 4) }, (_, i) => ({
    ...base,
    variationId: String(500_000_000_000 + (hash53(`${id}|${i}`) % 99_999_999_999)),
    cents: cents + (i % 2) * Math.min(50, Math.floor(cents / 100)),
    score: base.score - i / 1e6,
  }))
}

function priceAt(trueCents: number, ratioPermille: number): number {
  return Math.max(1, Math.round((trueCents * ratioPermille) / 1000))
}

/** Fixed rates in thousandths: only the shape matters. */
function converted(cents: number, currency: string): Listing['convertedFrom'] {
  const rates: Readonly<Record<string, number>> = { GBP: 780, EUR: 920, CNY: 7200 }
  const rate = rates[currency]
  return rate === undefined ? null : { cents: Math.round((cents * rate) / 1000), currency }
}

/** Whether the listing passes the product's default filters, price window included when Amazon shows a price. */
export function passesDefaults(listing: Listing, priceCents: number | null): boolean {
  return (
    listing.conditionId === '1000' &&
    listing.shipping.cents === 0 &&
    listing.country === 'US' &&
    listing.buyingOptions.includes('FIXED_PRICE') &&
    (priceCents === null || (listing.cents >= priceCents * WINDOW.min && listing.cents <= priceCents * WINDOW.max))
  )
}

/** Leading digits of a listing's number that tell its product (and few others). */
export const LISTING_PREFIX = 6

export function listingPrefix(asin: string): string {
  return String(110_000 + (hash53(`listing|${asin}`) % 380_000))
}

/** A price for an uploaded product that has none, so that its listings have one. */
export function guessedCents(seed: number, asin: string): number {
  return 1000 + (hash53(`${seed}|price|${asin}`) % 5000)
}
