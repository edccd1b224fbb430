/** Every adapter as the conformance suite sees it: one call, its made-up good answers, and what those cost. */
import { toMicros } from '../../src/base/money.ts'
import { listAdapter, searchAdapter } from '../../src/providers/registry.ts'
import type {
  CallContext,
  ListAnswer,
  ListStep,
  PriceList,
  ProviderAccount,
  SearchAnswer,
} from '../../src/providers/types.ts'
import type { Wire } from './scripted-server.ts'
import {
  asin,
  bestsellerRow,
  bestsellers,
  CATEGORY,
  ebayBody,
  ebayErrors,
  ebayRow,
  keepaBody,
  keepaProduct,
  newCard,
  oxylabsBody,
  PLACEHOLDER,
  resultsPage,
  SEARCH,
} from './wire.ts'

export type Answer = ListAnswer | SearchAnswer
type Outcome = Readonly<Record<string, unknown>>

export type Subject = Readonly<{
  name: string
  adapter: ProviderAccount['adapter']
  prices: PriceList
  run: (account: ProviderAccount, context: CallContext) => Promise<Answer>
  worstCase: (account: ProviderAccount) => number | null
  /** Good answers, and what each costs. */
  found: Readonly<{ body: string; micros: number }>
  none: Readonly<{ body: string; charge: Outcome }> | null
  /** What a 200 costs whose body cannot be read. */
  unreadable: Outcome
  /** Answers of this provider alone. */
  special: readonly Readonly<{ name: string; wire: Wire; expected: Outcome }>[]
}>

const NOT_CHARGED = { kind: 'not_charged' }
const UNKNOWN = { kind: 'unknown' }
const charged = (micros: number) => ({ kind: 'charged', micros })
const ok = (body: string): Wire => ({ status: 200, body })
const error = (status: number, body: string): Wire => ({ status, body })

const ebay: Subject = {
  name: 'eBay Browse search',
  adapter: 'ebay_browse',
  prices: { 'ebay.search': toMicros(700) },
  run: (account, context) => searchAdapter(account).search(SEARCH, context),
  worstCase: (account) => searchAdapter(account).worstCase(),
  found: { body: ebayBody([ebayRow(), ebayRow({ legacyItemId: '110000000002' })]), micros: 700 },
  none: { body: ebayBody([]), charge: charged(700) },
  unreadable: charged(700),
  special: [
    {
      name: 'quota',
      wire: error(429, ebayErrors(2001)),
      expected: { kind: 'quota', code: 'ebay.2001', charge: NOT_CHARGED },
    },
    { name: 'scope', wire: error(403, ebayErrors(1100)), expected: { kind: 'credentials', code: 'ebay.1100' } },
    { name: 'bad request', wire: error(400, ebayErrors(12001)), expected: { kind: 'rejected', code: 'ebay.12001' } },
    { name: 'conflict', wire: error(409, ebayErrors(12013)), expected: { kind: 'rejected', code: 'ebay.12013' } },
    { name: 'fault with a code', wire: error(500, ebayErrors(12000)), expected: { kind: 'fault', code: 'ebay.12000' } },
    {
      name: 'rows without sellers',
      wire: ok(ebayBody([ebayRow({ seller: { feedbackScore: 500 } })])),
      expected: { kind: 'drift', charge: charged(700) },
    },
    {
      name: 'a renamed field',
      wire: ok(ebayBody([1, 2, 3].map((n) => ebayRow({ legacyItemId: String(n), conditionId: undefined })))),
      expected: { kind: 'drift', charge: charged(700) },
    },
    { name: 'rows of another shape', wire: ok(ebayBody([{ id: 1 }, { id: 2 }])), expected: { kind: 'drift' } },
  ],
}

function oxylabsSpecial(price: number) {
  const target = (status: number, content: unknown = '') => ok(oxylabsBody(content, status))
  return [
    {
      name: 'target 404',
      wire: target(404),
      expected: { kind: 'rejected', code: 'oxylabs.404', charge: charged(price) },
    },
    {
      name: 'target 403',
      wire: target(403),
      expected: { kind: 'blocked', code: 'oxylabs.403', charge: charged(price) },
    },
    { name: 'target 613', wire: target(613), expected: { kind: 'fault', code: 'oxylabs.613', charge: NOT_CHARGED } },
    { name: 'target 503', wire: target(503), expected: { kind: 'fault', code: 'oxylabs.503', charge: NOT_CHARGED } },
    { name: 'no result', wire: ok('{"results":[]}'), expected: { kind: 'drift', charge: NOT_CHARGED } },
    { name: 'two results for one', wire: ok(oxylabsBody('', 404, 2)), expected: { charge: charged(2 * price) } },
    {
      name: 'a result without status',
      wire: ok('{"results":[{"content":""}]}'),
      expected: { kind: 'drift', charge: UNKNOWN },
    },
    { name: 'an accepted job', wire: error(202, '{"id":"1"}'), expected: { kind: 'drift', charge: UNKNOWN } },
    {
      name: 'a job that is gone',
      wire: error(404, '{"message":"gone"}'),
      expected: { kind: 'fault', charge: NOT_CHARGED },
    },
    {
      name: 'monthly limit',
      wire: error(429, '{"message":"Monthly usage limit reached"}'),
      expected: { kind: 'quota', charge: NOT_CHARGED },
    },
  ]
}

