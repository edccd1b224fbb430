/**
 * Amazon best-seller lists through Keepa: first the list's ASINs (50 tokens), then their details in batches (a token each).
 * Keepa orders a sub-category by main sales rank, which is near Amazon's own order and not the same.
 */

import { type Micros, timesMicros } from '../base/money.ts'
import { keepaCharge, UNKNOWN_CHARGE, withProof } from './charges.ts'
import { answeredAt, failedStatus, failure, scrub, unanswered } from './failures.ts'
import { type Exchange, exchange, type HttpHeaders } from './http.ts'
import { parseJson } from './json.ts'
import { readProduct } from './keepa-product.ts'
import { readAsin } from './oxylabs.ts'
import { type KeepaEnvelope, keepaBestsellers, keepaEnvelope, keepaProduct, keepaProducts } from './schemas.ts'
import type {
  CallContext,
  CategoryRef,
  Charge,
  Failure,
  FailureKind,
  ListAdapter,
  ListAnswer,
  ListedProduct,
  ListStep,
  ProviderAccount,
} from './types.ts'

/** Tokens of one `/bestsellers` call, whatever the length of its list. Source: Keepa API documentation, 2026. */
const LIST_TOKENS = 50
/** Most ASINs one `/product` call takes. */
const BATCH = 100
/** Keepa's lists hold up to 100,000 ASINs; Amazon's best-seller lists end at 100, and so do ours. */
const PLACES = 100

type Left = { asin: string | null; reason: string }

/** The list adapter of a Keepa account. */
export function keepaList(account: ProviderAccount): ListAdapter {
  const price = account.prices['keepa.token']
  return {
    firstStep: () => ({ kind: 'asins' }),
    worstCase: (step) => (price === undefined ? null : timesMicros(price, tokensOf(step))),
    fetch: async (category, step, context) => {
      if (price === undefined) throw new Error('keepa.token has no price: no price, no call')
      if (step.kind === 'page') throw new Error('Keepa lists have no pages')
      const query = step.kind === 'asins' ? listQuery(category) : productQuery(step.asins)
      const answer = await ask(account, query, price, context)
      if (!answer.ok) return answer
      const read = step.kind === 'asins' ? readList(answer) : readDetails(answer, step)
      return read.ok && answer.restMs !== null ? { ...read, restMs: answer.restMs } : read
    },
  }
}

/** Without `buybox`, `rating`, `offers` and `update` a product costs one token, and a list always the same. */
function tokensOf(step: ListStep): number {
  return step.kind === 'details' ? step.asins.length : LIST_TOKENS
}

function listQuery({ nodeId, slug }: CategoryRef): string {
  return `/bestsellers?${new URLSearchParams({ domain: '1', category: nodeId ?? slug, range: '0' })}`
}

function productQuery(asins: readonly string[]): string {
  return `/product?${new URLSearchParams({ domain: '1', asin: asins.join(','), stats: '1', history: '0' })}`
}

type Envelope = Readonly<{
  ok: true
  charge: Charge
  tokens: number
  tokensLeft: number | null
  /** Until the balance is above zero again, ms; null while it is. Keepa answers the call that takes it below. */
  restMs: number | null
  body: unknown
}>

async function ask(
  account: ProviderAccount,
  query: string,
  price: Micros,
  context: CallContext,
): Promise<Envelope | Failure> {
  const outcome = await exchange({
    method: 'GET',
    url: `${account.baseUrl}${query}&key=${encodeURIComponent(account.credentials.secret)}`,
    requestId: context.callId,
    timeoutMs: context.timeoutMs,
    signal: context.signal,
    maySend: context.maySend,
  })
  return outcome.kind === 'answered' ? readEnvelope(outcome, account, price) : unanswered(outcome)
}

/**
 * Reads the envelope every answer has. An error may come with status 200. Without a readable envelope an error status is
 * free, and what a 200 cost is not known. Exported for the probe.
 */
