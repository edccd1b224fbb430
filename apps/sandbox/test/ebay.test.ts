import { describe, expect, it } from 'vitest'
import { nextPacificMidnight } from '../src/ebay/rate-limit.ts'
import {
  type Client,
  DEFAULT_FILTER,
  EBAY_BASIC,
  mint,
  products,
  type Row,
  sandbox,
  search,
  searchAll,
  type Truth,
  truths,
} from './support.ts'

const CATEGORY = 'orchard/9101'

async function started(): Promise<{ client: Client; token: string; list: Awaited<ReturnType<typeof products>> }> {
  const client = await sandbox()
  return { client, token: await mint(client.url), list: await products(client, CATEGORY) }
}

function withPrice(priceCents: number | null): string {
  if (priceCents === null) return DEFAULT_FILTER
  const dollars = (tenths: number): string => (Math.round((priceCents * tenths) / 10) / 100).toFixed(2)
  return `${DEFAULT_FILTER},price:[${dollars(8)}..${dollars(16)}],priceCurrency:USD`
}

describe('the token endpoint', () => {
  const post = (url: string, authorization: string, form: Record<string, string>): Promise<Response> =>
    fetch(`${url}/ebay/identity/v1/oauth2/token`, {
      method: 'POST',
      headers: { authorization },
      body: new URLSearchParams(form),
    })
  const good = { grant_type: 'client_credentials', scope: 'https://api.ebay.com/oauth/api_scope' }

  it('gives a token for two hours and counts it', async () => {
    const { url, get } = await sandbox()
    const answer = await post(url, EBAY_BASIC, good)
    expect(answer.status).toBe(200)
    expect(await answer.json()).toMatchObject({ expires_in: 7200, token_type: 'Application Access Token' })
    expect(await get('/sandbox/quota')).toMatchObject({ ebay: { mints: 1 } })
  })

  it('refuses a wrong key pair, grant and scope', async () => {
    const { url } = await sandbox()
    const wrong = await post(url, `Basic ${btoa('sandbox-client:wrong')}`, good)
    expect([wrong.status, await wrong.json()]).toMatchObject([401, { error: 'invalid_client' }])
    const grant = await post(url, EBAY_BASIC, { ...good, grant_type: 'password' })
    expect([grant.status, await grant.json()]).toMatchObject([400, { error: 'unsupported_grant_type' }])
    const scope = await post(url, EBAY_BASIC, { ...good, scope: 'https://api.ebay.com/oauth/api_scope/sell' })
    expect([scope.status, await scope.json()]).toMatchObject([400, { error: 'invalid_scope' }])
  })

  it('makes tokens that end: after their time, or by force', async () => {
    const short = await sandbox({ config: { ebay: { tokenLifeS: 1 } } })
    const token = await mint(short.url)
    await expect.poll(async () => (await search(short.url, token, { q: 'x' })).status, { timeout: 60_000 }).toBe(401)
    const { client, token: other } = await started()
    await client.post('/sandbox/ebay/expire-tokens')
    const { status, body } = await search(client.url, other, { q: 'x' })
    expect([status, body.errors?.[0]]).toMatchObject([401, { errorId: 1001, domain: 'OAuth' }])
    expect((await search(client.url, await mint(client.url), { q: 'x' })).status).toBe(200)
  })

  it('makes tokens that outlive a restart', async () => {
    const { client, token } = await started()
    await client.close()
    const again = await sandbox({ dataDir: client.dataDir })
    expect((await search(again.url, token, { q: 'x' })).status).toBe(200)
  })
})

