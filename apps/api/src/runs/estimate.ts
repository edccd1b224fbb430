/**
 * What a collection will cost and take, before it starts, for those who have collected nothing yet: the prices come from
 * the provider's price list and the factors below are assumptions, so the answer is a wide range and says where it comes
 * from. What earlier runs teach is in learned-estimate.ts.
 */
import { AppError } from '../base/errors.ts'
import { addMicros, type Micros, timesMicros, ZERO } from '../base/money.ts'
import type { Range } from './range.ts'

/** Places of one Amazon best-seller list: two pages of 50. */
export const PRODUCTS_PER_CATEGORY = 100
/** The fewest products one list is assumed to name: those of narrow categories are not full. Of several, few are so short. */
export const PRODUCTS_LEAST = 30

/**
 * Products that stand in several categories are searched once. Assumed, in per cent of all places, and only where there is
 * more than one category: 10 at best, 5 likely, none at worst.
 */
const DOUBLES_PERCENT = { low: 10, likely: 5, high: 0 } as const
/** Of the products that have a further rung, so many are assumed to need it, per cent: none, 40, all. */
const NEXT_RUNG_PERCENT = { low: 0, likely: 40, high: 100 } as const
/** Charged calls that bring nothing and are made again (blocked pages, time-outs), per cent of calls: none, 2, 10. */
const RETRY_PERCENT = { low: 0, likely: 2, high: 10 } as const
/** How long a call takes from sending to booked, ms. Scraped pages take longer than APIs; these span both. */
const CALL_MS = { low: 400, likely: 1500, high: 6000 } as const

const BOUNDS = ['low', 'likely', 'high'] as const
type Bound = (typeof BOUNDS)[number]

export type EstimateInput = Readonly<{
  source:
    | Readonly<{
        kind: 'categories'
        count: number
        /** Default 100. */
        productsPerCategory?: number
        /** The worst-case price of each step one category takes, in order; null where a price is not configured. */
        stepPrices: readonly (Micros | null)[]
      }>
    /** A product list costs nothing to read. Rows are distinct products. */
    | Readonly<{ kind: 'list'; rows: number }>
  search: Readonly<{
    /** Worst-case price of one search; null when not configured. */
    price: Micros | null
    /** The most searches one product can take: the rungs of the ladder, 1 to 3. */
    rungs: number
  }>
  pace: Readonly<{
    /** Calls in flight at a time, over the whole fleet. */
    concurrency: number
    /** Calls a second the provider account allows; null when it names no limit. */
    ratePerSecond: number | null
    /** Searches a day the provider account allows (eBay: 5,000); null when it names no limit. */
    searchesPerDay: number | null
    /** What of that is left now, and when the next day's begins; a whole day when left out. */
    today?: Readonly<{ searchesLeft: number; secondsToReset: number }> | null
  }>
}>

/** Where a figure comes from. Prices are always those of the price list as it stands. */
export type Source =
  | Readonly<{ kind: 'price_list' }>
  /** `newest` is when the newest of those runs ended, ISO 8601; `products` those they searched. */
  | Readonly<{ kind: 'earlier_runs'; runs: number; products: number; newest: string }>
  /** The first products of this very run. */
  | Readonly<{ kind: 'sample'; products: number }>

export type Estimate = Readonly<{
  /** Distinct products to search. */
  products: Range<number>
  /** Calls to providers in both phases. */
  calls: Range<number>
  cost: Range<Micros>
  /** From start to completed, the waiting for a new day's quota included. */
  durationSeconds: Range<number>
  /** Sellers the organisation does not have yet; null = unknown: nothing was ever collected. */
  newSellers: Range<number> | null
  sources: Readonly<{
    products: Source
    calls: Source
    cost: Source
    durationSeconds: Source
    newSellers: Source | null
  }>
  /** One for each category, as if it were collected alone; empty for a product list. */
  categories: readonly CategoryEstimate[]
}>

export type CategoryEstimate = Readonly<{
  key: string
  name: string
  products: Range<number>
  cost: Range<Micros>
  newSellers: Range<number> | null
  /** ISO 8601; null = never collected. */
  lastCollectedAt: string | null
  /** New sellers for 100 products in its last run; null = never collected. */
  lastYield: number | null
  source: Source
}>

export const PRICE_LIST: Source = { kind: 'price_list' }

/**
 * The estimate for a collection. Low: every product answered by its first rung, nothing asked twice. High: every rung of
 * every product, with retries. low <= likely <= high holds for each figure, and none falls when more is to be collected.
 * It is no bound: the cap is. Throws AppError `provider.no_price` when a price it needs is not configured, a RangeError
 * for numbers that are no counts.
 */
