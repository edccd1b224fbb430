/** What the list adapters make of good pages; what they make of the others is in conformance.test.ts. */
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { toMicros } from '../../src/base/money.ts'
import { closeHttp } from '../../src/providers/http.ts'
import { keepaList } from '../../src/providers/keepa.ts'
import { readProduct } from '../../src/providers/keepa-product.ts'
import { oxylabsList } from '../../src/providers/oxylabs.ts'
import { keepaProduct as keepaSchema } from '../../src/providers/schemas.ts'
import type { ListAnswer, ListedProduct, ListStep, ProviderAccount } from '../../src/providers/types.ts'
import { type ScriptedServer, startScriptedServer } from './scripted-server.ts'
import { asin, bestsellerRow, bestsellers, CATEGORY, keepaBody, keepaProduct, oxylabsBody } from './wire.ts'

let server: ScriptedServer

beforeAll(async () => {
  server = await startScriptedServer()
})
afterAll(async () => {
  await closeHttp()
  await server.close()
})

const CONTEXT = { callId: 'call-1', timeoutMs: 5000 }

function account(adapter: ProviderAccount['adapter']): ProviderAccount {
  const prices = { 'oxylabs.amazon_bestsellers': toMicros(500), 'keepa.token': toMicros(60) }
  return { adapter, baseUrl: server.url, credentials: { user: 'user', secret: 'k'.repeat(64) }, prices }
}

function usable(answer: ListAnswer): Extract<ListAnswer, { ok: true }> {
  if (!answer.ok) throw new Error(`${answer.code}: ${answer.message}`)
  return answer
}

async function page(rows: readonly unknown[], number = 1, code = 12000) {
  server.answer(() => ({ status: 200, body: oxylabsBody(bestsellers(rows, code)) }))
  return usable(await oxylabsList(account('oxylabs')).fetch(CATEGORY, { kind: 'page', page: number }, CONTEXT))
}

describe('an Oxylabs list', () => {
  it('is asked for by node, one page at a time', async () => {
    await page([bestsellerRow(1)], 2)
    const [request] = server.received
    expect(request).toMatchObject({ method: 'POST', url: '/v1/queries' })
    expect(request?.headers).toMatchObject({ authorization: `Basic ${btoa(`user:${'k'.repeat(64)}`)}` })
    expect(JSON.parse(request?.body ?? '')).toEqual({
      source: 'amazon_bestsellers',
      query: '289742',
      start_page: 2,
      pages: 1,
      domain: 'com',
      geo_location: '10001',
      parse: true,
    })
  })

  it('of a department without a node is asked for by URL', async () => {
    server.answer(() => ({ status: 200, body: oxylabsBody(bestsellers([bestsellerRow(1)])) }))
    const department = { key: 'amazon-renewed', slug: 'amazon-renewed', nodeId: null, name: 'Amazon Renewed' }
    await oxylabsList(account('oxylabs')).fetch(department, { kind: 'page', page: 2 }, CONTEXT)
    expect(JSON.parse(server.received[0]?.body ?? '')).toMatchObject({
      source: 'amazon',
      url: 'https://www.amazon.com/gp/bestsellers/amazon-renewed?pg=2',
    })
  })

  it('goes on after a short page, and ends after the second or an empty one', async () => {
    const short = Array.from({ length: 30 }, (_, at) => bestsellerRow(at + 1))
    expect((await page(short)).next).toEqual({ kind: 'page', page: 2 })
    expect((await page(short, 2)).next).toBeNull()
    expect((await page([])).next).toBeNull()
  })

  it.each([
    [1, 7, 7],
    [2, 1, 51],
    [2, 50, 100],
    [2, 51, 51],
    [2, 100, 100],
    [1, null, null],
  ])('page %d, position %s is rank %s', async (number, pos, rank) => {
    expect((await page([bestsellerRow(1, { pos })], number)).products[0]?.rank).toBe(rank)
  })

  it.each<[Record<string, unknown>, number | null]>([
    [{}, 2420],
    [{ price: 1299 }, 129_900],
    [{ currency: '$' }, 2420],
    [{ currency: 'EUR' }, null],
    [{ price: 0, price_str: null }, null],
    [{ price: null, price_str: null, currency: null }, null],
    [{ price: null, currency: null, price_str: '$5.10' }, 510],
    [{ price: 24.200000000000003 }, 2420],
    [{ price: 24.200000000000003, price_str: null }, null],
    [{ price: '24.20' }, 2420],
  ])('price of %j is %s cents', async (change, cents) => {
    expect((await page([bestsellerRow(1, change)])).products[0]?.priceCents).toBe(cents)
  })

  it('says which rows it left out and why', async () => {
    const rows = [
      bestsellerRow(1),
      bestsellerRow(1),
      bestsellerRow(2, { asin: '' }),
      bestsellerRow(3, { title: null }),
      7,
    ]
    const { products, left } = await page(rows)
    expect(products.map((product) => product.asin)).toEqual([asin(1)])
    expect(left).toEqual([
      { asin: asin(1), reason: 'duplicate' },
      { asin: null, reason: 'no_asin' },
      { asin: asin(3), reason: 'no_title' },
      { asin: null, reason: 'unreadable' },
    ])
  })

  it.each([12004, 12005])('partly parsed (%d) is used', async (code) => {
    expect((await page([bestsellerRow(1)], 1, code)).products).toHaveLength(1)
  })
})

