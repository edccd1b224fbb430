/**
 * Acts on a run: pause, resume, cancel, fail, complete, change the cap. Each locks the run's row, checks that the act is
 * possible, changes the state and appends the event in one transaction. The database refuses illegal moves as well.
 */
import { AppError } from '../base/errors.ts'
import { formatDollars, type Micros, ZERO } from '../base/money.ts'
import { type Db, type Tx, withTxRetry } from '../db/client.ts'
import type { NewEvent } from '../events/append.ts'
import { monthOf } from '../ledger/month.ts'
import { sendTicket } from '../queue/tickets.ts'
import { keepFigures } from '../runs/keep-figures.ts'
import {
  leftMicros,
  lockRun,
  type PauseLimit,
  type PauseReason,
  type RunSnapshot,
  runSnapshot,
  TERMINAL,
} from '../runs/snapshot.ts'
import { refreshItemCounts } from '../sellers/refresh.ts'
import { tell } from './audit-run.ts'
import { checkMonthLeaves } from './cap-covers.ts'
import { freeHeldBack } from './sample.ts'
import { claimPlace } from './start.ts'

export type Pause = Readonly<{
  reason: PauseReason
  resumeAt?: Date | null
  note?: string
  actorId?: string
  /** Of a pause by `budget`: which cap leaves less than one call, and what the cheapest call it could make costs. */
  limit?: PauseLimit
  needsMicros?: Micros
  /** Of a pause by `provider`: no worker has credentials for what it needs. It goes on by itself when one has. */
  unserved?: boolean
  /** The run's sample is through: what it held back waits for a person to resume the run. */
  endsSample?: boolean
}>

/**
 * Pauses a running run: from the commit on no new call can be held; calls in flight are finished and booked. A run that is
 * paused already, or has ended, is left as it is. Returns the run as it stands.
 */
export function pauseRun(db: Db, runId: string, pause: Pause): Promise<RunSnapshot> {
  return act(db, runId, async (tx, run) => {
    if (run.status !== 'running') return null
    await tx.query(
      `update collection_runs set status = 'paused', pause_reason = $2, resume_at = $3, pause_note = $4,
         pause_limit = $5, pause_needs_micros = $6,
         sampled_at = case when $7 and sample_products is not null then coalesce(sampled_at, now()) else sampled_at end,
         pause_unserved = $8
       where id = $1`,
      [
        runId,
        pause.reason,
        pause.resumeAt ?? null,
        pause.note ?? null,
        pause.limit ?? null,
        pause.needsMicros ?? null,
        pause.endsSample ?? false,
        pause.unserved ?? false,
      ],
    )
    const limit = pause.limit ? { limit: pause.limit } : {}
    const sample = pause.endsSample ? { sample: run.sampleProducts } : {}
    const data = {
      reason: pause.reason,
      note: pause.note ?? null,
      resume_at: pause.resumeAt ?? null,
      ...limit,
      ...sample,
    }
    return { type: 'run.paused', actorId: pause.actorId ?? null, data }
  })
}

/**
 * Lets a paused run go on, beyond its sample when that is through; when all places of its organisation are taken it stays
 * paused. What the sample held back is freed once it is certain that the run goes on. Returns the run as it stands.
 * Throws AppError `run.wrong_state` when the run is not paused, `run.cap_reached` or `month.cap_reached` when what the cap
 * leaves is less than `callPriceMicros`, the price of one call.
 */
export async function resumeRun(
  db: Db,
  runId: string,
  options: Readonly<{ actorId?: string; callPriceMicros?: Micros }> = {},
): Promise<RunSnapshot> {
  const resumed = await withTxRetry(db, async (tx) => {
    const known = await runSnapshot(tx, runId)
    if (!known) throw new AppError('run.not_found', `There is no run ${runId}.`)
    // The organisation's row first, then the run's, as in start.ts.
    const free = await claimPlace(tx, known.orgId)
    const run = (await lockRun(tx, runId)) ?? known
    if (run.status === 'running') return run
    if (run.status !== 'paused') throw wrongState(run, 'resumed')
    const price = options.callPriceMicros ?? ZERO
    checkLeft(run, price)
    const hint = `Run ${run.number} goes on by itself next month, or raise the cap: gleaner settings set month-cap=<dollars>`
    checkMonthLeaves(await monthOf(tx, run.orgId), price, hint)
    if (!free) {
      throw new AppError(
        'run.wrong_state',
        `Run ${run.number} cannot go on: all places of its organisation are taken.`,
        {
          hint: 'Wait for another run to end, or raise the number of runs with gleaner settings set runs=N.',
        },
      )
    }
    await tx.query(`update collection_runs set status = 'running' where id = $1`, [runId])
    await sendTicket(tx, run.orgId)
    return tell(tx, { type: 'run.resumed', actorId: options.actorId ?? null }, run)
  })
  if (resumed.sampledAt !== null) await freeHeldBack(db, runId)
  return resumed
}

