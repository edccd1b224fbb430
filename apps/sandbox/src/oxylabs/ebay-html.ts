/** eBay's search page as HTML, in both card layouts. */

import { type FilterSet, passes } from '../ebay/filters.ts'
import { sentName } from '../ebay/item.ts'
import { wordQuery } from '../ebay/search.ts'
import { decimal } from '../exchange.ts'
import type { Hits } from '../faults.ts'
import type { Listing } from '../world/listings.ts'
import type { World } from '../world/world.ts'
import type { TargetPage } from './bestsellers.ts'

export type Layout = 's-card' | 's-item'

const COUNTRIES: Readonly<Record<string, string>> = {
  US: 'United States',
  CN: 'China',
  HK: 'Hong Kong',
  GB: 'United Kingdom',
  CA: 'Canada',
  DE: 'Germany',
  JP: 'Japan',
}

/** The page behind a search URL. Any other eBay URL is a page that does not exist. */
export function ebayPage(world: World, url: string, layout: Layout, hits: Hits): TargetPage {
  const forced = hits.get('target_status')
  if (forced) return { status: forced.status ?? 613, url, content: '', type: 'raw' }
  if (hits.has('captcha')) return { status: 200, url, content: CAPTCHA, type: 'raw' }
  const query = searchOf(url)
  if (!query) return { status: 404, url, content: '', type: 'raw' }
  const ignored = hits.has('ignored_filters') || hits.has('ignored_filters_silent')
  const filters = ignored ? { buyingOptions: new Set(['FIXED_PRICE', 'AUCTION']) } : filtersOf(query)
  const found = findRows(world, query.get('_nkw') ?? '').filter((row) => passes(row, filters))
  found.sort((a, b) => b.score - a.score || (a.legacyId < b.legacyId ? -1 : 1))
  const size = [60, 120, 240].find((allowed) => String(allowed) === query.get('_ipg')) ?? 60
  const page = Math.max(1, Number(query.get('_pgn') ?? 1))
  const rows = onePerListing(found).slice((page - 1) * size, page * size)
  const shown = hits.has('old_layout') ? 's-item' : layout
  const others = hits.has('fewer_words') && rows.length === 0 ? fewerWords(world, filters) : []
  const html = pageHtml(query, rows, others, found.length, shown, hits)
  return { status: 200, url, content: hits.has('drift_html') ? drifted(html) : html, type: 'raw' }
}

const CAPTCHA =
  '<!doctype html><html><head><title>Security Measure | eBay</title></head><body><h1>Please verify yourself to continue</h1><form id="captcha_form"></form></body></html>'

function searchOf(url: string): URLSearchParams | null {
  if (!URL.canParse(url)) return null
  const parsed = new URL(url)
  return /(^|\.)ebay\./.test(parsed.hostname) && parsed.pathname.startsWith('/sch/') ? parsed.searchParams : null
}

function filtersOf(query: URLSearchParams): FilterSet {
  const filters: FilterSet = {}
  const condition = query.get('LH_ItemCondition')
  if (condition) filters.conditionIds = new Set(condition.split('|'))
  if (query.get('LH_Free') === '1') filters.freeShipping = true
  if (query.get('LH_PrefLoc') === '1') filters.locationCountry = 'US'
  filters.buyingOptions = new Set(query.get('LH_BIN') === '1' ? ['FIXED_PRICE'] : ['FIXED_PRICE', 'AUCTION'])
  const [low, high] = [query.get('_udlo'), query.get('_udhi')]
  if (low || high) {
    filters.priceCents = { min: centsOf(low) ?? 0, max: centsOf(high) ?? Number.POSITIVE_INFINITY }
  }
  const seller = query.get('_sasl')
  if (seller) filters.sellers = new Set(seller.toLowerCase().split(','))
  return filters
}

function centsOf(text: string | null): number | null {
  const match = /^(\d+)(?:\.(\d{1,2}))?$/.exec(text ?? '')
  return match ? Number(match[1]) * 100 + Number((match[2] ?? '').padEnd(2, '0')) : null
}

