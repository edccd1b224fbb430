/** eBay's deletion notifications, from the bytes that come in to the seller that is gone. Public keys come from the sandbox. */
import { existsSync, readFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import type { EbayDeletionConfig } from '../../src/base/config.ts'
import type { Secrets } from '../../src/base/seal.ts'
import type { Db } from '../../src/db/client.ts'
import { chooseAccount, type DeletionDesk, deletionDesk } from '../../src/engine/accept-deletion.ts'
import { type Account, saveAccount } from '../../src/engine/accounts.ts'
import { eraseDue } from '../../src/engine/erase.ts'
import { loadSecrets } from '../../src/secrets/installation.ts'
import { newKeyText } from '../../src/secrets/key-source.ts'
import { type SandboxProcess, startSandboxProcess } from '../providers/sandbox-process.ts'
import { type Arena, found, makeArena, searchWith, work } from './arena.ts'

const SAMPLES = fileURLToPath(new URL('../../../../../shared/providers/samples/', import.meta.url))

let arena: Arena
let db: Db & { secrets: Secrets }
let sandbox: SandboxProcess
let desk: DeletionDesk
const config: EbayDeletionConfig = {
  endpoint: 'https://collector.example.com/webhooks/ebay/account-deletion',
  verificationToken: 'collector_verification_token_0123456789ab',
  account: 'sandbox-ebay',
}
beforeAll(async () => {
  arena = await makeArena()
  const secrets = (await loadSecrets(arena.db, { variable: newKeyText(), file: '/nowhere' }, true)) as Secrets
  db = { ...arena.db, secrets }
  sandbox = await startSandboxProcess()
  await saveAccount(db, { name: 'sandbox-ebay', adapter: 'ebay_browse', baseUrl: `${sandbox.url}/ebay`, sandbox: true })
})
afterAll(async () => {
  await sandbox.stop()
  await arena.close()
})
beforeEach(() => {
  desk = openDesk()
})

const openDesk = (more: Partial<Parameters<typeof deletionDesk>[0]> = {}) =>
  deletionDesk({ db, env: {}, config, log: () => {}, ...more })

type Notice = { notificationId: string; body: string; signature: string }
const notice = (of: Record<string, unknown>) => sandbox.post('/sandbox/ebay/notice', of) as Promise<Notice>
const erasures = () =>
  arena.rows<{ n: number }>('select count(*)::int as n from compliance_erasures').then(([row]) => row?.n)

describe('a notification of eBay', () => {
  it('is written down, and the seller is gone when a worker has looked', async () => {
    const run = await arena.makeRun({ products: 2 })
    await work(arena, { db, run, search: searchWith(() => found(['Gone-Seller', 'stays'])) })
    const { body, signature } = await notice({ username: 'GONE-seller', userId: 'xY1' })
    expect(await desk.accept(Buffer.from(body), signature)).toEqual({ kind: 'accepted', repeated: false })
    expect(await eraseDue({ db, log: () => {} })).toBe(1)
    const left = await arena.rows<{ name: string }>('select normalized_name as name from sellers')
    expect(left).toEqual([{ name: 'stays' }])
  })

  it('sent again is taken, and is no second erasure', async () => {
    const first = await notice({ username: 'twice' })
    const again = await notice({ username: 'twice', notificationId: first.notificationId, attempt: 2 })
    const before = (await erasures()) ?? 0
    expect(await desk.accept(Buffer.from(first.body), first.signature)).toEqual({ kind: 'accepted', repeated: false })
    expect(await desk.accept(Buffer.from(again.body), again.signature)).toEqual({ kind: 'accepted', repeated: true })
    expect(await erasures()).toBe(before + 1)
  })

  it('with many others of the same at one moment is one', async () => {
    const first = await notice({ username: 'many' })
    const before = (await erasures()) ?? 0
    const all = await Promise.all(
      Array.from({ length: 50 }, () => desk.accept(Buffer.from(first.body), first.signature)),
    )
    expect(all.filter((one) => one.kind === 'accepted' && !one.repeated)).toHaveLength(1)
    expect(await erasures()).toBe(before + 1)
  })

  it.each(['body', 'key'])('with a wrong %s is not signed, and nothing is written', async (spoil) => {
    const before = await erasures()
    const { body, signature } = await notice({ username: 'x', spoil })
    expect(await desk.accept(Buffer.from(body), signature)).toEqual({ kind: 'not_signed' })
    expect(await erasures()).toBe(before)
  })

  it('whose key nobody knows cannot be decided', async () => {
    const { body, signature } = await notice({ username: 'x', spoil: 'kid' })
    expect(await desk.accept(Buffer.from(body), signature)).toMatchObject({ kind: 'unable' })
  })

  it('that names nobody cannot be carried out', async () => {
    const { body, signature } = await notice({})
    expect(await desk.accept(Buffer.from(body), signature)).toMatchObject({ kind: 'unable' })
  })

  it('without a signature is not signed, without asking eBay', async () => {
    expect(await desk.accept(Buffer.from('{}'), undefined)).toEqual({ kind: 'not_signed' })
    expect(await desk.accept(Buffer.from('{}'), 'hello')).toEqual({ kind: 'not_signed' })
  })

  it('cannot be decided while eBay, the database or the key is away, and is when it is back', async () => {
    const { body, signature } = await notice({ username: 'later' })
    const nobody = openDesk({ config: { ...config, account: 'nobody' } })
    expect(await nobody.accept(Buffer.from(body), signature)).toMatchObject({ kind: 'unable' })
    const keyless = openDesk({ db: { ...db, secrets: null } })
    expect(await keyless.accept(Buffer.from(body), signature)).toMatchObject({ kind: 'unable' })
    const broken = openDesk({ db: { ...db, query: () => Promise.reject(new Error('away')) } })
    expect(await broken.accept(Buffer.from(body), signature)).toMatchObject({ kind: 'unable' })
    expect(await desk.accept(Buffer.from(body), signature)).toEqual({ kind: 'accepted', repeated: false })
  })

  it('keeps whom it is about sealed, and only until it is done', async () => {
    const { body, signature, notificationId } = await notice({ username: 'sealed-away', userId: 'SealedId' })
    await desk.accept(Buffer.from(body), signature)
    const row = () =>
      arena.rows<{ whole: string }>('select e::text as whole from compliance_erasures e where notification_id = $1', [
        notificationId,
      ])
    expect((await row())[0]?.whole).not.toMatch(/sealed-away|SealedId/i)
    await eraseDue({ db, log: () => {} })
    expect(await row()).toHaveLength(1)
  })
})

describe('the account eBay’s keys are fetched with', () => {
  const account = (name: string, more: Partial<Account> = {}): Account => ({
    id: name,
    name,
    adapter: 'ebay_browse',
    baseUrl: 'https://api.ebay.com',
    sandbox: false,
    maxInFlight: 1,
    maxPerSecond: null,
    callsPerDay: null,
    prices: {},
    ...more,
  })
  const play = account('sandbox-ebay', { sandbox: true, baseUrl: 'http://127.0.0.1:4400/ebay' })

  it('is the only one at eBay, or the one named', () => {
    expect(chooseAccount([account('ebay'), play], null).name).toBe('ebay')
    expect(chooseAccount([account('a'), account('b')], 'b').name).toBe('b')
    expect(chooseAccount([account('ebay'), play], 'sandbox-ebay').name).toBe('sandbox-ebay')
  })

  it.each([
    ['none', [play], null],
    ['several', [account('a'), account('b')], null],
    ['another host', [account('a', { baseUrl: 'https://api.ebay.com.example.org' })], null],
    ['another host by name', [account('a', { baseUrl: 'http://api.ebay.com' })], 'a'],
    ['another provider', [account('a', { adapter: 'keepa' })], 'a'],
  ] as const)('is refused when there is %s', (_, accounts, wanted) => {
    expect(() => chooseAccount(accounts, wanted)).toThrowError(
      expect.objectContaining({ code: 'compliance.not_configured' }) as Error,
    )
  })
})

describe.skipIf(!existsSync(SAMPLES))('the official vectors (skipped where ../shared is absent)', () => {
  type Vector = { signature: string; message: unknown; response: Record<string, unknown> | null; public_key: string }
  const read = <T>(name: string) => JSON.parse(readFileSync(SAMPLES + name, 'utf8')) as T

  it.each([
    ['VALID', 'accepted'],
    ['INVALID', 'not_signed'],
    ['SIGNATURE_MISMATCH', 'not_signed'],
    ['ERROR', 'unable'],
  ])('%s is %s', async (name, kind) => {
    const vector = read<Record<string, Vector>>('ebay-notification-signature-vectors.json')[name] as Vector
    const { kid } = JSON.parse(Buffer.from(vector.signature, 'base64').toString()) as { kid: string }
    await sandbox.post('/sandbox/ebay/public-keys', { kid, answer: vector.response ?? {} })
    const accepted = await desk.accept(Buffer.from(JSON.stringify(vector.message)), vector.signature)
    expect(accepted.kind).toBe(kind)
  })

  it('the challenge is answered', () => {
    const vector = read<
      EbayDeletionConfig & { challengeCode: string; response: { body: { challengeResponse: string } } }
    >('ebay-notification-challenge-vector.json')
    const { challengeCode, verificationToken, endpoint, response } = vector
    const answering = openDesk({ config: { endpoint, verificationToken, account: null } })
    expect(answering.answer(challengeCode)).toBe(response.body.challengeResponse)
  })
})
