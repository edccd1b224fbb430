/**
 * The adapters against the sandbox: every fault it knows, and after each call its bill, which must equal the charge to the
 * micro-dollar. Where the adapter calls the charge unknown, the bill must fit into the worst case.
 */
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { newId } from '../../src/base/ids.ts'
import { toMicros } from '../../src/base/money.ts'
import { closeHttp, listAdapter, probe, searchAdapter } from '../../src/providers/registry.ts'
import type {
  CallContext,
  CategoryRef,
  Credentials,
  ListStep,
  ProviderAccount,
  SearchRequest,
} from '../../src/providers/types.ts'
import { type SandboxProcess, startSandboxProcess } from './sandbox-process.ts'
import type { Answer } from './subjects.ts'
import { CATEGORY, FILTERS } from './wire.ts'

type Fault = Readonly<Record<string, unknown> & { kind: string }>
type Expected = Readonly<Record<string, unknown>>
type Case = Readonly<{ faults: readonly Fault[]; expected: Expected; timeoutMs?: number }>

let sandbox: SandboxProcess
let request: SearchRequest
let asins: readonly string[]

const PRICES = {
  'ebay.search': toMicros(5000),
  'oxylabs.amazon_bestsellers': toMicros(5000),
  'oxylabs.ebay': toMicros(6000),
  'keepa.token': toMicros(60),
}
const CREDENTIALS: Readonly<Record<ProviderAccount['adapter'], Credentials>> = {
  ebay_browse: { user: 'sandbox-client', secret: 'sandbox-secret' },
  oxylabs: { user: 'sandbox-user', secret: 'sandbox-password' },
  keepa: { user: '', secret: 'k'.repeat(64) },
}
const PATHS = { ebay_browse: 'ebay', oxylabs: 'oxylabs', keepa: 'keepa' } as const

function account(adapter: ProviderAccount['adapter'], credentials = CREDENTIALS[adapter]): ProviderAccount {
  return { adapter, baseUrl: `${sandbox.url}/${PATHS[adapter]}`, credentials, prices: PRICES }
}

beforeAll(async () => {
  sandbox = await startSandboxProcess()
  const prices = await sandbox.get('/sandbox/prices')
  expect(prices).toEqual(PRICES)
  request = await searchWithSellers()
})
beforeEach(() => sandbox.post('/sandbox/reset'))
afterAll(async () => {
  await closeHttp()
  await sandbox.stop()
})

type Product = Readonly<{ asin: string; priceCents: number | null }>
type Truth = Product & Readonly<{ ladder: { first: string }; sellers: readonly unknown[] }>

/** The search for a product that the sandbox's own truth says has sellers. */
async function searchWithSellers(): Promise<SearchRequest> {
  const { products } = (await sandbox.get(`/sandbox/truth/products?category=${CATEGORY.key}`)) as {
    products: Product[]
  }
  asins = products.slice(0, 3).map(({ asin }) => asin)
  const answer = await sandbox.post('/sandbox/truth/sellers', { asins: products.map(({ asin }) => asin) })
  const rich = (answer as { products: Truth[] }).products
    .filter(({ priceCents }) => priceCents !== null)
    .toSorted((a, b) => b.sellers.length - a.sellers.length)[0]
  if (!rich?.priceCents || rich.sellers.length < 2) throw new Error('no product of the category has sellers')
  const band = { min: Math.round(rich.priceCents * 0.8), max: Math.round(rich.priceCents * 1.6) }
  return { query: { kind: 'text', text: rich.ladder.first }, filters: { ...FILTERS, priceCents: band }, limit: 200 }
}

type Subject = Readonly<{
  name: string
  adapter: ProviderAccount['adapter']
  run: (account: ProviderAccount, context: CallContext) => Promise<Answer>
  worstCase: (account: ProviderAccount) => number | null
  price: number
  cases: readonly Case[]
}>

const NOT_CHARGED = { kind: 'not_charged' }
const UNKNOWN = { kind: 'unknown' }
const charged = (micros: number) => ({ kind: 'charged', micros })
const fault = (kind: string, more: Expected = {}): readonly Fault[] => [{ kind, ...more }]

