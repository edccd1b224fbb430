/** What a lane does when it found nothing to claim and has nothing in flight: end the run, pause it, or keep waiting. */
import { formatDollars, type Micros } from '../base/money.ts'
import { withTxRetry } from '../db/client.ts'
import { waitingCategories } from '../ledger/claim.ts'
import { finishClimbers } from '../runs/items.ts'
import { isDone, leftMicros, type RunSnapshot, runSnapshot } from '../runs/snapshot.ts'
import { type Lane, throughOutages } from './lane.ts'
import { completeRun, failRun, pauseRun } from './run-acts.ts'

/**
 * Looks at the run afresh. Closes the lane when the run is no longer running; completes a run that is done; fails one
 * that brought no answer at all; pauses one whose cap leaves less than one call. Otherwise the lane goes on waiting: for
 * other workers, or for the moment an item may be tried again.
 */
export async function settleIdleRun(lane: Lane): Promise<void> {
  await throughOutages(lane, async () => {
    const run = await runSnapshot(lane.db, lane.run.id)
    if (!run || run.status !== 'running') {
      if (run) lane.run = run
      lane.closing = true
      return
    }
    lane.run = run
    if (isDone(run)) lane.run = await endRun(lane, run)
    else if (run.heldCalls === 0) lane.run = await pauseIfCapReached(lane, run)
    if (lane.run.status !== 'running') lane.closing = true
  })
}

async function endRun(lane: Lane, run: RunSnapshot): Promise<RunSnapshot> {
  const reason = failureOf(run)
  return reason === null ? completeRun(lane.db, run.id) : failRun(lane.db, run.id, reason)
}

/** Why a run that is done has failed, or null when it brought answers: blocked is never completed. */
function failureOf(run: RunSnapshot): string | null {
  if (run.totalCategories > 0 && run.failedCategories === run.totalCategories && run.totalItems === 0) {
    return `None of the ${run.totalCategories} category lists could be read.`
  }
  const answered = run.foundItems + run.noneItems
  if (answered === 0 && run.failedItems > 0) {
    return `None of the ${run.failedItems} searches was answered.`
  }
  return null
}

async function pauseIfCapReached(lane: Lane, run: RunSnapshot): Promise<RunSnapshot> {
  const left = leftMicros(run)
  const searchFits = run.pendingItems > 0 && left >= lane.searchPrice
  const cheapest = await cheapestStep(lane, run)
  const stepFits = cheapest !== null && left >= cheapest
  if (searchFits || stepFits || (run.pendingItems === 0 && cheapest === null)) return run
  // Products that were answered and only hoped for a second query are not a reason to stop.
  const finished = await withTxRetry(lane.db, (tx) => finishClimbers(tx, run.id))
  if (finished > 0) return (await runSnapshot(lane.db, run.id)) ?? run
  const price = Math.min(run.pendingItems > 0 ? lane.searchPrice : Infinity, cheapest ?? Infinity) as Micros
  const note = `${formatDollars(left)} is left and one call costs ${formatDollars(price)}.`
  return pauseRun(lane.db, run.id, { reason: 'budget', note })
}

/** The price of the cheapest list step that waits, or null when none does. */
async function cheapestStep(lane: Lane, run: RunSnapshot): Promise<number | null> {
  const { list } = lane
  if (!list || run.openCategories === 0) return null
  const waiting = await withTxRetry(lane.db, (tx) => waitingCategories(tx, run.id, 1000))
  const prices = waiting.map(({ step }) => list.adapter.worstCase(step)).filter((price) => price !== null)
  return prices.length === 0 ? null : Math.min(...prices)
}
