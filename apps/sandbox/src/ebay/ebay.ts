/** eBay: token, search, item, rate limit. */
import type { Config } from '../config.ts'
import type { CounterStore } from '../counters.ts'
import { type Ask, json, type Provider, type Reply, retryAfter } from '../exchange.ts'
import type { FaultKind, FaultRule } from '../faults.ts'
import { createRate, type Rate } from '../rate.ts'
import type { World } from '../world/world.ts'
import { ACCESS_DENIED, browseError, errorReply, INVALID_TOKEN, MISSING_TOKEN, TOO_MANY } from './errors.ts'
import { itemReply } from './item.ts'
import { createNotifications, type Notifications } from './notifications.ts'
import type { Quota } from './rate-limit.ts'
import { createQuota } from './rate-limit.ts'
import { describeSearch, searchReply } from './search.ts'
import { createTokens, type Tokens } from './token.ts'

const SEARCH = '/buy/browse/v1/item_summary/search'
const ITEM = '/buy/browse/v1/item/'

export type Ebay = Readonly<{
  provider: Provider
  tokens: Tokens
  quota: Quota
  rate: Rate
  notifications: Notifications
}>

export function createEbay(config: () => Config, counters: CounterStore, world: World): Ebay {
  const tokens = createTokens(config, counters, world.seed)
  const quota = createQuota(config, counters)
  const rate = createRate(() => config().ebay.ratePerSecond)
  const notifications = createNotifications()
  const arrive = (operation: string, atMs: number): boolean =>
    (operation !== 'search' && operation !== 'item') || rate.arrive(atMs)

  const answer = (ask: Ask, operation: string): Reply => {
    if (operation === 'token') return tokens.mint(ask)
    const holder = tokens.check(ask.headers.authorization)
    if (holder.client === null) {
      return holder.why === 'missing' ? errorReply(403, MISSING_TOKEN) : errorReply(401, INVALID_TOKEN)
    }
    if (operation === 'rate_limit') return quota.report()
    if (operation === 'public_key') return notifications.publicKey(ask)
    if (operation !== 'search' && operation !== 'item') return json(404, { errors: [] })
    if (!quota.take()) return errorReply(429, TOO_MANY)
    if (operation === 'item') {
      return itemReply(world, decodeURIComponent(ask.path.slice(ITEM.length)), ask.hits, ask.origin)
    }
    const reply = searchReply(world, ask)
    if (reply.status !== 200) return reply
    const micros = config().prices['ebay.search']
    return {
      ...reply,
      charge: { kind: 'ebay.search', units: 1, micros, account: holder.client, what: describeSearch(ask.query) },
    }
  }

  const refuse = (kind: FaultKind, rule: FaultRule, _ask: Ask, operation: string): Reply => {
    if (operation === 'search' || operation === 'item') quota.take()
    return refusal(kind, rule)
  }

  return { provider: { name: 'ebay', operationOf, answer, refuse, arrive }, tokens, quota, rate, notifications }
}

function operationOf({ method, path }: Pick<Ask, 'method' | 'path'>): string {
  if (method === 'POST') return path === '/identity/v1/oauth2/token' ? 'token' : 'unknown'
  if (path === SEARCH) return 'search'
  if (path.startsWith(ITEM)) return 'item'
  if (path.startsWith('/commerce/notification/v1/public_key/')) return 'public_key'
  return path.replace(/\/$/, '') === '/developer/analytics/v1_beta/rate_limit' ? 'rate_limit' : 'unknown'
}

function refusal(kind: FaultKind, rule: FaultRule): Reply {
  switch (kind) {
    case 'quota':
      return errorReply(429, TOO_MANY)
    case 'throttled':
      return errorReply(429, { ...TOO_MANY, errorId: 2003, message: 'Request rate exceeded.' }, retryAfter(rule))
    case 'unauthorized':
      return errorReply(401, INVALID_TOKEN)
    case 'forbidden':
      return errorReply(403, ACCESS_DENIED)
    case 'bad_request':
      return errorReply(400, browseError(rule.code ?? 12002))
    default:
      return errorReply(rule.status ?? 500, browseError(12000))
  }
}
