/** From what the rooms know to what goes over the wire, where the two differ. */

import { leftOfMonth, type Month } from '../ledger/month.ts'
import type { Estimate } from '../runs/estimate.ts'
import { leftMicros, type RunSnapshot } from '../runs/snapshot.ts'

/** A run with what follows from its figures. */
export function runView<R extends RunSnapshot>(run: R) {
  return { ...run, leftMicros: leftMicros(run), unansweredItems: run.blockedItems + run.driftItems + run.rejectedItems }
}

export function monthView(month: Month) {
  return { ...month, leftMicros: leftOfMonth(month) }
}

/** An estimate as kept beside a run: lists become plain arrays. */
export function estimateView(estimate: Estimate) {
  return { ...estimate, categories: [...estimate.categories] }
}
