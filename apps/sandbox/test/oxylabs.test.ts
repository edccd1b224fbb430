import { load } from 'cheerio'
import { describe, expect, it } from 'vitest'
import { createRate } from '../src/rate.ts'
import { type Client, OXYLABS_BASIC, products, sandbox, truths } from './support.ts'

type Parsed = { parse_status_code: number; results: { pos: number; asin: string; price: number | null }[] }
type Envelope = {
  results: { content: Parsed | string; status_code: number; page: number; type: string; url: string }[]
  job: { id: string; status: string }
  message?: string
}

async function query(url: string, payload: object, headers: Record<string, string> = {}) {
  const response = await fetch(`${url}/oxylabs/v1/queries`, {
    method: 'POST',
    headers: { authorization: OXYLABS_BASIC, 'content-type': 'application/json', ...headers },
    body: JSON.stringify(payload),
  })
  return { status: response.status, headers: response.headers, body: (await response.json()) as Envelope }
}

const list = (node: string, more: object = {}): object => ({
  source: 'amazon_bestsellers',
  domain: 'com',
  query: node,
  parse: true,
  ...more,
})

function rows(envelope: Envelope, page = 0): Parsed['results'] {
  const content = envelope.results[page]?.content
  return typeof content === 'object' ? content.results : []
}

describe('best-seller pages', () => {
  it('are the list in order, 50 a page, one charge a page', async () => {
    const client = await sandbox()
    const truth = await products(client, 'orchard/9101')
    const { status, headers, body } = await query(client.url, list('9101', { pages: 2 }), { 'x-request-id': 'o1' })
    expect([status, headers.get('x-oxylabs-job-id')]).toEqual([200, body.job.id])
    expect(body.job.id).toMatch(/^\d{19}$/)
    expect(headers.get('x-ratelimit-requests-remaining')).toMatch(/^\d+$/)
    expect(body.results.map(({ page, status_code, type }) => [page, status_code, type])).toEqual([
      [1, 200, 'parsed'],
      [2, 200, 'parsed'],
    ])
    expect([...rows(body, 0), ...rows(body, 1)].map(({ asin }) => asin)).toEqual(truth.map(({ asin }) => asin))
    expect(rows(body).map(({ price }) => (price === null ? null : Math.round(price * 100)))).toEqual(
      truth.slice(0, 50).map(({ priceCents }) => priceCents),
    )
    const { entries } = await client.post<{ entries: unknown[] }>('/sandbox/billing/lookup', { requestIds: ['o1'] })
    expect(entries).toMatchObject([{ kind: 'oxylabs.amazon_bestsellers', units: 2, micros: 10_000 }])
  })

  it('are found by node, root node, slug, address and the older spelling', async () => {
    const { url } = await sandbox()
    const asins = async (payload: object): Promise<string[]> =>
      rows((await query(url, payload)).body).map((row) => row.asin)
    const department = await asins(list('9001'))
    expect(await asins(list('orchard'))).toEqual(department)
    expect(department.length).toBeGreaterThan(20)
    const amazon = (address: string): object => ({
      source: 'amazon',
      url: `https://www.amazon.com${address}`,
      parse: true,
    })
    expect(await asins(amazon('/gp/bestsellers/orchard?pg=1'))).toEqual(department)
    expect(await asins(amazon('/Best-Sellers-Words/zgbs/orchard/ref=zg_bs_nav'))).toEqual(department)
    const node = await asins(list('9102'))
    expect(await asins(amazon('/gp/bestsellers/orchard/9102'))).toEqual(node)
    expect(await asins(list('orchard', { context: [{ key: 'category_id', value: '9102' }] }))).toEqual(node)
    expect((await asins(amazon('/gp/bestsellers/attic'))).length).toBeGreaterThan(20)
  })

  it('that do not exist are a charged 404', async () => {
    const client = await sandbox()
    const { status, body } = await query(client.url, list('4711'))
    expect([status, body.job.status]).toEqual([200, 'faulted'])
    expect(body.results).toMatchObject([{ status_code: 404, content: '' }])
    expect(await client.get('/sandbox/billing/summary')).toMatchObject({ count: 1, micros: 5000 })
  })

  it('are counted in the usage report, which is free', async () => {
    const client = await sandbox()
    await query(client.url, list('9101', { pages: 2 }))
    const report = await fetch(`${client.url}/oxylabs/v2/stats`, { headers: { authorization: OXYLABS_BASIC } })
    expect(await report.json()).toMatchObject({
      data: { sources: [{ title: 'amazon_bestsellers', results_count: 2 }] },
    })
    expect((await fetch(`${client.url}/oxylabs/v2/stats`)).status).toBe(401)
    expect(await client.get('/sandbox/billing/summary')).toMatchObject({ count: 1 })
  })

  it('of 30 rows have the first 30 of each 50 places', async () => {
    const client = await sandbox({ config: { oxylabs: { pageRows: 30 } } })
    const truth = await products(client, 'orchard/9101')
    const { body } = await query(client.url, list('9101', { pages: 2 }))
    expect(rows(body, 0).map(({ asin }) => asin)).toEqual(truth.slice(0, 30).map(({ asin }) => asin))
    expect(rows(body, 1).map(({ asin }) => asin)).toEqual(truth.slice(50, 80).map(({ asin }) => asin))
  })

  it('are refused without credentials and with a bad payload, uncharged', async () => {
    const client = await sandbox()
    expect((await query(client.url, list('9101'), { authorization: 'Basic eDp5' })).status).toBe(401)
    expect((await query(client.url, { source: 'walmart', query: 'x' })).status).toBe(400)
    expect((await query(client.url, { source: 'ebay' })).status).toBe(400)
    expect(await client.get('/sandbox/billing/summary')).toMatchObject({ count: 0 })
  })
})