describe('a Keepa list', () => {
  it('is walked from the ASINs through batches of at most 100, ranks going on', async () => {
    const adapter = keepaList(account('keepa'))
    const asinList = Array.from({ length: 150 }, (_, at) => asin(at + 1))
    server.answer(() => ({ status: 200, body: keepaBody({ bestSellersList: { asinList } }, 50) }))
    const first = adapter.firstStep(CATEGORY)
    const list = usable(await adapter.fetch(CATEGORY, first, CONTEXT))
    expect(server.received[0]?.url).toBe(`/bestsellers?domain=1&category=289742&range=0&key=${'k'.repeat(64)}`)
    expect(list.next).toEqual({ kind: 'details', asins: asinList.slice(0, 100), rest: [], firstRank: 1 })
    expect(adapter.worstCase(first)).toBe(3000)
    expect(adapter.worstCase(list.next as ListStep)).toBe(6000)

    const step: ListStep = { kind: 'details', asins: [asin(1), asin(2), asin(3)], rest: [asin(4)], firstRank: 11 }
    const products = [keepaProduct(3), keepaProduct(1), null]
    server.answer(() => ({ status: 200, body: keepaBody({ products }, 3) }))
    const details = usable(await adapter.fetch(CATEGORY, step, CONTEXT))
    expect(server.received[0]?.url).toContain(`asin=${asin(1)}%2C${asin(2)}%2C${asin(3)}&stats=1&history=0`)
    expect(details.products.map(({ asin, rank }) => [asin, rank])).toEqual([
      [asin(1), 11],
      [asin(3), 13],
    ])
    expect(details.left).toEqual([{ asin: asin(2), reason: 'missing' }])
    expect(details.next).toEqual({ kind: 'details', asins: [asin(4)], rest: [], firstRank: 14 })
  })
})

describe('a Keepa product', () => {
  const read = (change: Record<string, unknown>) => readProduct(keepaSchema.parse(keepaProduct(1, change)), 5)
  const current = (prices: Record<number, number>) => ({
    stats: { current: Array.from({ length: 36 }, (_, at) => prices[at] ?? -1) },
  })

  it('is read whole', () => {
    expect(read({})).toEqual({
      asin: asin(1),
      title: 'Kettle & filter number 1',
      priceCents: 2420,
      rank: 5,
      brand: 'Brewster',
      gtins: ['012345678905'],
      imageUrl: 'https://m.media-amazon.com/images/I/81kettle.jpg',
      url: `https://www.amazon.com/dp/${asin(1)}`,
    })
  })

  it.each<[Record<string, unknown>, number | null]>([
    [current({ 0: 1000, 1: 900, 18: 1100 }), 1100],
    [current({ 0: 1000, 1: 900 }), 1000],
    [current({ 1: 900, 2: 100 }), 900],
    [current({ 2: 100 }), null],
    [current({ 0: 0 }), null],
    [{ stats: null, csv: [[1, 500, 2, 600]] }, 600],
    [
      {
        stats: null,
        csv: [
          [1, 500, 2, -1],
          [1, 700],
        ],
      },
      700,
    ],
    [{ stats: null, csv: [...Array.from({ length: 18 }, () => null), [1, 500, 0, 9, 600, 49]] }, 649],
    [{ stats: null, csv: [...Array.from({ length: 18 }, () => null), [1, 500, 0, 9, -1, -1]] }, null],
    [{ stats: null, csv: null }, null],
  ])('%#: costs %s', (change, cents) => {
    expect((read(change) as ListedProduct).priceCents).toBe(cents)
  })

  it.each([
    [1, 'not_physical'],
    [2, 'not_physical'],
    [3, 'hidden'],
    [4, 'invalid'],
    [5, 'parent'],
  ])('of type %d is left out: %s', (productType, reason) => {
    expect(read({ productType, title: null })).toBe(reason)
  })

  it('takes each GTIN once, and none with a wrong check digit', () => {
    const lists = {
      upcList: ['012345678905', '012345678906'],
      eanList: ['4006381333931', ' '],
      gtinList: ['00012345678905'],
    }
    expect((read(lists) as ListedProduct).gtins).toEqual(['012345678905', '4006381333931'])
    expect(read({ upcList: null, eanList: null })).not.toHaveProperty('gtins')
  })

  it('takes the image of the old form, and none that is no file name', () => {
    expect((read({ images: null, imagesCSV: 'a.jpg,b.jpg' }) as ListedProduct).imageUrl).toContain('/a.jpg')
    expect(read({ images: [{ l: '"><script>' }] })).not.toHaveProperty('imageUrl')
  })
})
