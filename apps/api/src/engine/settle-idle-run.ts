/** What a lane does when it found nothing to claim and has nothing in flight: end the run, pause it, or keep waiting. */
import { formatDollars, type Micros, ZERO } from '../base/money.ts'
import { withTxRetry } from '../db/client.ts'
import { waitingCategories } from '../ledger/claim.ts'
import { leftOfMonth, type Month, monthOf, startsAnewOn } from '../ledger/month.ts'
import { hasHeldBack } from '../runs/held-back.ts'
import { finishClimbers } from '../runs/items.ts'
import { isDone, leftMicros, type PauseLimit, type RunSnapshot, runSnapshot } from '../runs/snapshot.ts'
import { type Lane, throughOutages } from './lane.ts'
import { completeRun, failRun, type Pause, pauseRun } from './run-acts.ts'
import { freeHeldBack, isSampleThrough, isSampling } from './sample.ts'

/**
 * Looks at the run afresh. Closes the lane when the run is no longer running; completes a run that is done; fails one
 * that brought no answer at all; pauses one whose cap, or whose month's cap, leaves less than one call; frees what its
 * sample held back when whoever resumed it could not. Otherwise the lane goes on waiting: for other workers, or for the
 * moment an item may be tried again.
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
    else if (run.sampledAt !== null && (await hasHeldBack(lane.db, run.id))) await freeHeldBack(lane.db, run.id)
    else if (run.heldCalls === 0 && (await isSampleThrough(lane.db, run))) lane.run = await pauseAfterSample(lane, run)
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

/** The cap of a sample is its own: the person who sees what it brought raises it for the rest. */
function pauseAfterSample(lane: Lane, run: RunSnapshot): Promise<RunSnapshot> {
  const note = `The sample is through: ${run.processedItems} products for ${formatDollars(run.spentMicros)}.`
  return pauseRun(lane.db, run.id, { reason: 'budget', limit: 'run', note, endsSample: true })
}

async function pauseIfCapReached(lane: Lane, run: RunSnapshot): Promise<RunSnapshot> {
  const cheapest = await cheapestStep(lane, run)
  const price = Math.min(run.pendingItems > 0 ? lane.searchPrice : Infinity, cheapest ?? Infinity) as Micros
  if (price === Infinity) return run
  const month = await monthOf(lane.db, run.orgId)
  const limit = limitReached(run, month, price)
  if (limit === null) return run
  // What other runs have in flight may yet leave some of its hold.
  if (limit === 'month' && month.heldMicros > 0) return run
  // Products that were answered and only hoped for a second query are not a reason to stop.
  const finished = await withTxRetry(lane.db, (tx) => finishClimbers(tx, run.id))
  if (finished > 0) return (await runSnapshot(lane.db, run.id)) ?? run
  return pauseRun(lane.db, run.id, pauseBy(limit, run, month, price))
}

/** Which cap leaves less than one call. The run's comes first: it would stop the run in the next month too. */
function limitReached(run: RunSnapshot, month: Month, price: Micros): PauseLimit | null {
  if (leftMicros(run) < price) return 'run'
  const left = leftOfMonth(month)
  return left !== null && left < price ? 'month' : null
}

function pauseBy(limit: PauseLimit, run: RunSnapshot, month: Month, price: Micros): Pause {
  if (limit === 'run') {
    const note = `${formatDollars(leftMicros(run))} is left and one call costs ${formatDollars(price)}.`
    return { reason: 'budget', limit, note, endsSample: isSampling(run) }
  }
  const cap = formatDollars(month.capMicros ?? ZERO)
  const note = `The month cap of ${cap} leaves less than one call. It starts anew on ${startsAnewOn(month)}.`
  return { reason: 'budget', limit, note, resumeAt: month.startsAnewAt, needsMicros: price }
}

/** The price of the cheapest list step that waits, or null when none does. */
async function cheapestStep(lane: Lane, run: RunSnapshot): Promise<number | null> {
  const { list } = lane
  if (!list || run.openCategories === 0) return null
  const waiting = await withTxRetry(lane.db, (tx) => waitingCategories(tx, run.id, 1000))
  const prices = waiting.map(({ step }) => list.adapter.worstCase(step)).filter((price) => price !== null)
  return prices.length === 0 ? null : Math.min(...prices)
}