/** What every provider does the same way. `unreadable` is the charge of a complete 200 that cannot be read. */
function common(price: number, unreadable: Expected): readonly Case[] {
  return [
    { faults: [], expected: { ok: true, charge: charged(price) } },
    { faults: fault('bad_request'), expected: { kind: 'rejected', charge: NOT_CHARGED } },
    { faults: fault('server_error'), expected: { kind: 'fault', charge: NOT_CHARGED } },
    { faults: fault('server_error', { status: 503 }), expected: { kind: 'fault', charge: NOT_CHARGED } },
    { faults: fault('forbidden'), expected: { kind: 'credentials', charge: NOT_CHARGED } },
    { faults: fault('reset_before'), expected: { kind: 'lost', charge: UNKNOWN } },
    { faults: fault('reset_after'), expected: { kind: 'lost', charge: UNKNOWN } },
    { faults: fault('truncated'), expected: { kind: 'lost', charge: UNKNOWN } },
    { faults: fault('hang'), timeoutMs: 300, expected: { kind: 'lost', code: 'timeout', charge: UNKNOWN } },
    { faults: fault('hang_after'), timeoutMs: 300, expected: { kind: 'lost', code: 'timeout', charge: UNKNOWN } },
    { faults: fault('drip', { ms: 1 }), expected: { ok: true, charge: charged(price) } },
    { faults: fault('slow', { ms: 1 }), expected: { ok: true, charge: charged(price) } },
    { faults: fault('garbage'), expected: { kind: 'drift', charge: unreadable } },
    { faults: fault('empty_body'), expected: { kind: 'drift', charge: unreadable } },
    { faults: fault('drift_json'), expected: { charge: charged(price) } },
  ]
}

const search = (adapter: 'ebay_browse' | 'oxylabs') => ({
  run: (account: ProviderAccount, context: CallContext) => searchAdapter(account).search(request, context),
  worstCase: (account: ProviderAccount) => searchAdapter(account).worstCase(),
  adapter,
})
const list = (adapter: 'oxylabs' | 'keepa', step: () => ListStep) => ({
  run: (account: ProviderAccount, context: CallContext) => listAdapter(account).fetch(CATEGORY, step(), context),
  worstCase: (account: ProviderAccount) => listAdapter(account).worstCase(step()),
  adapter,
})

const throttled: readonly Case[] = [
  { faults: fault('throttled'), expected: { kind: 'throttled', charge: NOT_CHARGED } },
  { faults: fault('throttled', { retryAfterS: 3 }), expected: { kind: 'throttled', retryAfterMs: 3000 } },
  { faults: fault('quota'), expected: { kind: 'quota', charge: NOT_CHARGED } },
]
const target = (price: number): readonly Case[] => [
  { faults: fault('target_status', { status: 404 }), expected: { kind: 'rejected', charge: charged(price) } },
  { faults: fault('target_status', { status: 613 }), expected: { kind: 'fault', charge: NOT_CHARGED } },
  { faults: fault('unauthorized'), expected: { kind: 'credentials', charge: NOT_CHARGED } },
]
const keepaCases: readonly Case[] = [
  { faults: fault('throttled'), expected: { kind: 'quota', charge: NOT_CHARGED, retryAfterMs: expect.any(Number) } },
  { faults: fault('keepa_error_200'), expected: { kind: 'rejected', charge: NOT_CHARGED } },
  { faults: fault('payment_required'), expected: { kind: 'credentials', charge: NOT_CHARGED } },
  { faults: fault('unauthorized'), expected: { kind: 'credentials', charge: NOT_CHARGED } },
]

