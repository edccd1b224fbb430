import { describe, expect, it } from 'vitest'
import { readConfig } from '../src/config.ts'
import { openCounters } from '../src/counters.ts'
import { createBucket } from '../src/keepa/bucket.ts'
import { KEEPA_KEY, products, sandbox, temporaryDirectory } from './support.ts'

type Envelope = {
  tokensLeft: number
  refillIn: number
  refillRate: number
  tokensConsumed: number
  error?: { type: string }
  bestSellersList?: { asinList?: string[] } | null
  asinList?: string[]
  products?: {
    asin: string
    title: string | null
    productType: number
    stats?: { current: number[] }
    upcList?: string[]
  }[]
  categories?: Record<string, { name: string }>
}

async function call(url: string, path: string, headers: Record<string, string> = {}) {
  const response = await fetch(`${url}/keepa/${path}`, { headers })
  return { status: response.status, headers: response.headers, body: (await response.json()) as Envelope }
}

const KEY = `key=${KEEPA_KEY}&domain=1`

describe('the token bucket', () => {
  it('refills whole ticks, goes below zero, never above its capacity, and survives a restart', () => {
    const file = `${temporaryDirectory()}/counters.json`
    const config = readConfig({ keepa: { refillRate: 20, capacity: 100 } })
    let now = 1_000_000
    const open = () => {
      const counters = openCounters(file)
      return {
        counters,
        bucket: createBucket(
          () => config,
          counters,
          () => now,
        ),
      }
    }
    const { counters, bucket } = open()
    expect(bucket.state()).toEqual({ tokensLeft: 100, refillIn: 60_000, refillRate: 20 })
    bucket.debit(90)
    expect(bucket.open()).toBe(true)
    bucket.debit(50)
    expect([bucket.open(), bucket.state().tokensLeft]).toEqual([false, -40])
    now += 59_000
    expect(bucket.state()).toEqual({ tokensLeft: -40, refillIn: 1000, refillRate: 20 })
    now += 1000
    expect(bucket.state().tokensLeft).toBe(-20)
    counters.close()
    const again = open()
    now += 60_000
    expect([again.bucket.open(), again.bucket.state().tokensLeft]).toEqual([false, 0])
    now += 60_000
    expect([again.bucket.open(), again.bucket.state().tokensLeft]).toEqual([true, 20])
    now += 3_600_000
    expect(again.bucket.state().tokensLeft).toBe(100)
    again.counters.close()
  })

  it('allows a call while the balance is above zero, then answers 429 with the same envelope, uncharged', async () => {
    const client = await sandbox({ config: { keepa: { refillRate: 20, capacity: 30 } } })
    const first = await call(client.url, `bestsellers?${KEY}&category=9101`)
    expect(first.body).toMatchObject({ tokensLeft: -20, tokensConsumed: 50, refillRate: 20 })
    const second = await call(client.url, `bestsellers?${KEY}&category=9101`)
    expect(second.status).toBe(429)
    expect(second.body).toMatchObject({ tokensLeft: -20, tokensConsumed: 0, error: { type: 'NOT_ENOUGH_TOKEN' } })
    expect(second.body.refillIn).toBeGreaterThan(0)
    expect((await call(client.url, `token?key=${KEEPA_KEY}`)).status).toBe(200)
    expect(await client.get('/sandbox/billing/summary')).toMatchObject({ count: 1, micros: 50 * 60 })
  })
})

describe('the calls', () => {
  it('list best sellers for 50 tokens, and nothing for a node without a list', async () => {
    const client = await sandbox()
    const { body } = await call(client.url, `bestsellers?${KEY}&category=9101`, { 'x-request-id': 'k1' })
    const asins = body.bestSellersList?.asinList ?? []
    const known = new Set((await products(client, 'orchard/9101')).map(({ asin }) => asin))
    expect(asins.length).toBeGreaterThan(20)
    expect(asins.every((asin) => known.has(asin))).toBe(true)
    const none = await call(client.url, `bestsellers?${KEY}&category=4711`)
    expect([none.status, none.body]).toMatchObject([200, { tokensConsumed: 0, bestSellersList: null }])
    const { entries } = await client.post<{ entries: unknown[] }>('/sandbox/billing/lookup', { requestIds: ['k1'] })
    expect(entries).toMatchObject([{ kind: 'keepa.token', units: 50, micros: 3000 }])
  })

  it('give products with prices in cents, -1 for none, one token each', async () => {
    const client = await sandbox()
    const list = await products(client, 'orchard/9101')
    const asins = list.map(({ asin }) => asin)
    const { body } = await call(client.url, `product?${KEY}&asin=${asins.join(',')}&stats=1&history=0`)
    expect(body.tokensConsumed).toBe(asins.length)
    for (const [i, product] of (body.products ?? []).entries()) {
      expect(product.asin).toBe(asins[i])
      expect(product.stats?.current[1]).toBe(list[i]?.priceCents ?? -1)
    }
    const dear = await call(client.url, `product?${KEY}&asin=${asins[0]}&buybox=1&rating=1&update=0&offers=20`)
    expect(dear.body.tokensConsumed).toBe(1 + 2 + 1 + 1 + 12)
    const unknown = await call(client.url, `product?${KEY}&asin=B000000000`)
    expect(unknown.body.products).toMatchObject([{ title: null, productType: 4 }])
    expect((await call(client.url, `product?${KEY}&asin=`)).status).toBe(400)
    expect((await call(client.url, `category?${KEY}&category=9001`)).body.categories).toMatchObject({
      9001: { name: 'Orchard Supplies' },
    })
  })

  it('are zipped when asked, and give a zeroed envelope for a bad key', async () => {
    const { url } = await sandbox()
    const zipped = await call(url, `token?key=${KEEPA_KEY}`, { 'accept-encoding': 'gzip' })
    expect(zipped.headers.get('content-encoding')).toBe('gzip')
    expect(zipped.body.refillRate).toBe(2000)
    const bad = await call(url, 'token?key=wrong')
    expect([bad.status, bad.body]).toMatchObject([
      400,
      { tokensLeft: 0, refillIn: 0, refillRate: 0, error: { type: 'invalidParameter' } },
    ])
  })

  it('put asinList at the top level when configured', async () => {
    const { url } = await sandbox({ config: { keepa: { topLevelAsinList: true } } })
    const { body } = await call(url, `bestsellers?${KEY}&category=9001`)
    expect(body.asinList?.length).toBeGreaterThan(20)
    expect(body.bestSellersList?.asinList).toBeUndefined()
  })
})