const oxylabsList: Subject = {
  name: 'Oxylabs best sellers',
  adapter: 'oxylabs',
  prices: { 'oxylabs.amazon_bestsellers': toMicros(500) },
  run: (account, context) => listAdapter(account).fetch(CATEGORY, { kind: 'page', page: 1 }, context),
  worstCase: (account) => listAdapter(account).worstCase({ kind: 'page', page: 1 }),
  found: { body: oxylabsBody(bestsellers([bestsellerRow(1), bestsellerRow(2)])), micros: 500 },
  none: { body: oxylabsBody(bestsellers([])), charge: charged(500) },
  unreadable: UNKNOWN,
  special: [
    ...oxylabsSpecial(500),
    ...[12002, 12008].map((code) => ({
      name: `parse status ${code}`,
      wire: ok(oxylabsBody(bestsellers([], code))),
      expected: { kind: 'blocked', code: `oxylabs.${code}`, charge: charged(500) },
    })),
    ...[12003, 12006, 12007].map((code) => ({
      name: `parse status ${code}`,
      wire: ok(oxylabsBody(bestsellers([], code))),
      expected: { kind: 'drift', code: `oxylabs.${code}`, charge: charged(500) },
    })),
    {
      name: 'no such list',
      wire: ok(oxylabsBody(bestsellers([], 12009))),
      expected: { kind: 'rejected', charge: charged(500) },
    },
    {
      name: 'rows renamed',
      wire: ok(oxylabsBody({ parse_status_code: 12000, rows: [] })),
      expected: { kind: 'drift' },
    },
    { name: 'rows reshaped', wire: ok(oxylabsBody(bestsellers([{ card: 1 }]))), expected: { kind: 'drift' } },
    { name: 'unparsed HTML', wire: ok(oxylabsBody('<html>')), expected: { kind: 'drift', charge: charged(500) } },
  ],
}

const page = (html: string): Wire => ok(oxylabsBody(html))
const bare = (title: string, body = '') => `<html><head><title>${title}</title></head><body>${body}</body></html>`

const oxylabsEbay: Subject = {
  name: 'Oxylabs eBay search',
  adapter: 'oxylabs',
  prices: { 'oxylabs.ebay': toMicros(1150) },
  run: (account, context) => searchAdapter(account).search(SEARCH, context),
  worstCase: (account) => searchAdapter(account).worstCase(),
  found: { body: oxylabsBody(resultsPage([PLACEHOLDER, newCard()])), micros: 1150 },
  none: { body: oxylabsBody(resultsPage([PLACEHOLDER], '0 results for kettle')), charge: charged(1150) },
  unreadable: UNKNOWN,
  special: [
    ...oxylabsSpecial(1150),
    ...['Security Measure | eBay', 'Pardon Our Interruption...'].map((title) => ({
      name: title,
      wire: page(bare(title)),
      expected: { kind: 'blocked', code: 'ebay_html.captcha', charge: charged(1150) },
    })),
    {
      name: 'a page without results markup',
      wire: page(bare('Kettle for sale | eBay')),
      expected: { kind: 'blocked', code: 'ebay_html.no_results_markup', charge: charged(1150) },
    },
    { name: 'an empty page', wire: page(''), expected: { kind: 'blocked', charge: charged(1150) } },
    {
      name: 'a new layout',
      wire: page(bare('Kettle | eBay', '<div><a href="https://www.ebay.com/itm/110000000001">Kettle</a></div>')),
      expected: { kind: 'drift', charge: charged(1150) },
    },
    { name: 'a list without cards', wire: page(resultsPage([PLACEHOLDER], '7 results')), expected: { kind: 'drift' } },
    {
      name: 'cards without sellers',
      wire: page(resultsPage([newCard({ seller: null })])),
      expected: { kind: 'blocked', code: 'ebay_html.no_sellers' },
    },
    {
      name: 'cards without condition',
      wire: page(resultsPage([1, 2, 3].map(() => newCard().replaceAll('s-card__subtitle', 'x')))),
      expected: { kind: 'drift' },
    },
    { name: 'parsed content', wire: ok(oxylabsBody({ parse_status_code: 12000 })), expected: { kind: 'drift' } },
  ],
}