const SUBJECTS: readonly Subject[] = [
  {
    name: 'eBay Browse search',
    ...search('ebay_browse'),
    price: 5000,
    cases: [
      ...common(5000, charged(5000)),
      ...throttled,
      { faults: fault('unauthorized', { times: 1 }), expected: { ok: true, charge: charged(5000) } },
      { faults: fault('unauthorized'), expected: { kind: 'fault', code: 'ebay.1001', charge: NOT_CHARGED } },
      { faults: fault('drift_json'), expected: { kind: 'drift', charge: charged(5000) } },
      { faults: fault('anonymous_sellers'), expected: { kind: 'drift', charge: charged(5000) } },
      {
        faults: fault('ignored_filters'),
        expected: { ok: true, ignoredFilters: [expect.stringContaining('ebay.12012')] },
      },
      { faults: fault('ignored_filters_silent'), expected: { ok: true, charge: charged(5000) } },
    ],
  },
  {
    name: 'Oxylabs best sellers',
    ...list('oxylabs', () => ({ kind: 'page', page: 1 })),
    price: 5000,
    cases: [
      ...common(5000, UNKNOWN),
      ...throttled,
      ...target(5000),
      { faults: fault('captcha'), expected: { kind: 'blocked', charge: charged(5000) } },
      { faults: fault('drift_json'), expected: { kind: 'drift', charge: charged(5000) } },
      { faults: fault('parse_status', { code: 12004 }), expected: { ok: true, charge: charged(5000) } },
      { faults: fault('parse_status', { code: 12007 }), expected: { kind: 'drift', charge: charged(5000) } },
      { faults: fault('parse_status', { code: 12009 }), expected: { kind: 'rejected', charge: charged(5000) } },
      { faults: fault('short_pages'), expected: { ok: true, next: { kind: 'page', page: 2 } } },
    ],
  },
  {
    name: 'Oxylabs eBay search',
    ...search('oxylabs'),
    price: 6000,
    cases: [
      ...common(6000, UNKNOWN),
      ...throttled,
      ...target(6000),
      { faults: fault('captcha'), expected: { kind: 'blocked', charge: charged(6000) } },
      { faults: fault('drift_html'), expected: { kind: 'drift', charge: charged(6000) } },
      { faults: fault('no_seller_rows'), expected: { kind: 'blocked', charge: charged(6000) } },
      { faults: fault('old_layout'), expected: { ok: true, charge: charged(6000) } },
    ],
  },
  {
    name: 'Keepa list of ASINs',
    ...list('keepa', () => ({ kind: 'asins' })),
    price: 3000,
    cases: [
      ...common(3000, UNKNOWN),
      ...keepaCases,
      { faults: fault('drift_json'), expected: { kind: 'drift', charge: charged(3000) } },
      { faults: fault('top_level_asins'), expected: { ok: true, charge: charged(3000) } },
      { faults: fault('price_above_list', { factor: 1.5 }), expected: { ok: true, charge: charged(4500) } },
    ],
  },
  {
    name: 'Keepa details',
    ...list('keepa', () => ({ kind: 'details', asins, rest: [], firstRank: 1 })),
    price: 180,
    cases: [
      ...common(180, UNKNOWN),
      ...keepaCases,
      { faults: fault('drift_json'), expected: { kind: 'drift', charge: charged(180) } },
      { faults: fault('price_above_list', { factor: 2 }), expected: { ok: true, charge: charged(360) } },
    ],
  },
]

describe.each(SUBJECTS)('$name', ({ run, worstCase, adapter, cases, price }) => {
  it('holds at most what it costs', () => {
    expect(worstCase(account(adapter))).toBe(price)
  })

  it.each(cases)('$faults', async ({ faults, expected, timeoutMs = 10_000 }) => {
    await sandbox.post('/sandbox/faults', faults)
    const callId = newId()
    const answer = await run(account(adapter), { callId, timeoutMs })
    expect(answer).toMatchObject(expected)
    const billed = await sandbox.billed(callId)
    if (answer.charge.kind === 'unknown') expect(billed).toBeLessThanOrEqual(worstCase(account(adapter)) ?? -1)
    else expect(answer.charge.kind === 'charged' ? answer.charge.micros : 0).toBe(billed)
  })
})

describe('eBay search', () => {
  const context = () => ({ callId: newId(), timeoutMs: 10_000 })

  it('finds the same sellers through both providers and both layouts', async () => {
    const names = async (adapter: 'ebay_browse' | 'oxylabs') => {
      const answer = await searchAdapter(account(adapter)).search(request, context())
      if (!answer.ok) throw new Error(answer.message)
      expect(answer.listings.length).toBeGreaterThan(1)
      return [...new Set(answer.listings.map(({ seller }) => seller.username))].toSorted()
    }
    const browse = await names('ebay_browse')
    expect(await names('oxylabs')).toEqual(browse)
    await sandbox.post('/sandbox/faults', fault('old_layout'))
    expect(await names('oxylabs')).toEqual(browse)
  })

  it('keeps to the filters when eBay does not', async () => {
    const search = () => searchAdapter(account('ebay_browse')).search(request, context())
    const before = await search()
    await sandbox.post('/sandbox/faults', fault('ignored_filters_silent'))
    const after = await search()
    if (!before.ok || !after.ok) throw new Error('no answer')
    expect(Object.keys(after.leftOut).length).toBeGreaterThan(0)
    const ids = new Set(after.listings.map(({ listingId }) => listingId))
    expect(after.listings.every(({ priceCents }) => priceCents <= (request.filters.priceCents?.max ?? 0))).toBe(true)
    // The answer has room for 200 rows, so nothing that passed before was crowded out.
    expect(before.listings.every(({ listingId }) => ids.has(listingId))).toBe(true)
  })

  it.each(['ebay_browse', 'oxylabs'] as const)(
    'through %s says none when nothing matches, and is charged',
    async (adapter) => {
      for (const faults of [[], fault('fewer_words')]) {
        await sandbox.post('/sandbox/faults', faults)
        const nothing = { ...request, query: { kind: 'text', text: 'zzqx unheardof' } } as const
        const call = context()
        const answer = await searchAdapter(account(adapter)).search(nothing, call)
        expect(answer).toMatchObject({ ok: true, listings: [] })
        expect(answer.charge).toEqual(charged(await sandbox.billed(call.callId)))
      }
    },
  )

  it('goes on when every token was made invalid', async () => {
    const search = () => searchAdapter(account('ebay_browse')).search(request, context())
    await search()
    await sandbox.post('/sandbox/ebay/expire-tokens')
    expect(await search()).toMatchObject({ ok: true })
  })

  it('stops at the daily quota until midnight in California', async () => {
    await sandbox.post('/sandbox/quota', { ebayUsed: 1_000_000 })
    const answer = await searchAdapter(account('ebay_browse')).search(request, context())
    const { ebay } = (await sandbox.get('/sandbox/quota')) as { ebay: { resetAt: string } }
    expect(answer).toMatchObject({ kind: 'quota', code: 'ebay.2001', resetAt: new Date(ebay.resetAt) })
  })
})

