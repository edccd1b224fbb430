import { describe, expect, it } from 'vitest'
import type { FaultInput } from '../src/faults.ts'
import { type Client, KEEPA_KEY, mint, OXYLABS_BASIC, products, sandbox, search, truths } from './support.ts'

type Faulty = Readonly<{ client: Client; token: string; brand: string; set: (...rules: FaultInput[]) => Promise<void> }>

async function started(): Promise<Faulty> {
  const client = await sandbox()
  const [first] = await products(client, 'orchard/9101')
  const set = async (...rules: FaultInput[]): Promise<void> => {
    await client.post('/sandbox/faults', rules)
  }
  return { client, token: await mint(client.url), brand: first?.brand ?? '', set }
}

/** A search as bytes: what arrived, or how it failed. */
async function raw({ client, token, brand }: Faulty, requestId = 'id', timeoutMs = 5000) {
  const path = `/ebay/buy/browse/v1/item_summary/search?q=${brand}`
  try {
    const response = await fetch(client.url + path, {
      headers: { authorization: `Bearer ${token}`, 'x-request-id': requestId },
      signal: AbortSignal.timeout(timeoutMs),
    })
    const text = await response.text()
    return {
      status: response.status,
      text,
      retryAfter: response.headers.get('retry-after'),
      charged: response.headers.get('x-charged-micros'),
      failed: null,
    }
  } catch (error) {
    return {
      status: 0,
      text: '',
      retryAfter: null,
      charged: null,
      failed: error instanceof Error ? error.name : 'unknown',
    }
  }
}

async function charges({ client }: Faulty, requestId = 'id'): Promise<number[]> {
  const { entries } = await client.post<{ entries: { micros: number }[] }>('/sandbox/billing/lookup', {
    requestIds: [requestId],
  })
  return entries.map(({ micros }) => micros)
}

async function oxylabs({ client }: Faulty, payload: object, requestId = 'id') {
  const response = await fetch(`${client.url}/oxylabs/v1/queries`, {
    method: 'POST',
    headers: { authorization: OXYLABS_BASIC, 'x-request-id': requestId },
    body: JSON.stringify(payload),
  })
  const body = (await response.json()) as { results: { status_code: number; content: never }[]; message?: string }
  return { status: response.status, body, first: body.results?.[0] as { status_code: number; content: unknown } }
}

const LIST = { source: 'amazon_bestsellers', query: '9101', parse: true }
const page = (brand: string): object => ({ source: 'ebay', url: `https://www.ebay.com/sch/i.html?_nkw=${brand}` })

describe('a request refused for free', () => {
  const refusals: [FaultInput, number, string][] = [
    [{ kind: 'throttled' }, 429, '"errorId":2003'],
    [{ kind: 'throttled', retryAfterS: 7 }, 429, '"errorId":2003'],
    [{ kind: 'quota' }, 429, '"errorId":2001'],
    [{ kind: 'unauthorized' }, 401, '"errorId":1001'],
    [{ kind: 'forbidden' }, 403, '"errorId":1100'],
    [{ kind: 'bad_request', code: 12023 }, 400, '"errorId":12023'],
    [{ kind: 'server_error' }, 500, '"errorId":12000'],
    [{ kind: 'server_error', status: 502 }, 502, ''],
    [{ kind: 'server_error', status: 503 }, 503, ''],
  ]
  for (const [rule, status, part] of refusals) {
    it(`${JSON.stringify(rule)}`, async () => {
      const faulty = await started()
      await faulty.set({ provider: 'ebay', times: 1, ...rule })
      const answer = await raw(faulty)
      expect(answer.status).toBe(status)
      expect(answer.text).toContain(part)
      expect(answer.retryAfter).toBe(rule.retryAfterS === undefined ? null : String(rule.retryAfterS))
      expect(await charges(faulty)).toEqual([])
      expect((await raw(faulty)).status).toBe(200)
      expect(await charges(faulty)).toEqual([5000])
    })
  }

  it('in the words of Oxylabs and Keepa', async () => {
    const faulty = await started()
    for (const [kind, status, keepaStatus] of [
      ['throttled', 429, 429],
      ['unauthorized', 401, 400],
      ['forbidden', 403, 402],
      ['server_error', 500, 500],
    ] as const) {
      await faulty.set({ kind })
      expect((await oxylabs(faulty, LIST)).status, kind).toBe(status)
      const keepa = await fetch(`${faulty.client.url}/keepa/bestsellers?key=${KEEPA_KEY}&domain=1&category=9101`)
      expect(keepa.status, kind).toBe(keepaStatus)
    }
    expect(await charges(faulty)).toEqual([])
  })
})