export function estimate(input: EstimateInput): Estimate {
  checkCounts(input)
  const stepPrices = input.source.kind === 'categories' ? input.source.stepPrices.map(priced('list')) : []
  const searchPrice = priced('search')(input.search.price)
  const categories = input.source.kind === 'categories' ? input.source.count : 0
  const perCategory = stepPrices.reduce<Micros>((sum, price) => addMicros(sum, price), ZERO)

  const at = (bound: Bound) => {
    const products = productCount(input, bound)
    // Retries of list pages are counted as whole categories: whatever step is repeated, none costs more than all.
    const lists = withRetries(categories, bound)
    const searches = withRetries(rungCount(products, input.search.rungs, bound), bound)
    return {
      products,
      calls: lists * stepPrices.length + searches,
      cost: addMicros(timesMicros(perCategory, lists), timesMicros(searchPrice, searches)),
      durationSeconds: seconds(lists * stepPrices.length, searches, input.pace, bound),
    }
  }
  const all = { low: at('low'), likely: at('likely'), high: at('high') }
  const range = <K extends keyof typeof all.low>(key: K): Range<(typeof all.low)[K]> => ({
    low: all.low[key],
    likely: all.likely[key],
    high: all.high[key],
  })
  return {
    products: range('products'),
    calls: range('calls'),
    cost: range('cost'),
    durationSeconds: range('durationSeconds'),
    newSellers: null,
    sources: {
      products: PRICE_LIST,
      calls: PRICE_LIST,
      cost: PRICE_LIST,
      durationSeconds: PRICE_LIST,
      newSellers: null,
    },
    categories: [],
  }
}

/**
 * About how many products a cap covers, going by the likely cost of one; at most as many as there are. All of them when
 * the collection is free. A cap below the cost of a product's first page may still cover none.
 */
export function collectable(cap: Micros, { cost, products }: Pick<Estimate, 'cost' | 'products'>): number {
  if (cap <= 0) return cost.likely === 0 ? products.likely : 0
  if (cap >= cost.likely) return products.likely
  return Number((BigInt(products.likely) * BigInt(cap)) / BigInt(cost.likely))
}

function priced(what: 'list' | 'search') {
  return (price: Micros | null): Micros => {
    if (price !== null) return price
    const name = what === 'list' ? 'best-seller lists' : 'searches'
    throw new AppError('provider.no_price', `The provider for ${name} has no price configured.`, {
      hint: 'A call without a known price is never made. Set the price (0 when it is free).',
    })
  }
}

function productCount({ source }: EstimateInput, bound: Bound): number {
  if (source.kind === 'list') return source.rows
  const full = source.productsPerCategory ?? PRODUCTS_PER_CATEGORY
  const lacking = bound === 'low' ? Math.ceil(Math.max(0, full - PRODUCTS_LEAST) * Math.sqrt(source.count)) : 0
  const places = source.count * full - lacking
  if (source.count <= 1) return places
  return places - Math.floor((places * DOUBLES_PERCENT[bound]) / 100)
}

/** Searches without retries: one each, and the share assumed to need it for every further rung. */
function rungCount(products: number, rungs: number, bound: Bound): number {
  return products + Math.ceil((products * (rungs - 1) * NEXT_RUNG_PERCENT[bound]) / 100)
}

/** Rounded for the likely figure (one list is not likely to be fetched twice), up for the high one. */
function withRetries(calls: number, bound: Bound): number {
  const round = bound === 'high' ? Math.ceil : Math.round
  return calls + round((calls * RETRY_PERCENT[bound]) / 100)
}

function seconds(listCalls: number, searches: number, pace: EstimateInput['pace'], bound: Bound): number {
  const perSecond = Math.min((pace.concurrency * 1000) / CALL_MS[bound], pace.ratePerSecond ?? Number.POSITIVE_INFINITY)
  return secondsAt(perSecond, listCalls, searches, pace)
}

/**
 * How long that many calls take at `perSecond`. Both phases overlap, so the calls of both share the pace. Used-up days are
 * waited for: what is left of today's searches goes at once, every further day's start with its quota.
 */
export function secondsAt(
  perSecond: number,
  listCalls: number,
  searches: number,
  { searchesPerDay, today }: Pick<EstimateInput['pace'], 'searchesPerDay' | 'today'>,
): number {
  const active = Math.ceil((listCalls + searches) / perSecond)
  if (searchesPerDay === null) return active
  const left = today ? Math.max(0, today.searchesLeft) : searchesPerDay
  if (searches <= left) return active
  const days = Math.ceil((searches - left) / searchesPerDay)
  const lastDay = Math.ceil((searches - left - (days - 1) * searchesPerDay) / perSecond)
  return Math.max(active, (today?.secondsToReset ?? 86_400) + (days - 1) * 86_400 + lastDay)
}

function checkCounts({ source, search, pace }: EstimateInput): void {
  const counts =
    source.kind === 'list' ? [source.rows] : [source.count, source.productsPerCategory ?? PRODUCTS_PER_CATEGORY]
  if (!counts.every((count) => Number.isSafeInteger(count) && count >= 0)) {
    throw new RangeError(`not a number of products or categories: ${counts.join(', ')}`)
  }
  if (!Number.isSafeInteger(search.rungs) || search.rungs < 1)
    throw new RangeError(`not a ladder: ${search.rungs} rungs`)
  const limits = [pace.concurrency, pace.ratePerSecond ?? 1, pace.searchesPerDay ?? 1]
  if (!limits.every((limit) => limit > 0)) throw new RangeError(`not a pace: ${limits.join(', ')}`)
}
