/** eBay Browse API: search of fixed-price listings, one call a search. The default search adapter. */
import { cleanLine, cutText } from '../base/text.ts'
import { ebayCharge } from './charges.ts'
import { type TokenSource, tokenSource } from './ebay-token.ts'
import { centsText, queryText } from './ebay-words.ts'
import { answerOfAnother, isForAnother } from './echo.ts'
import { answeredAt, failedStatus, failure, scrub, unanswered } from './failures.ts'
import { type Exchange, exchange } from './http.ts'
import { parseJson } from './json.ts'
import { falseNone, feedbackPermille, type Row, readUsername, recheck } from './recheck.ts'
import { type EbayErrorObject, type EbayRow, ebayErrorBody, ebayRow, ebaySearch } from './schemas.ts'
import type {
  CallContext,
  Failure,
  ProviderAccount,
  SearchAdapter,
  SearchAnswer,
  SearchFilters,
  SearchRequest,
  SellerRef,
} from './types.ts'

/** eBay answers within a few seconds; far beyond that the answer is not coming. */
const TIMEOUT_MS = 30_000
/** Most rows a call can bring; the price of a call does not depend on it. */
const LIMIT_MAX = 200

type Answered = Extract<Exchange, { kind: 'answered' }>

/** The search adapter of an eBay account. */
export function ebayBrowse(account: ProviderAccount): SearchAdapter {
  const price = account.prices['ebay.search']
  const tokens = tokenSource(account.baseUrl, account.credentials)
  return {
    worstCase: () => price ?? null,
    timeoutMs: TIMEOUT_MS,
    ready: async (timeoutMs) => {
      await tokens.get(timeoutMs)
    },
    search: async (request, context) => {
      if (price === undefined) throw new Error('ebay.search has no price: no price, no call')
      const outcome = await searchWithToken(account, tokens, request, context)
      if ('ok' in outcome) return outcome
      if (outcome.kind !== 'answered') return unanswered(outcome)
      const charge = ebayCharge(outcome.status, price, outcome.headers)
      return outcome.status === 200 ? readAnswer(outcome, request, charge) : readError(outcome, charge, account)
    },
  }
}

/** Sends the search; on a refused token, which is free, once more with a new one. */
async function searchWithToken(
  account: ProviderAccount,
  tokens: TokenSource,
  request: SearchRequest,
  context: CallContext,
): Promise<Exchange | Failure> {
  const deadline = performance.now() + context.timeoutMs
  const send = (token: string) =>
    exchange({
      method: 'GET',
      url: `${account.baseUrl}/buy/browse/v1/item_summary/search?${searchParameters(request)}`,
      headers: { authorization: `Bearer ${token}`, 'x-ebay-c-marketplace-id': 'EBAY_US' },
      requestId: context.callId,
      timeoutMs: Math.max(deadline - performance.now(), 1),
      signal: context.signal,
      maySend: context.maySend,
    })

  const token = await tokens.get(context.timeoutMs)
  if (!token.ok) return token
  const first = await send(token.value)
  if (first.kind !== 'answered' || !tokenRefused(first)) return first
  const renewed = await tokens.get(Math.max(deadline - performance.now(), 1), token.value)
  return renewed.ok ? send(renewed.value) : renewed
}

function tokenRefused(answer: Answered): boolean {
  if (answer.status !== 401) return false
  const body = ebayErrorBody.safeParse(parseJson(answer.text))
  return !body.success || body.data.errors[0]?.errorId === 1001
}

/** Query parameters of a search; exported for the tests. */
export function searchParameters({ query, filters, limit }: SearchRequest): string {
  const parameters = new URLSearchParams()
  if (query.kind === 'gtin') parameters.set('gtin', query.gtin)
  else parameters.set('q', queryText(query.text))
  parameters.set('limit', String(Math.min(Math.max(Math.trunc(limit), 1), LIMIT_MAX)))
  parameters.set('offset', '0')
  parameters.set('filter', filterText(filters))
  return parameters.toString().replaceAll('+', '%20')
}

function filterText(filters: SearchFilters): string {
  return [
    `conditionIds:{${filters.conditionId}}`,
    `buyingOptions:{${filters.buyingOption}}`,
    ...(filters.locatedIn === null ? [] : [`itemLocationCountry:${filters.locatedIn}`]),
    // Where the buyer is, not the item: without it eBay does not know what shipping costs.
    'deliveryCountry:US',
    ...(filters.freeShipping ? ['maxDeliveryCost:0'] : []),
    ...(filters.priceCents === null
      ? []
      : [
          `price:[${centsText(filters.priceCents.min)}..${centsText(filters.priceCents.max)}]`,
          `priceCurrency:${filters.currency}`,
        ]),
  ].join(',')
}

function readAnswer(answer: Answered, request: SearchRequest, charge: SearchAnswer['charge']): SearchAnswer {
  const parsed = ebaySearch.safeParse(parseJson(answer.text))
  if (!parsed.success) return failure('drift', charge, 'schema', 'the search answer does not have the expected shape')
  const { href, total, itemSummaries, warnings } = parsed.data
  if (isForAnother(request.query, href, { text: 'q', gtin: 'gtin' })) return answerOfAnother(charge)
  const ignoredFilters = (warnings ?? []).map(warningText)
  const sent = itemSummaries ?? []
  // Rows for a GTIN that eBay ignored are not about the product: they are as good as none.
  if (request.query.kind === 'gtin' && (warnings ?? []).some(ignoresGtin)) {
    return {
      ok: true,
      charge,
      listings: [],
      leftOut: sent.length === 0 ? {} : { placeholder: sent.length },
      ignoredFilters,
    }
  }
  // `total` is an estimate, but 0 only when nothing matched: rows that are announced and missing are not "none".
  if (sent.length === 0 && total > 0) {
    return failure('drift', charge, 'schema', `eBay speaks of ${total} rows and sent none`)
  }
  const rows = sent.map((row) => ebayRow.safeParse(row).data ?? null)
  const checked = recheck(rows.map(readRow), request.filters)
  const wrong = falseNone(checked, rows.length) ?? (checked.listings.length === 0 ? missingEverywhere(rows) : null)
  if (wrong) return failure('drift', charge, 'schema', `the rows of the search answer cannot be used: ${wrong}`)
  return { ok: true, charge, ...checked, ignoredFilters }
}

