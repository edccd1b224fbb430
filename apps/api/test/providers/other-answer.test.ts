/** A provider that answers for another item: what it says it answered for is compared with what was asked. */
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { toMicros } from '../../src/base/money.ts'
import { ebayBrowse } from '../../src/providers/ebay-browse.ts'
import { isForAnother } from '../../src/providers/echo.ts'
import { closeHttp } from '../../src/providers/http.ts'
import { oxylabsEbay } from '../../src/providers/oxylabs-ebay.ts'
import type { SearchRequest } from '../../src/providers/types.ts'
import { type ScriptedServer, startScriptedServer } from './scripted-server.ts'
import { EBAY_TOKEN, ebayBody, ebayRow, newCard, resultsPage, SEARCH } from './wire.ts'

let server: ScriptedServer
beforeAll(async () => {
  server = await startScriptedServer()
})
afterAll(async () => {
  await closeHttp()
  await server.close()
})

const CONTEXT = { callId: 'call-1', timeoutMs: 5_000 }
const CREDENTIALS = { user: 'other-answer', secret: 'very-secret' }
const request = (text: string): SearchRequest => ({ ...SEARCH, query: { kind: 'text', text } })

const browse = (told: string) => {
  const href = `https://api.ebay.com/buy/browse/v1/item_summary/search?${told}&limit=200&offset=0`
  server.answer(({ url }) => ({
    status: 200,
    body: url.includes('/oauth2/token') ? EBAY_TOKEN : ebayBody([ebayRow()], { href }),
  }))
  const prices = { 'ebay.search': toMicros(500) }
  return ebayBrowse({ adapter: 'ebay_browse', baseUrl: server.url, credentials: CREDENTIALS, prices })
}

const pages = (told: string) => {
  const url = `https://www.ebay.com/sch/i.html?_nkw=${told}`
  const body = JSON.stringify({ results: [{ status_code: 200, content: resultsPage([newCard()]), url }] })
  server.answer(() => ({ status: 200, body }))
  const prices = { 'oxylabs.ebay': toMicros(600) }
  return oxylabsEbay({ adapter: 'oxylabs', baseUrl: server.url, credentials: CREDENTIALS, prices })
}

describe('an answer to another search', () => {
  it.each([
    ['eBay', () => browse('q=garden%20hose'), 500],
    ['Oxylabs', () => pages('garden+hose'), 600],
  ] as const)('of %s is a fault that was charged, and no result', async (_, adapter, micros) => {
    expect(await adapter().search(request('Brewster Kettle'), CONTEXT)).toMatchObject({
      ok: false,
      kind: 'fault',
      code: 'other_answer',
      charge: { kind: 'charged', micros },
    })
  })

  it.each([
    ['eBay', () => browse('q=brewster%20%20KETTLE')],
    ['eBay that tells of no query', () => browse('sort=price')],
    ['Oxylabs', () => pages('kettle+brewster')],
  ] as const)('is not seen where %s only writes the query in its own way', async (_, adapter) => {
    expect(await adapter().search(request('Brewster Kettle'), CONTEXT)).toMatchObject({ ok: true })
  })
})

it.each([
  ['7318120000002', 'gtin=7318120000002', false],
  ['7318120000002', 'gtin=4006381333931', true],
  ['7318120000002', 'q=kettle', false],
  ['7318120000002', 'gtin=', false],
])('asked for GTIN %s, told %s', (gtin, told, another) => {
  const names = { text: 'q', gtin: 'gtin' }
  expect(isForAnother({ kind: 'gtin', gtin }, `https://x.example/search?${told}`, names)).toBe(another)
  expect(isForAnother({ kind: 'gtin', gtin }, 'no address', names)).toBe(false)
})
