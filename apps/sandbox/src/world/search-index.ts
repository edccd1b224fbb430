/**
 * Finds products by the words their listings may carry. Listings are made only for products a query can reach, so a
 * world of a hundred thousand products costs no more than their titles.
 */

import { LISTING_PREFIX, listingPrefix } from './listings.ts'
import type { Product } from './products.ts'
import { FILLERS, SYNONYMS, tokensOf } from './words.ts'

/** All groups must match (AND); within a group one word is enough (OR). */
export type WordQuery = readonly (readonly string[])[]

export type SearchIndex = Readonly<{
  add: (product: Product) => void
  byGtin: (gtin: string) => readonly Product[]
  /** Products a listing of this number may belong to. */
  byListing: (legacyId: string) => readonly Product[]
  /** Products with a listing that may match; at most `limit`, those whose titles the query covers best first. */
  candidates: (query: WordQuery, limit: number) => readonly Product[]
  all: () => readonly Product[]
}>

export function createSearchIndex(): SearchIndex {
  const products: Product[] = []
  const vocabularies: string[] = []
  const postings = new Map<string, number[]>()
  const gtins = new Map<string, Product[]>()
  const numbers = new Map<string, Product[]>()

  const add = (product: Product): void => {
    const number = products.push(product) - 1
    const words = vocabularyOf(product)
    vocabularies.push(` ${[...words].join(' ')} `)
    for (const word of words) push(postings, word, number)
    if (product.gtin !== null) push(gtins, product.gtin, product)
    push(numbers, listingPrefix(product.asin), product)
  }

  const candidates = (query: WordQuery, limit: number): readonly Product[] => {
    const telling = query.filter((group) => !group.some((word) => FILLERS.has(word)))
    if (telling.length === 0) return []
    const [rarest, ...others] = telling
      .map((group) => ({ group, numbers: union(group.map((word) => postings.get(word) ?? [])) }))
      .sort((a, b) => a.numbers.length - b.numbers.length)
    const found = (rarest?.numbers ?? []).filter((number) => {
      const vocabulary = vocabularies[number] ?? ''
      return others.every(({ group }) => group.some((word) => vocabulary.includes(` ${word} `)))
    })
    if (found.length > limit) {
      const length = (number: number): number => vocabularies[number]?.length ?? 0
      found.sort((a, b) => length(a) - length(b) || a - b)
      found.length = limit
    }
    return found.map((number) => products[number]).filter((product) => product !== undefined)
  }

  return {
    add,
    candidates,
    byGtin: (gtin) => gtins.get(gtin) ?? [],
    byListing: (legacyId) => numbers.get(legacyId.slice(0, LISTING_PREFIX)) ?? [],
    all: () => products,
  }
}

/** Every word a listing of the product may show, fillers apart. */
function vocabularyOf(product: Product): Set<string> {
  const words = new Set(tokensOf(product.title))
  for (const word of tokensOf(product.brand)) words.add(word)
  for (const word of [...words]) {
    const synonym = SYNONYMS.get(word)
    if (synonym !== undefined) words.add(synonym)
  }
  for (const word of ACCESSORY_WORDS) words.add(word)
  return words
}

const ACCESSORY_WORDS = tokensOf('Replacement Filter for Case Charger Compatible with Spare Lid')

function push<T>(lists: Map<string, T[]>, key: string, item: T): void {
  const list = lists.get(key)
  if (list) list.push(item)
  else lists.set(key, [item])
}

function union(lists: readonly (readonly number[])[]): readonly number[] {
  if (lists.length === 1) return lists[0] ?? []
  return [...new Set(lists.flat())].sort((a, b) => a - b)
}
