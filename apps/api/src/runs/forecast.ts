/** What a run that goes on is heading for, from its own pace: beside the estimate it began with, never instead of it. */
import { type Micros, toMicros } from '../base/money.ts'
import type { Queryable } from '../db/client.ts'
import { PRODUCTS_LEAST, PRODUCTS_PER_CATEGORY } from './estimate.ts'
import { ladderOf } from './learn.ts'
import { around, type Range, wholeRange } from './range.ts'
import type { RunSnapshot } from './snapshot.ts'

/** Products of a run by the query they are at: those that wait for it or are asked it, and those that ended with it. */
export type Standing = Readonly<{ rung: number; ended: boolean; count: number; costMicros: number }>

/** From this part of the work on, per cent. Before, the estimate says more. */
const WORK_LEAST_PERCENT = 5
const PRODUCTS_LEAST_ENDED = 20
/** Products come in the order of their lists: those to come may be others than those that were searched. An assumption. */
const DRIFT = 0.05
const Z = 1.64

/** How the products of a run stand. A million of them take about half a second: not to be asked with every redraw. */
export async function standingOf(db: Queryable, runId: string): Promise<Standing[]> {
  const { rows } = await db.query<Standing>(
    `select rung, finished_at is not null as ended, count(*)::int as count, sum(cost_micros)::bigint as "costMicros"
     from collection_items where run_id = $1 and item_type = 'amazon_product' and status <> 'skipped' group by 1, 2`,
    [runId],
  )
  return rows
}

/**
 * The cost at which the run will end, should nobody stop it and its cap cover that. Null before 5 % of the work, and when
 * nothing is left. What is suspect counts as spent.
 */
export function forecastCost(run: RunSnapshot, standing: readonly Standing[]): Range<Micros> | null {
  const products = run.totalItems + run.openCategories * PRODUCTS_PER_CATEGORY
  const open = run.pendingItems + run.processingItems + run.openCategories
  if (open === 0 || run.processedItems < PRODUCTS_LEAST_ENDED) return null
  if (run.processedItems * 100 < products * WORK_LEAST_PERCENT) return null

  const count = (pick: (one: Standing) => boolean) => standing.filter(pick).reduce((sum, one) => sum + one.count, 0)
  const climbed1 = count((one) => one.rung > 1)
  const climbed2 = count((one) => one.rung > 2)
  const decided1 = count((one) => one.ended || one.rung > 1)
  const decided2 = count((one) => one.rung > 1 && (one.ended || one.rung > 2))
  const { mean, variance } = ladderOf([{ decided1, climbed1, decided2, climbed2, skipped: 0 }])
  const queries = decided1 + climbed1 + climbed2 - count((one) => !one.ended && one.rung > 1)
  const searched = standing.reduce((sum, one) => sum + one.costMicros, 0)
  const each = queries > 0 ? searched / queries : 0

  const waiting = (rung: number) => count((one) => !one.ended && one.rung === rung)
  const third = decided2 > 0 ? climbed2 / decided2 : 0
  const rest = (first: number) => (waiting(1) + first) * mean + waiting(2) * (1 + third) + waiting(3)
  const toList = run.openCategories
  const likely = rest(toList * PRODUCTS_PER_CATEGORY)
  const half = Z * Math.sqrt(likely * variance + (likely ** 2 * variance) / Math.max(1, decided1)) + DRIFT * likely
  const used = run.spentMicros + run.suspectMicros
  const listed = run.totalCategories - toList
  const lists = listed > 0 ? (Math.max(0, run.spentMicros - searched) / listed) * toList : 0
  const at = (rows: number) => used + lists + Math.max(0, rows) * each
  const range = around(at(likely), at(rest(toList * PRODUCTS_LEAST) - half), at(likely + half))
  const { low, likely: middle, high } = wholeRange(range)
  return { low: toMicros(low), likely: toMicros(middle), high: toMicros(high) }
}
