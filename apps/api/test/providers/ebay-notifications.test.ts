import { generateKeyPairSync, type KeyObject, sign } from 'node:crypto'
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest'
import {
  challengeResponse,
  isSigned,
  publicKeys,
  readDeletion,
  readPublicKey,
  readSignatureHeader,
} from '../../src/providers/ebay-notifications.ts'
import { closeHttp } from '../../src/providers/registry.ts'
import type { ProviderAccount } from '../../src/providers/types.ts'
import { type ScriptedServer, startScriptedServer } from './scripted-server.ts'
import { EBAY_TOKEN } from './wire.ts'

const pair = generateKeyPairSync('ec', { namedCurve: 'prime256v1' })
const bare = (key: KeyObject) => key.export({ type: 'spki', format: 'pem' }).toString().replaceAll('\n', '')
const answer = { algorithm: 'ECDSA', digest: 'SHA1', key: bare(pair.publicKey) }

const encode = (header: unknown) => Buffer.from(JSON.stringify(header)).toString('base64')
const header = (body: Buffer | string, more: Record<string, unknown> = {}) =>
  encode({
    alg: 'ecdsa',
    kid: 'a-key',
    signature: sign('sha1', Buffer.from(body), pair.privateKey).toString('base64'),
    digest: 'SHA1',
    ...more,
  })

describe('the challenge', () => {
  it('is answered with the hash of code, token and address in this order', () => {
    // printf '%s' abc123tok-enhttps://x.test/hook | sha256sum
    expect(challengeResponse('abc123', 'tok-en', 'https://x.test/hook')).toBe(
      '2d18475701f9818921d34c593649ff47bdc1171e5afc042b301cccaad117a1b6',
    )
    expect(challengeResponse('tok-en', 'abc123', 'https://x.test/hook')).not.toBe(
      challengeResponse('abc123', 'tok-en', 'https://x.test/hook'),
    )
  })
})

describe('a signature', () => {
  const body = '{"metadata":{"topic":"X"},"notification":{}}'
  const check = (of: string, text: string): boolean => {
    const read = readSignatureHeader(text)
    return read !== null && isSigned(Buffer.from(of), read, pair.publicKey)
  }

  it('holds for the very bytes that were signed, and for none other', () => {
    expect(check(body, header(body))).toBe(true)
    expect(check(body.replace('X', 'Y'), header(body))).toBe(false)
    expect(check(`${body}x`, header(body))).toBe(false)
  })

  it('holds for the same JSON with other spacing, as eBay’s own programs have it', () => {
    expect(check(JSON.stringify(JSON.parse(body), null, 2), header(body))).toBe(true)
  })

  it('of another key does not hold', () => {
    const other = generateKeyPairSync('ec', { namedCurve: 'prime256v1' })
    const read = readSignatureHeader(header(body))
    expect(read && isSigned(Buffer.from(body), read, other.publicKey)).toBe(false)
  })

  it.each([
    ['nothing', undefined],
    ['no base64', '%%%'],
    ['no JSON', Buffer.from('hello').toString('base64')],
    ['another algorithm', header(body, { alg: 'rsa' })],
    ['no algorithm', header(body, { alg: 'none' })],
    ['another digest', header(body, { digest: 'MD5' })],
    ['a key id that is a path', header(body, { kid: '../../../etc' })],
    ['no signature', header(body, { signature: undefined })],
    ['far too much', header(body, { more: 'x'.repeat(5000) })],
  ])('in a header that holds %s is none', (_, text) => {
    expect(readSignatureHeader(text)).toBeNull()
  })

  it.each(['', 'AAAA', Buffer.alloc(64, 1).toString('base64')])(
    'that is no signature at all does not hold (%s)',
    (bad) => {
      const read = readSignatureHeader(header(body, { signature: bad }))
      expect(read === null || !isSigned(Buffer.from(body), read, pair.publicKey)).toBe(true)
    },
  )
})

describe('a public key', () => {
  it('is read without line breaks, and with them', () => {
    expect(readPublicKey(answer)).not.toBeNull()
    const whole = pair.publicKey.export({ type: 'spki', format: 'pem' }).toString()
    expect(readPublicKey({ ...answer, key: whole })).not.toBeNull()
  })

  it.each([
    ['another curve', { ...answer, key: bare(generateKeyPairSync('ec', { namedCurve: 'secp384r1' }).publicKey) }],
    ['another kind', { ...answer, key: bare(generateKeyPairSync('ed25519').publicKey) }],
    ['another digest', { ...answer, digest: 'SHA256' }],
    ['garbage', { ...answer, key: 'garbage' }],
    ['nothing', null],
  ])('of %s is not taken', (_, given) => {
    expect(readPublicKey(given)).toBeNull()
  })
})