describe('an exchange cut short', () => {
  it('reset before charging', async () => {
    const faulty = await started()
    await faulty.set({ kind: 'reset_before', times: 1 })
    expect((await raw(faulty)).failed).toBe('TypeError')
    expect(await charges(faulty)).toEqual([])
  })

  it('reset after charging', async () => {
    const faulty = await started()
    await faulty.set({ kind: 'reset_after', times: 1 })
    expect((await raw(faulty)).failed).toBe('TypeError')
    expect(await charges(faulty)).toEqual([5000])
  })

  it('hang until the client gives up: not charged', async () => {
    const faulty = await started()
    await faulty.set({ kind: 'hang', times: 1 })
    expect((await raw(faulty, 'id', 150)).failed).toBe('TimeoutError')
    await expect.poll(async () => (await faulty.client.get<{ held: number }>('/sandbox/stats')).held).toBe(0)
    expect(await charges(faulty)).toEqual([])
  })

  it('hang until released: answered and charged', async () => {
    const faulty = await started()
    await faulty.set({ kind: 'hang', times: 1 })
    const waiting = raw(faulty)
    await expect.poll(async () => (await faulty.client.get<{ held: number }>('/sandbox/stats')).held).toBe(1)
    expect(await faulty.client.post('/sandbox/faults/release')).toEqual({ released: 1 })
    expect((await waiting).status).toBe(200)
    expect(await charges(faulty)).toEqual([5000])
  })

  it('hang after charging', async () => {
    const faulty = await started()
    await faulty.set({ kind: 'hang_after', times: 1 })
    expect((await raw(faulty, 'id', 150)).failed).toBe('TimeoutError')
    expect(await charges(faulty)).toEqual([5000])
  })

  it('slow: charged even when the client has gone', async () => {
    const faulty = await started()
    await faulty.set({ kind: 'slow', ms: 300, times: 1 })
    expect((await raw(faulty, 'id', 100)).failed).toBe('TimeoutError')
    await expect.poll(() => charges(faulty)).toEqual([5000])
  })

  it('truncated, garbage, empty and dripping bodies: all charged', async () => {
    const faulty = await started()
    const whole = (await raw(faulty, 'whole')).text
    for (const kind of ['truncated', 'garbage', 'empty_body'] as const) {
      await faulty.set({ kind, times: 1 })
      const answer = await raw(faulty, kind)
      if (kind === 'truncated') expect(answer.failed).toBe('TypeError')
      else expect(() => JSON.parse(answer.text)).toThrow()
      expect(await charges(faulty, kind)).toEqual([5000])
    }
    await faulty.set({ kind: 'drip', ms: 20, times: 1 })
    const began = performance.now()
    expect((await raw(faulty, 'drip')).text).toBe(whole)
    expect(performance.now() - began).toBeGreaterThan(100)
    expect(await charges(faulty, 'drip')).toEqual([5000])
  })
})

