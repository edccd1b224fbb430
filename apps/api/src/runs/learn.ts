/**
 * What figures of earlier runs teach, each as a range. The rule everywhere: the range contains what was seen (of ten and
 * more observations the 10th to the 90th percentile) and is widened by a share that falls with their number. Pure.
 */
import { PRODUCTS_LEAST, PRODUCTS_PER_CATEGORY } from './estimate.ts'
import type { CategoryFigures, RunFigures } from './figures.ts'
import { around, type Range, span, timesRange, within } from './range.ts'

/** How far a single observation is widened, of its value; n of them by this over the root of n. Assumptions. */
const WIDEN = { queries: 0.3, calls: 0.05, listed: 0.1, doubles: 0.5, rate: 0.5, newSellers: 0.5 } as const
/** One category from run to run: its best sellers change. Assumed until it was collected twice, of the value. */
const DRIFT = 0.1
/** Two-sided 90 % of a normal distribution. */
const Z = 1.64
/** Rungs of the query ladder at most (matching/query-ladder.ts). */
const RUNGS = 3
/** Of products in further categories, assumed while no run had several: none, 5, 10 per cent are double. */
const KEPT_ASSUMED: Range<number> = { low: 0.9, likely: 0.95, high: 1 }
/** Where no answered search told how long one takes, ms (runs/estimate.ts, likely). */
const CALL_MS = 1_500
export type Factors = Readonly<{
  /** Charged or suspect searches for one query: above 1 by what was asked again. */
  calls: Range<number>
  /** The same in prices of one search: below `calls` where less than the list price was charged. */
  charges: Range<number>
  /** List calls, and charges in list prices, for one list whose steps are all asked once and charged in full. */
  listCalls: Range<number>
  listCharges: Range<number>
  searchMs: number
  listMs: number
  /** Calls a second that a run of `calls` calls will reach, when `most` is what all slots together allow. */
  rateFor: (calls: number, most: number) => Range<number>
}>

/** What of the runs as a whole carries over. `runs` is not empty; `steps` are those a list takes now. */
export function learnFactors(runs: readonly RunFigures[], steps: number): Factors {
  const searched = runs.filter((run) => run.queries > 0)
  const calls = factor(searched.map((run) => [run.searchCalls, run.queries]))
  const paid = (charge: number, hold: number, count: number) => (hold > 0 ? (charge / hold) * count : count)
  const charges = factor(
    searched.map((run) => [paid(run.searchChargeMicros, run.searchHoldMicros, run.searchCalls), run.queries]),
  )
  // Of a list the price of all steps is known, and what the calls for it were held and charged at.
  const listed = steps === 0 ? [] : runs.filter((run) => run.lists > 0 && run.listCalls > 0)
  const listCalls = factor(listed.map((run) => [run.listCalls, run.lists * steps]))
  const listCharges = factor(
    listed.map((run) => [paid(run.listChargeMicros, run.listHoldMicros, run.listCalls), run.lists * steps]),
  )
  return {
    calls,
    charges,
    listCalls,
    listCharges,
    searchMs: mean(runs.map((run) => run.searchMs)) ?? CALL_MS,
    listMs: mean(runs.map((run) => run.listMs)) ?? CALL_MS,
    rateFor: (planned, most) => rateFor(runs, planned, most),
  }
}

/**
 * The ratio of the sums, between its extremes over the runs, widened. 1 where there is nothing to learn from. What always
 * took a whole call is not expected to take less.
 */
function factor(pairs: readonly (readonly [part: number, whole: number])[]): Range<number> {
  if (pairs.length === 0) return { low: 1, likely: 1, high: 1 + WIDEN.calls * 2 }
  const likely = sum(pairs.map(([part]) => part)) / sum(pairs.map(([, whole]) => whole))
  const { low, high } = span(pairs.map(([part, whole]) => part / whole))
  const more = WIDEN.calls / Math.sqrt(pairs.length)
  return around(likely, Math.max(Math.min(1, low), low * (1 - more)), high * (1 + more))
}

function rateFor(runs: readonly RunFigures[], planned: number, most: number): Range<number> {
  const seen = runs
    .map((run) => ({ calls: run.searchCalls + run.listCalls, ms: run.activeMs }))
    .filter(({ calls, ms }) => calls > 0 && ms > 0)
    .map(({ calls, ms }) => ({ calls, rate: (calls * 1000) / ms }))
  if (seen.length === 0) return { low: most / 4, likely: most / 2, high: most }
  const distance = (calls: number) => Math.abs(Math.log(calls / Math.max(1, planned)))
  const nearest = seen.toSorted((a, b) => distance(a.calls) - distance(b.calls))[0] ?? { calls: 1, rate: most }
  const { low, high } = span(seen.map(({ rate }) => rate))
  const more = WIDEN.rate / Math.sqrt(seen.length)
  // A small run spends its time starting up: a run four times its size goes faster, at most as fast as its slots allow.
  const grown = planned >= 4 * nearest.calls && most > nearest.rate
  const likely = Math.min(most, grown ? Math.sqrt(nearest.rate * most) : nearest.rate)
  return around(likely, Math.min(low, likely) * (1 - more), Math.max(most, Math.min(high * (1 + more), most)))
}

