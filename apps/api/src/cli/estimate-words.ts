/** An estimate in the words every door uses: the range, what it stands on, what a cap means for it. Pure. */
import type { Micros } from '../base/money.ts'
import type { Limit } from '../engine/cap-covers.ts'
import type { CategoryEstimate, Estimate, Source } from '../runs/estimate.ts'
import type { Range } from '../runs/range.ts'
import type { Context } from './context.ts'
import { count, counted, duration, moment, moneyDown, moneyUp, perNewSeller } from './format.ts'
import type { Paint } from './paint.ts'
import { type Column, table } from './table.ts'

type Priced = Pick<Estimate, 'cost' | 'products' | 'categories' | 'sources'>

/** The estimate as a sentence: the range first, then where it comes from. */
export function estimateWords(estimate: Priced): string {
  const { cost, products } = estimate
  if (cost.high === 0) return `Every call of this run is free. About ${counted(products.likely, 'product')}.`
  const from = originWords(estimate)
  if (cost.low === cost.high) return `${moneyUp(cost.likely)}. ${from}`
  return `${moneyUp(cost.low)} to ${moneyUp(cost.high)}, likely ${moneyUp(cost.likely)}. ${from}`
}

function originWords({ sources, categories }: Pick<Estimate, 'sources' | 'categories'>): string {
  const source = sources.cost
  if (source.kind === 'price_list') return 'From list prices only: you have no such run yet, so the range is wide.'
  if (source.kind === 'sample') return `From the first ${counted(source.products, 'product')} of this run.`
  const runs = source.runs === 1 ? 'your last run' : `your last ${source.runs} runs`
  const unknown = categories.filter((one) => one.lastCollectedAt === null).length
  if (categories.length > 0 && unknown === 0) {
    return `From ${runs} with ${categories.length === 1 ? 'this category' : 'these categories'}.`
  }
  if (unknown === categories.length) return `From ${runs}${categories.length > 0 ? ', of other categories' : ''}.`
  return `From ${runs}; ${count(unknown)} of ${counted(categories.length, 'category', 'categories')} never collected.`
}

/**
 * What a cap, or the rest of a month, below the estimate means, or null when it covers the high end. `covered`: products it
 * is likely to cover.
 */
export function capWords(
  { kind, micros: cap }: Limit,
  { cost, products }: Pick<Estimate, 'cost' | 'products'>,
  covered: number,
  upToCap: boolean,
): string | null {
  if (cap >= cost.high) return null
  const ofMonth = kind === 'month'
  const limit = ofMonth ? `what your month cap leaves (${moneyDown(cap)})` : `your cap (${moneyUp(cap)})`
  if (cap >= cost.likely) {
    return `${capital(limit)} covers the likely cost. Should it be reached, the run pauses and keeps everything.`
  }
  const part = `about ${count(covered)} of ${counted(products.likely, 'product')}`
  const start =
    cap < cost.low
      ? `Even the low end (${moneyUp(cost.low)}) is above ${limit}.`
      : `The likely cost (${moneyUp(cost.likely)}) is above ${limit}.`
  const name = ofMonth ? 'the month cap' : 'the cap'
  if (upToCap) return `${start} The run collects up to ${name}, ${part}, then pauses.`
  if (cap >= cost.low) return `${start} It is likely to cover ${part}; then the run pauses.`
  return `${start} Raise ${name}, choose less, or collect up to ${ofMonth ? 'it' : name} (--up-to-cap): ${part}.`
}

/** The lines below the range: products and calls, time, new sellers. */
export function figureLines({ products, calls, durationSeconds, newSellers, cost }: Estimate): string[] {
  const sellers =
    newSellers === null
      ? 'New sellers: not known before the first run.'
      : `${rangeWords(newSellers, count)} new sellers${eachWords(cost, newSellers)}.`
  return [
    `${capital(rangeWords(products, count))} ${products.high === 1 ? 'product' : 'products'}, ${rangeWords(calls, count)} calls, ${timeWords(durationSeconds)}.`,
    capital(sellers),
  ]
}

/** What one new seller will cost: the likely cost over the range of new sellers. */
function eachWords(cost: Range<Micros>, sellers: Range<number>): string {
  if (sellers.high === 0 || cost.likely === 0) return ''
  const least = perNewSeller(cost.likely, sellers.high)
  if (sellers.low === 0) return `, ${least} each or more`
  const most = perNewSeller(cost.likely, sellers.low)
  return least === most ? `, ${least} each` : `, ${least} to ${most} each`
}

function rangeWords<T extends number>({ low, likely, high }: Range<T>, write: (value: T) => string): string {
  if (write(low) === write(high)) return write(high)
  return low === high ? write(likely) : `${write(low)} to ${write(high)}`
}

const DAY = 86_400

/** "about 3 days" once the provider's daily quota makes days of it. */
function timeWords({ low, likely, high }: Range<number>): string {
  if (likely >= DAY) {
    const days = (seconds: number) => Math.ceil(seconds / DAY)
    const range = days(low) === days(high) ? '' : ` (${days(low)} to ${days(high)})`
    return `about ${counted(days(likely), 'day')}${range}: the provider allows only so many searches a day`
  }
  return rangeWords({ low, likely, high }, (seconds) => duration(seconds * 1000))
}

function capital(text: string): string {
  return text.charAt(0).toUpperCase() + text.slice(1)
}

/** The categories, each as if it were collected alone. */
export function categoryTable(context: Context, rows: readonly CategoryEstimate[]): string {
  const { paint } = context
  const never = paint.dim('~ never collected')
  const columns: Column<CategoryEstimate>[] = [
    { head: 'Category', gives: 16, cell: (row) => row.name },
    { head: 'Key', spare: 3, cell: (row) => paint.dim(row.key) },
    { head: 'Products', right: true, cell: (row) => rangeWords(row.products, count) },
    { head: 'Cost', right: true, cell: (row) => rangeWords(row.cost, moneyUp) },
    { head: 'Likely', right: true, cell: (row) => moneyUp(row.cost.likely) },
    { head: 'New sellers', right: true, cell: (row) => (row.newSellers ? rangeWords(row.newSellers, count) : '~') },
    { head: 'Yield', spare: 2, right: true, cell: (row) => (row.lastYield === null ? '~' : String(row.lastYield)) },
    { head: 'Last', cell: (row) => (row.lastCollectedAt ? moment(new Date(row.lastCollectedAt)) : never) },
    { head: 'From', spare: 1, cell: (row) => sourceWords(row.source, paint) },
  ]
  return table(context, columns, rows)
}

function sourceWords(source: Source, paint: Paint): string {
  if (source.kind === 'price_list') return paint.dim('list prices')
  if (source.kind === 'sample') return `${counted(source.products, 'product')} of this run`
  return counted(source.runs, 'run')
}

/** How many products are named by several of the categories, or null when there is nothing to say. */
export function doubleWords({ categories, products }: Pick<Estimate, 'categories' | 'products'>): string | null {
  const double = categories.reduce((sum, one) => sum + one.products.likely, 0) - products.likely
  if (categories.length < 2 || double <= 0) return null
  return `${counted(double, 'product')} in several categories, searched once.`
}

/**
 * How the cost of a run stands to what was estimated: inside, or by how much it missed. Null when the run has not ended,
 * or has no estimate.
 */
export function againstEstimate(spent: Micros, cost: Range<Micros>): string {
  if (spent < cost.low) return `${moneyUp((cost.low - spent) as Micros)} below the estimate`
  if (spent > cost.high) return `${moneyUp((spent - cost.high) as Micros)} above the estimate`
  return 'inside the estimate'
}