describe('an answer that is not what it should be', () => {
  it('eBay: filters ignored, with and without a warning', async () => {
    const faulty = await started()
    const query = { q: faulty.brand, filter: 'conditionIds:{1000},itemLocationCountry:US', limit: '200' }
    const plain = await search(faulty.client.url, faulty.token, query)
    for (const kind of ['ignored_filters', 'ignored_filters_silent'] as const) {
      await faulty.set({ kind })
      const { body } = await search(faulty.client.url, faulty.token, query)
      expect(body.itemSummaries?.length).toBeGreaterThan(plain.body.itemSummaries?.length ?? 0)
      expect(body.itemSummaries?.some(({ itemLocation }) => itemLocation.country !== 'US')).toBe(true)
      expect(body.warnings?.map(({ errorId }) => errorId)).toEqual(kind === 'ignored_filters' ? [12012] : undefined)
    }
  })

  it('eBay: another shape, sellers without names, ids as names', async () => {
    const faulty = await started()
    await faulty.set({ kind: 'drift_json' })
    const drifted = JSON.parse((await raw(faulty)).text) as Record<string, unknown>
    expect([drifted['itemSummaries'], Array.isArray(drifted['results'])]).toEqual([undefined, true])
    await faulty.set({ kind: 'anonymous_sellers' })
    const anonymous = await search(faulty.client.url, faulty.token, { q: faulty.brand })
    expect(Object.keys(anonymous.body.itemSummaries?.[0]?.seller ?? {})).toEqual(['feedbackScore'])
    await faulty.set({ kind: 'ids_as_usernames' })
    const ids = await search(faulty.client.url, faulty.token, { q: faulty.brand })
    expect(ids.body.itemSummaries?.every(({ seller }) => /^[0-9A-Za-z]{11}$/.test(seller.username ?? ''))).toBe(true)
  })

  it('eBay: a renamed seller keeps the id', async () => {
    const faulty = await started()
    const names = async (): Promise<Map<string, string>> => {
      const { body } = await search(faulty.client.url, faulty.token, { q: faulty.brand, limit: '200' })
      return new Map(body.itemSummaries?.map((row) => [row.itemId, row.seller.username ?? '']))
    }
    const idOf = async (itemId: string): Promise<string> => {
      const address = `${faulty.client.url}/ebay/buy/browse/v1/item/${encodeURIComponent(itemId)}`
      const response = await fetch(address, { headers: { authorization: `Bearer ${faulty.token}` } })
      return ((await response.json()) as { seller: { userId: string } }).seller.userId
    }
    const before = await names()
    const renamedItem = async (): Promise<string> =>
      [...(await names())].find(([itemId, name]) => before.get(itemId) !== name)?.[0] ?? ''
    await faulty.set({ kind: 'renamed_sellers' })
    const item = await renamedItem()
    const id = await idOf(item)
    await faulty.set()
    expect(await idOf(item)).toBe(id)
    expect(await renamedItem()).toBe('')
  })

  it('a price above the list, the same for every provider', async () => {
    const faulty = await started()
    await faulty.set({ kind: 'price_above_list', factor: 3 })
    expect((await raw(faulty, 'ebay')).charged).toBe('15000')
    await oxylabs(faulty, LIST, 'oxylabs')
    const keepa = await fetch(`${faulty.client.url}/keepa/product?key=${KEEPA_KEY}&domain=1&asin=B000000000`, {
      headers: { 'x-request-id': 'keepa' },
    })
    expect(await keepa.json()).toMatchObject({ tokensConsumed: 3 })
    expect(await Promise.all(['ebay', 'oxylabs', 'keepa'].map((id) => charges(faulty, id)))).toEqual([
      [15_000],
      [15_000],
      [180],
    ])
  })

  it('Oxylabs: target pages that failed are free from 5xx on, and charged when they are missing', async () => {
    const faulty = await started()
    for (const [status, micros] of [
      [404, [5000]],
      [500, []],
      [612, []],
      [613, []],
    ] as const) {
      await faulty.set({ kind: 'target_status', status })
      const { first } = await oxylabs(faulty, LIST, `status ${status}`)
      expect(first).toMatchObject({ status_code: status, content: '' })
      expect(await charges(faulty, `status ${status}`)).toEqual(micros)
    }
    await faulty.set({ kind: 'target_status', status: 613, page: 2 })
    const { body } = await oxylabs(faulty, { ...LIST, pages: 2 }, 'mixed')
    expect(body.results.map(({ status_code }) => status_code)).toEqual([200, 613])
    expect(await charges(faulty, 'mixed')).toEqual([5000])
  })

  it('Oxylabs: parser trouble, short pages, drift and captcha are all charged', async () => {
    const faulty = await started()
    const rows = async (rule: FaultInput): Promise<{ code: unknown; count: number | undefined }> => {
      await faulty.set(rule)
      const content = (await oxylabs(faulty, LIST, rule.kind)).first.content as Record<string, unknown>
      expect(await charges(faulty, rule.kind)).toContain(5000)
      return { code: content['parse_status_code'], count: (content['results'] as unknown[] | undefined)?.length }
    }
    expect(await rows({ kind: 'short_pages' })).toEqual({ code: 12000, count: 30 })
    expect(await rows({ kind: 'parse_status', code: 12002 })).toEqual({ code: 12002, count: 0 })
    expect(await rows({ kind: 'parse_status', code: 12004 })).toEqual({ code: 12004, count: 40 })
    expect(await rows({ kind: 'drift_json' })).toEqual({ code: 12000, count: undefined })
    expect(await rows({ kind: 'captcha' })).toEqual({ code: 12002, count: 0 })
  })

  it('Oxylabs: the eBay page as captcha, redesigned, in the old layout, without sellers, with fewer words', async () => {
    const faulty = await started()
    const html = async (...kinds: FaultInput['kind'][]): Promise<string> => {
      await faulty.set(...kinds.map((kind) => ({ kind })))
      const { first } = await oxylabs(
        faulty,
        page(kinds.includes('fewer_words') ? 'nosuchword' : faulty.brand),
        kinds[0],
      )
      expect([first.status_code, await charges(faulty, kinds[0])]).toEqual([200, [6000]])
      return first.content as string
    }
    expect(await html('captcha')).toContain('<title>Security Measure | eBay</title>')
    const drifted = await html('drift_html')
    expect(drifted).not.toMatch(/s-card|s-item|srp-results/)
    expect(drifted).toContain(faulty.brand)
    expect(await html('old_layout')).toContain('s-item__seller-info-text')
    const sellerless = await html('no_seller_rows')
    expect(sellerless).toContain('data-listingid')
    expect(sellerless).not.toContain('% positive')
    const fewer = await html('fewer_words')
    expect(fewer).toContain('No exact matches found')
    expect(fewer.split('Results matching fewer words')[1]).toContain('data-listingid')
  })

  it('Keepa: an error with status 200, uncharged, and the list at the top level', async () => {
    const faulty = await started()
    const list = async (): Promise<Record<string, unknown>> => {
      const address = `${faulty.client.url}/keepa/bestsellers?key=${KEEPA_KEY}&domain=1&category=9101`
      return (await (await fetch(address, { headers: { 'x-request-id': 'keepa' } })).json()) as Record<string, unknown>
    }
    await faulty.set({ kind: 'keepa_error_200' })
    expect(await list()).toMatchObject({ error: { type: 'invalidParameter' }, tokensConsumed: 0 })
    expect(await charges(faulty, 'keepa')).toEqual([])
    await faulty.set({ kind: 'top_level_asins' })
    expect(Array.isArray((await list())['asinList'])).toBe(true)
  })
})