describe('a search', () => {
  it('needs a token, a term and sound paging', async () => {
    const { client, token } = await started()
    const missing = await fetch(`${client.url}/ebay/buy/browse/v1/item_summary/search?q=x`)
    expect([missing.status, await missing.json()]).toMatchObject([403, { errors: [{ errorId: 1002 }] }])
    const cases: [Record<string, string>, number][] = [
      [{}, 12001],
      [{ q: 'x', gtin: '4' }, 12001],
      [{ q: 'x', offset: '-1' }, 12004],
      [{ q: 'x', offset: 'one' }, 12005],
      [{ q: 'x', limit: '201' }, 12006],
      [{ q: 'x', limit: '0' }, 12006],
      [{ q: 'x', limit: 'ten' }, 12007],
      [{ q: 'x', limit: '50', offset: '10000' }, 12029],
      [{ q: 'x', limit: '50', offset: '75' }, 12515],
      [{ q: 'x', filter: 'itemLocationCountry:US,itemLocationRegion:NORTH_AMERICA' }, 12517],
      [{ q: 'x', filter: `sellers:{${Array.from({ length: 251 }, (_, i) => `s${i}`).join('|')}}` }, 12032],
    ]
    for (const [parameters, errorId] of cases) {
      const { status, body } = await search(client.url, token, parameters)
      expect([status, body.errors?.[0]?.errorId], JSON.stringify(parameters)).toEqual([400, errorId])
    }
    expect(await client.get('/sandbox/billing/summary')).toMatchObject({ count: 0, micros: 0 })
  })

  it('finds exactly what the truth says, rung by rung', async () => {
    const { client, token, list } = await started()
    const known = await truths(
      client,
      list.map(({ asin }) => asin),
    )
    let found = { full: 0, first: 0, short: 0, gtin: 0 }
    for (const truth of known.slice(0, 60)) {
      const filter = withPrice(truth.priceCents)
      for (const rung of ['full', 'first', 'short'] as const) {
        const rows = await searchAll(client.url, token, { q: truth.ladder[rung], filter })
        expect(sellersOf(rows, truth), `${rung} ${truth.title}`).toEqual(trueKeys(truth, rung))
        found = { ...found, [rung]: found[rung] + trueKeys(truth, rung).length }
      }
      if (truth.gtin === null) continue
      const rows = await searchAll(client.url, token, { gtin: truth.gtin, filter })
      expect(sellersOf(rows, truth), `gtin ${truth.title}`).toEqual(trueKeys(truth, 'gtin'))
      found.gtin += trueKeys(truth, 'gtin').length
    }
    expect(found.full).toBeLessThan(found.first / 1.5)
    expect(found.first).toBeLessThan(found.short)
    expect(found.gtin).toBeGreaterThan(0)
  })

  it('cuts the query at 100 characters and reads (a, b) as one of them', async () => {
    const { client, token, list } = await started()
    const product = list.find(({ title }) => title.split(' ').length === 3) ?? list[0]
    const brand = product?.brand ?? ''
    const plain = await searchAll(client.url, token, { q: brand })
    expect(plain.length).toBeGreaterThan(0)
    const cut = await searchAll(client.url, token, { q: `${brand.padEnd(100)} nosuchword` })
    expect(cut.map(({ itemId }) => itemId)).toEqual(plain.map(({ itemId }) => itemId))
    const either = await searchAll(client.url, token, { q: `${brand} (nosuchword, ${brand})` })
    expect(either.length).toBe(plain.length)
    expect(await searchAll(client.url, token, { q: `${brand} nosuchword` })).toEqual([])
  })

  it('leaves itemSummaries out when nothing matches, and charges for that answer', async () => {
    const { client, token } = await started()
    const { status, body } = await search(client.url, token, { q: 'nosuchword' }, { 'x-request-id': 'none' })
    expect(status).toBe(200)
    expect('itemSummaries' in body).toBe(false)
    expect(body.total).toBe(0)
    const { entries } = await client.post<{ entries: unknown[] }>('/sandbox/billing/lookup', { requestIds: ['none'] })
    expect(entries).toMatchObject([{ kind: 'ebay.search', units: 1, micros: 5000, account: 'sandbox-client' }])
  })

  it('pages with next and prev, without losing or repeating a row, with a total that only estimates', async () => {
    const { client, token, list } = await started()
    const q = list[0]?.brand ?? ''
    const all = await searchAll(client.url, token, { q })
    const paged: Row[] = []
    const totals = new Set<number>()
    for (let offset = 0; ; offset += 10) {
      const { body } = await search(client.url, token, { q, limit: '10', offset: String(offset) })
      totals.add(body.total)
      paged.push(...(body.itemSummaries ?? []))
      expect(body.prev !== undefined).toBe(offset > 0)
      expect(body.next !== undefined).toBe(offset + 10 < all.length)
      if (body.next === undefined) break
    }
    expect(paged.map(({ itemId }) => itemId)).toEqual(all.map(({ itemId }) => itemId))
    expect(totals.size).toBeGreaterThan(1)
  })

  it('sorts by price with shipping, and by date', async () => {
    const { client, token, list } = await started()
    const q = list[0]?.brand ?? ''
    const total = (row: Row): number =>
      Number(row.price.value) + Number(row.shippingOptions[0]?.shippingCost?.value ?? 0)
    const cheap = (await searchAll(client.url, token, { q, sort: 'price' })).map(total)
    expect(cheap).toEqual([...cheap].sort((a, b) => a - b))
    const dates = (await searchAll(client.url, token, { q, sort: 'newlyListed' })).map((row) => row.itemCreationDate)
    expect(dates).toEqual([...dates].sort().reverse())
  })

  it('has the rows an adapter must cope with', async () => {
    const { client, token, list } = await started()
    const rows: Row[] = []
    for (const q of new Set(list.map(({ brand }) => brand))) rows.push(...(await searchAll(client.url, token, { q })))
    expect(rows.some(({ conditionId }) => conditionId === undefined)).toBe(true)
    expect(rows.some((row) => row.price.convertedFromCurrency !== undefined)).toBe(true)
    const calculated = rows.filter((row) => row.shippingOptions[0]?.shippingCostType === 'CALCULATED')
    expect(calculated.length).toBeGreaterThan(0)
    expect(calculated.every((row) => row.shippingOptions[0]?.shippingCost === undefined)).toBe(true)
    expect(rows.every(({ buyingOptions }) => buyingOptions.includes('FIXED_PRICE'))).toBe(true)
    const listings = new Set(rows.map(({ legacyItemId }) => legacyItemId))
    expect(listings.size).toBeLessThan(rows.length)
    expect(new Set(rows.map(({ itemId }) => itemId)).size).toBe(rows.length)
    expect(rows.every(({ title }) => title.length <= 80)).toBe(true)
  })
})