const KEEPA_PRICES = { 'keepa.token': toMicros(60) }
const DETAILS: ListStep = { kind: 'details', asins: [asin(1), asin(2)], rest: [asin(3)], firstRank: 1 }
const broke = { tokensLeft: -45, refillIn: 11_944, refillRate: 20 }
const zeros = { tokensLeft: 0, refillIn: 0, refillRate: 0 }
const keepaError = (type: string, fields: Outcome = {}, tokens = 0) =>
  keepaBody({ error: { type, message: 'told', details: '' }, ...fields }, tokens)

const keepaSpecial = [
  {
    name: 'tokens used up by this very call',
    wire: ok(keepaBody({ asinList: [asin(1)], products: [], ...broke }, 50)),
    expected: { ok: true, restMs: 131_944 },
  },
  {
    name: 'tokens used up',
    wire: error(429, keepaError('NOT_ENOUGH_TOKEN', broke)),
    // 11.944 s to the next refill of 20; the third one lifts a balance of -45 above zero.
    expected: { kind: 'quota', code: 'keepa.NOT_ENOUGH_TOKEN', charge: NOT_CHARGED, retryAfterMs: 131_944 },
  },
  {
    name: 'unpaid',
    wire: error(402, keepaError('paymentRequired')),
    expected: { kind: 'credentials', charge: NOT_CHARGED },
  },
  {
    name: 'a bad key',
    wire: ok(keepaError('invalidParameter', zeros)),
    expected: { kind: 'credentials', charge: NOT_CHARGED },
  },
  {
    name: 'a bad key with 400',
    wire: error(400, keepaError('invalidParameter', zeros)),
    expected: { kind: 'credentials' },
  },
  {
    name: 'an error with 200',
    wire: ok(keepaError('invalidParameter')),
    expected: { kind: 'rejected', code: 'keepa.invalidParameter', charge: NOT_CHARGED },
  },
  {
    name: 'an error that costs',
    wire: error(500, keepaError('internal', {}, 3)),
    expected: { kind: 'fault', charge: charged(180) },
  },
  { name: 'no tokens told', wire: ok('{"products":[],"asinList":[]}'), expected: { kind: 'drift', charge: UNKNOWN } },
]

const keepaAsins: Subject = {
  name: 'Keepa list of ASINs',
  adapter: 'keepa',
  prices: KEEPA_PRICES,
  run: (account, context) => listAdapter(account).fetch(CATEGORY, { kind: 'asins' }, context),
  worstCase: (account) => listAdapter(account).worstCase({ kind: 'asins' }),
  found: { body: keepaBody({ bestSellersList: { domainId: 1, asinList: [asin(1), asin(2)] } }, 50), micros: 3000 },
  none: { body: keepaBody({ bestSellersList: { asinList: [] } }, 50), charge: charged(3000) },
  unreadable: UNKNOWN,
  special: [
    ...keepaSpecial,
    {
      name: 'a list at the top level',
      wire: ok(keepaBody({ bestSellersList: { domainId: 1 }, asinList: [asin(1)] }, 50)),
      expected: {
        ok: true,
        next: { kind: 'details', asins: [asin(1)], rest: [], firstRank: 1 },
        charge: charged(3000),
      },
    },
    {
      name: 'no list',
      wire: ok(keepaBody({ bestSellersList: null }, 0)),
      expected: { kind: 'rejected', code: 'keepa.no_list', charge: NOT_CHARGED },
    },
    {
      name: 'a list that is paid for and missing',
      wire: ok(keepaBody({ data: 1 }, 50)),
      expected: { kind: 'drift', charge: charged(3000) },
    },
    {
      name: 'more tokens than listed',
      wire: ok(keepaBody({ asinList: [] }, 75)),
      expected: { ok: true, charge: charged(4500) },
    },
  ],
}

const keepaDetails: Subject = {
  name: 'Keepa details',
  adapter: 'keepa',
  prices: KEEPA_PRICES,
  run: (account, context) => listAdapter(account).fetch(CATEGORY, DETAILS, context),
  worstCase: (account) => listAdapter(account).worstCase(DETAILS),
  found: { body: keepaBody({ products: [keepaProduct(2), keepaProduct(1)] }, 2), micros: 120 },
  none: { body: keepaBody({ products: [] }, 0), charge: NOT_CHARGED },
  unreadable: UNKNOWN,
  special: [
    ...keepaSpecial,
    {
      name: 'no list of products',
      wire: ok(keepaBody({ data: 1 }, 2)),
      expected: { kind: 'drift', charge: charged(120) },
    },
    { name: 'products reshaped', wire: ok(keepaBody({ products: [{ id: 1 }] }, 2)), expected: { kind: 'drift' } },
  ],
}

export const SUBJECTS: readonly Subject[] = [ebay, oxylabsList, oxylabsEbay, keepaAsins, keepaDetails]
