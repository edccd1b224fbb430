/** The booking loop of a lane: writes down what came back, and acts on what it means for the run. */
import { AppError } from '../base/errors.ts'
import { withTxRetry } from '../db/client.ts'
import { CommitUnknown, isConnectionError } from '../db/errors.ts'
import type { RunSnapshot } from '../runs/snapshot.ts'
import { type Booked, bookSearches, type FinishedSearch } from './book.ts'
import { bookListStep, type FinishedStep } from './book-list.ts'
import { mayClimb } from './claim.ts'
import type { RunFate } from './consequences.ts'
import { hasUnbooked, type Lane, throughOutages } from './lane.ts'
import { dropBatch, pickBatch } from './pick-batch.ts'
import { failRun, type Pause, pauseRun } from './run-acts.ts'

const WAIT_MS = 1_000

/**
 * Two bookings at a time: while one holds the run's row, the other writes sellers and evidence. Why two, and what
 * was measured: docs/adr/0005.
 */
export const BOOKING_LOOPS = 2

/** Books until the lane is closing and everything it sent is booked. A lane runs BOOKING_LOOPS of these. */
export async function bookingLoop(lane: Lane): Promise<void> {
  for (;;) {
    const step = lane.finished.steps.shift()
    if (step) await bookStep(lane, step)
    else if (await bookBatch(lane)) continue
    else if (lane.closing && !hasUnbooked(lane)) break
    else await lane.bookWake.wait(WAIT_MS)
  }
  lane.bookWake.notify()
}

async function bookStep(lane: Lane, step: FinishedStep): Promise<void> {
  lane.booking.add(step.callId)
  try {
    const booked = await bookOneStep(lane, step)
    if (booked) await act(lane, booked)
  } finally {
    lane.booking.delete(step.callId)
    wakeOthers(lane)
  }
}

/** As with searches: a list that cannot be stored is drift, or it would be read and paid for again and again. */
async function bookOneStep(lane: Lane, step: FinishedStep): Promise<Booked | null> {
  const book = (one: FinishedStep): Promise<Booked | null> =>
    throughOutages(lane, () => withTxRetry(lane.db, (tx) => bookListStep(tx, lane.run, one)))
  try {
    return await book(step)
  } catch (error) {
    lane.log('a list step could not be stored', { error: String(error), category: step.category.key })
    return book(unstorable(step, error))
  }
}

async function bookBatch(lane: Lane): Promise<boolean> {
  const batch = pickBatch(lane)
  if (batch.searches.length === 0) return false
  try {
    for (const booked of await bookWhole(lane, batch.searches)) await act(lane, booked)
  } finally {
    dropBatch(lane, batch)
    wakeOthers(lane)
  }
  return true
}

/** Slots are free again, and what waited for sellers of this booking can be booked. */
function wakeOthers(lane: Lane): void {
  lane.claimWake.notify()
  lane.bookWake.notify()
}

/**
 * Books a batch in one transaction. When a single answer carries something the database refuses, the batch is booked
 * one by one, and the answer that cannot be stored is booked as drift: paid for, and kept apart from none.
 */
async function bookWhole(lane: Lane, batch: readonly FinishedSearch[]): Promise<Booked[]> {
  const options = { mayClimb: mayClimb(lane), known: lane.knownSellers, secrets: lane.db.secrets ?? null }
  const book = async (searches: readonly FinishedSearch[]): Promise<Booked> => {
    const booked = await throughOutages(lane, () =>
      withTxRetry(lane.db, (tx) => bookSearches(tx, lane.run, searches, options)),
    )
    lane.knownSellers.remember(booked.recorded, booked.leftOutVersion)
    return booked
  }
  try {
    return [await book(batch)]
  } catch (error) {
    // What this process lacks is no fault of the answers.
    if (error instanceof CommitUnknown || error instanceof AppError || isConnectionError(error)) throw error
    lane.log('a booking was refused, booking one by one', { error: String(error), calls: batch.length })
  }
  const booked: Booked[] = []
  for (const search of batch) {
    booked.push(await book([search]).catch((error: unknown) => book([unstorable(search, error)])))
  }
  return booked
}

function unstorable<Finished extends FinishedSearch | FinishedStep>(finished: Finished, error: unknown): Finished {
  const message = `The answer could not be stored: ${error instanceof Error ? error.message : String(error)}`
  const { charge } = finished.answer
  return { ...finished, answer: { ok: false, kind: 'drift', charge, code: 'unstorable', message } }
}

/** Carries out what the outcomes of a booking mean for the run. */
async function act(lane: Lane, booked: Booked): Promise<void> {
  const before = lane.run
  lane.run = booked.run
  if (booked.run.status !== 'running') return
  const stop = stopOf(before, booked)
  if (!stop) return
  await throughOutages(lane, async () => {
    if (stop.kind === 'fail') await failRun(lane.db, lane.run.id, stop.reason)
    else await pauseRun(lane.db, lane.run.id, stop)
  })
  lane.closing = true
}

type Stop = Extract<RunFate, { kind: 'fail' }> | (Pause & { kind: 'pause' })

function stopOf(before: RunSnapshot, booked: Booked): Stop | null {
  const failed = booked.fates.find((fate) => fate.kind === 'fail')
  if (failed) return failed
  const over = booked.run.breachMicros - before.breachMicros
  if (over <= 0) return null
  const note = `The provider charged ${over} micro-dollars more than its listed price.`
  return { kind: 'pause', reason: 'provider', resumeAt: null, note }
}