/** Fields nearly every row has, and without which no row passes. Three rows or more without one: it was renamed. */
const USUAL_FIELDS = ['conditionId', 'buyingOptions', 'itemLocation', 'shippingOptions', 'price'] as const

function missingEverywhere(rows: readonly (EbayRow | null)[]): string | null {
  if (rows.length < 3) return null
  const missing = USUAL_FIELDS.find((field) => rows.every((row) => row?.[field] === undefined))
  return missing === undefined ? null : `none has ${missing}`
}

function warningText({ errorId, message, parameters }: EbayErrorObject): string {
  const named = (parameters ?? []).map(({ name, value }) => `${name ?? ''}=${value ?? ''}`).join(' ')
  return cutText(cleanLine(`ebay.${errorId} ${named || (message ?? '')}`), 200)
}

function ignoresGtin({ errorId, parameters }: EbayErrorObject): boolean {
  return errorId === 12022 || (parameters ?? []).some(({ name }) => name === 'gtin')
}

function readRow(row: EbayRow | null): Row | null {
  if (!row) return null
  const title = cleanLine(row.title)
  return {
    listingId: listingId(row),
    title: title === '' ? null : title,
    conditionId: row.conditionId ?? null,
    buyingOptions: row.buyingOptions ?? [],
    country: row.itemLocation?.country ?? null,
    freeShipping: (row.shippingOptions ?? []).some(({ shippingCost }) => isZero(shippingCost?.value)),
    currency: row.price?.currency ?? null,
    price: row.price?.value ?? null,
    seller: readSeller(row),
  }
}

function isZero(amount: string | undefined): boolean {
  return amount !== undefined && /^0+(\.0+)?$/.test(amount)
}

/** Listing number: one for all variations of a listing. `itemId` is `v1|<listing>|<variation or 0>`. */
function listingId({ legacyItemId, itemId }: EbayRow): string | null {
  const id = legacyItemId ?? itemId?.split('|')[1] ?? ''
  return /^[0-9A-Za-z]{1,32}$/.test(id) ? id : null
}

function readSeller({ seller }: EbayRow): SellerRef | null {
  const username = readUsername(seller?.username)
  if (username === null) return null
  const score = seller?.feedbackScore ?? null
  return {
    username,
    feedbackScore: score !== null && Number.isInteger(score) && Math.abs(score) <= 2_147_483_647 ? score : null,
    feedbackPermille: feedbackPermille(seller?.feedbackPercentage),
  }
}

function readError(answer: Answered, charge: SearchAnswer['charge'], account: ProviderAccount): Failure {
  const body = ebayErrorBody.safeParse(parseJson(answer.text))
  const error = body.success ? body.data.errors[0] : undefined
  const message = scrub(error?.message ?? '', account.credentials)
  const failed = failedStatus(answer.status, answer.headers, charge, message)
  if (!error) return failed
  if (answer.status === 429 && error.errorId === 2001) {
    return { ...failed, kind: 'quota', code: 'ebay.2001', resetAt: nextPacificMidnight(answeredAt(answer.headers)) }
  }
  // A wrong key pair already fails at the token. A token that was minted a moment ago and is refused all the same is eBay's fault.
  const kind = answer.status === 401 && error.errorId === 1001 ? 'fault' : failed.kind
  return { ...failed, kind, code: `ebay.${error.errorId}` }
}

const pacificHour = new Intl.DateTimeFormat('en-US', {
  timeZone: 'America/Los_Angeles',
  hour: 'numeric',
  minute: 'numeric',
  second: 'numeric',
  hourCycle: 'h23',
  day: 'numeric',
})

function pacificClock(at: number): { day: string; secondsIntoDay: number } {
  const parts = Object.fromEntries(pacificHour.formatToParts(at).map(({ type, value }) => [type, value]))
  const [hour, minute, second] = [parts['hour'], parts['minute'], parts['second']].map(Number)
  return { day: parts['day'] ?? '', secondsIntoDay: (hour ?? 0) * 3600 + (minute ?? 0) * 60 + (second ?? 0) }
}

/**
 * The next midnight in Pacific time after `now`, when eBay resets its daily quotas. Right on the days the clocks change too:
 * the change happens at two in the morning, so the way back to the midnight before is the one that may be off by an hour.
 */
export function nextPacificMidnight(now: Date): Date {
  const { secondsIntoDay } = pacificClock(now.getTime())
  const whole = Math.floor(now.getTime() / 1000) * 1000
  // 24 hours of wall clock; correct by what the clock shows there when a change of time lies between.
  const guess = whole + (86_400 - secondsIntoDay) * 1000
  const shown = pacificClock(guess).secondsIntoDay
  if (shown === 0) return new Date(guess)
  return new Date(shown > 43_200 ? guess + (86_400 - shown) * 1000 : guess - shown * 1000)
}
