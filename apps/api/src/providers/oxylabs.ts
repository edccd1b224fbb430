/** Amazon best-seller lists through Oxylabs: at most two pages of 50 places, one page a step, one result a page. */
import { parsePriceCents } from '../base/money.ts'
import { cleanLine, decodeEntities } from '../base/text.ts'
import { failure } from './failures.ts'
import { queryPage } from './oxylabs-query.ts'
import { oxylabsBestseller, oxylabsBestsellers } from './schemas.ts'
import type { CategoryRef, ListAdapter, ListAnswer, ListedProduct, ListStep, ProviderAccount } from './types.ts'

/** Amazon's lists have 100 places at most. */
const PAGES = 2
const PLACES_A_PAGE = 50

/** The list adapter of an Oxylabs account. */
export function oxylabsList(account: ProviderAccount): ListAdapter {
  const price = account.prices['oxylabs.amazon_bestsellers']
  return {
    firstStep: () => ({ kind: 'page', page: 1 }),
    worstCase: () => price ?? null,
    fetch: async (category, step, context) => {
      if (price === undefined) throw new Error('oxylabs.amazon_bestsellers has no price: no price, no call')
      if (step.kind !== 'page') throw new Error(`Oxylabs lists have pages, not a step of kind ${step.kind}`)
      const page = await queryPage(account, listQuery(category, step.page), price, context)
      return page.ok ? readPage(page.content, step.page, page.charge) : page
    },
  }
}

/**
 * A list is named by its browse node. A department without a known node is read by its URL, which the same parser takes
 * and which costs the same. `geo_location` is a delivery address in the US: prices follow it.
 */
function listQuery(category: CategoryRef, page: number): Record<string, unknown> {
  const shared = { domain: 'com', geo_location: '10001', parse: true }
  if (category.nodeId === null) {
    return { source: 'amazon', url: `https://www.amazon.com/gp/bestsellers/${category.slug}?pg=${page}`, ...shared }
  }
  return { source: 'amazon_bestsellers', query: category.nodeId, start_page: page, pages: 1, ...shared }
}

function readPage(content: unknown, page: number, charge: ListAnswer['charge']): ListAnswer {
  const parsed = oxylabsBestsellers.safeParse(content)
  if (!parsed.success) return failure('drift', charge, 'schema', 'the page was not parsed into a best-seller list')
  const { parse_status_code: code, results } = parsed.data
  // 12009: no such list. 12002 and 12008: nothing of a list is there, which is what a robot check looks like to the parser.
  // 12004 and 12005: partly read, use what there is.
  if (code === 12009) return failure('rejected', charge, 'oxylabs.12009', 'Amazon has no such best-seller list')
  if (code === 12002 || code === 12008) {
    return failure('blocked', charge, `oxylabs.${code}`, `the page holds no list that Oxylabs could parse (${code})`)
  }
  if (code !== undefined && code !== null && code !== 12000 && code !== 12004 && code !== 12005) {
    return failure('drift', charge, `oxylabs.${code}`, `Oxylabs could not parse the page (${code})`)
  }
  if (!results) return failure('drift', charge, 'schema', 'the parsed page has no rows')
  const { products, left } = readRows(results, page)
  if (results.length > 0 && products.length === 0 && left.every(({ reason }) => reason !== 'duplicate')) {
    return failure('drift', charge, 'schema', 'no row of the best-seller page has the expected shape')
  }
  // 30 rows instead of 50 happen, the rest is loaded on scroll: a short page is not the end, only an empty one is.
  const next: ListStep | null = page < PAGES && results.length > 0 ? { kind: 'page', page: page + 1 } : null
  return { ok: true, charge, products, next, left }
}

function readRows(rows: readonly unknown[], page: number) {
  const products = new Map<string, ListedProduct>()
  const left: { asin: string | null; reason: string }[] = []
  for (const row of rows) {
    const read = readRow(row, page)
    if ('reason' in read) left.push(read)
    else if (products.has(read.asin)) left.push({ asin: read.asin, reason: 'duplicate' })
    else products.set(read.asin, read)
  }
  return { products: [...products.values()], left }
}

function readRow(sent: unknown, page: number): ListedProduct | { asin: string | null; reason: string } {
  const parsed = oxylabsBestseller.safeParse(sent)
  if (!parsed.success) return { asin: null, reason: 'unreadable' }
  const row = parsed.data
  const asin = readAsin(row.asin)
  if (asin === null) return { asin: null, reason: 'no_asin' }
  const title = cleanLine(decodeEntities(row.title ?? ''))
  if (title === '') return { asin, reason: 'no_title' }
  const priceCents = readPrice(row.price, row.price_str, row.currency)
  return {
    asin,
    title,
    priceCents,
    rank: absoluteRank(row.pos ?? null, page),
    url: `https://www.amazon.com/dp/${asin}`,
  }
}

/** Ten capital letters or digits (books carry their ISBN-10); null for anything else. */
export function readAsin(sent: string | null | undefined): string | null {
  const asin = sent?.trim().toUpperCase() ?? ''
  return /^[0-9A-Z]{10}$/.test(asin) ? asin : null
}

/** Page 2 may go on at 51 or start again at 1. */
function absoluteRank(position: number | null, page: number): number | null {
  if (position === null) return null
  const before = PLACES_A_PAGE * (page - 1)
  return position > before ? position : position + before
}

/** Zero and null mean hidden. The generic parser says `$` for USD; a row without currency may still show its price with `$`. */
function readPrice(
  price: string | null | undefined,
  shown: string | null | undefined,
  currency: string | null | undefined,
): number | null {
  if (currency !== 'USD' && currency !== '$' && !(currency == null && shown?.trim().startsWith('$'))) return null
  return (price == null ? null : parsePriceCents(price)) || (shown == null ? null : parsePriceCents(shown)) || null
}
