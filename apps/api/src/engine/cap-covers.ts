/** Whether the caps, of the run and of its organisation's month, are enough for a run to be worth starting. */
import { AppError } from '../base/errors.ts'
import { addMicros, centsUp, formatDollars, MICROS_PER_CENT, type Micros, toMicros, ZERO } from '../base/money.ts'
import { leftOfMonth, type Month, startsAnewOn } from '../ledger/month.ts'
import { collectable, type Estimate } from '../runs/estimate.ts'
import type { PauseLimit } from '../runs/snapshot.ts'

/** The most a run can cost in all, and which cap says so. */
export type Limit = Readonly<{ kind: PauseLimit; micros: Micros }>

/**
 * The nearer of a run's cap and what the month cap leaves for it: the one it would meet first. `usedMicros` is what the run
 * has spent, holds and suspects of this month already; the month counts it, so it comes on top of what is left.
 */
export function nearestLimit(capMicros: Micros, month: Month, usedMicros: Micros = ZERO): Limit {
  const left = leftOfMonth(month)
  const ofMonth = left === null ? null : addMicros(left, usedMicros)
  return ofMonth !== null && ofMonth < capMicros
    ? { kind: 'month', micros: ofMonth }
    : { kind: 'run', micros: capMicros }
}

export type Covered = Readonly<{
  capMicros: Micros
  month: Month
  estimate: Pick<Estimate, 'cost' | 'products'>
  /** The run is meant to collect as far as its cap goes. */
  upToCap: boolean
}>

/**
 * Throws AppError `run.cap_below_estimate` or `month.cap_below_estimate` when the nearer of both caps leaves less than the
 * low end of the estimate and the run is not meant to collect up to its cap: it would surely stop half-way.
 */
export function checkCapCovers({ capMicros, month, estimate, upToCap }: Covered): void {
  const { low } = estimate.cost
  const limit = nearestLimit(capMicros, month)
  if (upToCap || limit.micros >= low) return
  const covered = collectable(limit.micros, estimate)
  const part = `about ${covered.toLocaleString('en-US')} of ${estimate.products.likely.toLocaleString('en-US')} products.`
  const above = `Even the low end of the estimate (${formatDollars(centsOf(low))}) is above`
  const details = { lowMicros: low, capMicros, covered, products: estimate.products.likely }
  if (limit.kind === 'run') {
    throw new AppError('run.cap_below_estimate', `${above} the cap (${formatDollars(capMicros)}).`, {
      hint: `Raise the cap with --cap, choose less, or collect up to the cap with --up-to-cap: ${part}`,
      details,
    })
  }
  throw new AppError(
    'month.cap_below_estimate',
    `${above} what the month cap leaves (${formatDollars(limit.micros)}).`,
    {
      hint:
        'Raise the month cap with gleaner settings set month-cap=<dollars>, choose less, wait for ' +
        `${startsAnewOn(month)}, or collect up to it with --up-to-cap: ${part}`,
      details: { ...details, leftMicros: limit.micros },
    },
  )
}

/**
 * Throws AppError `month.cap_reached` when the month cap leaves less than `priceMicros`, the price of one call: nothing
 * could be done at all. A run to which nothing is left to call, or whose price nobody knows (null), passes.
 */
export function checkMonthLeaves(month: Month, priceMicros: Micros | null, hint?: string): void {
  const left = leftOfMonth(month)
  if (left === null || priceMicros === null || left >= priceMicros) return
  throw new AppError(
    'month.cap_reached',
    `The month cap leaves ${formatDollars(left)}, less than one call (${formatDollars(priceMicros)}).`,
    {
      hint:
        hint ?? `It starts anew on ${startsAnewOn(month)}. Or raise the cap: gleaner settings set month-cap=<dollars>`,
    },
  )
}

/** What the nearer limit of a run that is planned means: whether it could start, and about how many products it covers. */
export function coverOf(
  { capMicros, month, estimate, upToCap }: Covered,
  callPriceMicros: Micros | null,
): Readonly<{ limit: Limit; startable: boolean; products: number }> {
  const limit = nearestLimit(capMicros, month)
  const left = leftOfMonth(month)
  const leavesCall = left === null || callPriceMicros === null || left >= callPriceMicros
  const startable = leavesCall && (upToCap || limit.micros >= estimate.cost.low)
  return { limit, startable, products: collectable(limit.micros, estimate) }
}

/** Whole cents, rounded up, as people see money. */
function centsOf(amount: Micros): Micros {
  return toMicros(centsUp(amount) * MICROS_PER_CENT)
}
