/**
 * One suite over every adapter: what each kind of answer, and the lack of one, comes to, and what it costs. The server is
 * real; its answers are made up (wire.ts). conformance-sandbox.test.ts does the same against the sandbox and its bill.
 */
import { createServer } from 'node:net'
import { gzipSync } from 'node:zlib'
import fc from 'fast-check'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { closeHttp } from '../../src/providers/http.ts'
import type { CallContext, ProviderAccount } from '../../src/providers/types.ts'
import { type Received, type ScriptedServer, startScriptedServer, type Wire } from './scripted-server.ts'
import { type Answer, SUBJECTS, type Subject } from './subjects.ts'
import { EBAY_TOKEN } from './wire.ts'

let server: ScriptedServer

beforeAll(async () => {
  server = await startScriptedServer()
})
afterAll(async () => {
  await closeHttp()
  await server.close()
})

const SECRET = 'a-very-secret-word'
const CONTEXT: CallContext = { callId: '0199f3a0-0000-7000-8000-000000000001', timeoutMs: 5000 }

function account(subject: Subject, baseUrl = server.url): ProviderAccount {
  const { adapter, prices, name } = subject
  return { adapter, baseUrl, prices, credentials: { user: `user of ${name}`, secret: SECRET } }
}

async function answerTo(
  subject: Subject,
  wire: Wire | (() => Wire),
  context: Partial<CallContext> = {},
): Promise<Answer> {
  server.answer((request) => {
    if (request.url.includes('/oauth2/token')) return { status: 200, body: EBAY_TOKEN }
    return typeof wire === 'function' ? wire() : wire
  })
  const answer = await subject.run(account(subject), { ...CONTEXT, ...context })
  expect(JSON.stringify(answer)).not.toContain(SECRET)
  return answer
}

const calls = (): Received[] => server.received.filter(({ url }) => !url.includes('/oauth2/token'))

function rowsOf(answer: Answer): number {
  if (!answer.ok) return -1
  if ('listings' in answer) return answer.listings.length
  return answer.products.length + (answer.next?.kind === 'details' ? answer.next.asins.length : 0)
}

const NOT_CHARGED = { kind: 'not_charged' }
const UNKNOWN = { kind: 'unknown' }

