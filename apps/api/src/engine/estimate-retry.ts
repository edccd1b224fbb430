/** What a retry would cost: from the price lists of its accounts, for its products and lists only. */
import { addMicros, type Micros } from '../base/money.ts'
import { listAdapter, searchAdapter } from '../providers/registry.ts'
import type { ListStep } from '../providers/types.ts'
import { type Estimate, type EstimateInput, estimate, PRODUCTS_PER_CATEGORY } from '../runs/estimate.ts'
import type { Range } from '../runs/range.ts'
import type { RetryCategory, RetryProduct } from '../runs/retries.ts'
import type { ChosenAccounts } from './accounts.ts'
import { priced, RUNGS } from './estimate-run.ts'

/**
 * The estimate of a retry: each product for the rungs its ladder has left, each list for the steps it has left. Throws
 * AppError `provider.no_price` when a price it needs is not configured.
 */
export function estimateRetry(
  work: Readonly<{ products: readonly RetryProduct[]; categories: readonly RetryCategory[] }>,
  accounts: ChosenAccounts,
): Estimate {
  const { list, search } = accounts
  const searchPrice = searchAdapter(priced(search)).worstCase()
  const pace: EstimateInput['pace'] = {
    concurrency: search.maxInFlight,
    ratePerSecond: search.maxPerSecond,
    searchesPerDay: search.callsPerDay,
  }
  const parts = [...byRungsLeft(work.products)].map(([rungs, rows]) =>
    estimate({ source: { kind: 'list', rows }, search: { price: searchPrice, rungs }, pace }),
  )
  const adapter = list && work.categories.length > 0 ? listAdapter(priced(list)) : null
  for (const { step } of work.categories) {
    const stepPrices = adapter ? stepsLeft(step).map((left) => adapter.worstCase(left)) : []
    const source = { kind: 'categories' as const, count: 1, productsPerCategory: productsLeft(step), stepPrices }
    parts.push(estimate({ source, search: { price: searchPrice, rungs: RUNGS }, pace }))
  }
  return parts.reduce(add)
}

function byRungsLeft(products: readonly RetryProduct[]): Map<number, number> {
  const counts = new Map<number, number>()
  for (const { rung, rungs } of products) {
    const left = Math.max(1, rungs - rung + 1)
    counts.set(left, (counts.get(left) ?? 0) + 1)
  }
  return counts
}

const PAGES = 2

function stepsLeft(step: ListStep): ListStep[] {
  if (step.kind === 'page') {
    return Array.from({ length: Math.max(1, PAGES - step.page + 1) }, (_, at) => ({
      kind: 'page',
      page: step.page + at,
    }))
  }
  if (step.kind === 'details') return [step]
  const asins = Array.from({ length: PRODUCTS_PER_CATEGORY }, () => '')
  return [step, { kind: 'details', asins, rest: [], firstRank: 1 }]
}

function productsLeft(step: ListStep): number {
  if (step.kind === 'page') return Math.ceil((PRODUCTS_PER_CATEGORY * stepsLeft(step).length) / PAGES)
  return step.kind === 'details' ? step.asins.length + step.rest.length : PRODUCTS_PER_CATEGORY
}

function add(a: Estimate, b: Estimate): Estimate {
  const sum = (one: Range<number>, other: Range<number>): Range<number> => ({
    low: one.low + other.low,
    likely: one.likely + other.likely,
    high: one.high + other.high,
  })
  const money = (one: Range<Micros>, other: Range<Micros>): Range<Micros> => ({
    low: addMicros(one.low, other.low),
    likely: addMicros(one.likely, other.likely),
    high: addMicros(one.high, other.high),
  })
  return {
    products: sum(a.products, b.products),
    calls: sum(a.calls, b.calls),
    cost: money(a.cost, b.cost),
    durationSeconds: sum(a.durationSeconds, b.durationSeconds),
    newSellers: null,
    sources: a.sources,
    categories: [],
  }
}
