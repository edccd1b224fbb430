/** Keepa: token, best sellers, product, category, with the envelope on every answer. */
import { gzipSync } from 'node:zlib'
import type { Config } from '../config.ts'
import type { CounterStore } from '../counters.ts'
import { type Ask, json, type Provider, type Reply, retryAfter } from '../exchange.ts'
import type { FaultKind, FaultRule } from '../faults.ts'
import type { World } from '../world/world.ts'
import { type Bucket, createBucket } from './bucket.ts'
import { keepaCategory, keepaList, keepaMinutes, keepaProduct } from './products.ts'

const BESTSELLERS_TOKENS = 50
const MOST_ASINS = 100
const MOST_CATEGORIES = 10

type Outcome = Readonly<{ tokens: number; fields: object; what: string }> | Readonly<{ invalid: string }>

export function createKeepa(config: () => Config, counters: CounterStore, world: World): Provider {
  const bucket = createBucket(config, counters)

  const answer = (ask: Ask, operation: string): Reply => {
    if (ask.query.get('key') !== config().keepa.key) return zeroed(ask)
    if (operation === 'unknown') return wrapped(ask, bucket, 404, 0, {}, { type: 'notFound', message: 'No such call.' })
    if (operation !== 'token' && !bucket.open()) return exhausted(ask, bucket)
    if (ask.hits.has('keepa_error_200')) return wrapped(ask, bucket, 200, 0, {}, INVALID)
    const outcome = outcomeOf(world, ask, operation, config())
    if ('invalid' in outcome) return wrapped(ask, bucket, 400, 0, {}, { ...INVALID, details: outcome.invalid })
    const factor = ask.hits.get('price_above_list')?.factor ?? 1
    const consumed = Math.ceil(outcome.tokens * factor)
    bucket.debit(consumed)
    const reply = wrapped(ask, bucket, 200, consumed, drifted(ask, outcome.fields))
    if (outcome.tokens === 0) return reply
    const micros = outcome.tokens * config().prices['keepa.token']
    const account = `${config().keepa.key.slice(0, 4)}…`
    return { ...reply, charge: { kind: 'keepa.token', units: consumed, micros, account, what: outcome.what } }
  }

  const refuse = (kind: FaultKind, rule: FaultRule, ask: Ask): Reply => refusal(kind, rule, ask, bucket)

  return { name: 'keepa', operationOf, answer, refuse }
}

const INVALID = { type: 'invalidParameter', message: 'You used an invalid parameter for this API call.', details: '' }

function operationOf({ path }: Pick<Ask, 'path'>): string {
  const name = path.replace(/^\/|\/$/g, '')
  return ['token', 'bestsellers', 'product', 'category'].includes(name) ? name : 'unknown'
}

function outcomeOf(world: World, ask: Ask, operation: string, config: Config): Outcome {
  if (operation === 'token') return { tokens: 0, fields: {}, what: 'token' }
  if (ask.query.get('domain') !== '1') return { invalid: 'domain' }
  if (operation === 'bestsellers') return bestsellers(world, ask, config)
  return operation === 'product' ? product(world, ask) : category(world, ask)
}

function bestsellers(world: World, ask: Ask, config: Config): Outcome {
  const wanted = ask.query.get('category') ?? ''
  const found = world.tree.find(wanted)
  if (wanted === '') return { invalid: 'category' }
  if (!found) return { tokens: 0, fields: { bestSellersList: null }, what: `bestsellers ${wanted}` }
  const asinList = keepaList(world, found)
  const top = config.keepa.topLevelAsinList || ask.hits.has('top_level_asins')
  const list = { domainId: 1, lastUpdate: keepaMinutes(), categoryId: Number(wanted) }
  const fields = top ? { bestSellersList: list, asinList } : { bestSellersList: { ...list, asinList } }
  return { tokens: BESTSELLERS_TOKENS, fields, what: `bestsellers ${wanted}` }
}

