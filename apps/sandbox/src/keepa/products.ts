/** Products and category nodes as Keepa writes them. */
import { codeOf, hash53 } from '../random.ts'
import type { Category } from '../world/categories.ts'
import type { Product } from '../world/products.ts'
import type { World } from '../world/world.ts'

/** Keepa counts minutes from this one: 2011-01-01 in Unix minutes. */
const EPOCH_MINUTES = 21_564_000
/** A fixed time for every "last seen", so that the world does not move: 2026-11-01. */
const SEEN = Math.floor(Date.UTC(2026, 10, 1) / 60_000) - EPOCH_MINUTES

export type ProductOptions = Readonly<{ stats: boolean; history: boolean }>

export function keepaProduct(world: World, asin: string, options: ProductOptions): object {
  const product = world.product(asin)
  if (!product) {
    return { asin, domainId: 1, title: null, productType: 4, csv: null, brand: null, images: null, lastUpdate: SEEN }
  }
  const category = world.tree.byKey.get(product.home)
  const node = nodeOf(category)
  const current = currentOf(product)
  return {
    asin,
    domainId: 1,
    title: escaped(product.title),
    parentAsin: null,
    brand: product.brand,
    manufacturer: product.brand,
    productGroup: category?.name ?? null,
    rootCategory: node,
    categories: node === null ? null : [node],
    categoryTree: node === null ? null : [{ catId: node, name: category?.name }],
    salesRankReference: node ?? -1,
    salesRanks: node === null ? null : { [node]: [SEEN, current[3]] },
    images: [
      { l: `${codeOf(asin, '0123456789abcdef', 11)}.jpg`, lH: 1500, lW: 1500, m: `${asin}m.jpg`, mH: 500, mW: 500 },
    ],
    eanList: product.gtin === null ? null : [`0${product.gtin}`],
    upcList: product.gtin === null ? null : [product.gtin],
    gtinList: null,
    productType: 0,
    availabilityAmazon: product.priceCents === null ? -1 : 0,
    lastUpdate: SEEN,
    lastPriceChange: SEEN - 8000,
    trackingSince: 7_000_000,
    listedSince: 0,
    monthlySold: 100 * (1 + (hash53(asin) % 50)),
    hasReviews: product.ratingsCount > 0,
    ...(options.stats ? { stats: { current, avg: current, avg30: current, avg90: current, avg180: current } } : {}),
    csv: options.history ? historyOf(current) : null,
  }
}

/** Indexed like `csv`; -1 = no offer. Amazon, new, rank, rating, reviews, buy box. */
function currentOf(product: Product): number[] {
  const current = new Array<number>(36).fill(-1)
  const price = product.priceCents ?? -1
  const roll = hash53(`${product.asin}|keepa`) % 10
  current[0] = roll < 6 ? price : -1
  current[1] = price
  current[3] = 1 + (hash53(`${product.asin}|rank`) % 5000)
  current[11] = price < 0 ? 0 : 1 + (roll % 5)
  current[16] = product.ratingTenths ?? -1
  current[17] = product.ratingsCount
  current[18] = roll < 9 ? price : -1
  return current
}

function historyOf(current: readonly number[]): (number[] | null)[] {
  return current.map((value, series) => {
    if (value < 0) return null
    return series === 18 ? [SEEN - 20_000, value, 0] : [SEEN - 20_000, value]
  })
}

function escaped(title: string): string {
  return title.replaceAll('&', '&amp;').replaceAll('"', '&quot;')
}

/** Keepa's number of a category; null where Amazon gives a department none, or the id is a word. */
export function nodeOf(category: Category | undefined): number | null {
  const id = category?.level === 0 ? category.browseNodeId : category?.id
  return id && /^\d+$/.test(id) ? Number(id) : null
}

/**
 * Keepa's own order, which follows the main sales rank and not Amazon's list: neighbours change places, and one product
 * in twenty is missing.
 */
export function keepaList(world: World, category: Category): string[] {
  return world
    .list(category)
    .map((product, place) => ({ asin: product.asin, weight: place + (hash53(`${product.asin}|keepa order`) % 12) }))
    .filter(({ asin }) => hash53(`${asin}|keepa missing`) % 20 !== 0)
    .sort((a, b) => a.weight - b.weight)
    .map(({ asin }) => asin)
}

export function keepaCategory(world: World, category: Category): object {
  return {
    domainId: 1,
    catId: nodeOf(category),
    name: category.name,
    contextFreeName: category.name,
    websiteDisplayGroup: `${category.slug}_display_on_website`,
    children: world.tree.childrenOf(category).map(nodeOf),
    parent: parentNode(world, category),
    highestRank: 1,
    lowestRank: 4_500_000,
    productCount: 100_000,
    isBrowseNode: true,
  }
}

function parentNode(world: World, category: Category): number {
  if (category.parentId === null) return 0
  return nodeOf(world.tree.find(category.parentId, category.slug) ?? undefined) ?? 0
}

export function keepaMinutes(): number {
  return SEEN
}
