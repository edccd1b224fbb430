/** GET /buy/browse/v1/item_summary/search over the generated marketplace. */
import type { Ask, Reply } from '../exchange.ts'
import { hash53 } from '../random.ts'
import type { Listing } from '../world/listings.ts'
import type { WordQuery } from '../world/search-index.ts'
import { tokensOf } from '../world/words.ts'
import type { World } from '../world/world.ts'
import { browseError, type EbayError, errorReply } from './errors.ts'
import { type FilterSet, parseFilters, passes } from './filters.ts'
import { categoryNumber, summaryJson } from './item.ts'

const QUERY_LIMIT = 100
const MOST_ITEMS = 10_000
const SORTS = new Set(['price', '-price', 'distance', 'newlyListed', 'endingSoonest'])

type Page = Readonly<{ limit: number; offset: number }>

export function searchReply(world: World, ask: Ask): Reply {
  const query = ask.query
  const page = pageOf(query)
  if ('errorId' in page) return errorReply(400, page)
  const term = termError(query)
  if (term) return errorReply(400, term)
  const parsed = parseFilters(query.get('filter') ?? '')
  if (parsed.error) return errorReply(400, parsed.error)

  const warnings = [...parsed.warnings]
  let filters: FilterSet = parsed.filters
  if (ask.hits.has('ignored_filters') || ask.hits.has('ignored_filters_silent')) {
    filters = { buyingOptions: new Set(['FIXED_PRICE', 'AUCTION']) }
    if (ask.hits.has('ignored_filters')) {
      warnings.push(browseError(12012, [{ name: 'filter', value: query.get('filter') ?? '' }]))
    }
  }
  const sort = query.get('sort')
  if (sort !== null && !SORTS.has(sort)) warnings.push(browseError(12008, [{ name: 'sort', value: sort }]))

  const found = findRows(world, query).filter((row) => passes(row, filters))
  if (filters.sellers && found.length === 0) warnings.push(browseError(12003))
  order(found, sort)
  const body = bodyOf(ask, page, found.slice(0, MOST_ITEMS), warnings)
  return { status: 200, headers: { 'content-type': 'application/json' }, body }
}

/** What a search asked for, for the billing record. */
export function describeSearch(query: URLSearchParams): string {
  const gtin = query.get('gtin')
  return (gtin === null ? `q=${query.get('q') ?? ''}` : `gtin=${gtin}`).slice(0, 120)
}

function pageOf(query: URLSearchParams): Page | EbayError {
  const limitText = query.get('limit') ?? '50'
  const offsetText = query.get('offset') ?? '0'
  if (!/^-?\d+$/.test(limitText)) return browseError(12007, [{ name: 'limit', value: limitText }])
  if (!/^-?\d+$/.test(offsetText)) return browseError(12005, [{ name: 'offset', value: offsetText }])
  const limit = Number(limitText)
  const offset = Number(offsetText)
  if (limit < 1 || limit > 200) return browseError(12006, [{ name: 'limit', value: limitText }])
  if (offset < 0) return browseError(12004, [{ name: 'offset', value: offsetText }])
  if (offset >= 10_000) return browseError(12029, [{ name: 'offset', value: offsetText }])
  if (offset % limit !== 0) return browseError(12515, [{ name: 'offset', value: offsetText }])
  return { limit, offset }
}

function termError(query: URLSearchParams): EbayError | null {
  const terms = ['q', 'gtin', 'epid', 'category_ids', 'charity_ids'].filter((name) => (query.get(name) ?? '').trim())
  if (terms.length === 0) return browseError(12001)
  const both = terms.includes('q') && (terms.includes('gtin') || terms.includes('epid'))
  return both ? browseError(12001, [{ name: 'q', value: query.get('q') ?? '' }]) : null
}

function findRows(world: World, query: URLSearchParams): Listing[] {
  const categories = new Set((query.get('category_ids') ?? '').split(',').filter(Boolean).map(Number))
  const inCategory = (home: string): boolean => categories.size === 0 || categories.has(categoryNumber(home))
  const gtin = query.get('gtin')
  const q = query.get('q')
  if (gtin !== null) return world.searchGtin(gtin.trim()).filter((row) => inCategory(row.home))
  if (q !== null && q.trim() !== '') return world.searchWords(wordQuery(q)).filter((row) => inCategory(row.home))
  return categories.size > 0 ? world.searchHome(inCategory) : []
}

/** Words joined with AND; `(a, b)` is one word of several; everything after 100 characters is cut silently. */
export function wordQuery(q: string): WordQuery {
  const text = q.slice(0, QUERY_LIMIT)
  const groups: string[][] = []
  const plain = text.replace(/\(([^()]*)\)/g, (_, inside: string) => {
    const words = inside.split(',').flatMap((part) => tokensOf(part))
    if (words.length > 0) groups.push(words)
    return ' '
  })
  for (const word of tokensOf(plain)) groups.push([word])
  return groups
}

function order(rows: Listing[], sort: string | null): void {
  const total = (row: Listing): number => row.cents + (row.shipping.cents ?? 0)
  const tie = (a: Listing, b: Listing): number =>
    a.legacyId === b.legacyId ? (a.variationId < b.variationId ? -1 : 1) : a.legacyId < b.legacyId ? -1 : 1
  const by: Readonly<Record<string, (a: Listing, b: Listing) => number>> = {
    price: (a, b) => total(a) - total(b),
    '-price': (a, b) => total(b) - total(a),
    newlyListed: (a, b) => b.createdMs - a.createdMs,
    endingSoonest: (a, b) => a.createdMs - b.createdMs,
  }
  const compare = by[sort ?? ''] ?? ((a: Listing, b: Listing) => b.score - a.score)
  rows.sort((a, b) => compare(a, b) || tie(a, b))
}

function bodyOf(ask: Ask, { limit, offset }: Page, found: readonly Listing[], warnings: readonly EbayError[]): string {
  const rows = found.slice(offset, offset + limit)
  const drift = ask.hits.has('drift_json')
  const parts = [`"href":${link(ask, limit, offset)}`, `"total":${noisyTotal(ask, found.length, offset)}`]
  if (offset + limit < found.length) parts.push(`"next":${link(ask, limit, offset + limit)}`)
  if (offset > 0) parts.push(`"prev":${link(ask, limit, Math.max(0, offset - limit))}`)
  parts.push(`"limit":${limit}`, `"offset":${offset}`)
  if (rows.length > 0) {
    const items = rows.map((row) => summaryJson(row, ask.hits, ask.origin)).join(',')
    parts.push(
      `"${drift ? 'results' : 'itemSummaries'}":[${drift ? items.replaceAll('"seller":', '"merchant":') : items}]`,
    )
  }
  if (warnings.length > 0) parts.push(`"warnings":${JSON.stringify(warnings)}`)
  return `{${parts.join(',')}}`
}

/** An estimate that differs from page to page, and is 0 only when nothing matched. */
function noisyTotal(ask: Ask, found: number, offset: number): number {
  if (found === 0) return 0
  const noise = (hash53(`${ask.query.get('q')}|${ask.query.get('gtin')}|${offset}`) % 31) - 12
  return Math.max(1, found + Math.round((found * noise) / 100))
}

function link(ask: Ask, limit: number, offset: number): string {
  const query = new URLSearchParams(ask.query)
  query.set('limit', String(limit))
  query.set('offset', String(offset))
  return JSON.stringify(`${ask.origin}${ask.path}?${query}`)
}
