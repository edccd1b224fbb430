/**
 * eBay's notifications to us: the answer to its challenge, its public keys, and whether a notification is its own. Contract:
 * "eBay Marketplace Account Deletion" of the eBay Developers Program; the official SDKs' test vectors pass.
 */
import { createHash, createPublicKey, type KeyObject, verify } from 'node:crypto'
import * as z from 'zod'
import { tokenSource } from './ebay-token.ts'
import { exchange } from './http.ts'
import { parseJson } from './json.ts'
import type { ProviderAccount } from './types.ts'

/** What eBay expects for `GET <endpoint>?challenge_code=…`: hex of SHA-256 over code, token and endpoint, in this order. */
export function challengeResponse(code: string, verificationToken: string, endpoint: string): string {
  return createHash('sha256').update(code).update(verificationToken).update(endpoint).digest('hex')
}

/** The header `x-ebay-signature`, decoded. */
export type SignatureHeader = Readonly<{ kid: string; signature: Buffer }>

const signatureHeader = z.object({
  alg: z.literal(['ecdsa', 'ECDSA']),
  kid: z.string().regex(/^[A-Za-z0-9-]{1,100}$/),
  digest: z.literal('SHA1'),
  signature: z.string().max(400),
})

const HEADER_MOST = 2_000

/** Reads the header. Null when it is missing or is none of eBay's: then nothing was signed. */
export function readSignatureHeader(header: string | undefined): SignatureHeader | null {
  if (header === undefined || header.length > HEADER_MOST) return null
  const parsed = signatureHeader.safeParse(parseJson(Buffer.from(header, 'base64').toString('utf8')))
  if (!parsed.success) return null
  return { kid: parsed.data.kid, signature: Buffer.from(parsed.data.signature, 'base64') }
}

/**
 * Whether eBay signed this body with this key. The bytes as they came are tried first, then the same JSON written again: the
 * official SDKs verify that, and eBay's own spacing may differ from it.
 */
export function isSigned(body: Buffer, { signature }: SignatureHeader, key: KeyObject): boolean {
  if (verify('sha1', body, key, signature)) return true
  const value = parseJson(body.toString('utf8'))
  return value !== undefined && verify('sha1', Buffer.from(JSON.stringify(value)), key, signature)
}

const publicKeyAnswer = z.object({
  algorithm: z.literal('ECDSA'),
  digest: z.literal('SHA1'),
  key: z.string().max(2_000),
})

/** The key of an answer to getPublicKey: P-256, without the line breaks PEM wants. Null when it is none. */
export function readPublicKey(answer: unknown): KeyObject | null {
  const parsed = publicKeyAnswer.safeParse(answer)
  if (!parsed.success) return null
  const base64 = parsed.data.key.replace(/-----(BEGIN|END) PUBLIC KEY-----/g, '').replace(/\s+/g, '')
  try {
    const key = createPublicKey({ key: Buffer.from(base64, 'base64'), format: 'der', type: 'spki' })
    return key.asymmetricKeyType === 'ec' && key.asymmetricKeyDetails?.namedCurve === 'prime256v1' ? key : null
  } catch {
    return null
  }
}

export type PublicKeys = Readonly<{
  /** The key with this id, or why there is none; asked for at most once an hour. Never throws. */
  get: (kid: string) => Promise<Readonly<{ ok: true; key: KeyObject }> | Readonly<{ ok: false; message: string }>>
}>

const TIMEOUT_MS = 8_000
const KEEP_MS = 3_600_000
/** A key eBay does not know is not asked for again so soon. */
const UNKNOWN_MS = 60_000
/** Questions to eBay in any minute. Whoever sends us made-up key ids must not use up its 10,000 a day. */
const ASK_MOST = 5
const ASK_WINDOW_MS = 60_000
const KEYS_MOST = 100

/** eBay's public keys, fetched with an access token of the account and kept for an hour. */
export function publicKeys(account: ProviderAccount, now: () => number = () => performance.now()): PublicKeys {
  type Kept = { until: number; answer: Awaited<ReturnType<PublicKeys['get']>> }
  const kept = new Map<string, Kept>()
  const asking = new Map<string, ReturnType<PublicKeys['get']>>()
  let asked: number[] = []

  async function ask(kid: string): Promise<Kept['answer']> {
    asked = asked.filter((at) => now() - at < ASK_WINDOW_MS)
    if (asked.length >= ASK_MOST) return { ok: false, message: 'too many keys were asked for within a minute' }
    asked.push(now())
    const answer = await fetchKey(account, kid)
    if (kept.size >= KEYS_MOST) kept.clear()
    kept.set(kid, { until: now() + (answer.ok ? KEEP_MS : UNKNOWN_MS), answer })
    return answer
  }

  return {
    get: (kid) => {
      const known = kept.get(kid)
      if (known && known.until > now()) return Promise.resolve(known.answer)
      const running = asking.get(kid) ?? ask(kid).finally(() => asking.delete(kid))
      asking.set(kid, running)
      return running
    },
  }
}

async function fetchKey(account: ProviderAccount, kid: string): ReturnType<PublicKeys['get']> {
  const tokens = tokenSource(account.baseUrl, account.credentials)
  let token = await tokens.get(TIMEOUT_MS)
  for (let attempt = 1; ; attempt++) {
    if (!token.ok) return { ok: false, message: token.message }
    const outcome = await exchange({
      method: 'GET',
      url: `${account.baseUrl}/commerce/notification/v1/public_key/${encodeURIComponent(kid)}`,
      headers: { authorization: `Bearer ${token.value}` },
      timeoutMs: TIMEOUT_MS,
    })
    if (outcome.kind !== 'answered') return { ok: false, message: outcome.message }
    if (outcome.status === 401 && attempt === 1) {
      token = await tokens.get(TIMEOUT_MS, token.value)
      continue
    }
    if (outcome.status !== 200) return { ok: false, message: `eBay has no such key (status ${outcome.status})` }
    const key = readPublicKey(parseJson(outcome.text))
    return key ? { ok: true, key } : { ok: false, message: 'the key eBay gave is none we can use' }
  }
}

const deletion = z.object({
  metadata: z.object({ topic: z.string() }),
  notification: z.object({
    notificationId: z.string().min(1).max(200),
    data: z.object({ username: z.string().max(200).nullish(), userId: z.string().max(200).nullish() }),
  }),
})

export type DeletionNotice =
  | Readonly<{ kind: 'deletion'; notificationId: string; username: string | null; userId: string | null }>
  /** Something else that was signed. */
  | Readonly<{ kind: 'other'; topic: string }>

/** What a notification says. Null when it does not have the expected shape. */
export function readDeletion(body: Buffer): DeletionNotice | null {
  const value = parseJson(body.toString('utf8'))
  const topic = z.object({ metadata: z.object({ topic: z.string() }) }).safeParse(value)
  if (topic.success && topic.data.metadata.topic !== 'MARKETPLACE_ACCOUNT_DELETION') {
    return { kind: 'other', topic: topic.data.metadata.topic }
  }
  const parsed = deletion.safeParse(value)
  if (!parsed.success) return null
  const { notificationId, data } = parsed.data.notification
  return { kind: 'deletion', notificationId, username: data.username || null, userId: data.userId || null }
}