describe('rules', () => {
  it('strike by number, share, text, operation and times', async () => {
    const faulty = await started()
    const pattern = async (count: number): Promise<string> => {
      let text = ''
      for (let i = 0; i < count; i++) text += (await raw(faulty)).status === 200 ? '.' : 'x'
      return text
    }
    const fault = { kind: 'server_error' } as const
    await faulty.set({ ...fault, when: { every: 3 } })
    expect(await pattern(7)).toBe('..x..x.')
    await faulty.set({ ...fault, when: { nth: 2 } })
    expect(await pattern(4)).toBe('.x..')
    await faulty.set({ ...fault, when: { first: 2 } })
    expect(await pattern(4)).toBe('xx..')
    await faulty.set({ ...fault, when: { after: 2 } })
    expect(await pattern(4)).toBe('..xx')
    await faulty.set({ ...fault, times: 1 })
    expect(await pattern(3)).toBe('x..')
    await faulty.set({ ...fault, when: { matching: 'nosuchtext' } })
    expect(await pattern(2)).toBe('..')
    await faulty.set({ ...fault, when: { matching: `q=${faulty.brand.toUpperCase()}` } })
    expect(await pattern(2)).toBe('xx')
    await faulty.set({ ...fault, operation: 'token' })
    expect(await pattern(2)).toBe('..')
    await faulty.set({ ...fault, when: { probability: 0.5 } })
    const once = await pattern(20)
    expect(once).toContain('x')
    expect(once).toContain('.')
    await faulty.set({ ...fault, when: { probability: 0.5 } })
    expect(await pattern(20)).toBe(once)
  })

  it('are counted, added to, cleared, and refused when wrong', async () => {
    const faulty = await started()
    await faulty.set({ kind: 'server_error', times: 1 })
    await faulty.client.post('/sandbox/faults/add', [{ kind: 'throttled', when: { after: 5 } }])
    await raw(faulty)
    expect(await faulty.client.get('/sandbox/faults')).toMatchObject({
      rules: [
        { kind: 'server_error', seen: 1, hits: 1 },
        { kind: 'throttled', seen: 1, hits: 0 },
      ],
    })
    await faulty.client.post('/sandbox/latency', { ms: 50 })
    await faulty.client.post('/sandbox/reset')
    expect(await faulty.client.get('/sandbox/faults')).toEqual({ rules: [] })
    const wrong = await fetch(`${faulty.client.url}/sandbox/faults`, { method: 'POST', body: '[{"kind":"rain"}]' })
    expect([wrong.status, await wrong.text()]).toMatchObject([400, expect.stringContaining('kind')])
  })

  it('delay every answer by the latency', async () => {
    const faulty = await started()
    await faulty.client.post('/sandbox/latency', { ms: 120 })
    const began = performance.now()
    await raw(faulty)
    expect(performance.now() - began).toBeGreaterThan(110)
  })
})

