/**
 * The estimate of an organisation that has collected before: what its last runs took and brought, at today's prices.
 * Every figure is a range that contains what was seen; the fewer runs, the wider. Pure.
 */
import { AppError } from '../base/errors.ts'
import { addMicros, type Micros, toMicros, ZERO } from '../base/money.ts'
import {
  type CategoryEstimate,
  type Estimate,
  type EstimateInput,
  estimate as fromPriceList,
  PRICE_LIST,
  PRODUCTS_PER_CATEGORY,
  type Source,
  secondsAt,
} from './estimate.ts'
import type { CategoryFigures, RunFigures } from './figures.ts'
import {
  type Factors,
  learnDoubles,
  learnFactors,
  learnListed,
  learnNewSellers,
  learnQueries,
  newAfterSample,
  yieldOf,
} from './learn.ts'
import { exactly, type Range, sumRanges, timesRange, wholeRange, within } from './range.ts'

export type WantedCategory = Readonly<{ key: string; name: string }>

/** What is known: figures of the last runs, and of the last runs of the wanted categories, newest first. */
export type History = Readonly<{
  runs: readonly RunFigures[]
  categories: readonly CategoryFigures[]
  /** Of wanted categories that were collected before: products named, and those no wanted one before it names. */
  own: ReadonlyMap<string, Readonly<{ listed: number; own: number }>>
  /** The runs are the sample of the run that is estimated: its products are drawn from those that are to come. */
  sample?: boolean
}>

/**
 * Most lists are full and a few are short, so that the mean lies near the top, and all being full is common: with three
 * tenths shared 5 of 18 counts lay outside (bench/estimate-calibration.ts, six worlds).
 */
const LISTS_SHARED = 0.7

type Part = Readonly<{
  wanted: WantedCategory
  /** Products its list will name, and those of them no other wanted category names before. */
  listed: Range<number>
  own: Range<number>
  /** Queries for one product. */
  queries: Range<number>
  newSellers: Range<number> | null
  figures: readonly CategoryFigures[]
}>

/**
 * The estimate for `wanted`, or for a product list when it is null, from `history`; from the price list alone when that is
 * empty. low <= likely <= high for every figure; likely and high never fall when a category is added at the end.
 * Throws as `estimate` does.
 */
export function learnedEstimate(
  input: EstimateInput,
  wanted: readonly WantedCategory[] | null,
  history: History,
): Estimate {
  if (history.runs.length === 0) return withCategories(input, wanted)
  const factors = learnFactors(history.runs, stepsOf(input).length)
  const parts = wanted?.map((one, index) => partOf(one, index, history)) ?? null
  const products = parts
    ? sumRanges(
        parts.map((part) => part.own),
        LISTS_SHARED,
      )
    : exactly(rowsOf(input))
  const queries = parts
    ? sumRanges(parts.map((part) => timesRange(part.own, part.queries)))
    : timesRange(products, learnQueries(null, rowsOf(input), history.categories, history.sample ?? false))
  const searches = wholeRange(timesRange(queries, factors.calls))
  const lists = parts?.length ?? 0
  const listCalls = wholeRange(timesRange(exactly(lists * stepsOf(input).length), factors.listCalls))
  const cost = costOf(input, lists, queries, factors)
  const newSellers = history.sample
    ? newAfterSample(history.categories, Math.round(products.likely))
    : parts
      ? sumOrNull(parts.map((part) => part.newSellers))
      : learnNewSellers(null, products, history.categories)
  const learned = sourceOf(history, parts)
  return {
    products: wholeRange(products),
    calls: addRanges(searches, listCalls),
    cost,
    durationSeconds: durationOf(input, listCalls, searches, factors),
    newSellers: newSellers && wholeRange(newSellers),
    sources: {
      products: parts && history.own.size === 0 && !history.runs.some((run) => run.lists > 0) ? PRICE_LIST : learned,
      calls: learned,
      cost: learned,
      durationSeconds: learned,
      newSellers: newSellers && learned,
    },
    categories: parts?.map((part) => categoryOf(part, input, factors, learned)) ?? [],
  }
}

/** The estimate from prices alone, with a part for each category. */
function withCategories(input: EstimateInput, wanted: readonly WantedCategory[] | null): Estimate {
  const whole = fromPriceList(input)
  if (!wanted || input.source.kind !== 'categories') return whole
  const one = fromPriceList({ ...input, source: { ...input.source, count: 1 } })
  const categories = wanted.map(
    ({ key, name }): CategoryEstimate => ({
      key,
      name,
      products: one.products,
      cost: one.cost,
      newSellers: null,
      lastCollectedAt: null,
      lastYield: null,
      source: PRICE_LIST,
    }),
  )
  return { ...whole, categories }
}