/** A list of a hundred places. */
const FULL: CategoryRef = { key: 'electronics', slug: 'electronics', nodeId: '172282', name: 'Electronics' }

describe('lists', () => {
  async function walk(adapter: 'oxylabs' | 'keepa') {
    const lists = listAdapter(account(adapter))
    const ranks = new Map<string, number | null>()
    let step: ListStep | null = lists.firstStep(FULL)
    while (step) {
      const callId = newId()
      const answer = await lists.fetch(FULL, step, { callId, timeoutMs: 10_000 })
      if (!answer.ok) throw new Error(`${answer.code}: ${answer.message}`)
      expect(answer.charge).toEqual(charged(await sandbox.billed(callId)))
      for (const { asin, rank } of answer.products) ranks.set(asin, rank)
      step = answer.next
    }
    return ranks
  }

  async function truth(): Promise<Map<string, number>> {
    const { products } = (await sandbox.get(`/sandbox/truth/products?category=${FULL.key}`)) as {
      products: { asin: string; rank: number }[]
    }
    expect(products).toHaveLength(100)
    return new Map(products.map(({ asin, rank }) => [asin, rank]))
  }

  it('of Oxylabs have the places of the true list, over both pages', async () => {
    expect(await walk('oxylabs')).toEqual(await truth())
  })

  it('of Keepa are walked to their end, in an order of their own', async () => {
    const ranks = await walk('keepa')
    const known = await truth()
    expect(ranks.size).toBeGreaterThan(85)
    expect([...ranks.keys()].every((asin) => known.has(asin))).toBe(true)
    expect([...ranks.values()]).toEqual(Array.from(ranks, (_, at) => at + 1))
  })

  it('of Keepa wait for tokens as long as the balance needs', async () => {
    await sandbox.post('/sandbox/quota', { keepaTokens: -5000 })
    const answer = await listAdapter(account('keepa')).fetch(
      CATEGORY,
      { kind: 'asins' },
      { callId: newId(), timeoutMs: 5000 },
    )
    expect(answer).toMatchObject({ kind: 'quota', charge: NOT_CHARGED })
    expect(!answer.ok && answer.retryAfterMs).toBeGreaterThan(120_000)
  })
})

describe('probe', () => {
  it.each(['ebay_browse', 'oxylabs', 'keepa'] as const)('%s answers, and costs nothing', async (adapter) => {
    const before = await sandbox.get('/sandbox/billing/summary')
    expect(await probe(account(adapter))).toMatchObject({ ok: true })
    expect(await sandbox.get('/sandbox/billing/summary')).toEqual(before)
  })

  it.each(['ebay_browse', 'oxylabs', 'keepa'] as const)('%s refuses wrong credentials', async (adapter) => {
    const wrong = await probe(account(adapter, { user: 'nobody', secret: 'wrong-secret' }))
    expect(wrong).toMatchObject({ ok: false, kind: 'credentials', charge: NOT_CHARGED })
    expect(JSON.stringify(wrong)).not.toContain('wrong-secret')
  })
})