describe('the control routes', () => {
  it('tell prices, health and counts, and page through the billing record', async () => {
    const faulty = await started()
    const { client } = faulty
    expect(await client.get('/sandbox/prices')).toEqual({
      'ebay.search': 5000,
      'oxylabs.amazon_bestsellers': 5000,
      'oxylabs.ebay': 6000,
      'keepa.token': 60,
    })
    expect(await client.get('/sandbox/health')).toMatchObject({ status: 'ok', pid: process.pid, seed: 1 })
    for (const id of ['a', 'b', 'c']) await raw(faulty, id)
    type Page = { entries: { seq: number; requestId: string }[]; next: number }
    const first = await client.get<Page>('/sandbox/billing?after=0&limit=2')
    expect([first.entries.map(({ requestId }) => requestId), first.next]).toEqual([['a', 'b'], 2])
    const second = await client.get<Page>(`/sandbox/billing?after=${first.next}&limit=2`)
    expect([second.entries.map(({ seq }) => seq), second.next]).toEqual([[3], 3])
    expect(await client.get('/sandbox/billing?after=3')).toEqual({ entries: [], next: 3 })
    expect(await client.get('/sandbox/billing/summary')).toEqual({
      count: 3,
      micros: 15_000,
      byKind: { 'ebay.search': { count: 3, units: 3, micros: 15_000 } },
    })
    expect(await client.get('/sandbox/stats')).toMatchObject({ open: 0, providers: { ebay: { requests: 4, open: 0 } } })
  })

  it('take a catalogue, whose products get listings by the same rules', async () => {
    const { client } = await started()
    const rows = Array.from({ length: 40 }, (_, i) => ({
      asin: `B0CAT${String(i).padStart(5, '0')}`,
      title: `Quillmark ${['Brass', 'Copper'][i % 2]} Kettle Stand KX${200 + i}, Two Handles, Grey`,
      priceCents: i % 5 === 0 ? null : 2599,
    }))
    expect(await client.post('/sandbox/catalogue', { products: rows })).toEqual({ added: 40, known: 0, catalogue: 40 })
    expect(await client.post('/sandbox/catalogue', { products: rows })).toEqual({ added: 0, known: 40, catalogue: 40 })
    const known = await truths(
      client,
      rows.map(({ asin }) => asin),
    )
    expect(known.flatMap(({ sellers }) => sellers).length).toBeGreaterThan(100)
    const bad = await fetch(`${client.url}/sandbox/catalogue`, {
      method: 'POST',
      body: JSON.stringify({ products: [{ asin: 'x', title: '' }] }),
    })
    expect(bad.status).toBe(400)
  })
})
