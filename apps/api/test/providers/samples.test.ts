/**
 * The adapters against recorded and constructed answers of the providers. The files are private test material beside the
 * project (`../shared/providers/samples`) and not part of it; without them this suite is skipped.
 */
import { existsSync, readFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { parse } from 'csv-parse/sync'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { toMicros } from '../../src/base/money.ts'
import { readEbayPage } from '../../src/providers/ebay-html.ts'
import { readProduct } from '../../src/providers/keepa-product.ts'
import { closeHttp, listAdapter, searchAdapter } from '../../src/providers/registry.ts'
import { keepaProduct } from '../../src/providers/schemas.ts'
import type { ListAnswer, ListStep, ProviderAccount, SearchAnswer, SearchFilters } from '../../src/providers/types.ts'
import { type ScriptedServer, startScriptedServer, type Wire } from './scripted-server.ts'
import { CATEGORY, EBAY_TOKEN, FILTERS, oldCard, resultsPage, SEARCH } from './wire.ts'

const FOLDER = fileURLToPath(new URL('../../../../../shared/providers/samples/', import.meta.url))
const file = (name: string) => readFileSync(FOLDER + name, 'utf8')

let server: ScriptedServer

describe.skipIf(!existsSync(FOLDER))('samples (skipped where ../shared is absent)', () => {
  beforeAll(async () => {
    server = await startScriptedServer()
  })
  afterAll(async () => {
    await closeHttp()
    await server.close()
  })

  const account = (adapter: ProviderAccount['adapter']): ProviderAccount => ({
    adapter,
    baseUrl: server.url,
    credentials: { user: 'user', secret: 'secret-secret' },
    prices: {
      'ebay.search': toMicros(0),
      'oxylabs.amazon_bestsellers': toMicros(500),
      'oxylabs.ebay': toMicros(1150),
      'keepa.token': toMicros(60),
    },
  })
  const context = { callId: 'call-1', timeoutMs: 5000 }
  const serve = (wire: Wire) =>
    server.answer(({ url }) => (url.includes('/oauth2/token') ? { status: 200, body: EBAY_TOKEN } : wire))

  function search(adapter: 'ebay_browse' | 'oxylabs', wire: Wire, filters: SearchFilters): Promise<SearchAnswer> {
    serve(wire)
    // Asked for what was recorded: the answer to another search is refused (other-answer.test.ts).
    const told = typeof wire === 'object' ? /[?&](?:q|_nkw)=([^&"]+)/.exec(String(wire.body))?.[1] : undefined
    const query = told === undefined ? SEARCH.query : ({ kind: 'text', text: decodeURIComponent(told) } as const)
    return searchAdapter(account(adapter)).search({ ...SEARCH, query, filters }, context)
  }
  function list(adapter: 'oxylabs' | 'keepa', wire: Wire, step: ListStep): Promise<ListAnswer> {
    serve(wire)
    return listAdapter(account(adapter)).fetch(CATEGORY, step, context)
  }
  const first = (body: string) => /"asin": ?"(\w+)"/.exec(body)?.[1]
  const total = (counts: Readonly<Record<string, number>>) => Object.values(counts).reduce((sum, n) => sum + n, 0)
  const ANY_PRICE = { ...FILTERS, priceCents: null }

  it('a recorded eBay answer: every row is counted, and what passes does pass', async () => {
    type Sent = { conditionId?: string; price: { value: string }; legacyItemId: string; seller: { username: string } }
    const body = file('ebay-browse-search-best-match.json')
    const sent = (JSON.parse(body) as { itemSummaries: Sent[] }).itemSummaries
    const answer = await search('ebay_browse', { status: 200, body }, ANY_PRICE)
    if (!answer.ok) throw new Error(answer.message)
    expect(answer.charge).toEqual({ kind: 'charged', micros: 0 })
    expect(answer.listings.length + total(answer.leftOut)).toBe(100)
    expect(answer.listings.length).toBeGreaterThan(0)
    expect(answer.leftOut).not.toHaveProperty('unreadable')
    for (const { position, listingId, priceCents, seller } of answer.listings) {
      const row = sent[position - 1]
      expect([row?.legacyItemId, row?.seller.username, row?.conditionId]).toEqual([listingId, seller.username, '1000'])
      expect(row?.price.value).toBe(`${Math.trunc(priceCents / 100)}.${String(priceCents % 100).padStart(2, '0')}`)
    }
  })

  it('the eBay sandbox answer with a warning and a seller without a name', async () => {
    const wire = { status: 200, body: file('ebay-browse-search-sandbox-with-warning.json') }
    const inBand = await search('ebay_browse', wire, FILTERS)
    expect(inBand).toMatchObject({ ok: true, leftOut: { price: 1 }, ignoredFilters: ['ebay.12008 sort=relevance'] })
    expect(await search('ebay_browse', wire, ANY_PRICE)).toMatchObject({ ok: false, kind: 'drift' })
  })

  it('every eBay error comes to a failure that is not charged', async () => {
    type Recorded = { status: number; endpoint: string; body: { errors?: { errorId: number }[] } }
    const kinds: Record<string, string> = {}
    for (const { status, endpoint, body } of JSON.parse(file('ebay-errors.json')) as Recorded[]) {
      if (endpoint.includes('/oauth2/token')) continue
      const answer = await search('ebay_browse', { status, body: JSON.stringify(body) }, FILTERS)
      expect(answer).toMatchObject({ ok: false, charge: { kind: 'not_charged' } })
      if (!answer.ok) kinds[answer.code] = answer.kind
    }
    expect(kinds).toEqual({
      'ebay.1001': 'fault',
      'ebay.1002': 'credentials',
      'ebay.1100': 'credentials',
      'ebay.2001': 'quota',
      'ebay.12515': 'rejected',
      'ebay.12001': 'rejected',
      'ebay.12000': 'fault',
    })
  })

  it('the constructed best-seller pages, and an answer with two results for one page asked', async () => {
    const body = file('oxylabs-amazon-bestsellers-parsed.CONSTRUCTED.json')
    const answer = await list('oxylabs', { status: 200, body }, { kind: 'page', page: 1 })
    expect(answer).toMatchObject({ ok: true, charge: { kind: 'charged', micros: 1000 } })
    if (!answer.ok) throw new Error(answer.message)
    expect(answer.products.length + answer.left.length).toBe(50)
    expect(answer.products[0]).toMatchObject({ asin: first(body), priceCents: 1000, rank: 1 })
    expect(answer.products[1]?.priceCents).toBeNull()
  })

  it.each(['oxylabs-faulted-404-empty-content.json', 'oxylabs-faulted-404-parse-12003.json'])('%s', async (name) => {
    const answer = await list('oxylabs', { status: 200, body: file(name) }, { kind: 'page', page: 1 })
    expect(answer).toMatchObject({ kind: 'rejected', code: 'oxylabs.404', charge: { kind: 'charged', micros: 500 } })
  })

  it.each(['oxylabs-amazon-product-parsed-a.json', 'oxylabs-ebay-product-parsed.json'])(
    '%s is no list',
    async (name) => {
      const answer = await list('oxylabs', { status: 200, body: file(name) }, { kind: 'page', page: 1 })
      expect(answer).toMatchObject({ kind: 'drift', charge: { kind: 'charged', micros: 500 } })
    },
  )

  it('the recorded search page: cards are read, none has a fitting price, and none is called found', async () => {
    const body = file('oxylabs-ebay-search-raw-trimmed.json')
    const { results } = JSON.parse(body) as { results: { content: string }[] }
    const page = readEbayPage(results[0]?.content ?? '')
    if (page.kind !== 'rows') throw new Error(page.message)
    expect(page.rows.filter((row) => row?.placeholder)).toHaveLength(2)
    const cards = page.rows.filter((row) => row && !row.placeholder)
    expect(cards).toHaveLength(22)
    expect(cards.every((row) => row?.listingId && row.title && row.price && row.currency === 'other')).toBe(true)
    expect(cards.some((row) => row?.country === 'JP')).toBe(true)
    const answer = await search('oxylabs', { status: 200, body }, ANY_PRICE)
    expect(answer).toMatchObject({ ok: true, listings: [], charge: { kind: 'charged', micros: 1150 } })
  })

  it('all recorded seller strings are read', () => {
    const rows = parse(file('ebay-listings-srp-2024.csv'), { columns: true }) as { productseller: string }[]
    const shown = [...new Set(rows.map(({ productseller }) => productseller.trim()))]
    expect(shown).toHaveLength(144)
    const cards = shown.map((text, at) => oldCard({ id: String(110_000_000_000 + at), seller: [text, ''] }))
    const page = readEbayPage(resultsPage(cards))
    if (page.kind !== 'rows') throw new Error(page.message)
    for (const [at, row] of page.rows.entries()) {
      const { username, feedbackScore, feedbackPermille } = row?.seller ?? {}
      const percentage = (feedbackPermille ?? 0) / 10
      expect(`${username} (${feedbackScore?.toLocaleString('en-US')}) ${percentage}%`).toBe(shown[at])
    }
  })

  it('Keepa: list, products, exhausted tokens and bad key', async () => {
    const found = await list(
      'keepa',
      { status: 200, body: file('keepa-bestsellers.CONSTRUCTED.json') },
      { kind: 'asins' },
    )
    expect(found).toMatchObject({ ok: true, charge: { kind: 'charged', micros: 3000 } })
    if (!found.ok || found.next?.kind !== 'details') throw new Error('no details to ask for')
    expect(found.next.asins).toHaveLength(100)

    const step = { ...found.next, asins: found.next.asins.slice(0, 8) }
    const details = await list('keepa', { status: 200, body: file('keepa-product.CONSTRUCTED.json') }, step)
    if (!details.ok) throw new Error(details.message)
    expect(details.charge).toEqual({ kind: 'charged', micros: 480 })
    expect(details.products.length + details.left.length).toBe(8)
    expect(details.products[0]).toMatchObject({ asin: step.asins[0], priceCents: 1000, rank: 1 })

    const broke = await list('keepa', { status: 429, body: file('keepa-429.CONSTRUCTED.json') }, { kind: 'asins' })
    // 11.944 s to the next refill, which brings more than the 5 tokens that are missing.
    expect(broke).toMatchObject({ kind: 'quota', retryAfterMs: 11_944, charge: { kind: 'not_charged' } })
    const bad = await list(
      'keepa',
      { status: 400, body: file('keepa-error-invalid-parameter.json') },
      { kind: 'asins' },
    )
    expect(bad).toMatchObject({ kind: 'credentials', code: 'keepa.invalidParameter' })
  })

  it('Keepa: the price of a recorded history is its last one', () => {
    const { products } = JSON.parse(file('keepa-product-csv-fragment.json')) as { products: { csv: number[][] }[] }
    const product = keepaProduct.parse({ asin: '0000000001', title: 'A book', ...products[0] })
    expect(readProduct(product, 1)).toMatchObject({ priceCents: products[0]?.csv[0]?.at(-1) })
  })
})