function product(world: World, ask: Ask): Outcome {
  const asins = (ask.query.get('asin') ?? '').split(',').filter(Boolean)
  const offers = Number(ask.query.get('offers') ?? 0)
  if (asins.length === 0 || asins.length > MOST_ASINS) return { invalid: 'asin' }
  if (offers !== 0 && (offers < 20 || offers > 100 || asins.length > 20)) return { invalid: 'offers' }
  const options = { stats: ask.query.has('stats'), history: ask.query.get('history') !== '0' }
  const products = asins.map((asin) => keepaProduct(world, asin, options))
  return {
    tokens: asins.length * tokensPerProduct(ask.query, offers),
    fields: { products },
    what: `product ${asins.length} from ${asins[0]}`,
  }
}

/** 1; buy box 2 more, rating 1, a forced update 1, offers 6 for each ten begun. */
function tokensPerProduct(query: URLSearchParams, offers: number): number {
  const rating = query.get('rating') === '1' ? 1 : 0
  const buybox = query.get('buybox') === '1' ? 2 : 0
  const update = query.get('update') === '0' ? 1 : 0
  return 1 + rating + buybox + update + Math.ceil(offers / 10) * 6
}

function category(world: World, ask: Ask): Outcome {
  const wanted = (ask.query.get('category') ?? '').split(',').filter(Boolean)
  if (wanted.length === 0 || wanted.length > MOST_CATEGORIES) return { invalid: 'category' }
  const found = wanted.includes('0')
    ? world.tree.all.filter(({ level, browseNodeId }) => level === 0 && browseNodeId !== null)
    : wanted.map((node) => world.tree.find(node)).filter((entry) => entry !== null)
  const categories = Object.fromEntries(
    found.map((entry) => [entry.browseNodeId ?? entry.id, keepaCategory(world, entry)]),
  )
  return { tokens: 1, fields: { categories, categoryParents: {} }, what: `category ${wanted.join(',')}` }
}

function drifted(ask: Ask, fields: object): object {
  return ask.hits.has('drift_json') ? { data: { v2: fields } } : fields
}

function wrapped(ask: Ask, bucket: Bucket, status: number, consumed: number, fields: object, error?: object): Reply {
  const { tokensLeft, refillIn, refillRate } = bucket.state()
  const envelope = { timestamp: Date.now(), tokensLeft, refillIn, refillRate, tokenFlowReduction: 0 }
  const body = { ...envelope, tokensConsumed: consumed, processingTimeInMs: 12, ...fields, ...(error ? { error } : {}) }
  return zipped(ask, json(status, body))
}

function exhausted(ask: Ask, bucket: Bucket): Reply {
  const error = { type: 'NOT_ENOUGH_TOKEN', message: 'token budget exhausted', details: '' }
  return wrapped(ask, bucket, 429, 0, {}, error)
}

/** A bad key says nothing about the account's tokens: everything is zero. */
function zeroed(ask: Ask): Reply {
  const zero = { refillIn: 0, refillRate: 0, tokenFlowReduction: 0, tokensConsumed: 0, tokensLeft: 0 }
  return zipped(ask, json(400, { error: INVALID, processingTimeInMs: 0, timestamp: Date.now(), ...zero }))
}

function zipped(ask: Ask, reply: Reply): Reply {
  if (!/\bgzip\b/.test(String(ask.headers['accept-encoding'] ?? ''))) return reply
  return {
    ...reply,
    headers: { ...reply.headers, 'content-encoding': 'gzip' },
    body: gzipSync(reply.body, { level: 1 }),
  }
}

function refusal(kind: FaultKind, rule: FaultRule, ask: Ask, bucket: Bucket): Reply {
  const failed = (status: number, type: string): Reply =>
    wrapped(ask, bucket, status, 0, {}, { type, message: 'The request was refused.', details: '' })
  switch (kind) {
    case 'throttled':
    case 'quota': {
      const reply = exhausted(ask, bucket)
      return { ...reply, headers: { ...reply.headers, ...retryAfter(rule) } }
    }
    case 'unauthorized':
      return zeroed(ask)
    case 'payment_required':
    case 'forbidden':
      return failed(402, 'paymentRequired')
    case 'bad_request':
      return failed(400, 'invalidParameter')
    default:
      return failed(rule.status ?? 500, 'internalServerError')
  }
}