describe('the rate', () => {
  type Rate = { limit: number; arrivals: number; passed: number; busiestSecond: number }
  const rateOf = async (client: Client): Promise<Rate> =>
    (await client.get<{ rate: { oxylabs: Rate } }>('/sandbox/stats')).rate.oxylabs

  it('refuses what is beyond it, of lists and eBay pages together, says what is left, and charges nothing for it', async () => {
    const client = await sandbox({ config: { oxylabs: { ratePerSecond: 3 } } })
    const page = { source: 'ebay', url: 'https://www.ebay.com/sch/i.html?_nkw=nosuchword' }
    const answers = await Promise.all(
      Array.from({ length: 12 }, (_, at) => query(client.url, at % 2 === 0 ? list('9101') : page)),
    )
    const { limit, arrivals, passed, busiestSecond } = await rateOf(client)
    const refused = answers.filter(({ status }) => status === 429)
    expect([limit, arrivals, refused.length]).toEqual([3, 12, passed])
    expect(busiestSecond).toBeGreaterThan(3)
    expect(passed).toBeGreaterThan(0)
    expect(refused[0]?.body).toEqual({ message: 'Too many requests' })
    for (const { headers } of refused) {
      expect(headers.get('x-ratelimit-requests-limit')).toBe('3')
      expect(headers.get('x-ratelimit-requests-remaining')).toBe('0')
    }
    expect(await client.get('/sandbox/billing/summary')).toMatchObject({ count: 12 - passed })
  })

  it('does not count the usage report', async () => {
    const client = await sandbox({ config: { oxylabs: { ratePerSecond: 1 } } })
    for (let i = 0; i < 4; i++) {
      const report = await fetch(`${client.url}/oxylabs/v2/stats`, { headers: { authorization: OXYLABS_BASIC } })
      expect(report.status).toBe(200)
    }
    expect(await rateOf(client)).toMatchObject({ arrivals: 0 })
    expect((await query(client.url, list('9101'))).status).toBe(200)
  })

  it.each([
    ['over the end of a second', [0.9, 0.95, 1.05, 1.2], '++--'],
    ['a second after each arrival, and counts the refused ones', [0, 0.5, 0.9, 1.4, 2.5], '++--+'],
  ])('holds %s', (_, atSeconds, answers) => {
    const rate = createRate(() => 2)
    const fits = atSeconds.map((atS) => (rate.arrive(1_000_000 + atS * 1_000) ? '+' : '-'))
    expect(fits.join('')).toBe(answers)
  })

  it('tells how much room is left, which comes back a second after it was taken', () => {
    const rate = createRate(() => 3)
    rate.arrive(0)
    rate.arrive(600)
    expect([rate.room(700), rate.room(1_000), rate.room(1_600)]).toEqual([1, 2, 3])
  })
})

describe('the eBay page', () => {
  const address = (parameters: Record<string, string>): string =>
    `https://www.ebay.com/sch/i.html?${new URLSearchParams(parameters)}`
  const filters = { LH_ItemCondition: '1000', LH_Free: '1', LH_PrefLoc: '1', LH_BIN: '1', _ipg: '240' }

  async function page(client: Client, parameters: Record<string, string>): Promise<string> {
    const { body } = await query(client.url, { source: 'ebay', url: address(parameters) })
    const content = body.results[0]?.content
    return typeof content === 'string' ? content : ''
  }

  it('shows in both layouts the sellers the truth knows, after two placeholders', async () => {
    for (const layout of ['s-card', 's-item'] as const) {
      const client = await sandbox({ config: { oxylabs: { ebayLayout: layout } } })
      const asins = (await products(client, 'orchard/9101')).map(({ asin }) => asin)
      const truth = (await truths(client, asins)).find(({ sellers, priceCents }) => sellers.length > 3 && priceCents)
      if (!truth?.priceCents) throw new Error('no product with sellers')
      const html = await page(client, {
        _nkw: truth.ladder.short,
        ...filters,
        _udlo: ((truth.priceCents * 0.8) / 100).toFixed(2),
        _udhi: ((truth.priceCents * 1.6) / 100).toFixed(2),
      })
      const $ = load(html)
      const titles = $(`.${layout}__title`)
        .toArray()
        .map((title) => $(title).text())
      expect(titles.slice(0, 2).every((title) => title.startsWith('Shop on eBay'))).toBe(true)
      const sellers =
        layout === 's-card' ? '.su-card-container__attributes__secondary span:first-child' : '.s-item__seller-info-text'
      const names = $(sellers)
        .toArray()
        .map((element) => ($(element).text().split(' ')[0] ?? '').toLowerCase())
      for (const { key, rungs } of truth.sellers) expect(names.includes(key), key).toBe(rungs.short)
      if (layout === 's-item') expect($(sellers).first().text()).toMatch(/^(\S+) \(([\d,]+)\) ([\d.]+)%$/)
      else expect(html).toMatch(/% positive \([\d.]+K?\)/)
      expect(await client.get('/sandbox/billing/summary')).toMatchObject({ micros: 6000 })
    }
  })

  it('knows article numbers, says when nothing matches, and is a 404 elsewhere', async () => {
    const client = await sandbox()
    const asins = (await products(client, 'orchard/9101')).map(({ asin }) => asin)
    const truth = (await truths(client, asins)).find(({ sellers }) => sellers.some(({ rungs }) => rungs.gtin))
    expect(await page(client, { _nkw: truth?.gtin ?? '' })).toContain('data-listingid="')
    expect(await page(client, { _nkw: 'nosuchword' })).toContain('No exact matches found')
    const other = await query(client.url, { source: 'ebay', url: 'https://www.ebay.com/usr/somebody' })
    expect(other.body.results).toMatchObject([{ status_code: 404 }])
  })
})
