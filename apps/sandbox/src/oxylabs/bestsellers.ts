/** Best-seller pages as Oxylabs parses them. */
import type { Hits } from '../faults.ts'
import { hash53 } from '../random.ts'
import type { Category } from '../world/categories.ts'
import type { Product } from '../world/products.ts'
import type { World } from '../world/world.ts'

const PAGE = 50

export type TargetPage = Readonly<{ status: number; url: string; content: unknown; type: 'parsed' | 'raw' }>

/** Which category a request means, and the page it starts with. Null when Amazon has no such page. */
export function wantedCategory(
  world: World,
  payload: Readonly<{ query?: string | undefined; url?: string | undefined; categoryId?: string | undefined }>,
): Category | null {
  if (payload.url !== undefined) return categoryOfUrl(world, payload.url)
  if (payload.categoryId !== undefined) return world.tree.find(payload.categoryId)
  const query = payload.query ?? ''
  return world.tree.byKey.get(query) ?? world.tree.find(query)
}

/** `/gp/bestsellers/<slug>[/<node>]` and `/<words>/zgbs/<slug>[/<node>]`. */
function categoryOfUrl(world: World, url: string): Category | null {
  const [, slug = '', node] = /\/(?:gp\/bestsellers|zgbs)\/([^/?]+)(?:\/([^/?]+))?/.exec(url) ?? []
  return node === undefined || node.startsWith('ref=') ? world.tree.find(slug) : world.tree.find(node, slug)
}

export function pageOfUrl(url: string): number {
  return Number(/[?&]pg=(\d+)/.exec(url)?.[1] ?? 1)
}

export function bestsellerPage(
  world: World,
  category: Category | null,
  page: number,
  query: string,
  options: Readonly<{ parse: boolean; rows: 30 | 50; hits: Hits }>,
): TargetPage {
  const { hits } = options
  const url = urlOf(category, page, query)
  const type = options.parse ? 'parsed' : 'raw'
  const forced = hits.get('target_status')
  if (forced && (forced.page ?? page) === page) return { status: forced.status ?? 613, url, content: '', type }
  if (category === null) return { status: 404, url, content: '', type }
  const products = world.list(category).slice((page - 1) * PAGE, page * PAGE)
  const shown = products.slice(0, hits.has('short_pages') ? 30 : options.rows)
  if (hits.has('captcha')) return captchaPage(url, page, query, options.parse)
  if (!options.parse) return { status: 200, url, content: htmlOf(category, shown, page), type }
  const restarts = hash53(`${world.seed}|pos|${category.key}`) % 2 === 0
  const rows = shown.map((product, place) => rowOf(product, place + 1 + (restarts ? 0 : (page - 1) * PAGE)))
  return { status: 200, url, content: contentOf(url, page, query, rows, hits), type }
}

/** A robot check delivered as 200: the parser finds none of what it looks for. */
function captchaPage(url: string, page: number, query: string, parse: boolean): TargetPage {
  if (!parse) {
    const content = '<html><head><title>Robot Check</title></head><body>Type the characters you see</body></html>'
    return { status: 200, url, content, type: 'raw' }
  }
  return { status: 200, url, content: { url, page, query, parse_status_code: 12002, results: [] }, type: 'parsed' }
}

function contentOf(
  url: string,
  page: number,
  query: string,
  rows: readonly object[],
  hits: Hits,
): Readonly<Record<string, unknown>> {
  if (hits.has('drift_json')) {
    const items = rows.map((row) => ({ card: row }))
    return { url, page, query, parse_status_code: 12000, best_sellers: items }
  }
  const code = hits.get('parse_status')?.code ?? 12000
  const broken = new Set([12002, 12003, 12006, 12007, 12008, 12009])
  const results = broken.has(code) ? [] : code === 12004 ? rows.filter((_, i) => i % 5 !== 0) : rows
  const warnings = code === 12000 ? {} : { _warnings: ['The page could not be parsed completely.'] }
  return { url, page, query, results, parse_status_code: code, ...warnings }
}

function rowOf(product: Product, pos: number): object {
  const price = product.priceCents === null ? null : product.priceCents / 100
  return {
    pos,
    url: `/${product.brand}/dp/${product.asin}/ref=zg_bs_${pos}`,
    asin: product.asin,
    price,
    title: product.title,
    rating: product.ratingTenths === null ? null : product.ratingTenths / 10,
    currency: price === null ? null : hash53(product.asin) % 10 === 0 ? '$' : 'USD',
    is_prime: hash53(product.asin) % 3 === 0,
    price_str: price === null ? null : `$${price.toFixed(2)}`,
    price_upper: price,
    ratings_count: product.ratingsCount,
  }
}

function urlOf(category: Category | null, page: number, query: string): string {
  const path = category === null ? query : category.level === 0 ? category.slug : `${category.slug}/${category.id}`
  return `https://www.amazon.com/gp/bestsellers/${path}?pg=${page}`
}

function htmlOf(category: Category, products: readonly Product[], page: number): string {
  const cards = products
    .map(
      (product, place) =>
        `<div id="gridItemRoot"><span class="zg-bdg-text">#${(page - 1) * PAGE + place + 1}</span><a href="/dp/${product.asin}">${product.title.replaceAll('&', '&amp;')}</a></div>`,
    )
    .join('')
  const name = category.name.replaceAll('&', '&amp;')
  return `<!doctype html><html><head><title>Amazon Best Sellers: Best ${name}</title></head><body>${cards}</body></html>`
}
