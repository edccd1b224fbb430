import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { type Micros, toMicros } from '../../src/base/money.ts'
import { ebayBrowse, nextPacificMidnight, searchParameters } from '../../src/providers/ebay-browse.ts'
import { closeHttp } from '../../src/providers/http.ts'
import type { ProviderAccount } from '../../src/providers/types.ts'
import { type Received, type ScriptedServer, startScriptedServer, type Wire } from './scripted-server.ts'
import { EBAY_TOKEN, ebayBody, ebayErrors, ebayRow, FILTERS, SEARCH } from './wire.ts'

let server: ScriptedServer
let accounts = 0

beforeAll(async () => {
  server = await startScriptedServer()
})
afterAll(async () => {
  await closeHttp()
  await server.close()
})

const CONTEXT = { callId: 'call-1', timeoutMs: 5000 }

/** Each account is another client, so that no token of another test is there. */
function account(price: Micros | undefined = toMicros(500)): ProviderAccount {
  const prices = price === undefined ? {} : { 'ebay.search': price }
  const credentials = { user: `client-${++accounts}`, secret: 'very-secret' }
  return { adapter: 'ebay_browse', baseUrl: server.url, credentials, prices }
}

function serve(
  search: (request: Received) => Wire,
  token: () => Wire = () => ({ status: 200, body: EBAY_TOKEN }),
): void {
  server.answer((request) => (request.url.includes('/oauth2/token') ? token() : search(request)))
}

const paths = () => server.received.map(({ url }) => url.split('?')[0]?.split('/').at(-1))

describe('a search', () => {
  it('asks for what the filters say and sends the call id', async () => {
    serve(() => ({ status: 200, body: ebayBody([ebayRow()]) }))
    await ebayBrowse(account()).search(SEARCH, CONTEXT)
    const [token, search] = server.received
    expect(token).toMatchObject({ method: 'POST', url: '/identity/v1/oauth2/token' })
    expect(token?.body).toBe('grant_type=client_credentials&scope=https%3A%2F%2Fapi.ebay.com%2Foauth%2Fapi_scope')
    expect(search?.headers).toMatchObject({
      authorization: 'Bearer v^1.1#i^1#token',
      'x-request-id': 'call-1',
      'x-ebay-c-marketplace-id': 'EBAY_US',
    })
    const asked = new URL(`http://x${search?.url}`).searchParams
    expect(Object.fromEntries(asked)).toEqual({
      q: 'Brewster Pour Over Kettle',
      limit: '200',
      offset: '0',
      filter:
        'conditionIds:{1000},buyingOptions:{FIXED_PRICE},itemLocationCountry:US,deliveryCountry:US,maxDeliveryCost:0,' +
        'price:[16.00..32.00],priceCurrency:USD',
    })
  })

  it('never sends q and gtin together, nor bounds without a price', () => {
    const filters = { ...FILTERS, priceCents: null, locatedIn: null, freeShipping: false }
    const asked = new URLSearchParams(
      searchParameters({ query: { kind: 'gtin', gtin: '012345678905' }, filters, limit: 9 }),
    )
    expect(asked.get('q')).toBeNull()
    expect(asked.get('gtin')).toBe('012345678905')
    expect(asked.get('filter')).toBe('conditionIds:{1000},buyingOptions:{FIXED_PRICE},deliveryCountry:US')
  })

  it('re-checks every row, also when eBay warned that it ignored a filter', async () => {
    const rows = [
      ebayRow({ price: { value: '99.00', currency: 'USD' } }),
      ebayRow({ legacyItemId: '2', conditionId: '3000' }),
      ebayRow({ legacyItemId: '3' }),
      { title: 7 },
    ]
    const warning = { errorId: 12012, message: 'ignored', parameters: [{ name: 'filter', value: 'price' }] }
    serve(() => ({ status: 200, body: ebayBody(rows, { warnings: [warning] }) }))
    const answer = await ebayBrowse(account()).search(SEARCH, CONTEXT)
    expect(answer).toMatchObject({
      ok: true,
      listings: [{ listingId: '3', position: 3, priceCents: 1999 }],
      leftOut: { price: 1, condition: 1, unreadable: 1 },
      ignoredFilters: ['ebay.12012 filter=price'],
    })
  })

  it('takes no row for a GTIN that eBay ignored, so that the next rung is tried', async () => {
    const warnings = [{ errorId: 12022, message: 'gtin is invalid' }]
    serve(() => ({ status: 200, body: ebayBody([ebayRow()], { warnings }) }))
    const request = { ...SEARCH, query: { kind: 'gtin', gtin: '1' } } as const
    expect(await ebayBrowse(account()).search(request, CONTEXT)).toMatchObject({
      ok: true,
      listings: [],
      leftOut: { placeholder: 1 },
      ignoredFilters: ['ebay.12022 gtin is invalid'],
    })
  })

  it('does not call an answer none that speaks of rows and has no list of them', async () => {
    serve(() => ({ status: 200, body: JSON.stringify({ total: 3, results: [ebayRow()] }) }))
    expect(await ebayBrowse(account()).search(SEARCH, CONTEXT)).toMatchObject({ kind: 'drift', code: 'schema' })
  })

  it('refuses to send anything without a price', async () => {
    const unpriced = { ...account(), prices: {} }
    serve(() => ({ status: 200, body: ebayBody([]) }))
    await expect(ebayBrowse(unpriced).search(SEARCH, CONTEXT)).rejects.toThrow('no price')
    expect(server.received).toEqual([])
  })
})

