/** What a perfect reader of the generated marketplace would know. Computed from the listings, without the search. */
import type { Category } from './categories.ts'
import { type Listing, passesDefaults } from './listings.ts'
import type { Product } from './products.ts'
import { partsOf } from './titles.ts'
import { tokensOf } from './words.ts'
import type { World } from './world.ts'

/** `full`: the title's first 100 characters; `first`: its first five content words; `short`: brand and two telling words. */
export type Rungs = Readonly<{ gtin: boolean; full: boolean; first: boolean; short: boolean }>

export type TrueSeller = Readonly<{
  /** Lower-cased user name. */
  key: string
  userId: string
  kind: string
  /** Some rung of the query ladder finds one of the seller's passing listings. */
  findable: boolean
  rungs: Rungs
  listings: readonly Readonly<{ legacyId: string; title: string; cents: number }>[]
}>

export function trueProducts(world: World, category: Category): readonly object[] {
  return world.list(category).map((product, place) => ({ rank: place + 1, ...product, home: product.home }))
}

/** Sellers with at least one listing passing the default filters (0.80 to 1.60 of the price, if there is one). */
export function trueSellers(world: World, product: Product): readonly TrueSeller[] {
  const queries = ladderOf(product)
  const bySeller = new Map<string, Listing[]>()
  for (const listing of world.listings(product)) {
    if (!passesDefaults(listing, product.priceCents)) continue
    const same = bySeller.get(listing.seller.key)
    if (same) same.push(listing)
    else bySeller.set(listing.seller.key, [listing])
  }
  return [...bySeller.entries()]
    .map(([key, listings]) => sellerOf(key, listings, queries, product))
    .sort((a, b) => (a.key < b.key ? -1 : 1))
}

/** The texts of the ladder as this world understands it; a client may choose other words. */
export function ladderOf(product: Product): Readonly<{ full: string; first: string; short: string }> {
  const parts = partsOf(product.title, product.home === 'catalogue' ? null : product.brand)
  return {
    full: product.title.slice(0, 100),
    first: parts.words.slice(0, 5).join(' '),
    short: [parts.brand, ...parts.telling.slice(0, 2)].join(' '),
  }
}

function sellerOf(
  key: string,
  listings: readonly Listing[],
  queries: ReturnType<typeof ladderOf>,
  product: Product,
): TrueSeller {
  const has = (query: string): boolean => {
    const words = tokensOf(query)
    return listings.some((listing) => {
      const title = new Set(tokensOf(listing.title))
      return words.every((word) => title.has(word))
    })
  }
  const rungs: Rungs = {
    gtin: product.gtin !== null && listings.some((listing) => listing.gtin === product.gtin),
    full: has(queries.full),
    first: has(queries.first),
    short: has(queries.short),
  }
  const [first] = listings
  return {
    key,
    userId: first?.seller.userId ?? '',
    kind: first?.seller.kind ?? '',
    findable: rungs.gtin || rungs.full || rungs.first || rungs.short,
    rungs,
    listings: listings.map(({ legacyId, title, cents }) => ({ legacyId, title, cents })),
  }
}