describe.each(SUBJECTS)('$name', (subject) => {
  const { found, none, unreadable, special } = subject

  describe('a usable answer', () => {
    it('is found, and charged', async () => {
      const answer = await answerTo(subject, { status: 200, body: found.body })
      expect(answer).toMatchObject({ ok: true, charge: { kind: 'charged', micros: found.micros } })
      expect(rowsOf(answer)).toBeGreaterThan(0)
      expect(calls()).toHaveLength(1)
      expect(calls()[0]?.headers['x-request-id']).toBe(CONTEXT.callId)
    })

    it('costs no more than the worst case', () => {
      expect(subject.worstCase(account(subject))).toBeGreaterThanOrEqual(found.micros)
    })

    it('may be none', async () => {
      const answer = await answerTo(subject, { status: 200, body: none?.body ?? '' })
      expect(answer).toMatchObject({ ok: true, charge: none?.charge })
      expect(answer.ok && ('listings' in answer ? answer.listings : answer.products)).toEqual([])
    })

    it('may be compressed', async () => {
      const headers = { 'content-encoding': 'gzip' }
      const answer = await answerTo(subject, { status: 200, headers, body: gzipSync(found.body) })
      expect(rowsOf(answer)).toBeGreaterThan(0)
    })

    it('is charged as it proves, also above the list', async () => {
      const headers = { 'x-charged-micros': '9999' }
      const answer = await answerTo(subject, { status: 200, headers, body: found.body })
      expect(answer.charge).toEqual({ kind: 'charged', micros: 9999 })
      const failed = await answerTo(subject, { status: 503, headers })
      expect(failed.charge).toEqual({ kind: 'charged', micros: 9999 })
    })
  })

  describe('without a price', () => {
    it('has no worst case and sends nothing', async () => {
      server.answer(() => ({ status: 200, body: found.body }))
      const unpriced = { ...account(subject), prices: {} }
      expect(subject.worstCase(unpriced)).toBeNull()
      await expect(subject.run(unpriced, CONTEXT)).rejects.toThrow('no price, no call')
      expect(server.received).toEqual([])
    })
  })

  describe('drift', () => {
    it.each([
      ['no JSON', '<html>nginx</html>'],
      ['binary', '\u0000\u0001%PDF'],
      ['an empty body', ''],
      ['an array', '[]'],
      ['an empty object', '{}'],
      ['null', 'null'],
      ['JSON that ends early', found.body.slice(0, found.body.length / 2)],
    ])('%s', async (_, body) => {
      expect(await answerTo(subject, { status: 200, body })).toMatchObject({
        kind: 'drift',
        code: 'schema',
        charge: unreadable,
      })
    })

    it('a body that is not compressed as it says', async () => {
      const headers = { 'content-encoding': 'gzip' }
      const body = gzipSync(found.body).subarray(0, 40)
      expect(await answerTo(subject, { status: 200, headers, body })).toMatchObject({
        kind: 'drift',
        charge: unreadable,
      })
    })

    it('a redirect, which is not followed', async () => {
      const answer = await answerTo(subject, { status: 302, headers: { location: `${server.url}/elsewhere` } })
      expect(answer).toMatchObject({ kind: 'drift', code: 'http.302', charge: NOT_CHARGED })
      expect(calls()).toHaveLength(1)
    })
  })

  describe('an error status', () => {
    it.each<[number, Record<string, string>, Record<string, unknown>]>([
      [400, {}, { kind: 'rejected' }],
      [403, {}, { kind: 'credentials' }],
      [429, {}, { kind: 'throttled' }],
      [429, { 'retry-after': '7' }, { kind: 'throttled', retryAfterMs: 7000 }],
      [429, { 'retry-after': 'Wed, 21 Oct 2015 07:28:00 GMT' }, { kind: 'throttled', retryAfterMs: 0 }],
      // The moment counts from the provider's own clock: ours may be wrong.
      [
        429,
        { date: 'Wed, 21 Oct 2015 07:27:00 GMT', 'retry-after': 'Wed, 21 Oct 2015 07:28:00 GMT' },
        { kind: 'throttled', retryAfterMs: 60_000 },
      ],
      [500, {}, { kind: 'fault' }],
      [503, { 'retry-after': '2' }, { kind: 'fault', retryAfterMs: 2000 }],
      [524, {}, { kind: 'fault' }],
    ])('%d with %j', async (status, headers, expected) => {
      const answer = await answerTo(subject, { status, headers, body: '<html>told by a proxy</html>' })
      expect(answer).toMatchObject({ ok: false, charge: NOT_CHARGED, code: `http.${status}`, ...expected })
      if (!('retryAfterMs' in expected)) expect(answer).not.toHaveProperty('retryAfterMs')
      expect(calls()).toHaveLength(1)
    })
  })

  describe('of this provider', () => {
    it.each(special)('$name', async ({ wire, expected }) => {
      expect(await answerTo(subject, wire)).toMatchObject(expected)
    })
  })

  describe('no answer', () => {
    it.each<[Wire, string]>([
      ['reset', 'reset'],
      ['cut', 'cut_off'],
      ['hang', 'timeout'],
      ['stall', 'timeout'],
    ])('%s: lost, never sent again', async (wire, code) => {
      const answer = await answerTo(subject, wire, wire === 'reset' || wire === 'cut' ? {} : { timeoutMs: 60 })
      expect(answer).toMatchObject({ ok: false, kind: 'lost', code, charge: UNKNOWN })
      expect(calls()).toHaveLength(1)
    })

    it('given up from our side after it was sent: lost', async () => {
      const controller = new AbortController()
      await answerTo(subject, { status: 200, body: found.body })
      const pending = answerTo(subject, 'hang', { signal: controller.signal })
      await server.seen(1)
      controller.abort()
      expect(await pending).toMatchObject({ kind: 'lost', code: 'aborted', charge: UNKNOWN })
    })

    it('given up before it was sent: unreachable, and nothing is sent', async () => {
      const answer = await answerTo(subject, { status: 200, body: found.body }, { signal: AbortSignal.abort() })
      expect(answer).toMatchObject({ kind: 'unreachable', charge: NOT_CHARGED })
      expect(calls()).toEqual([])
    })

    it('not allowed to leave any more: unreachable, and nothing is sent', async () => {
      const answer = await answerTo(subject, { status: 200, body: found.body }, { maySend: () => false })
      expect(answer).toMatchObject({ ok: false, kind: 'unreachable', code: 'too_late', charge: NOT_CHARGED })
      expect(calls()).toEqual([])
    })

    it('nobody listens: unreachable', async () => {
      const answer = await subject.run(account(subject, await closedPort()), CONTEXT)
      expect(answer).toMatchObject({ ok: false, kind: 'unreachable', charge: NOT_CHARGED })
    })

    it('no such host, or no URL at all: unreachable', async () => {
      for (const url of ['http://nowhere.invalid', 'not a url']) {
        const answer = await subject.run(account(subject, url), CONTEXT)
        expect(answer).toMatchObject({ ok: false, kind: 'unreachable', charge: NOT_CHARGED })
      }
    })
  })

  it('comes to one answer of the contract whatever is sent', async () => {
    const status = fc.oneof(fc.constant(200), fc.integer({ min: 200, max: 599 }))
    const body = fc.oneof(fc.json(), fc.string({ unit: 'binary' }), damaged(found.body))
    const unlimited = /"tokensConsumed"|"results"/
    await fc.assert(
      fc.asyncProperty(status, body, async (status, body) => {
        const answer = await answerTo(subject, { status, body })
        const { charge } = answer
        if (charge.kind === 'charged') {
          expect(Number.isSafeInteger(charge.micros)).toBe(true)
          if (!unlimited.test(body))
            expect(charge.micros).toBeLessThanOrEqual(subject.worstCase(account(subject)) ?? -1)
        }
        if (!answer.ok) expect(answer.code).toMatch(/^[\w.]{1,60}$/)
        if (status !== 200) expect(answer.ok).toBe(false)
      }),
      { numRuns: 150 },
    )
  })
})

/** A good body with one piece of it replaced. */
function damaged(body: string): fc.Arbitrary<string> {
  return fc
    .tuple(
      fc.nat(body.length),
      fc.nat(12),
      fc.oneof(fc.string(), fc.constantFrom('null', '-1', '[]', '{}', '"', '1e999', '0.1')),
    )
    .map(([at, length, piece]) => body.slice(0, at) + piece + body.slice(at + length))
}

async function closedPort(): Promise<string> {
  const probe = createServer()
  await new Promise<void>((resolve) => probe.listen(0, '127.0.0.1', resolve))
  const { port } = probe.address() as { port: number }
  await new Promise((resolve) => probe.close(resolve))
  return `http://127.0.0.1:${port}`
}
