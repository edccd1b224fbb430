/**
 * The products that exist: those of every category whose list was asked for, and the uploaded ones. Which categories
 * those are and what was uploaded is kept in the data directory; read on first use, so that the start is quick.
 */
import { appendFileSync, existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import type { Category, CategoryTree } from './categories.ts'
import { guessedCents } from './listings.ts'
import { listPlaces, OWN_PRODUCTS, ownProduct, type Product } from './products.ts'
import { createSearchIndex, type SearchIndex } from './search-index.ts'
import { partsOf } from './titles.ts'

export type CatalogueRow = Readonly<{ asin: string; title: string; priceCents: number | null; gtin?: string | null }>

export type Shelf = Readonly<{
  index: () => SearchIndex
  /** In rank order; the category exists from now on, also after a restart. */
  list: (category: Category) => readonly Product[]
  product: (asin: string) => Product | null
  /** Durable before it returns. Rows whose ASIN is known already change nothing. */
  addCatalogue: (rows: readonly CatalogueRow[]) => { added: number; known: number }
  counts: () => { categories: number; products: number; catalogue: number }
}>

type Contents = {
  index: SearchIndex
  homes: Set<string>
  byAsin: Map<string, Product>
  lists: Map<string, readonly Product[]>
  catalogueCount: number
}

export function createShelf(seed: number, tree: CategoryTree, dataDir: string): Shelf {
  const logFile = join(dataDir, 'categories.log')
  const catalogueFile = join(dataDir, 'catalogue.jsonl')
  let loaded: Contents | null = null
  const contents = (): Contents => {
    loaded ??= load(seed, tree, logFile, catalogueFile)
    return loaded
  }

  const list = (asked: Category): readonly Product[] => {
    const shelf = contents()
    // A browse node that sits in two departments is one page, so both keys have one list.
    const category = tree.find(asked.id) ?? asked
    const known = shelf.lists.get(category.key)
    if (known) return known
    const places = listPlaces(seed, tree, category)
    const homes = [...new Set([category, ...places.map((place) => place.home)])]
    const opened = homes.filter((home) => !shelf.homes.has(home.key))
    if (opened.length > 0) appendFileSync(logFile, opened.map((home) => `${home.key}\n`).join(''))
    for (const home of opened) openHome(shelf, seed, home)
    const products = places.map((place) => ownProduct(seed, place.home, place.index))
    shelf.lists.set(category.key, products)
    return products
  }

  const addCatalogue = (rows: readonly CatalogueRow[]): { added: number; known: number } => {
    const shelf = contents()
    const distinct = [...new Map(rows.map((row) => [row.asin, row])).values()]
    const fresh = distinct.filter((row) => !shelf.byAsin.has(row.asin))
    if (fresh.length > 0) appendFileSync(catalogueFile, fresh.map((row) => `${JSON.stringify(row)}\n`).join(''))
    for (const row of fresh) put(shelf, catalogueProduct(seed, row))
    shelf.catalogueCount += fresh.length
    return { added: fresh.length, known: rows.length - fresh.length }
  }

  return {
    index: () => contents().index,
    list,
    product: (asin) => contents().byAsin.get(asin) ?? null,
    addCatalogue,
    counts: () => {
      const { homes, byAsin, catalogueCount } = contents()
      return { categories: homes.size, products: byAsin.size, catalogue: catalogueCount }
    },
  }
}

function load(seed: number, tree: CategoryTree, logFile: string, catalogueFile: string): Contents {
  const shelf: Contents = {
    index: createSearchIndex(),
    homes: new Set(),
    byAsin: new Map(),
    lists: new Map(),
    catalogueCount: 0,
  }
  for (const key of readLines(logFile)) {
    const home = tree.byKey.get(key)
    if (home && !shelf.homes.has(key)) openHome(shelf, seed, home)
  }
  for (const line of readLines(catalogueFile)) {
    const row = parseRow(line)
    if (row && put(shelf, catalogueProduct(seed, row))) shelf.catalogueCount++
  }
  return shelf
}

function openHome(shelf: Contents, seed: number, home: Category): void {
  shelf.homes.add(home.key)
  for (let i = 0; i < OWN_PRODUCTS; i++) put(shelf, ownProduct(seed, home, i))
}

function put(shelf: Contents, product: Product): boolean {
  if (shelf.byAsin.has(product.asin)) return false
  shelf.byAsin.set(product.asin, product)
  shelf.index.add(product)
  return true
}

function catalogueProduct(seed: number, row: CatalogueRow): Product {
  return {
    asin: row.asin,
    title: row.title,
    brand: partsOf(row.title, null).brand,
    priceCents: row.priceCents,
    trueCents: row.priceCents ?? guessedCents(seed, row.asin),
    gtin: row.gtin ?? null,
    ratingTenths: null,
    ratingsCount: 0,
    home: 'catalogue',
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