/** The page's search also knows article numbers, which the listings' titles do not contain. */
function findRows(world: World, text: string): Listing[] {
  const digits = text.trim()
  return /^\d{12,14}$/.test(digits) ? world.searchGtin(digits) : world.searchWords(wordQuery(text))
}

function onePerListing(rows: readonly Listing[]): Listing[] {
  return [...new Map(rows.map((row) => [row.legacyId, row])).values()]
}

function pageHtml(
  query: URLSearchParams,
  rows: readonly Listing[],
  others: readonly Listing[],
  total: number,
  layout: Layout,
  hits: Hits,
): string {
  const name = escaped(query.get('_nkw') ?? '')
  const card = layout === 's-card' ? newCard : oldCard
  const located = query.get('LH_PrefLoc') !== '1'
  const placeholder = layout === 's-card' ? NEW_PLACEHOLDER : OLD_PLACEHOLDER
  const cards = (shown: readonly Listing[]): string => shown.map((row) => card(row, located, hits)).join('')
  const fewer = others.length > 0 ? FEWER_WORDS + cards(others) : ''
  const none = rows.length === 0 ? '<h3 class="srp-save-null-search__heading">No exact matches found</h3>' : ''
  return (
    `<!doctype html><html lang="en"><head><meta charset="utf-8"><title>${name} for sale | eBay</title></head><body>` +
    `<h1 class="srp-controls__count-heading"><span class="BOLD">${total}</span> results for <span class="BOLD">${name}</span></h1>` +
    `<div id="srp-river-results" class="srp-river-results clearfix">${none}<ul class="srp-results srp-grid clearfix">` +
    `${placeholder}${placeholder}${cards(rows)}${fewer}</ul></div></body></html>`
  )
}

/** Listings that do not match, which eBay shows below an empty result. */
function fewerWords(world: World, filters: FilterSet): Listing[] {
  const any = world.searchHome(() => true).filter((row) => passes(row, filters))
  return onePerListing(any).slice(0, 5)
}

const FEWER_WORDS =
  '<li class="srp-river-answer srp-river-answer--REWRITE_START"><span>Results matching fewer words</span></li>'

const SPONSORED =
  '<div class="s-card__footer"><div class="s-card__sep"><span aria-hidden="true">derosnopS</span></div></div>'

const NEW_PLACEHOLDER =
  '<li data-listingid="2500219655424533" class="s-card s-card--vertical"><div class="su-card-container"><div class="su-card-container__header">' +
  '<a class="s-card__link" href="https://ebay.com/itm/123456?itmmeta=0"><div role="heading" aria-level="3" class="s-card__title"><span class="su-styled-text primary default">Shop on eBay</span></div></a>' +
  '<div class="s-card__subtitle-row"><div class="s-card__subtitle"><span class="su-styled-text secondary default">Brand New</span></div></div></div>' +
  '<div class="su-card-container__attributes"><div class="su-card-container__attributes__primary"><div class="s-card__attribute-row"><span class="su-styled-text primary bold large-1 s-card__price">$20.00</span></div></div></div></div></li>'

const OLD_PLACEHOLDER =
  '<li class="s-item"><div class="s-item__info"><a class="s-item__link" href="https://ebay.com/itm/123456"><div class="s-item__title"><span role="heading">Shop on eBay</span></div></a><span class="s-item__price">$20.00</span></div></li>'