describe('the token', () => {
  it('is minted once for many searches at the same time, and kept', async () => {
    serve(() => ({ status: 200, body: ebayBody([]) }))
    const adapter = ebayBrowse(account())
    await Promise.all(Array.from({ length: 20 }, () => adapter.search(SEARCH, CONTEXT)))
    await adapter.search(SEARCH, CONTEXT)
    expect(paths().filter((path) => path === 'token')).toHaveLength(1)
    expect(paths().filter((path) => path === 'search')).toHaveLength(21)
  })

  it('is minted once more when eBay refuses it, and the search sent once more under the same call', async () => {
    let refused = 0
    serve(() =>
      refused++ === 0 ? { status: 401, body: ebayErrors(1001) } : { status: 200, body: ebayBody([ebayRow()]) },
    )
    const answer = await ebayBrowse(account()).search(SEARCH, CONTEXT)
    expect(answer).toMatchObject({ ok: true, charge: { kind: 'charged', micros: 500 } })
    expect(paths()).toEqual(['token', 'search', 'token', 'search'])
    expect(server.received.filter(({ headers }) => headers['x-request-id'] === 'call-1')).toHaveLength(2)
  })

  it('ends as a fault of eBay when the new one is refused too, and is not minted a third time', async () => {
    serve(() => ({ status: 401, body: ebayErrors(1001) }))
    expect(await ebayBrowse(account()).search(SEARCH, CONTEXT)).toMatchObject({
      kind: 'fault',
      code: 'ebay.1001',
      charge: { kind: 'not_charged' },
    })
    expect(paths()).toEqual(['token', 'search', 'token', 'search'])
  })

  it('is not minted without end while eBay refuses every one', async () => {
    let minted = 0
    const token = () => ({ status: 200, body: JSON.stringify({ access_token: `t${++minted}`, expires_in: 7200 }) })
    serve(() => ({ status: 401, body: ebayErrors(1001) }), token)
    const adapter = ebayBrowse(account())
    for (let search = 0; search < 120; search++) await adapter.search(SEARCH, CONTEXT)
    expect(minted).toBe(101)
  })

  it('is shared by searches that were refused with the same one', async () => {
    let minted = 0
    const token = () => ({ status: 200, body: JSON.stringify({ access_token: `t${++minted}`, expires_in: 7200 }) })
    serve(
      ({ headers }) =>
        headers['authorization'] === 'Bearer t1'
          ? { status: 401, body: ebayErrors(1001) }
          : { status: 200, body: ebayBody([]) },
      token,
    )
    const adapter = ebayBrowse(account())
    const answers = await Promise.all(Array.from({ length: 10 }, () => adapter.search(SEARCH, CONTEXT)))
    expect(answers.every(({ ok }) => ok)).toBe(true)
    expect(minted).toBe(2)
  })

  it('is renewed ahead of its expiry, and the old one serves when that fails', async () => {
    let minted = 0
    const token = (): Wire =>
      ++minted === 1 ? { status: 200, body: JSON.stringify({ access_token: 'old', expires_in: 0.6 }) } : { status: 503 }
    serve(() => ({ status: 200, body: ebayBody([]) }), token)
    const adapter = ebayBrowse(account())
    const first = Date.now()
    let answer = await adapter.search(SEARCH, CONTEXT)
    while (minted < 2 && Date.now() - first < 2000) answer = await adapter.search(SEARCH, CONTEXT)
    expect(minted).toBe(2)
    expect(answer).toMatchObject({ ok: true })
  })

  it.each<[string, Wire, Record<string, unknown>]>([
    [
      'wrong key pair',
      { status: 401, body: '{"error":"invalid_client"}' },
      { kind: 'credentials', code: 'ebay.invalid_client' },
    ],
    [
      'wrong scope',
      { status: 400, body: '{"error":"invalid_scope"}' },
      { kind: 'credentials', code: 'ebay.invalid_scope' },
    ],
    [
      'limit',
      { status: 429, headers: { 'retry-after': '7' } },
      { kind: 'throttled', code: 'token.http.429', retryAfterMs: 7000 },
    ],
    ['fault', { status: 503 }, { kind: 'fault', code: 'token.http.503' }],
    ['garbage', { status: 200, body: '<html>' }, { kind: 'drift', code: 'token.schema' }],
    [
      'no header value',
      { status: 200, body: '{"access_token":"a\\nb","expires_in":9}' },
      { kind: 'drift', code: 'token.schema' },
    ],
    ['reset', 'reset', { kind: 'unreachable', code: 'token.reset' }],
  ])('failing (%s) costs nothing and sends no search', async (_, wire, expected) => {
    serve(
      () => ({ status: 200, body: ebayBody([]) }),
      () => wire,
    )
    const answer = await ebayBrowse(account()).search(SEARCH, CONTEXT)
    expect(answer).toMatchObject({ ok: false, charge: { kind: 'not_charged' }, ...expected })
    expect(JSON.stringify(answer)).not.toContain('very-secret')
    expect(paths()).toEqual(['token'])
  })

  it('that does not come in time leaves the search unsent', async () => {
    serve(
      () => ({ status: 200, body: ebayBody([]) }),
      () => 'hang',
    )
    const answer = await ebayBrowse(account()).search(SEARCH, { ...CONTEXT, timeoutMs: 50 })
    expect(answer).toMatchObject({ kind: 'unreachable', code: 'token.timeout', charge: { kind: 'not_charged' } })
  })
})

