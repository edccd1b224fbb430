/** What a run would cost at the chosen accounts, before it is created. */
import type { Micros } from '../base/money.ts'
import { listAdapter, searchAdapter } from '../providers/registry.ts'
import type { ListStep } from '../providers/types.ts'
import { type Estimate, estimate } from '../runs/estimate.ts'
import { type Account, type ChosenAccounts, withCredentials } from './accounts.ts'

/** What a run collects from: that many categories, or a list of that many products. */
export type Amount = Readonly<{ categories: number }> | Readonly<{ products: number }>

/** Rungs of the query ladder at most (matching/query-ladder.ts). */
const RUNGS = 3
/** eBay's free allowance (providers: Browse, all methods but getItems); the sandbox has none worth naming. */
const EBAY_SEARCHES_PER_DAY = 5_000

/**
 * The estimate from the price lists of the chosen accounts. Throws AppError `provider.no_price` when a price it needs is
 * not configured.
 */
export function estimateRun(amount: Amount, accounts: ChosenAccounts): Estimate {
  const { list, search } = accounts
  return estimate({
    source:
      'categories' in amount
        ? { kind: 'categories', count: amount.categories, stepPrices: list ? stepPrices(list) : [] }
        : { kind: 'list', rows: amount.products },
    search: { price: searchAdapter(priced(search)).worstCase(), rungs: RUNGS },
    pace: {
      concurrency: search.maxInFlight,
      ratePerSecond: search.maxPerSecond,
      searchesPerDay: search.adapter === 'ebay_browse' && !search.sandbox ? EBAY_SEARCHES_PER_DAY : null,
    },
  })
}

/** Worst-case prices of the steps one category of 100 products takes. */
function stepPrices(account: Account): (Micros | null)[] {
  const adapter = listAdapter(priced(account))
  const asins = Array.from({ length: 100 }, () => '')
  const steps: ListStep[] =
    account.adapter === 'keepa'
      ? [{ kind: 'asins' }, { kind: 'details', asins, rest: [], firstRank: 1 }]
      : [
          { kind: 'page', page: 1 },
          { kind: 'page', page: 2 },
        ]
  return steps.map((step) => adapter.worstCase(step))
}

/** Prices need no credentials. */
function priced(account: Account) {
  return account.sandbox
    ? withCredentials(account, {})
    : {
        adapter: account.adapter,
        baseUrl: account.baseUrl,
        prices: account.prices,
        credentials: { user: '', secret: '' },
      }
}
