/**
 * The generated marketplace: best-seller lists, products, listings, sellers. A category exists once its list was asked
 * for; which ones exist is kept in the data directory, everything else follows from the seed.
 */
import { appendFileSync, existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import type { Category, CategoryTree } from './categories.ts'
import { guessedCents, type Listing, listingsOf } from './listings.ts'
import { listPlaces, OWN_PRODUCTS, ownProduct, type Product } from './products.ts'
import { createSearchIndex, type WordQuery } from './search-index.ts'
import { partsOf } from './titles.ts'

export type CatalogueRow = Readonly<{ asin: string; title: string; priceCents: number | null; gtin?: string | null }>

export type World = Readonly<{
  seed: number
  tree: CategoryTree
  /** Best sellers of a category in rank order. The category is searchable from now on, also after a restart. */
  list: (category: Category) => readonly Product[]
  product: (asin: string) => Product | null
  listings: (product: Product) => readonly Listing[]
  /** Listings whose titles have the words, unsorted and unfiltered. */
  searchWords: (query: WordQuery) => Listing[]
  searchGtin: (gtin: string) => Listing[]
  searchHome: (matches: (home: string) => boolean) => Listing[]
  /** A listing by its number, any variation. */
  listing: (legacyId: string, variationId?: string) => Listing | null
  /** Durable before it returns. Rows whose ASIN is known already change nothing. */
  addCatalogue: (rows: readonly CatalogueRow[]) => { added: number; known: number }
  counts: () => { categories: number; products: number; catalogue: number }
}>

/** Products whose listings are kept ready; a search touches about ten. */
const LISTINGS_KEPT = 6_000
/** More products than a query should ever reach: a query of very common words is cut here. */
const CANDIDATES = 300
const SCAN_LIMIT = 500

export function createWorld(seed: number, tree: CategoryTree, dataDir: string): World {
  const logFile = join(dataDir, 'categories.log')
  const catalogueFile = join(dataDir, 'catalogue.jsonl')
  const index = createSearchIndex()
  const homes = new Set<string>()
  const byAsin = new Map<string, Product>()
  const lists = new Map<string, readonly Product[]>()
  const kept = new Map<string, readonly Listing[]>()
  const itemAsins = new Map<string, string>()
  const mapped = new Set<string>()
  let catalogueCount = 0
  let loaded = false

  const indexProduct = (product: Product): boolean => {
    if (byAsin.has(product.asin)) return false
    byAsin.set(product.asin, product)
    index.add(product)
    return true
  }

  const openHome = (home: Category): void => {
    homes.add(home.key)
    for (let i = 0; i < OWN_PRODUCTS; i++) indexProduct(ownProduct(seed, home, i))
  }

  const catalogueProduct = (row: CatalogueRow): Product => ({
    asin: row.asin,
    title: row.title,
    brand: partsOf(row.title, null).brand,
    priceCents: row.priceCents,
    trueCents: row.priceCents ?? guessedCents(seed, row.asin),
    gtin: row.gtin ?? null,
    ratingTenths: null,
    ratingsCount: 0,
    home: 'catalogue',
  })

  const load = (): void => {
    if (loaded) return
    loaded = true
    for (const key of readLines(logFile)) {
      const home = tree.byKey.get(key)
      if (home && !homes.has(key)) openHome(home)
    }
    for (const line of readLines(catalogueFile)) {
      const row = parseRow(line)
      if (row && indexProduct(catalogueProduct(row))) catalogueCount++
    }
  }

  const list = (asked: Category): readonly Product[] => {
    load()
    // A browse node that sits in two departments is one page, so both keys have one list.
    const category = tree.find(asked.id) ?? asked
    const known = lists.get(category.key)
    if (known) return known
    const places = listPlaces(seed, tree, category)
    const opened = [...new Set([category, ...places.map((place) => place.home)])].filter((home) => !homes.has(home.key))
    if (opened.length > 0) appendFileSync(logFile, opened.map((home) => `${home.key}\n`).join(''))
    for (const home of opened) openHome(home)
    const products = places.map((place) => ownProduct(seed, place.home, place.index))
    lists.set(category.key, products)
    return products
  }

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
    if (!mapped.has(product.asin)) {
      mapped.add(product.asin)
      for (const listing of made) itemAsins.set(listing.legacyId, product.asin)
    }
    return made
  }

  const listing = (legacyId: string, variationId?: string): Listing | null => {
    load()
    if (!itemAsins.has(legacyId)) for (const product of index.all()) if (!mapped.has(product.asin)) listings(product)
    const product = byAsin.get(itemAsins.get(legacyId) ?? '')
    if (!product) return null
    const rows = listings(product).filter((row) => row.legacyId === legacyId)
    return rows.find((row) => row.variationId === variationId) ?? rows[0] ?? null
  }

  const searchWords = (query: WordQuery): Listing[] => {
    load()
    const padded = query.map((group) => group.map((word) => ` ${word} `))
    const found: Listing[] = []
    for (const product of index.candidates(query, CANDIDATES)) {
      for (const row of listings(product)) {
        if (padded.every((group) => group.some((word) => row.tokens.includes(word)))) found.push(row)
      }
    }
    return found
  }

  const searchGtin = (gtin: string): Listing[] => {
    load()
    return index.byGtin(gtin).flatMap((product) => listings(product).filter((row) => row.gtin === gtin))
  }

  const searchHome = (matches: (home: string) => boolean): Listing[] => {
    load()
    return index
      .all()
      .filter((product) => matches(product.home))
      .slice(0, SCAN_LIMIT)
      .flatMap((product) => listings(product))
  }

  const addCatalogue = (rows: readonly CatalogueRow[]): { added: number; known: number } => {
    load()
    const fresh = [...new Map(rows.map((row) => [row.asin, row])).values()].filter((row) => !byAsin.has(row.asin))
    if (fresh.length > 0) appendFileSync(catalogueFile, fresh.map((row) => `${JSON.stringify(row)}\n`).join(''))
    for (const row of fresh) indexProduct(catalogueProduct(row))
    catalogueCount += fresh.length
    return { added: fresh.length, known: rows.length - fresh.length }
  }

  return {
    seed,
    tree,
    list,
    product: (asin) => {
      load()
      return byAsin.get(asin) ?? null
    },
    listings,
    searchWords,
    searchGtin,
    searchHome,
    listing,
    addCatalogue,
    counts: () => {
      load()
      return { categories: homes.size, products: byAsin.size, catalogue: catalogueCount }
    },
  }
}

function readLines(file: string): string[] {
  return existsSync(file) ? readFileSync(file, 'utf8').split('\n').filter(Boolean) : []
}

/** A last line cut off by a crash is not JSON and was never acknowledged. */
function parseRow(line: string): CatalogueRow | null {
  try {
    return JSON.parse(line) as CatalogueRow
  } catch {
    return null
  }
}