/** How many products a category's list names. `known` is what its last list named. */
export function learnListed(key: string, known: number | null, categories: readonly CategoryFigures[]): Range<number> {
  const complete = categories.filter((one) => one.key !== null && one.complete)
  const same = complete.filter((one) => one.key === key)
  const seen = (same.length > 0 ? same : complete).map((one) => one.listed)
  const likely = known ?? same[0]?.listed ?? mean(seen) ?? PRODUCTS_PER_CATEGORY
  if (seen.length === 0) return around(likely, PRODUCTS_LEAST, PRODUCTS_PER_CATEGORY)
  const { low, high } = span(seen)
  const root = Math.sqrt(seen.length)
  const most = Math.max(PRODUCTS_PER_CATEGORY, high)
  if (same.length > 0) {
    const more = WIDEN.listed / root
    return around(likely, low * (1 - more), Math.min(high * (1 + more), most))
  }
  // Between the shortest and the longest list there may be, the nearer to what was seen the more was seen.
  return around(likely, low - Math.max(0, low - PRODUCTS_LEAST) / root, high + (most - high) / root)
}

/** The share of a further category's products that no category before it has: 1 less the doubles. */
export function learnDoubles(
  known: Readonly<{ listed: number; own: number }> | null,
  runs: readonly RunFigures[],
): Range<number> {
  if (known && known.listed > 0) return aroundKept(known.own / known.listed, 1)
  const several = runs.filter((run) => run.lists > 1 && run.places > 0)
  if (several.length === 0) return KEPT_ASSUMED
  // A run's doubles all lie in its further categories.
  const kept = several.map((run) => {
    const further = (run.places * (run.lists - 1)) / run.lists
    return 1 - Math.min(1, Math.max(0, run.places - run.products) / further)
  })
  const { low, high } = span(kept)
  const likely = mean(kept) ?? 1
  const wide = aroundKept(likely, several.length)
  // While little was seen these may have nothing in common.
  const strangers = 1 - (1 - likely) * (1 - 1 / Math.sqrt(several.length))
  return around(likely, Math.min(low, wide.low), Math.max(high, strangers))
}

function aroundKept(kept: number, count: number): Range<number> {
  const doubles = 1 - kept
  const more = WIDEN.doubles / Math.sqrt(count)
  return within(around(kept, 1 - doubles * (1 + more) - 0.01, 1 - doubles * (1 - more)), 0, 1)
}

/**
 * Queries for one product of this category (`key` null: of a product list), when `products` of them are searched. Its own
 * runs when it was collected before, else what other categories took.
 */
export function learnQueries(
  key: string | null,
  products: number,
  categories: readonly CategoryFigures[],
  sample: boolean,
): Range<number> {
  const free = categories.filter((one) => !one.capped)
  const usable = free.length > 0 ? free : categories
  const same = usable.filter((one) => one.key === key)
  const learned = sample
    ? drawn(usable, products)
    : same.length === 0
      ? pooled(usable, products)
      : // Two product lists are not the same list.
        key === null
        ? pooled(same, products)
        : again(same, products)
  // With every run at its cap nobody knows how often the next query is needed.
  const top = free.length > 0 ? learned.high : RUNGS
  // Every product that has something to search for is asked once at least.
  return within(around(learned.likely, learned.low, Math.max(learned.high, top)), ladderOf(usable).asked, RUNGS)
}

/** Queries for one product: mean, variance, over how many products, and the share of products that are asked at all. */
type Ladder = Readonly<{ mean: number; variance: number; count: number; asked: number }>

/** The ladder of one category in one run. Its rates hold also while the run goes on and its second queries still wait. */
export function ladderOf(
  figures: readonly Pick<CategoryFigures, 'decided1' | 'climbed1' | 'decided2' | 'climbed2' | 'skipped'>[],
): Ladder {
  const count = sum(figures.map((one) => one.decided1))
  const climbed1 = sum(figures.map((one) => one.climbed1))
  const decided2 = sum(figures.map((one) => one.decided2))
  const climbed2 = sum(figures.map((one) => one.climbed2))
  const skipped = sum(figures.map((one) => one.skipped))
  const asked = count + skipped === 0 ? 1 : count / (count + skipped)
  const to2 = count === 0 ? 0 : climbed1 / count
  const to3 = decided2 === 0 ? 0 : climbed2 / decided2
  // Half a product is added to each side: of ten products that all stopped at the first query some of the next will not.
  const soft2 = (climbed1 + 0.5) / (count + 1)
  const soft3 = (climbed2 + 0.5) / (decided2 + 1)
  const second = soft2 * (1 + soft3)
  const square = 1 - soft2 + 4 * soft2 * (1 - soft3) + 9 * soft2 * soft3
  return { mean: asked * (1 + to2 * (1 + to3)), variance: square - (1 + second) ** 2, count, asked }
}

