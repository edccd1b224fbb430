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
