/**
 * eBay application tokens (client credentials). One source per account in a process: the token is cached, renewed ahead of
 * its expiry, and minted once at a time, because eBay mints at most 1,000 a day for an application.
 */
import { watchStandstill } from '../base/standstill.ts'
import { NOT_CHARGED } from './charges.ts'
import { failedStatus, failure, scrub } from './failures.ts'
import { exchange } from './http.ts'
import { parseJson } from './json.ts'
import { ebayToken } from './schemas.ts'
import { type Credentials, type Failure, OWN_DOING, STOOD_STILL } from './types.ts'

const SCOPE = 'https://api.ebay.com/oauth/api_scope'
const MINT_TIMEOUT_MS = 15_000
const RENEW_AHEAD_MS = 300_000
/**
 * How many tokens may be minted because eBay refused one: 100 at once, then one every two minutes. With the regular
 * renewals that stays under eBay's 1,000 a day for one process, also while eBay refuses tokens at random.
 */
const EXTRA_MINTS = 100
const EXTRA_MINT_EVERY_MS = 120_000

export type Token = Readonly<{ ok: true; value: string }>

export type TokenSource = Readonly<{
  /**
   * A token that is valid for some time, or why there is none; nothing of this is ever charged. With `rejected`, a token eBay
   * has just refused, the answer is another one, or the same once too many were refused. Waits no longer than `timeoutMs`.
   */
  get: (timeoutMs: number, rejected?: string) => Promise<Token | Failure>
}>

type Cached = Readonly<{ value: string; expiresAt: number; renewAt: number }>

const sources = new Map<string, TokenSource>()

/** The token source of an account; the same one for the same host and credentials within a process. */
export function tokenSource(baseUrl: string, credentials: Credentials): TokenSource {
  const key = JSON.stringify([baseUrl, credentials.user, credentials.secret])
  let source = sources.get(key)
  if (!source) {
    source = createTokenSource(baseUrl, credentials)
    sources.set(key, source)
  }
  return source
}

function createTokenSource(baseUrl: string, credentials: Credentials): TokenSource {
  let cached: Cached | null = null
  let minting: Promise<Token | Failure> | null = null
  let extraMs = EXTRA_MINTS * EXTRA_MINT_EVERY_MS
  let extraAt = Date.now()

  const mintShared = () => {
    minting ??= mint(baseUrl, credentials)
      .then((minted): Token | Failure => {
        if (!minted.ok) return minted
        cached = minted.cached
        return { ok: true, value: minted.cached.value }
      })
      .finally(() => {
        minting = null
      })
    return minting
  }
  const mayMintExtra = (now: number) => {
    if (minting) return true
    extraMs = Math.min(EXTRA_MINTS * EXTRA_MINT_EVERY_MS, extraMs + Math.max(now - extraAt, 0))
    extraAt = now
    if (extraMs < EXTRA_MINT_EVERY_MS) return false
    extraMs -= EXTRA_MINT_EVERY_MS
    return true
  }

  return {
    get: async (timeoutMs, rejected) => {
      const now = Date.now()
      let current = cached !== null && cached.expiresAt > now ? cached : null
      if (current && current.value === rejected && mayMintExtra(now)) current = null
      if (current && current.renewAt > now) return { ok: true, value: current.value }
      const minted = await within(mintShared(), timeoutMs)
      // While the old token still lives, a failed renewal is no reason not to search.
      return !minted.ok && current ? { ok: true, value: current.value } : minted
    },
  }
}

async function within(minted: Promise<Token | Failure>, timeoutMs: number): Promise<Token | Failure> {
  const { promise, resolve } = Promise.withResolvers<Failure>()
  const watch = watchStandstill()
  const onTime = () => {
    const code = watch.stoodStill() ? STOOD_STILL : 'token.timeout'
    resolve(failure('unreachable', NOT_CHARGED, code, 'no access token in time; the search was not sent'))
  }
  const timer = setTimeout(onTime, timeoutMs)
  const first = await Promise.race([minted, promise])
  clearTimeout(timer)
  watch.end()
  return first
}

async function mint(baseUrl: string, credentials: Credentials): Promise<Failure | { ok: true; cached: Cached }> {
  const askedAt = Date.now()
  const outcome = await exchange({
    method: 'POST',
    url: `${baseUrl}/identity/v1/oauth2/token`,
    headers: {
      authorization: `Basic ${Buffer.from(`${credentials.user}:${credentials.secret}`).toString('base64')}`,
      'content-type': 'application/x-www-form-urlencoded',
    },
    body: new URLSearchParams({ grant_type: 'client_credentials', scope: SCOPE }).toString(),
    timeoutMs: MINT_TIMEOUT_MS,
  })
  if (outcome.kind !== 'answered') {
    // The search itself never left, so its fate is known even where the token request's is not.
    const code = OWN_DOING.has(outcome.code) ? outcome.code : `token.${outcome.code}`
    return failure('unreachable', NOT_CHARGED, code, `no access token: ${outcome.message}`)
  }
  const body = parseJson(outcome.text)
  if (outcome.status !== 200) return refusedMint(outcome.status, outcome.headers, body, credentials)
  const token = ebayToken.safeParse(body)
  // The value becomes a header: anything else than visible characters is no token.
  if (!token.success || !/^[\x21-\x7e]+$/.test(token.data.access_token)) {
    return failure('drift', NOT_CHARGED, 'token.schema', 'the token answer does not have the expected shape')
  }
  const lifeMs = token.data.expires_in * 1000
  const renewAt = askedAt + lifeMs - Math.min(RENEW_AHEAD_MS, lifeMs / 10)
  return { ok: true, cached: { value: token.data.access_token, expiresAt: askedAt + lifeMs, renewAt } }
}

function refusedMint(
  status: number,
  headers: Readonly<Record<string, string>>,
  body: unknown,
  credentials: Credentials,
): Failure {
  const { error, error_description: description } = (body ?? {}) as { error?: unknown; error_description?: unknown }
  const told = [error, description].filter((part) => typeof part === 'string').join(': ')
  const message = scrub(`eBay gave no access token (status ${status}) ${told}`, credentials)
  if (status < 400 || status >= 500 || status === 429) {
    const failed = failedStatus(status, headers, NOT_CHARGED, message)
    return { ...failed, code: `token.${failed.code}` }
  }
  const code = typeof error === 'string' && /^[a-z_]{1,40}$/.test(error) ? `ebay.${error}` : `token.http.${status}`
  return failure('credentials', NOT_CHARGED, code, message)
}
