/** Made-up answers in the providers' wire formats. Nothing here is recorded data. */
import type { CategoryRef, SearchFilters, SearchRequest } from '../../src/providers/types.ts'

export const CATEGORY: CategoryRef = { key: 'kitchen/289742', slug: 'kitchen', nodeId: '289742', name: 'Coffee Makers' }

export const FILTERS: SearchFilters = {
  conditionId: '1000',
  freeShipping: true,
  locatedIn: 'US',
  buyingOption: 'FIXED_PRICE',
  priceCents: { min: 1600, max: 3200 },
  currency: 'USD',
}

export const SEARCH: SearchRequest = {
  query: { kind: 'text', text: 'Brewster (Pour, Over) Kettle*' },
  filters: FILTERS,
  limit: 200,
}

export function asin(n: number): string {
  return `B0${String(n).padStart(8, '0')}`
}

export function ebayRow(change: Readonly<Record<string, unknown>> = {}): Record<string, unknown> {
  return {
    itemId: 'v1|110000000001|0',
    legacyItemId: '110000000001',
    title: 'Brewster Pour Over Kettle, New',
    price: { value: '19.99', currency: 'USD' },
    seller: { username: 'kettle_corner', feedbackPercentage: '99.2', feedbackScore: 4321 },
    condition: 'New',
    conditionId: '1000',
    shippingOptions: [{ shippingCostType: 'FIXED', shippingCost: { value: '0.00', currency: 'USD' } }],
    buyingOptions: ['FIXED_PRICE'],
    itemLocation: { country: 'US' },
    ...change,
  }
}

export function ebayBody(rows: readonly unknown[], extra: Readonly<Record<string, unknown>> = {}): string {
  const shared = { href: 'https://api.ebay.com/x', total: rows.length, limit: 200, offset: 0 }
  return JSON.stringify(rows.length === 0 ? { ...shared, ...extra } : { ...shared, itemSummaries: rows, ...extra })
}

export function ebayErrors(errorId: number, message = 'told'): string {
  return JSON.stringify({ errors: [{ errorId, domain: 'API_BROWSE', category: 'REQUEST', message }] })
}

export const EBAY_TOKEN = JSON.stringify({
  access_token: 'v^1.1#i^1#token',
  expires_in: 7200,
  token_type: 'Application Access Token',
})

export function oxylabsBody(content: unknown, status = 200, copies = 1): string {
  const result = {
    content,
    created_at: '2026-11-22 10:00:00',
    page: 1,
    url: 'https://x',
    job_id: '1',
    status_code: status,
  }
  return JSON.stringify({ results: Array.from({ length: copies }, () => result), job: { id: '1', status: 'done' } })
}

export function bestsellerRow(n: number, change: Readonly<Record<string, unknown>> = {}): Record<string, unknown> {
  return {
    pos: n,
    asin: asin(n),
    title: `Kettle number ${n}`,
    url: `/Kettle/dp/${asin(n)}`,
    price: 24.2,
    price_upper: 24.2,
    price_str: '$24.20',
    currency: 'USD',
    ...change,
  }
}

export function bestsellers(rows: readonly unknown[], code: number | null = 12000): Record<string, unknown> {
  return { url: 'https://www.amazon.com/x', page: 1, query: '289742', parse_status_code: code, results: rows }
}

export type CardChange = Readonly<{
  id?: string
  title?: string
  price?: string
  condition?: string
  lines?: readonly string[]
  seller?: readonly [name: string, feedback: string] | null
}>

/** One card of the layout since 2025. */
export function newCard(change: CardChange = {}): string {
  const {
    id = '110000000001',
    title = 'Brewster Kettle &amp; Filter',
    price = '$19.99',
    condition = 'Brand New',
  } = change
  const { lines = ['Buy It Now', 'Free delivery'], seller = ['kettle_corner', '99.2% positive (3.7K)'] } = change
  const row = (inner: string) => `<div class=s-card__attribute-row>${inner}</div>`
  const span = (text: string) => `<span class="su-styled-text secondary large">${text}</span>`
  return `<li data-listingid=${id} class="s-card s-card--vertical"><div class=su-card-container__header>
    <a class=s-card__link href=https://www.ebay.com/itm/${id}?_skw=x&hash=item1><div role=heading class=s-card__title>
    <span>${title}</span><span class=clipped>Opens in a new window or tab</span></div></a>
    <div class=s-card__subtitle-row><div class=s-card__subtitle>${span(condition)}</div></div></div>
    ${row(`<span class="su-styled-text s-card__price">${price}</span>`)}${lines.map((line) => row(span(line))).join('')}
    ${seller ? row(seller.map(span).join('')) : ''}<div class=s-card__footer><span aria-hidden=true>derosnopS</span></div></li>`
}

/** One card of the layout until 2025. */
export function oldCard(change: CardChange = {}): string {
  const {
    id = '110000000001',
    title = 'Brewster Kettle &amp; Filter',
    price = '$19.99',
    condition = 'Brand New',
  } = change
  const { lines = ['Buy It Now', 'Free shipping'], seller = ['kettle_corner', '(4,321) 99.2%'] } = change
  return `<li class="s-item s-item__pl-on-bottom"><a class="s-item__link" href="https://www.ebay.com/itm/${id}?hash=1">
    <div class="s-item__title"><span role="heading">${title}</span></div></a>
    <div class="s-item__subtitle"><span class="SECONDARY_INFO">${condition}</span></div>
    <div class="s-item__details"><span class="s-item__price">${price}</span>
    ${lines.map((line) => `<span class="s-item__detail">${line}</span>`).join('')}
    ${seller ? `<span class="s-item__seller-info"><span class="s-item__seller-info-text">${seller.join(' ')}</span></span>` : ''}
    </div></li>`
}

export function resultsPage(cards: readonly string[], heading = `${cards.length} results for kettle`): string {
  return `<!doctype html><html><head><title>Kettle for sale | eBay</title></head><body>
    <h1 class=srp-controls__count-heading>${heading}</h1><div class="srp-river-results clearfix">
    <ul class="srp-results srp-grid clearfix">${cards.join('')}</ul></div></body></html>`
}

export const PLACEHOLDER = newCard({ id: '123456', title: 'Shop on eBay', price: '$20.00', lines: [], seller: null })

export function keepaBody(fields: Readonly<Record<string, unknown>>, tokensConsumed: number): string {
  const envelope = { timestamp: 1, tokensLeft: 1150, refillIn: 23_456, refillRate: 20, tokenFlowReduction: 0 }
  return JSON.stringify({ ...envelope, tokensConsumed, processingTimeInMs: 8, ...fields })
}

export function keepaProduct(n: number, change: Readonly<Record<string, unknown>> = {}): Record<string, unknown> {
  return {
    asin: asin(n),
    domainId: 1,
    productType: 0,
    title: `Kettle &amp; filter number ${n}`,
    brand: 'Brewster',
    images: [{ l: '81kettle.jpg', lH: 1500, lW: 1500, m: '51kettle.jpg' }],
    upcList: ['012345678905'],
    eanList: ['0012345678905'],
    gtinList: null,
    stats: { current: [2500, 2400, -1, 17, ...Array.from({ length: 14 }, () => -1), 2420, -1] },
    csv: null,
    ...change,
  }
}