export function readEnvelope(
  { status, headers, text }: Extract<Exchange, { kind: 'answered' }>,
  account: ProviderAccount,
  price: Micros,
): Envelope | Failure {
  const body = parseJson(text)
  const parsed = keepaEnvelope.safeParse(body)
  if (!parsed.success) {
    if (status !== 200) return failedStatus(status, headers, keepaCharge(0, price, headers), '')
    return failure(
      'drift',
      withProof(headers, UNKNOWN_CHARGE),
      'schema',
      'the answer does not have the expected envelope',
    )
  }
  const envelope = parsed.data
  const charge = keepaCharge(envelope.tokensConsumed, price, headers)
  if (status === 200 && !envelope.error) {
    const tokensLeft = envelope.tokensLeft ?? null
    const isEmpty = tokensLeft !== null && tokensLeft <= 0 && Boolean(envelope.refillRate)
    const restMs = isEmpty ? tokenWait(envelope, headers).retryAfterMs : null
    return { ok: true, charge, tokens: envelope.tokensConsumed, tokensLeft, restMs, body }
  }

  const { type, message } = envelope.error ?? {}
  const told = scrub(message || type || '', account.credentials)
  const failed = failedStatus(status, headers, charge, told)
  const kind = errorKind(status, envelope)
  const code = type && /^\w{1,40}$/.test(type) ? `keepa.${type}` : failed.code
  return { ...failed, kind, code, ...(kind === 'quota' ? tokenWait(envelope, headers) : {}) }
}

/** A bad key gets an envelope of zeros, with status 200 or 400; an account in order always has a refill rate. */
function errorKind(status: number, { error, refillRate, tokensLeft }: KeepaEnvelope): FailureKind {
  if (status === 429 || /not_?enough_?token/i.test(error?.type ?? '')) return refillRate ? 'quota' : 'throttled'
  if (status === 401 || status === 402 || status === 403) return 'credentials'
  if (status >= 500) return 'fault'
  return refillRate === 0 && tokensLeft === 0 ? 'credentials' : 'rejected'
}

/** Until a refill lifts the balance above zero: the next one brings `refillRate` tokens, and every minute another does. */
function tokenWait(
  { refillIn, refillRate, tokensLeft }: KeepaEnvelope,
  headers: HttpHeaders,
): { retryAfterMs: number; resetAt: Date } {
  const minutes = refillRate && tokensLeft && tokensLeft < 0 ? Math.floor(-tokensLeft / refillRate) : 0
  const waitMs = Math.min(Math.max(Math.ceil(refillIn ?? 60_000), 0) + minutes * 60_000, 86_400_000)
  return { retryAfterMs: waitMs, resetAt: new Date(answeredAt(headers).getTime() + waitMs) }
}

function readList({ body, charge, tokens }: Envelope): ListAnswer {
  const parsed = keepaBestsellers.safeParse(body)
  const sent = parsed.success ? (parsed.data.bestSellersList?.asinList ?? parsed.data.asinList) : null
  // A list that does not exist costs nothing; one that was paid for and is not there is drift.
  if (!sent && parsed.success && tokens === 0) {
    return failure('rejected', charge, 'keepa.no_list', 'Keepa has no best-seller list of this category')
  }
  if (!sent) return failure('drift', charge, 'schema', 'the answer has no list of ASINs')
  const left: Left[] = []
  const asins = new Set<string>()
  for (const text of sent.slice(0, PLACES)) {
    const asin = readAsin(text)
    if (asin === null) left.push({ asin: null, reason: 'no_asin' })
    else if (asins.has(asin)) left.push({ asin, reason: 'duplicate' })
    else asins.add(asin)
  }
  if (sent.length > 0 && asins.size === 0) return failure('drift', charge, 'schema', 'the list holds no ASIN')
  return { ok: true, charge, products: [], next: nextBatch([...asins], 1), left }
}

function nextBatch(asins: readonly string[], firstRank: number): ListStep | null {
  return asins.length === 0
    ? null
    : { kind: 'details', asins: asins.slice(0, BATCH), rest: asins.slice(BATCH), firstRank }
}

function readDetails({ body, charge }: Envelope, step: Extract<ListStep, { kind: 'details' }>): ListAnswer {
  const parsed = keepaProducts.safeParse(body)
  if (!parsed.success) return failure('drift', charge, 'schema', 'the answer has no list of products')
  const sent = parsed.data.products.flatMap((product) => {
    const read = keepaProduct.safeParse(product)
    return read.success ? [read.data] : []
  })
  if (sent.length === 0 && parsed.data.products.some((product) => product !== null)) {
    return failure('drift', charge, 'schema', 'no product of the answer has the expected shape')
  }
  const byAsin = new Map(sent.map((product) => [product.asin, product]))
  const products: ListedProduct[] = []
  const left: Left[] = []
  step.asins.forEach((asin, at) => {
    const product = byAsin.get(asin)
    const read = product ? readProduct(product, step.firstRank + at) : 'missing'
    if (typeof read === 'string') left.push({ asin, reason: read })
    else products.push(read)
  })
  return { ok: true, charge, products, next: nextBatch(step.rest, step.firstRank + step.asins.length), left }
}