/** The same category again. */
function again(same: readonly CategoryFigures[], products: number): Range<number> {
  const ladders = same.map((one) => ladderOf([one]))
  const last = ladders[0] ?? ladderOf(same)
  const means = ladders.map((one) => one.mean)
  const drift = Math.max(means.length > 1 ? deviation(means) : 0, (DRIFT * last.mean) / Math.sqrt(means.length))
  const half =
    Z * Math.sqrt(last.variance / Math.max(1, last.count) + last.variance / Math.max(1, products) + drift ** 2)
  const { low, high } = span(means)
  return around(last.mean, Math.min(low, last.mean - half), Math.max(high, last.mean + half))
}

/** A category, or a list, that was never collected: between what the others took. */
function pooled(others: readonly CategoryFigures[], products: number): Range<number> {
  if (others.length === 0) return { low: 1, likely: 1.5, high: RUNGS }
  const all = ladderOf(others)
  const newest = [...new Map(others.toReversed().map((one) => [one.key ?? one.runId, one])).values()]
  const means = newest.map((one) => ladderOf([one]).mean)
  const { low, high } = span(means)
  const more = WIDEN.queries / Math.sqrt(means.length)
  const noise = Z * Math.sqrt(all.variance / Math.max(1, all.count) + all.variance / Math.max(1, products))
  return around(all.mean, Math.min(low * (1 - more), all.mean - noise), Math.max(high * (1 + more), all.mean + noise))
}

/** A sample drawn from the very products that are to come: only chance stands between the two. */
function drawn(sample: readonly CategoryFigures[], products: number): Range<number> {
  if (sample.length === 0) return { low: 1, likely: 1.5, high: RUNGS }
  const all = ladderOf(sample)
  const half = Z * Math.sqrt(all.variance / Math.max(1, all.count) + all.variance / Math.max(1, products))
  return around(all.mean, all.mean - half, all.mean + half)
}

/**
 * New sellers that `own` products of this category will bring. Of a category that was collected before never more than
 * its last run brought: most of its sellers are known by now. Null when nothing comparable was collected.
 */
export function learnNewSellers(
  key: string | null,
  own: Range<number>,
  categories: readonly CategoryFigures[],
): Range<number> | null {
  const last = key === null ? undefined : categories.find((one) => one.key === key && one.complete)
  if (last) return newOfRepeat(last, categories)
  const first = categories.filter((one) => (key === null ? one.key === null : one.key !== null && !one.repeat))
  if (first.length === 0) return null
  const yields = first.map(yieldOf)
  const { low, high } = span(yields)
  const root = Math.sqrt(yields.length)
  // The list grows: the newest of them say most, and the next may bring nobody at all while little is known.
  const each = around(mean(yields.slice(0, 3)) ?? 0, low * (1 - 1 / root), high * (1 + WIDEN.newSellers / root))
  return timesRange(own, each)
}

/** New sellers for a product that was searched. */
export function yieldOf({ newSellers, decided1, skipped }: CategoryFigures): number {
  return newSellers / Math.max(1, decided1 + skipped)
}

/**
 * What a whole run of `products` will bring when its sample brought this. At least what the sample brought, at most as
 * many for every product; in between because products share their sellers.
 */
export function newAfterSample(sample: readonly CategoryFigures[], products: number): Range<number> {
  const brought = sum(sample.map((one) => one.newSellers))
  const searched = sum(sample.map((one) => one.decided1 + one.skipped))
  const high = Math.max(brought, (brought / Math.max(1, searched)) * products)
  return around(Math.sqrt(brought * high), brought, high * (1 + WIDEN.newSellers))
}

/** The middle of what is possible, until a category was collected twice. */
const REPEAT_ASSUMED = 0.5

function newOfRepeat(last: CategoryFigures, categories: readonly CategoryFigures[]): Range<number> {
  const pairs = pairsOf(categories)
  const before = sum(pairs.map(([earlier]) => earlier))
  const share = before > 0 ? Math.min(1, sum(pairs.map(([, later]) => later)) / before) : REPEAT_ASSUMED
  // A run that was cut short found only a part.
  const high = yieldOf(last) * last.own
  return { low: 0, likely: high * share, high }
}

/** New sellers of one run of a category and of the next, for all categories that were collected at least twice. */
function pairsOf(categories: readonly CategoryFigures[]): (readonly [earlier: number, later: number])[] {
  const pairs: (readonly [number, number])[] = []
  const later = new Map<string, CategoryFigures>()
  for (const one of categories) {
    if (one.key === null) continue
    const next = later.get(one.key)
    if (next && next.runId !== one.runId) pairs.push([one.newSellers, next.newSellers])
    later.set(one.key, one)
  }
  return pairs
}

function sum(values: readonly number[]): number {
  return values.reduce((all, value) => all + value, 0)
}

function mean(values: readonly (number | null)[]): number | null {
  const known = values.filter((value) => value !== null)
  return known.length === 0 ? null : sum(known) / known.length
}

/** Of a sample; `values` are at least two. */
function deviation(values: readonly number[]): number {
  const middle = mean(values) ?? 0
  return Math.sqrt(sum(values.map((value) => (value - middle) ** 2)) / (values.length - 1))
}
