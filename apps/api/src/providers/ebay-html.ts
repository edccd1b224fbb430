/**
 * Reads eBay's search result page. Two layouts: `li.s-item` (until 2025) and `li.s-card` (since). A page without results
 * markup is never "none": eBay answers blocked visitors with status 200.
 */
import { type CheerioAPI, load } from 'cheerio'
import { cleanLine } from '../base/text.ts'
import { feedbackPermille, feedbackScore, type Row, readUsername } from './recheck.ts'
import type { SellerRef } from './types.ts'

/** What a page is. `rows` may be empty only where the page itself says that nothing was found. */
export type EbayPage =
  | Readonly<{ kind: 'rows'; rows: readonly (Row | null)[] }>
  | Readonly<{ kind: 'blocked'; code: string; message: string }>
  | Readonly<{ kind: 'drift'; message: string }>

type Node = Parameters<CheerioAPI['contains']>[0]

const CAPTCHA_TITLE = /security measure|pardon our interruption|robot check|access denied|captcha/i
/** The outer of two nested elements comes first. */
const RESULTS = '.srp-river-results, .srp-results'
const CARDS = 'li.s-card, li.s-item'
/** "Shop on eBay" comes once or twice. */
const MOST_PLACEHOLDERS = 2
const LISTING_LINK = 'a[href*="/itm/"]'
/** Where cards say how they are sold, shipped and located, in both layouts. */
const OFFER_LINES = '.s-card__attribute-row, .s-item__detail, .s-item__details > *'
/** After it come rows that match fewer words than were asked for. */
const FEWER_WORDS = '.srp-river-answer--REWRITE_START'

/** Elements open at once. Real pages stay below 100; the time of parser and selectors grows with the square of it. */
const DEPTH_LIMIT = 3000
const VOID_TAGS = new Set('area base br col embed hr img input link meta path source track use wbr'.split(' '))

/** Reads a page. Never throws: what breaks the parser is drift. */
export function readEbayPage(html: string): EbayPage {
  try {
    if (nestsTooDeep(html)) return { kind: 'drift', message: 'the page is nested beyond reason' }
    // htmlparser2 instead of parse5: a third of the time, and it is the event loop's time.
    return readPage(load(html, { xml: { xmlMode: false, decodeEntities: true } }))
  } catch {
    return { kind: 'drift', message: 'the page cannot be parsed' }
  }
}

/** Counts tags without parsing: exact enough to keep a page away from the parser that would block the process for minutes. */
function nestsTooDeep(html: string): boolean {
  let depth = 0
  for (const [, slash, name = ''] of html.matchAll(/<(\/?)([a-z][a-z0-9-]*)/gi)) {
    if (slash) depth = Math.max(depth - 1, 0)
    else if (!VOID_TAGS.has(name.toLowerCase()) && ++depth > DEPTH_LIMIT) return true
  }
  return false
}

function readPage($: CheerioAPI): EbayPage {
  const title = cleanLine($('title').first().text())
  if (CAPTCHA_TITLE.test(title)) {
    return { kind: 'blocked', code: 'ebay_html.captcha', message: `eBay showed "${title.slice(0, 80)}"` }
  }
  const nothing = saysNothingFound($)
  if (!nothing && $(RESULTS).length === 0) return withoutResults($)
  const cards = exactCards($).map((card) => readCard($, card))
  if (nothing) return { kind: 'rows', rows: cards.map(({ row }) => row).filter((row) => row?.placeholder) }
  const real = cards.filter(({ row }) => !row?.placeholder)
  if (real.length === 0) return { kind: 'drift', message: 'the results list has no cards' }
  if (!real.some(({ row }) => row?.listingId && row.title && row.price)) {
    return { kind: 'drift', message: 'no card of the results list can be read' }
  }
  if (real.length >= 3 && !(real.some((card) => card.hasSubtitle) && real.some((card) => card.hasLines))) {
    return { kind: 'drift', message: 'no card of the results list shows its condition, or none its offer' }
  }
  return { kind: 'rows', rows: cards.map(({ row }) => row) }
}

/** Links to listings without the list we know: a new layout. No links either: a wall that answers with status 200. */
function withoutResults($: CheerioAPI): EbayPage {
  if ($(LISTING_LINK).length > 0)
    return { kind: 'drift', message: 'the page links to listings and has no results list' }
  const message = 'the page has neither results nor a note that there are none'
  return { kind: 'blocked', code: 'ebay_html.no_results_markup', message }
}

function saysNothingFound($: CheerioAPI): boolean {
  if ($('.srp-save-null-search, .srp-save-null-search__heading').length > 0) return true
  const heading = cleanLine($('.srp-controls__count-heading').first().text())
  return /^0\+? results?\b/i.test(heading) || /^no exact matches/i.test(heading)
}

/** Cards in the order of the page, up to the note that what follows matches fewer words. */
function exactCards($: CheerioAPI): Node[] {
  // Broken nesting, which eBay's pages have, can leave the cards behind the list instead of in it.
  const inside = $(RESULTS).first().find(`${CARDS}, ${FEWER_WORDS}`)
  const nodes = inside.length > MOST_PLACEHOLDERS ? inside.toArray() : $(`${CARDS}, ${FEWER_WORDS}`).toArray()
  const end = nodes.findIndex((node) => $(node).is(FEWER_WORDS))
  return end < 0 ? nodes : nodes.slice(0, end)
}

/** A card, and whether it shows anything where condition and offer are shown. */
type Card = Readonly<{ row: Row | null; hasSubtitle: boolean; hasLines: boolean }>