function newCard(row: Listing, located: boolean, hits: Hits): string {
  const line = (text: string): string =>
    `<div class="s-card__attribute-row"><span class="su-styled-text secondary large">${text}</span></div>`
  const price = `<div class="s-card__attribute-row"><span class="su-styled-text primary bold large-1 s-card__price">$${grouped(row.cents)}</span></div>`
  const lines = [
    buyingText(row),
    shippingText(row),
    located || row.country !== 'US' ? `Located in ${COUNTRIES[row.country]}` : '',
  ].filter(Boolean)
  const seller = hits.has('no_seller_rows')
    ? ''
    : `<div class="su-card-container__attributes__secondary"><div class="s-card__attribute-row"><span class="su-styled-text primary large">${sentName(row.username, row.seller, hits)}</span><span class="su-styled-text primary large">${newFeedback(row)}</span></div></div>`
  return (
    `<li id="item${row.legacyId}" data-listingid="${row.legacyId}" class="s-card s-card--vertical"><div class="su-card-container"><div class="su-card-container__header">` +
    `<a class="s-card__link" href="https://www.ebay.com/itm/${row.legacyId}?_skw=x&amp;hash=item1"><div role="heading" aria-level="3" class="s-card__title"><span class="su-styled-text primary default">${escaped(row.title)}</span><span class="clipped">Opens in a new window or tab</span></div></a>` +
    `<div class="s-card__subtitle-row"><div class="s-card__subtitle"><span class="su-styled-text secondary default">${conditionText(row)}</span></div></div></div>` +
    `<div class="su-card-container__attributes"><div class="su-card-container__attributes__primary">${price}${lines.map(line).join('')}</div>${seller}</div>` +
    `${row.score > 0.8 ? SPONSORED : ''}</div></li>`
  )
}

function oldCard(row: Listing, located: boolean, hits: Hits): string {
  const seller = hits.has('no_seller_rows')
    ? ''
    : `<span class="s-item__seller-info"><span class="s-item__seller-info-text">${sentName(row.username, row.seller, hits)} (${row.seller.feedbackScore.toLocaleString('en-US')}) ${permille(row)}%</span></span>`
  return (
    `<li class="s-item s-item__pl-on-bottom" data-viewport="{}"><div class="s-item__info clearfix"><a class="s-item__link" href="https://www.ebay.com/itm/${row.legacyId}?hash=item1">` +
    `<div class="s-item__title"><span role="heading" aria-level="3">${escaped(row.title)}</span></div></a>` +
    `<div class="s-item__subtitle"><span class="SECONDARY_INFO">${conditionText(row)}</span></div>` +
    `<div class="s-item__details"><span class="s-item__price">$${grouped(row.cents)}</span><span class="s-item__purchase-options">${buyingText(row)}</span>` +
    `<span class="s-item__shipping s-item__logisticsCost">${shippingText(row)}</span>${located || row.country !== 'US' ? `<span class="s-item__location">from ${COUNTRIES[row.country]}</span>` : ''}${seller}</div></div></li>`
  )
}

function conditionText(row: Listing): string {
  if (row.conditionId === '1000') return 'Brand New'
  return row.conditionId === '3000' ? 'Pre-Owned' : (row.condition ?? '')
}

function buyingText(row: Listing): string {
  if (row.buyingOptions.includes('AUCTION')) return '3 bids · 2d 4h left'
  return row.buyingOptions.includes('BEST_OFFER') ? 'or Best Offer' : 'Buy It Now'
}

function shippingText(row: Listing): string {
  if (row.shipping.cents === null) return 'Shipping not specified'
  return row.shipping.cents === 0 ? 'Free delivery' : `+$${decimal(row.shipping.cents)} delivery`
}

function permille(row: Listing): string {
  const value = row.seller.feedbackPermille ?? 1000
  return value % 10 === 0 ? String(value / 10) : `${Math.floor(value / 10)}.${value % 10}`
}

/** The new layout rounds scores from 1,000 on: `(3.7K)`. */
function newFeedback(row: Listing): string {
  const score = row.seller.feedbackScore
  const shown = score < 1000 ? String(score) : `${Math.floor(score / 1000)}.${Math.floor((score % 1000) / 100)}K`
  return `${permille(row)}% positive (${shown.replace('.0K', 'K')})`
}

function grouped(cents: number): string {
  const [whole = '0', fraction = '00'] = decimal(cents).split('.')
  return `${Number(whole).toLocaleString('en-US')}.${fraction}`
}

function escaped(text: string): string {
  return text.replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('"', '&quot;')
}

/** The same page after a redesign: the markup a reader looks for is gone, the listings are not. */
function drifted(html: string): string {
  return html
    .replace(/s-card|s-item/g, 'x-tile')
    .replace(/su-card-container|su-styled-text/g, 'x-box')
    .replace(/srp-(results|river)/g, 'x-$1')
}
