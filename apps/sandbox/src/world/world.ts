/** The generated marketplace: what is for sale, and which listings a search reaches. Everything follows from the seed. */
import type { CategoryTree } from './categories.ts'
import { type Listing, listingsOf } from './listings.ts'
import type { Product } from './products.ts'
import type { WordQuery } from './search-index.ts'
import { createShelf, type Shelf } from './shelf.ts'

export type World = Readonly<{
  seed: number
  tree: CategoryTree
  list: Shelf['list']
  product: Shelf['product']
  addCatalogue: Shelf['addCatalogue']
  counts: Shelf['counts']
  listings: (product: Product) => readonly Listing[]
  /** Listings whose titles have the words, unsorted and unfiltered. */
  searchWords: (query: WordQuery) => Listing[]
  searchGtin: (gtin: string) => Listing[]
  /** Listings of the first products at home where `matches` says. */
  searchHome: (matches: (home: string) => boolean) => Listing[]
  /** A listing by its number; the first variation when the given one does not exist. */
  listing: (legacyId: string, variationId?: string) => Listing | null
}>

/** Products whose listings are kept ready; a search touches about ten. */
const LISTINGS_KEPT = 6_000
/** More products than a query should ever reach: a query of very common words is cut here. */
const CANDIDATES = 300
const SCAN_LIMIT = 500

export function createWorld(seed: number, tree: CategoryTree, dataDir: string): World {
  const shelf = createShelf(seed, tree, dataDir)
  const kept = new Map<string, readonly Listing[]>()

  const listings = (product: Product): readonly Listing[] => {
    const known = kept.get(product.asin)
    if (known) {
      kept.delete(product.asin)
      kept.set(product.asin, known)
      return known
    }
    const made = listingsOf(seed, product)
    kept.set(product.asin, made)
    if (kept.size > LISTINGS_KEPT) kept.delete(kept.keys().next().value ?? '')
    return made
  }

  const searchWords = (query: WordQuery): Listing[] => {
    const padded = query.map((group) => group.map((word) => ` ${word} `))
    const found: Listing[] = []
    for (const product of shelf.index().candidates(query, CANDIDATES)) {
      for (const row of listings(product)) {
        if (padded.every((group) => group.some((word) => row.tokens.includes(word)))) found.push(row)
      }
    }
    return found
  }

  const searchGtin = (gtin: string): Listing[] => {
    const products = shelf.index().byGtin(gtin)
    return products.flatMap((product) => listings(product).filter((row) => row.gtin === gtin))
  }

  const searchHome = (matches: (home: string) => boolean): Listing[] => {
    const products = shelf
      .index()
      .all()
      .filter((product) => matches(product.home))
    return products.slice(0, SCAN_LIMIT).flatMap((product) => listings(product))
  }

  const listing = (legacyId: string, variationId?: string): Listing | null => {
    const products = shelf.index().byListing(legacyId)
    const rows = products.flatMap((product) => listings(product).filter((row) => row.legacyId === legacyId))
    return rows.find((row) => row.variationId === variationId) ?? rows[0] ?? null
  }

  const { list, product, addCatalogue, counts } = shelf
  return { seed, tree, list, product, addCatalogue, counts, listings, searchWords, searchGtin, searchHome, listing }
}