describe('the daily quota', () => {
  it.each([
    ['2026-11-22T20:00:00Z', '2026-11-23T08:00:00.000Z'],
    ['2026-07-01T06:59:59Z', '2026-07-01T07:00:00.000Z'],
    ['2026-07-01T07:00:00Z', '2026-07-02T07:00:00.000Z'],
    // Clocks go forward on 8 March and back on 1 November 2026, at two in the morning.
    ['2026-03-08T08:30:00Z', '2026-03-09T07:00:00.000Z'],
    ['2026-11-01T07:30:00Z', '2026-11-02T08:00:00.000Z'],
    ['2026-11-01T09:30:00Z', '2026-11-02T08:00:00.000Z'],
  ])('after %s is back at %s', (now, reset) => {
    expect(nextPacificMidnight(new Date(now)).toISOString()).toBe(reset)
  })

  it('is told from a passing throttle', async () => {
    serve(() => ({ status: 429, body: ebayErrors(2001, 'Too many requests.') }))
    const quota = await ebayBrowse(account()).search(SEARCH, CONTEXT)
    expect(quota).toMatchObject({ kind: 'quota', code: 'ebay.2001', resetAt: nextPacificMidnight(new Date()) })
    serve(() => ({ status: 429, body: ebayErrors(2003) }))
    expect(await ebayBrowse(account()).search(SEARCH, CONTEXT)).toMatchObject({ kind: 'throttled' })
  })
})
