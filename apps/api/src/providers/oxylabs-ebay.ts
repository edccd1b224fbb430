/** eBay search through Oxylabs' URL source: the fallback where the Browse API cannot be used. One page, one result. */
import { readEbayPage } from './ebay-html.ts'
import { centsText, queryText } from './ebay-words.ts'
import { answerOfAnother, isForAnother } from './echo.ts'
import { failure } from './failures.ts'
import { OXYLABS_TIMEOUT_MS, type OxylabsPage, queryPage } from './oxylabs-query.ts'
import { falseNone, recheck } from './recheck.ts'
import type { ProviderAccount, SearchAdapter, SearchAnswer, SearchRequest } from './types.ts'

/** Page sizes eBay knows. */
const PAGE_SIZES = [60, 120, 240]

/** The search adapter of an Oxylabs account. */
export function oxylabsEbay(account: ProviderAccount): SearchAdapter {
  const price = account.prices['oxylabs.ebay']
  return {
    worstCase: () => price ?? null,
    timeoutMs: OXYLABS_TIMEOUT_MS,
    search: async (request, context) => {
      if (price === undefined) throw new Error('oxylabs.ebay has no price: no price, no call')
      const query = { source: 'ebay', url: searchUrl(request), geo_location: 'United States' }
      const page = await queryPage(account, query, price, context)
      return page.ok ? readPage(page, request) : page
    },
  }
}

/** The search page's URL with every filter it knows; exported for the tests. The others are checked on the rows alone. */
export function searchUrl({ query, filters, limit }: SearchRequest): string {
  const words = query.kind === 'gtin' ? query.gtin : queryText(query.text)
  const parameters = new URLSearchParams({ _nkw: words, LH_ItemCondition: filters.conditionId, LH_BIN: '1' })
  if (filters.freeShipping) parameters.set('LH_Free', '1')
  if (filters.locatedIn === 'US') parameters.set('LH_PrefLoc', '1')
  if (filters.priceCents) {
    parameters.set('_udlo', centsText(filters.priceCents.min))
    parameters.set('_udhi', centsText(filters.priceCents.max))
  }
  parameters.set('_ipg', String(PAGE_SIZES.find((size) => size >= limit) ?? 240))
  parameters.set('_pgn', '1')
  return `https://www.ebay.com/sch/i.html?${parameters}`
}

function readPage({ content, charge, url }: OxylabsPage, request: SearchRequest): SearchAnswer {
  if (isForAnother(request.query, url, { text: '_nkw', gtin: '_nkw' })) return answerOfAnother(charge)
  if (typeof content !== 'string') return failure('drift', charge, 'schema', 'the content of the page is not HTML')
  if (content.trim() === '') return failure('blocked', charge, 'ebay_html.empty', 'the page is empty')
  const page = readEbayPage(content)
  if (page.kind === 'blocked') return failure('blocked', charge, page.code, page.message)
  if (page.kind === 'drift') return failure('drift', charge, 'schema', page.message)
  const checked = recheck(page.rows, request.filters)
  const wrong = falseNone(checked, page.rows.length)
  // Some exits get pages without sellers; another may get them.
  if (wrong === 'no_sellers')
    return failure('blocked', charge, 'ebay_html.no_sellers', 'no fitting card names its seller')
  if (wrong) return failure('drift', charge, 'schema', 'most cards of the page cannot be read')
  return { ok: true, charge, ...checked, ignoredFilters: [] }
}
