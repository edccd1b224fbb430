/**
 * The contract between the engine and the providers. An adapter turns one request into one HTTP exchange and that into
 * one `Answer` of a closed set. It never throws for anything a provider or the network does, never retries a request
 * that may have been charged, never sees the database, and never knows whether it talks to the sandbox.
 *
 * A *call* is one request to a provider: one row in the ledger, one hold, one charge. What an adapter needs beyond that
 * (an access token) is free and is not a call.
 */
import type { Micros } from '../base/money.ts'

/** Which piece of a provider's price list a call is charged by. A kind without a configured price is never called. */
export type PriceKind =
  | 'ebay.search' // per call
  | 'oxylabs.amazon_bestsellers' // per result page
  | 'oxylabs.ebay' // per result page
  | 'keepa.token' // per token

/** Prices of one provider account in micro-dollars a unit. Missing = unknown = no call; zero = free. */
export type PriceList = Readonly<Partial<Record<PriceKind, Micros>>>

export type Credentials = Readonly<{ user: string; secret: string }>

/** Everything an adapter needs to reach one provider account. */
export type ProviderAccount = Readonly<{
  adapter: 'ebay_browse' | 'oxylabs' | 'keepa'
  /** Without trailing slash, e.g. `https://api.ebay.com` or `http://127.0.0.1:4400/ebay`. */
  baseUrl: string
  /** eBay: client id and secret; Oxylabs: API user and password; Keepa: secret is the key, user is empty. */
  credentials: Credentials
  prices: PriceList
}>

/** Per call: our id (made durable before anything is sent; sent as `x-request-id`), and when to give up, ms. */
export type CallContext = Readonly<{
  callId: string
  timeoutMs: number
  signal?: AbortSignal
  /** Asked right before a request leaves; when it says no, nothing is sent and the failure is TOO_LATE. */
  maySend?: () => boolean
}>

/** `signal` was aborted. */
export const GIVEN_UP = 'aborted'
/** `maySend` said no, so nothing was sent. */
export const TOO_LATE = 'too_late'
/** This process stood still meanwhile (base/standstill.ts), so the time that ran out was its own. */
export const STOOD_STILL = 'stood_still'

/** Codes of failures that are our own doing: they say nothing about the provider or the request. */
export const OWN_DOING: ReadonlySet<string> = new Set([GIVEN_UP, TOO_LATE, STOOD_STILL])

/** What the provider charged for the exchange, as far as its answer tells. */
export type Charge =
  | Readonly<{ kind: 'charged'; micros: Micros }>
  /** The provider surely did not charge: it refused for free, or the request never left this machine. */
  | Readonly<{ kind: 'not_charged' }>
  /** The request left and no complete answer came. It may have been charged. */
  | Readonly<{ kind: 'unknown' }>

/**
 * Why no usable answer came. Closed set; `engine/consequences.ts` says what each does to money, item and run.
 * - blocked: the target page refused (captcha, no results markup). Retrying later may help.
 * - drift: an answer came and does not have the expected shape. Needs a fix, then a retry.
 * - rejected: the provider refuses this request as invalid, or the target page does not exist. Asking again is no use.
 * - throttled: too fast (429). `retryAfterMs` when the provider said so.
 * - quota: the account's daily or monthly quota, or its tokens, are used up. `resetAt` when known.
 * - credentials: the account is not accepted (401, 402, 403).
 * - fault: the provider failed and said so (5xx, 6xx).
 * - unreachable: the request never left (connection refused, unknown host): surely not charged.
 * - lost: it left, and the connection broke, timed out, or the body was cut off: fate unknown.
 */
export type FailureKind =
  | 'blocked'
  | 'drift'
  | 'rejected'
  | 'throttled'
  | 'quota'
  | 'credentials'
  | 'fault'
  | 'unreachable'
  | 'lost'

export type Failure = Readonly<{
  ok: false
  kind: FailureKind
  charge: Charge
  /** Stable and short, e.g. `ebay.12001`, `oxylabs.613`, `http.503`, `timeout`, `schema`. */
  code: string
  /** One sentence for a person. Never contains credentials. */
  message: string
  retryAfterMs?: number
  resetAt?: Date
}>

// ---- Best-seller lists ------------------------------------------------------------------------------------------

/** One category as the adapters need it; `key` is unique (`kitchen/289742`), see `data/README.md`. */
export type CategoryRef = Readonly<{ key: string; slug: string; nodeId: string | null; name: string }>

