/** Whether a cap is enough for a run to be worth starting. */
import { AppError } from '../base/errors.ts'
import { centsUp, formatDollars, MICROS_PER_CENT, type Micros, toMicros } from '../base/money.ts'
import { collectable, type Estimate } from '../runs/estimate.ts'

export type Covered = Readonly<{
  capMicros: Micros
  estimate: Pick<Estimate, 'cost' | 'products'>
  /** The run is meant to collect as far as its cap goes. */
  upToCap: boolean
}>

/**
 * Throws AppError `run.cap_below_estimate` when the cap is below the low end of the estimate and the run is not meant to
 * collect up to its cap: it would surely stop half-way.
 */
export function checkCapCovers({ capMicros, estimate, upToCap }: Covered): void {
  const { low } = estimate.cost
  if (upToCap || capMicros >= low) return
  const covered = collectable(capMicros, estimate)
  throw new AppError(
    'run.cap_below_estimate',
    `Even the low end of the estimate (${formatDollars(centsOf(low))}) is above the cap (${formatDollars(capMicros)}).`,
    {
      hint:
        'Raise the cap with --cap, choose less, or collect up to the cap with --up-to-cap: ' +
        `about ${covered.toLocaleString('en-US')} of ${estimate.products.likely.toLocaleString('en-US')} products.`,
      details: { lowMicros: low, capMicros, covered, products: estimate.products.likely },
    },
  )
}

/** Whole cents, rounded up, as people see money. */
function centsOf(amount: Micros): Micros {
  return toMicros(centsUp(amount) * MICROS_PER_CENT)
}