function partOf(wanted: WantedCategory, index: number, history: History): Part {
  const figures = history.categories.filter((one) => one.key === wanted.key)
  const known = history.own.get(wanted.key)
  const listed = learnListed(wanted.key, known?.listed ?? null, history.categories)
  // The first category has nobody to share products with.
  const kept = index === 0 ? exactly(1) : learnDoubles(known ?? null, history.runs)
  const own = within(timesRange(listed, kept), 0, listed.high)
  return {
    wanted,
    listed,
    own,
    queries: learnQueries(wanted.key, Math.round(listed.likely), history.categories, history.sample ?? false),
    newSellers: history.sample ? null : learnNewSellers(wanted.key, own, history.categories),
    figures,
  }
}

function rowsOf({ source }: EstimateInput): number {
  return source.kind === 'list' ? source.rows : source.count * (source.productsPerCategory ?? PRODUCTS_PER_CATEGORY)
}

function stepsOf({ source }: EstimateInput): readonly Micros[] {
  if (source.kind === 'list') return []
  return source.stepPrices.map((price) => price ?? noPrice())
}

function noPrice(): never {
  throw new AppError('provider.no_price', 'A provider has no price configured for what this run needs.', {
    hint: 'A call without a known price is never made. Set the price (0 when it is free).',
  })
}

/** Today's prices for what the lists and the queries will take. */
function costOf(input: EstimateInput, lists: number, queries: Range<number>, factors: Factors): Range<Micros> {
  const search = input.search.price ?? noPrice()
  const perList = stepsOf(input).reduce<Micros>((sum, price) => addMicros(sum, price), ZERO)
  const charged = timesRange(queries, factors.charges)
  const listed = timesRange(exactly(lists), factors.listCharges)
  const at = (bound: keyof Range<number>) => charged[bound] * search + listed[bound] * perList
  const whole = wholeRange({ low: at('low'), likely: at('likely'), high: at('high') })
  return { low: toMicros(whole.low), likely: toMicros(whole.likely), high: toMicros(whole.high) }
}

/** Where nothing is known of how long the lists and the start take, s. */
const START_SECONDS = 2

/** From achieved rates at worst to every slot busy at best; never faster than the account allows. */
function durationOf(
  { pace }: EstimateInput,
  listCalls: Range<number>,
  searches: Range<number>,
  factors: Factors,
): Range<number> {
  const most = Math.min((pace.concurrency * 1000) / factors.searchMs, pace.ratePerSecond ?? Number.POSITIVE_INFINITY)
  const rate = factors.rateFor(listCalls.likely + searches.likely, most)
  const start = Math.ceil(START_SECONDS + (2 * factors.listMs) / 1000)
  const low = secondsAt(rate.high, listCalls.low, searches.low, pace)
  const likely = Math.max(low, secondsAt(rate.likely, listCalls.likely, searches.likely, pace))
  return { low, likely, high: Math.max(likely, secondsAt(rate.low, listCalls.high, searches.high, pace) + start) }
}

function categoryOf(part: Part, input: EstimateInput, factors: Factors, learned: Source): CategoryEstimate {
  const { wanted, figures, listed } = part
  const last = figures[0]
  return {
    key: wanted.key,
    name: wanted.name,
    products: wholeRange(listed),
    cost: costOf(input, 1, timesRange(listed, part.queries), factors),
    newSellers: part.newSellers && wholeRange(part.newSellers),
    lastCollectedAt: last ? last.asOf.toISOString() : null,
    lastYield: last ? Math.round(yieldOf(last) * 100) : null,
    source: last ? earlier(new Set(figures.map((one) => one.runId)).size, figures) : learned,
  }
}

function earlier(runs: number, figures: readonly CategoryFigures[]): Source {
  const newest = Math.max(...figures.map((one) => one.asOf.getTime()))
  const products = figures.reduce((sum, one) => sum + one.own, 0)
  return { kind: 'earlier_runs', runs, products, newest: new Date(newest).toISOString() }
}

function sourceOf(history: History, parts: readonly Part[] | null): Source {
  const products = history.runs.reduce((sum, run) => sum + run.searched, 0)
  if (history.sample) return { kind: 'sample', products }
  // When every category was collected before, it is their own runs that speak.
  const own = parts?.every((part) => part.figures.length > 0) ? parts.flatMap((part) => part.figures) : null
  if (own && own.length > 0) return earlier(new Set(own.map((one) => one.runId)).size, own)
  const newest = Math.max(...history.runs.map((run) => run.asOf.getTime()))
  return { kind: 'earlier_runs', runs: history.runs.length, products, newest: new Date(newest).toISOString() }
}

/** Bound by bound: what makes sellers known makes them known in every category at once. */
function sumOrNull(ranges: readonly (Range<number> | null)[]): Range<number> | null {
  const known = ranges.filter((range) => range !== null)
  return known.length === ranges.length ? known.reduce(addRanges, exactly(0)) : null
}

function addRanges(a: Range<number>, b: Range<number>): Range<number> {
  return { low: a.low + b.low, likely: a.likely + b.likely, high: a.high + b.high }
}