describe('a notification', () => {
  const notice = (data: unknown, topic = 'MARKETPLACE_ACCOUNT_DELETION') =>
    readDeletion(Buffer.from(JSON.stringify({ metadata: { topic }, notification: { notificationId: 'n-1', data } })))

  it('names somebody by name, by id, or by both', () => {
    const deletion = { kind: 'deletion', notificationId: 'n-1' }
    expect(notice({ username: 'a', userId: 'B' })).toEqual({ ...deletion, username: 'a', userId: 'B' })
    expect(notice({ username: null, userId: 'B' })).toEqual({ ...deletion, username: null, userId: 'B' })
    expect(notice({ username: 'a', userId: '', eiasToken: 'x' })).toEqual({ ...deletion, username: 'a', userId: null })
  })

  it('about something else is told apart, and one that is none is none', () => {
    expect(notice({}, 'ITEM_SOLD')).toEqual({ kind: 'other', topic: 'ITEM_SOLD' })
    expect(notice({ username: 7 })).toBeNull()
    expect(readDeletion(Buffer.from('{}'))).toBeNull()
    expect(readDeletion(Buffer.from([0xff, 0xfe]))).toBeNull()
  })
})

describe('eBay’s public keys', () => {
  let server: ScriptedServer
  let now = 0
  let secret = 0
  const account = (): ProviderAccount => ({
    adapter: 'ebay_browse',
    baseUrl: server.url,
    // A token source of its own for each test.
    credentials: { user: 'user', secret: `secret-${++secret}` },
    prices: {},
  })
  const asked = () => server.received.filter(({ url }) => url.includes('/public_key/'))
  const serve = (reply: Readonly<{ status: number; body: unknown }>) =>
    server.answer(({ url }) =>
      url.includes('/oauth2/token')
        ? { status: 200, body: EBAY_TOKEN }
        : { status: reply.status, body: JSON.stringify(reply.body) },
    )
  beforeAll(async () => {
    server = await startScriptedServer()
  })
  afterEach(() => {
    now = 0
  })
  afterAll(async () => {
    await closeHttp()
    await server.close()
  })

  it('are asked for with an access token, once an hour', async () => {
    serve({ status: 200, body: answer })
    const keys = publicKeys(account(), () => now)
    expect((await keys.get('a-key')).ok).toBe(true)
    expect(asked()).toMatchObject([{ method: 'GET', url: '/commerce/notification/v1/public_key/a-key' }])
    expect(asked()[0]?.headers['authorization']).toMatch(/^Bearer ./)
    now = 3_599_000
    await keys.get('a-key')
    expect(asked()).toHaveLength(1)
    now = 3_601_000
    await keys.get('a-key')
    expect(asked()).toHaveLength(2)
  })

  it('are asked for once by however many at the same moment', async () => {
    serve({ status: 200, body: answer })
    const keys = publicKeys(account(), () => now)
    await Promise.all(Array.from({ length: 20 }, () => keys.get('a-key')))
    expect(asked()).toHaveLength(1)
  })

  it('that eBay does not know are none, and not asked for again at once', async () => {
    serve({ status: 404, body: { errors: [{ errorId: 195001 }] } })
    const keys = publicKeys(account(), () => now)
    expect(await keys.get('made-up')).toMatchObject({ ok: false })
    await keys.get('made-up')
    expect(asked()).toHaveLength(1)
    now = 61_000
    await keys.get('made-up')
    expect(asked()).toHaveLength(2)
  })

  it('made up by strangers do not use up what eBay allows', async () => {
    serve({ status: 404, body: {} })
    const keys = publicKeys(account(), () => now)
    for (let at = 0; at < 50; at++) expect((await keys.get(`made-up-${at}`)).ok).toBe(false)
    expect(asked()).toHaveLength(5)
    now = 61_000
    serve({ status: 200, body: answer })
    expect((await keys.get('a-key')).ok).toBe(true)
  })

  it('are not there when eBay does not answer, or gives something else', async () => {
    server.answer(({ url }) => (url.includes('/oauth2/token') ? { status: 200, body: EBAY_TOKEN } : 'reset'))
    expect(await publicKeys(account()).get('a-key')).toMatchObject({ ok: false })
    serve({ status: 200, body: { key: 'x' } })
    expect(await publicKeys(account()).get('a-key')).toMatchObject({ ok: false })
    server.answer(() => ({ status: 401, body: '{"error":"invalid_client"}' }))
    expect(await publicKeys(account()).get('a-key')).toMatchObject({ ok: false })
  })

  it('are asked for again with a new token when eBay refuses the first', async () => {
    let keysAsked = 0
    server.answer(({ url }) => {
      if (url.includes('/oauth2/token')) return { status: 200, body: EBAY_TOKEN }
      keysAsked += 1
      return keysAsked === 1 ? { status: 401, body: '{}' } : { status: 200, body: JSON.stringify(answer) }
    })
    expect((await publicKeys(account()).get('a-key')).ok).toBe(true)
  })
})
