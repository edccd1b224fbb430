/** Application tokens. A token carries its own expiry and a signature, so it stays valid over a restart. */
import { createHmac } from 'node:crypto'
import type { Config } from '../config.ts'
import type { CounterStore } from '../counters.ts'
import { type Ask, basicCredentials, json, type Reply } from '../exchange.ts'

export type Tokens = Readonly<{
  mint: (ask: Ask) => Reply
  /** The client id the token was minted for; `missing` or `invalid` (expired, forged, expired by force) otherwise. */
  check: (
    authorization: string | undefined,
  ) => Readonly<{ client: string } | { client: null; why: 'missing' | 'invalid' }>
  /** Every token minted so far stops working. */
  expireAll: () => void
}>

const PREFIX = 'v^1.1#i^1#p^1#r^0#I^3#f^0#t^'
const SCOPE = 'https://api.ebay.com/oauth/api_scope'

export function createTokens(config: () => Config, counters: CounterStore, seed: number): Tokens {
  const sign = (payload: string): string =>
    createHmac('sha256', `sandbox ${seed}`).update(payload).digest('base64url').slice(0, 24)
  const verified = new Map<string, { client: string; expiresMs: number; epoch: number }>()

  const mint = (ask: Ask): Reply => {
    const { ebay } = config()
    const basic = basicCredentials(ask.headers.authorization)
    if (basic?.user !== ebay.clientId || basic.secret !== ebay.clientSecret) {
      return json(401, { error: 'invalid_client', error_description: 'client authentication failed' })
    }
    const form = new URLSearchParams(ask.body)
    if (form.get('grant_type') !== 'client_credentials') {
      return json(400, { error: 'unsupported_grant_type', error_description: 'grant type in request is not supported' })
    }
    if (!(form.get('scope') ?? '').split(' ').includes(SCOPE)) {
      return json(400, { error: 'invalid_scope', error_description: 'The requested scope is invalid.' })
    }
    if (counters.values.ebayMints >= ebay.mintLimit) {
      return json(429, { error: 'temporarily_unavailable', error_description: 'token mint limit reached' })
    }
    counters.values.ebayMints += 1
    counters.save()
    const expiresMs = Date.now() + ebay.tokenLifeS * 1000
    const payload = Buffer.from(
      `${basic.user}|${expiresMs}|${counters.values.ebayTokenEpoch}|${counters.values.ebayMints}`,
    ).toString('base64url')
    const token = `${PREFIX}${payload}.${sign(payload)}`
    return json(200, { access_token: token, expires_in: ebay.tokenLifeS, token_type: 'Application Access Token' })
  }

  const open = (token: string): { client: string; expiresMs: number; epoch: number } | null => {
    const known = verified.get(token)
    if (known) return known
    if (!token.startsWith(PREFIX)) return null
    const [payload = '', signature] = token.slice(PREFIX.length).split('.')
    if (sign(payload) !== signature) return null
    const [client = '', expires, epoch] = Buffer.from(payload, 'base64url').toString('utf8').split('|')
    const content = { client, expiresMs: Number(expires), epoch: Number(epoch) }
    if (verified.size > 1000) verified.clear()
    verified.set(token, content)
    return content
  }

  return {
    mint,
    check: (authorization) => {
      const token = /^Bearer (.+)$/i.exec(authorization ?? '')?.[1]
      if (token === undefined) return { client: null, why: 'missing' }
      const content = open(token)
      if (!content || content.expiresMs <= Date.now() || content.epoch !== counters.values.ebayTokenEpoch) {
        return { client: null, why: 'invalid' }
      }
      return { client: content.client }
    },
    expireAll: () => {
      counters.values.ebayTokenEpoch += 1
      counters.save()
    },
  }
}