describe('the filter', () => {
  it('is honoured, part by part', async () => {
    const { client, token, list } = await started()
    const q = list[0]?.brand ?? ''
    const all = await searchAll(client.url, token, { q, filter: 'buyingOptions:{FIXED_PRICE|AUCTION}' })
    const ids = (rows: readonly Row[]): string[] => rows.map(({ itemId }) => itemId).sort()
    const fixed = all.filter((row) => row.buyingOptions.includes('FIXED_PRICE'))
    const seller = fixed[0]?.seller.username ?? ''
    const bySeller = (row: Row): boolean => row.seller.username?.toLowerCase() === seller.toLowerCase()
    const cases: [string, Row[]][] = [
      ['buyingOptions:{AUCTION}', all.filter((row) => row.buyingOptions.includes('AUCTION'))],
      ['conditionIds:{1000|3000}', fixed.filter((row) => ['1000', '3000'].includes(row.conditionId ?? ''))],
      ['itemLocationCountry:US', fixed.filter((row) => row.itemLocation.country === 'US')],
      ['maxDeliveryCost:0', fixed.filter((row) => row.shippingOptions[0]?.shippingCost?.value === '0.00')],
      ['price:[10.00..25],priceCurrency:USD', fixed.filter((row) => between(row, 1000, 2500))],
      ['price:[..20.00],priceCurrency:USD', fixed.filter((row) => between(row, 0, 2000))],
      [`sellers:{${seller.toUpperCase()}}`, fixed.filter(bySeller)],
      [`excludeSellers:{${seller}|someone}`, fixed.filter((row) => !bySeller(row))],
    ]
    for (const [filter, expected] of cases) {
      expect(expected.length, filter).toBeGreaterThan(0)
      expect(ids(await searchAll(client.url, token, { q, filter })), filter).toEqual(ids(expected))
    }
  })

  it('is warned about and ignored when it is wrong', async () => {
    const { client, token, list } = await started()
    const q = list[0]?.brand ?? ''
    const plain = (await searchAll(client.url, token, { q })).length
    const cases: [string, number][] = [
      ['price:[10..20]', 12012],
      ['priceCurrency:USD', 12012],
      ['conditionIds:{new}', 12002],
      ['maxDeliveryCost:5', 12002],
      ['colour:red', 12002],
      ['deliveryPostalCode:10001', 12011],
      ['sellerAccountTypes:{BUSINESS}', 12014],
    ]
    for (const [filter, errorId] of cases) {
      const { status, body } = await search(client.url, token, { q, filter, limit: '200' })
      expect([status, body.warnings?.map((warning) => warning.errorId)], filter).toEqual([200, [errorId]])
      expect(body.itemSummaries?.length, filter).toBe(Math.min(200, plain))
    }
    const sorted = await search(client.url, token, { q, sort: 'relevance' })
    expect(sorted.body.warnings).toMatchObject([{ errorId: 12008 }])
    const unknown = await search(client.url, token, { q, filter: 'sellers:{nobody}' })
    expect(unknown.body.warnings).toMatchObject([{ errorId: 12003 }])
  })
})

