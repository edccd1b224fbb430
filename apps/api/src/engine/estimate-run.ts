/** What a run would cost, take and bring at the chosen accounts, before it is created. */
import { toJson } from '../base/json.ts'
import type { Micros } from '../base/money.ts'
import { type Db, type Queryable, withTxRetry } from '../db/client.ts'
import type { FilterSettings } from '../matching/filters.ts'
import { listAdapter, searchAdapter } from '../providers/registry.ts'
import type { ListStep } from '../providers/types.ts'
import type { Estimate, EstimateInput } from '../runs/estimate.ts'
import {
  type CategoryFigures,
  categoryFigures,
  type Likeness,
  type LikeRun,
  lastRunsOf,
  likeRuns,
  ownProducts,
  type RunFigures,
  runFigures,
} from '../runs/figures.ts'
import { keepFigures, runsToSumUp } from '../runs/keep-figures.ts'
import { type History, learnedEstimate, type WantedCategory } from '../runs/learned-estimate.ts'
import { type Account, type ChosenAccounts, withCredentials } from './accounts.ts'

/** What a run collects from: categories, each once, or a list of that many products. */
export type Amount = Readonly<{ categories: readonly WantedCategory[] }> | Readonly<{ products: number }>

export type EstimateRequest = Readonly<{
  orgId: string
  amount: Amount
  accounts: ChosenAccounts
  /** All of them, as a run stores them: runs with the same are learned from first. */
  filters: FilterSettings
}>

/** Rungs of the query ladder at most (matching/query-ladder.ts). */
export const RUNGS = 3
/** So many runs are learned from, newest first; and of a category that is wanted so many of its own. */
const RUNS_LEARNED = 10
const RUNS_OF_CATEGORY = 3
/** Of a run with more categories so many are looked at, and those that are wanted. */
const CATEGORIES_LOOKED_AT = 50
/** Runs without figures that one estimate sums up: those that ended before figures were kept, or not as completed. */
const SUMMED_UP_MOST = 50

/**
 * The estimate for a run, from what the organisation's last runs at the same kind of provider took and brought, at the
 * prices of the chosen accounts; from the price list alone when there is no such run. Other organisations' runs never
 * count. Throws AppError `provider.no_price` when a price it needs is not configured.
 */
export async function estimateRun(db: Db, request: EstimateRequest): Promise<Estimate> {
  const wanted = 'categories' in request.amount ? request.amount.categories : null
  const input = inputOf(request.amount, request.accounts)
  const today = await quotaToday(db, request.accounts.search)
  const history = await readHistory(db, request)
  return learnedEstimate({ ...input, pace: { ...input.pace, today } }, wanted, history)
}

type Today = Readonly<{ searchesLeft: number; secondsToReset: number }>

/** What is left of the account's quota today, and how long the day lasts; null for an account without one. */
async function quotaToday(db: Queryable, { id, callsPerDay }: Account): Promise<Today | null> {
  if (callsPerDay === null) return null
  const { rows } = await db.query<{ used: number; until: number }>(
    `select case when g.day_ends_at > now() then g.day_calls else 0 end as used,
       ceil(extract(epoch from case when g.day_ends_at > now() then g.day_ends_at
         else (date_trunc('day', now() at time zone a.quota_zone) + interval '1 day') at time zone a.quota_zone end - now()))::int
         as until
     from provider_accounts a join provider_governors g on g.account_id = a.id where a.id = $1`,
    [id],
  )
  const [row] = rows
  return row ? { searchesLeft: Math.max(0, callsPerDay - row.used), secondsToReset: row.until } : null
}

/** Prices and pace of the chosen accounts for that amount of work. */
export function inputOf(amount: Amount, { list, search }: ChosenAccounts): EstimateInput {
  return {
    source:
      'categories' in amount
        ? { kind: 'categories', count: amount.categories.length, stepPrices: list ? stepPrices(list) : [] }
        : { kind: 'list', rows: amount.products },
    search: { price: searchAdapter(priced(search)).worstCase(), rungs: RUNGS },
    pace: {
      concurrency: search.maxInFlight,
      ratePerSecond: search.maxPerSecond,
      searchesPerDay: search.callsPerDay,
    },
  }
}

async function readHistory(db: Db, { orgId, amount, accounts, filters }: EstimateRequest): Promise<History> {
  const like: Likeness = {
    orgId,
    searchAdapter: accounts.search.adapter,
    sandbox: accounts.search.sandbox,
    listAdapter: accounts.list?.adapter ?? null,
    filters: toJson(filters),
  }
  for (const runId of await runsToSumUp(db, orgId, SUMMED_UP_MOST))
    await withTxRetry(db, (tx) => keepFigures(tx, runId))
  const keys = 'categories' in amount ? amount.categories.map(({ key }) => key) : []
  const last = keys.length > 0 ? await lastRunsOf(db, like, keys, RUNS_OF_CATEGORY) : []
  const runs = await likeRuns(db, like, RUNS_LEARNED)
  const newest = new Map(last.toReversed().map(({ key, categoryId }) => [key, categoryId]))
  const rows = keys.flatMap((key) => newest.get(key) ?? [])
  const named = await ownProducts(db, rows)
  const own = new Map([...newest].flatMap(([key, id]) => (named.has(id) ? [[key, named.get(id) as never]] : [])))
  const ids = [...new Set([...runs, ...last].map(({ runId }) => runId))]
  const categories = await categoryFigures(db, ids, keys, CATEGORIES_LOOKED_AT)
  const listed = new Set([...runs.filter((run) => run.sameLists), ...last].map(({ runId }) => runId))
  return {
    runs: (
      await runFigures(
        db,
        runs.map(({ runId }) => runId),
      )
    ).map((run) => withoutOtherLists(run, runs)),
    // How much a list names is a matter of who reads it.
    categories: categories.map((one): CategoryFigures => (listed.has(one.runId) ? one : { ...one, complete: false })),
    own,
  }
}

/** Lists of another provider are counted and priced differently. */
function withoutOtherLists(run: RunFigures, likes: readonly LikeRun[]): RunFigures {
  if (likes.find(({ runId }) => runId === run.runId)?.sameLists) return run
  return { ...run, lists: 0, places: 0, listCalls: 0, listHoldMicros: 0, listChargeMicros: 0 }
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

/** The account as an adapter takes it, for its prices alone: they need no credentials. */
export function priced(account: Account) {
  return account.sandbox
    ? withCredentials(account, {})
    : {
        adapter: account.adapter,
        baseUrl: account.baseUrl,
        prices: account.prices,
        credentials: { user: '', secret: '' },
      }
}