function checkLeft(run: RunSnapshot, price: Micros): void {
  const left = leftMicros(run)
  if (left >= price) return
  throw new AppError(
    'run.cap_reached',
    `The cap leaves ${formatDollars(left)}, less than one call (${formatDollars(price)}).`,
    {
      hint: `Raise the cap first: gleaner run cap ${run.number} <dollars>`,
    },
  )
}

/**
 * Cancels a run that has not ended. Calls in flight are finished and booked; what was collected is kept.
 * Throws AppError `run.wrong_state` when the run has ended otherwise.
 */
export function cancelRun(db: Db, runId: string, actorId?: string): Promise<RunSnapshot> {
  return act(db, runId, async (tx, run) => {
    if (run.status === 'cancelled') return null
    if (TERMINAL.has(run.status)) throw wrongState(run, 'cancelled')
    await tx.query(`update collection_runs set status = 'cancelled' where id = $1`, [runId])
    return { type: 'run.cancelled', actorId: actorId ?? null, data: { left: run.pendingItems } }
  })
}

/** Ends a running run as failed, with a reason a person understands. A run that is not running is left as it is. */
export function failRun(db: Db, runId: string, reason: string): Promise<RunSnapshot> {
  return act(db, runId, async (tx, run) => {
    if (run.status !== 'running') return null
    await tx.query(`update collection_runs set status = 'failed', failure_reason = $2 where id = $1`, [runId, reason])
    return { type: 'run.failed', data: { reason } }
  })
}

/**
 * Ends a running run as completed. The database proves it over the rows: nothing pending, processing or held. Fills in
 * how many listings each of its sellers showed, and keeps its figures for estimates.
 */
export async function completeRun(db: Db, runId: string): Promise<RunSnapshot> {
  // Before the run's row is locked: over a large run this takes seconds, and running it twice does no harm.
  await withTxRetry(db, (tx) => refreshItemCounts(tx, runId))
  await withTxRetry(db, (tx) => keepFigures(tx, runId))
  return act(db, runId, async (tx, run) => {
    if (run.status !== 'running') return null
    await tx.query(`update collection_runs set status = 'completed' where id = $1`, [runId])
    const unanswered = run.blockedItems + run.driftItems
    return { type: 'run.completed', data: { products: run.totalItems, unanswered, sellers: run.sellerItems } }
  })
}

/**
 * Sets the cap of a run that has not ended. Returns the run as it stands. Throws AppError `run.cap_too_low` when spent,
 * held and suspect money is more than the new cap, `run.wrong_state` when the run has ended.
 */
export function changeCap(db: Db, runId: string, capMicros: Micros, actorId?: string): Promise<RunSnapshot> {
  return act(db, runId, async (tx, run) => {
    if (TERMINAL.has(run.status)) throw wrongState(run, 'given another cap')
    const used = (run.spentMicros + run.heldMicros + run.suspectMicros) as Micros
    if (capMicros < used) {
      throw new AppError(
        'run.cap_too_low',
        `The cap cannot go below ${formatDollars(used)}: so much is spent, held or suspect.`,
      )
    }
    if (capMicros === run.capMicros) return null
    await tx.query(
      `update collection_runs set cap_micros = $2,
         soft_warned_at = case when $2 > cap_micros then null else soft_warned_at end
       where id = $1`,
      [runId, capMicros],
    )
    const data = { from_micros: run.capMicros, to_micros: capMicros }
    return { type: 'run.cap_changed', actorId: actorId ?? null, data }
  })
}

type Work = (tx: Tx, run: RunSnapshot) => Promise<NewEvent | null>

/** Runs `work` under the lock of the run and tells the event it returns; null = nothing was changed. */
async function act(db: Db, runId: string, work: Work): Promise<RunSnapshot> {
  return withTxRetry(db, async (tx) => {
    const run = await lockRun(tx, runId)
    if (!run) throw new AppError('run.not_found', `There is no run ${runId}.`)
    const event = await work(tx, run)
    if (!event) return run
    return tell(tx, event, run)
  })
}

function wrongState(run: RunSnapshot, what: string): AppError {
  const hint = TERMINAL.has(run.status)
    ? 'An ended run is final. Start a new run to collect the rest.'
    : `See gleaner run show ${run.number}.`
  return new AppError('run.wrong_state', `Run ${run.number} is ${run.status} and cannot be ${what}.`, { hint })
}