describe('getItem, quota and rate limit', () => {
  it('tells the unchanging id of the seller, free of charge, also after a restart', async () => {
    const { client, token, list } = await started()
    const [truth] = await truths(client, list.map(({ asin }) => asin).slice(0, 1))
    const seller = truth?.sellers[0]
    const [row] = await searchAll(client.url, token, { q: truth?.ladder.short ?? '', filter: DEFAULT_FILTER })
    expect(row?.seller).not.toHaveProperty('userId')
    const itemId = encodeURIComponent(`v1|${seller?.listings[0]?.legacyId}|0`)
    await client.close()
    const again = await sandbox({ dataDir: client.dataDir })
    const before = await again.get<{ count: number }>('/sandbox/billing/summary')
    const get = (id: string): Promise<Response> =>
      fetch(`${again.url}/ebay/buy/browse/v1/item/${id}`, { headers: { authorization: `Bearer ${token}` } })
    expect(await (await get(itemId)).json()).toMatchObject({ seller: { userId: seller?.userId } })
    const missing = await get(encodeURIComponent('v1|999|0'))
    expect([missing.status, await missing.json()]).toMatchObject([404, { errors: [{ errorId: 11001 }] }])
    expect(await again.get('/sandbox/billing/summary')).toMatchObject({ count: before.count })
  })

  it('counts calls over restarts and answers 429/2001 when the day is used up, without charging', async () => {
    const client = await sandbox({ config: { ebay: { dailyQuota: 3 } } })
    const token = await mint(client.url)
    for (let i = 0; i < 2; i++) await search(client.url, token, { q: 'x' })
    await client.close()
    const again = await sandbox({ dataDir: client.dataDir, config: { ebay: { dailyQuota: 3 } } })
    expect((await search(again.url, token, { q: 'x' })).status).toBe(200)
    const { status, body } = await search(again.url, token, { q: 'x' })
    expect([status, body.errors]).toMatchObject([429, [{ errorId: 2001, domain: 'ACCESS' }]])
    expect(await again.get('/sandbox/billing/summary')).toMatchObject({ count: 3 })
    const report = await fetch(
      `${again.url}/ebay/developer/analytics/v1_beta/rate_limit/?api_context=buy&api_name=browse`,
      {
        headers: { authorization: `Bearer ${token}` },
      },
    )
    const rates = (await report.json()) as { rateLimits: { resources: { rates: { reset: string }[] }[] }[] }
    const rate = rates.rateLimits[0]?.resources[0]?.rates[0]
    expect(rate).toMatchObject({ limit: 3, count: 3, remaining: 0, timeWindow: 86_400 })
    expect(Date.parse(rate?.reset ?? '')).toBeGreaterThan(Date.now())
    await again.post('/sandbox/quota', { ebayDailyQuota: 10 })
    expect((await search(again.url, token, { q: 'x' })).status).toBe(200)
  })

  it('resets at midnight in California, also when clocks change', () => {
    const cases = [
      ['2026-11-22T15:00:00Z', '2026-11-23T08:00:00.000Z'],
      ['2026-07-01T06:59:59Z', '2026-07-01T07:00:00.000Z'],
      ['2026-03-08T08:00:00Z', '2026-03-09T07:00:00.000Z'],
      ['2026-11-01T07:30:00Z', '2026-11-02T08:00:00.000Z'],
    ]
    for (const [now = '', reset] of cases) {
      expect(new Date(nextPacificMidnight(Date.parse(now))).toISOString(), now).toBe(reset)
    }
  })
})

function between(row: Row, min: number, max: number): boolean {
  const cents = Math.round(Number(row.price.value) * 100)
  return cents >= min && cents <= max
}

/** Sellers of the rows that belong to the product: a query may reach its neighbours too. */
function sellersOf(rows: readonly Row[], truth: Truth): string[] {
  const own = new Set(
    [...truth.sellers, ...truth.unfindable].flatMap(({ listings }) => listings.map((l) => l.legacyId)),
  )
  const keys = rows.filter((row) => own.has(row.legacyItemId)).map((row) => row.seller.username?.toLowerCase() ?? '')
  return [...new Set(keys)].sort()
}

function trueKeys(truth: Truth, rung: 'gtin' | 'full' | 'first' | 'short'): string[] {
  return truth.sellers
    .filter(({ rungs }) => rungs[rung])
    .map(({ key }) => key)
    .sort()
}