function readCard($: CheerioAPI, node: Node): Card {
  const card = $(node)
  const texts = (selector: string) =>
    card
      .find(selector)
      .toArray()
      .map((part) => cleanLine($(part).text()))
      .filter((text) => text !== '')
  const lines = texts(OFFER_LINES)
  const subtitles = texts('.s-card__subtitle, .SECONDARY_INFO, .s-item__subtitle')

  const shownTitle = card.find('.s-card__title, .s-item__title').first().clone()
  shownTitle.find('.clipped').remove()
  const title = cleanTitle(shownTitle.text())
  const href = card.find(LISTING_LINK).first().attr('href') ?? ''
  const row = {
    listingId: /\/itm\/(?:[^/?#]+\/)?(\d{6,19})(?:[/?#]|$)/.exec(href)?.[1] ?? null,
    title: title === '' ? null : title,
    conditionId: conditionId(subtitles),
    buyingOptions: lines.some((line) => /\b\d+ bids?\b/i.test(line)) ? ['AUCTION'] : ['FIXED_PRICE'],
    country: country(lines),
    freeShipping: lines.some((line) => /^free\b[^.]*\b(shipping|delivery|postage)\b/i.test(line)),
    ...priceOf(texts('.s-card__price, .s-item__price')),
    seller: seller(texts('.s-item__seller-info-text'), attributeSpans($, node)),
    placeholder: /^shop on ebay$/i.test(title),
  }
  const empty = row.listingId === null && row.title === null
  return { row: empty ? null : row, hasSubtitle: subtitles.length > 0, hasLines: lines.length > 0 }
}

/** "New Listing" and "Opens in a new window or tab" are eBay's words, not the seller's. */
function cleanTitle(shown: string): string {
  return cleanLine(shown)
    .replace(/^new listing\s*/i, '')
    .replace(/\s*opens in a new window or tab$/i, '')
}

/** Texts that stand for condition 1000; all others are another condition. Source: eBay help, "Item condition", 2026. */
const NEW_TEXTS = new Set(['brand new', 'new', 'new with tags', 'new with box', 'new: never used'])

function conditionId(subtitles: readonly string[]): string | null {
  const parts = subtitles.flatMap((line) => line.split(/\s*[·|]\s*/)).map((part) => part.toLowerCase())
  return parts.some((part) => NEW_TEXTS.has(part)) ? '1000' : null
}

const regionNames = new Intl.DisplayNames('en', { type: 'region' })
const REGIONS = new Map<string, string>()
for (const first of 'ABCDEFGHIJKLMNOPQRSTUVWXYZ') {
  for (const second of 'ABCDEFGHIJKLMNOPQRSTUVWXYZ') {
    const name = regionNames.of(first + second)
    if (name && name !== first + second && !REGIONS.has(name.toLowerCase()))
      REGIONS.set(name.toLowerCase(), first + second)
  }
}
REGIONS.set('hong kong', 'HK')
REGIONS.set('usa', 'US')

/** A card names its country only when it is not the site's own. An unknown name is no country we asked for. */
function country(lines: readonly string[]): string | null {
  for (const line of lines) {
    const name = /^(?:located in|from) (.+)$/i.exec(line)?.[1]
    if (name !== undefined) return REGIONS.get(name.toLowerCase()) ?? null
  }
  return 'US'
}

/** `$19.99`, `US $19.99`, or the lower end of a range. Any other sign is another currency. */
function priceOf([shown]: readonly string[]): { currency: string | null; price: string | null } {
  if (shown === undefined) return { currency: null, price: null }
  const amount = /^(?:US )?\$([\d,]+(?:\.\d+)?)(?: to (?:US )?\$[\d,.]+)?$/.exec(shown)?.[1]
  return amount === undefined ? { currency: 'other', price: shown } : { currency: 'USD', price: amount }
}

/** The texts of the spans of each attribute row, rows in order. */
function attributeSpans($: CheerioAPI, node: Node): string[][] {
  const rows = $(node).find('.s-card__attribute-row').toArray()
  return rows.map((row) =>
    $(row)
      .find('span')
      .toArray()
      .map((span) => cleanLine($(span).text())),
  )
}

/** Old: `name (102,862) 98.8%`. New: one span with the name, one with `99.6% positive (3.7K)`. */
function seller(oldTexts: readonly string[], spans: readonly (readonly string[])[]): SellerRef | null {
  for (const text of oldTexts) {
    const match = /^(\S+) \(([\d.,]+[KM]?)\) ([\d.]+)%$/i.exec(text)
    if (match) return sellerRef(match[1], match[2], match[3])
  }
  for (const [first = '', second = ''] of spans) {
    const one = /^(\S+) ([\d.]+)% positive \(([\d.,]+[KM]?)\)$/i.exec(first)
    if (one) return sellerRef(one[1], one[3], one[2])
    const two = /^([\d.]+)% positive \(([\d.,]+[KM]?)\)$/i.exec(second)
    if (two) return sellerRef(first, two[2], two[1])
  }
  return null
}

function sellerRef(
  name: string | undefined,
  score: string | undefined,
  percentage: string | undefined,
): SellerRef | null {
  const username = readUsername(name)
  if (username === null) return null
  const read = feedbackScore(score ?? '')
  return {
    username,
    feedbackScore: read?.score ?? null,
    feedbackPermille: feedbackPermille(percentage),
    ...(read?.rounded ? { rounded: true } : {}),
  }
}