/** A best seller as a list names it. A price that is missing, zero or hidden is null, never 0. */
export type ListedProduct = Readonly<{
  asin: string
  title: string
  priceCents: number | null
  /** Rank inside the category's list, from 1; null when the list has none. */
  rank: number | null
  brand?: string
  /** GTINs (UPC, EAN) as digits, best first. */
  gtins?: readonly string[]
  imageUrl?: string
  url?: string
}>

/**
 * One step through a category's list: plain JSON, stored on the category's row, so that any worker can go on with it.
 * Oxylabs: one step a page. Keepa: the list of ASINs first, then their details in batches of at most 100.
 */
export type ListStep =
  | Readonly<{ kind: 'page'; page: number }>
  | Readonly<{ kind: 'asins' }>
  | Readonly<{ kind: 'details'; asins: readonly string[]; rest: readonly string[]; firstRank: number }>

export type ListAnswer =
  | Readonly<{
      ok: true
      charge: Charge
      products: readonly ListedProduct[]
      /** The step to do next, or null when the category is done. */
      next: ListStep | null
      /** The account has nothing left to spend for so long, ms, as the answer says (tokens); left out when it has. */
      restMs?: number
      /** Rows that were left out, with the reason: no ASIN, not a physical product, twice in the list. */
      left: readonly Readonly<{ asin: string | null; reason: string }>[]
    }>
  | Failure

export type ListAdapter = Readonly<{
  firstStep: (category: CategoryRef) => ListStep
  /** The most this step can cost, or null when a price it needs is not configured. */
  worstCase: (step: ListStep) => Micros | null
  fetch: (category: CategoryRef, step: ListStep, context: CallContext) => Promise<ListAnswer>
}>

// ---- Search -----------------------------------------------------------------------------------------------------

/** What a listing must be. Every row is checked against this on our side, whatever the provider was asked. */
export type SearchFilters = Readonly<{
  conditionId: '1000'
  freeShipping: boolean
  /** ISO 3166 alpha-2, e.g. `US`; null for anywhere. */
  locatedIn: string | null
  buyingOption: 'FIXED_PRICE'
  /** Inclusive bounds in cents on the item price without shipping; null when the product has no price. */
  priceCents: Readonly<{ min: number; max: number }> | null
  currency: 'USD'
}>

/** One rung of the query ladder. `gtin` and `text` exclude each other on eBay. */
export type SearchQuery = Readonly<{ kind: 'gtin'; gtin: string }> | Readonly<{ kind: 'text'; text: string }>

export type SearchRequest = Readonly<{ query: SearchQuery; filters: SearchFilters; limit: number }>

/** One listing that passed every check. Listings are unique by `listingId` within an answer (variations are merged). */
export type Listing = Readonly<{
  listingId: string
  title: string
  priceCents: number
  /** Place in the provider's answer, from 1. */
  position: number
  seller: SellerRef
}>

/** A seller as an answer names it. The user name is as sent; matching/normalise.ts makes the key. */
export type SellerRef = Readonly<{
  username: string
  feedbackScore: number | null
  /** 0 to 1,000: tenths of a per cent, exact ("99.2" is 992); null when absent. */
  feedbackPermille: number | null
  /** The provider rounded the score ("3.7K"). */
  rounded?: boolean
}>

/** Why rows were left out, with counts: the sum of `listings` and these is the number of rows received. */
export type LeftOut = Readonly<
  Partial<
    Record<
      | 'condition'
      | 'shipping'
      | 'location'
      | 'buying_option'
      | 'price'
      | 'currency'
      | 'no_seller'
      | 'duplicate'
      | 'placeholder'
      | 'unreadable',
      number
    >
  >
>

export type SearchAnswer =
  | Readonly<{
      ok: true
      charge: Charge
      /** Empty = none: the provider answered and nothing matched. */
      listings: readonly Listing[]
      leftOut: LeftOut
      /** Filters the provider said it ignored (warnings with status 200). The rows were re-checked all the same. */
      ignoredFilters: readonly string[]
    }>
  | Failure

export type SearchAdapter = Readonly<{
  /** The most one search can cost, or null when its price is not configured. */
  worstCase: () => Micros | null
  /** How long one search may take before it counts as lost, ms. The engine's leases are longer than this. */
  timeoutMs: number
  /**
   * Fetches what a search needs beforehand (an access token), free of charge, so that the search itself leaves at once. Never
   * throws: what could not be fetched, the search will tell. Left out where nothing is needed.
   */
  ready?: (timeoutMs: number) => Promise<void>
  search: (request: SearchRequest, context: CallContext) => Promise<SearchAnswer>
}>
