/**
 * Claiming and booking by hand, one step at a time, as a worker's lane does them. The proofs come to the ledger through
 * these doors only, so that what changes behind them is changed in one place.
 */
import { newId } from '../../src/base/ids.ts'
import type { Micros } from '../../src/base/money.ts'
import { type Db, withTxRetry } from '../../src/db/client.ts'
import { bookSearches, type FinishedSearch } from '../../src/engine/book.ts'
import { bookListStep, type FinishedStep } from '../../src/engine/book-list.ts'
import { rescueRuns } from '../../src/engine/rescue.ts'
import { type ClaimedCategory, type ClaimedItem, claimCategories, claimItems } from '../../src/ledger/claim.ts'
import type { SearchAnswer } from '../../src/providers/types.ts'
import type { RunSnapshot } from '../../src/runs/snapshot.ts'
import { makeKnownSellers } from '../../src/sellers/known.ts'
import { type Arena, PRICE } from './arena.ts'

export type HandClaim = Readonly<{
  runId: string
  workerId: string
  accountId: string
  slots: number
  leaseMs?: number
}>

/** Claims searches at `priceMicros` each, on any connection. Sends nothing. */
export async function claimSearches(
  db: Db,
  claim: HandClaim & Readonly<{ priceMicros: Micros }>,
): Promise<readonly ClaimedItem[]> {
  const { slots, leaseMs = 60_000, ...wanted } = claim
  const callIds = Array.from({ length: slots }, newId)
  return (await withTxRetry(db, (tx) => claimItems(tx, { ...wanted, leaseMs, callIds }))).claimed
}

/** Claims steps of those categories, in their order, each at its price. Sends nothing. */
export async function claimListSteps(
  db: Db,
  claim: HandClaim,
  wanted: readonly Readonly<{ id: string; priceMicros: Micros }>[],
): Promise<readonly ClaimedCategory[]> {
  const { slots, leaseMs = 60_000, ...by } = claim
  const callIds = Array.from({ length: slots }, newId)
  return (await withTxRetry(db, (tx) => claimCategories(tx, { ...by, leaseMs, callIds }, wanted))).claimed
}

/** Claims as a worker does, without sending anything. */
export function claim(
  arena: Arena,
  run: Readonly<{ id: string }>,
  workerId: string,
  slots = 1,
): Promise<readonly ClaimedItem[]> {
  return claimSearches(arena.db, {
    runId: run.id,
    workerId,
    accountId: arena.search.id,
    slots,
    priceMicros: PRICE,
  })
}

/** The answer to a claimed search. */
export function finished(claimed: ClaimedItem | undefined, answer: SearchAnswer): FinishedSearch {
  if (!claimed) throw new Error('nothing was claimed')
  return { ...claimed, rungs: claimed.data.ladder.length, answer, durationMs: 1 }
}

/** Books answers in one transaction. */
export async function book(arena: Arena, run: RunSnapshot, ...searches: FinishedSearch[]): Promise<void> {
  await bookAnswers(arena.db, run, searches, true)
}

/** Books answers in one transaction, on any connection. */
export async function bookAnswers(
  db: Db,
  run: Readonly<{ id: string; orgId: string }>,
  searches: readonly FinishedSearch[],
  mayClimb: boolean,
): Promise<void> {
  await withTxRetry(db, (tx) => bookSearches(tx, run, searches, { mayClimb, known: makeKnownSellers() }))
}

/** Books one step through a list. */
export async function bookStep(
  db: Db,
  run: Readonly<{ id: string; orgId: string; retryOfRunId?: string | null }>,
  finishedStep: FinishedStep,
): Promise<void> {
  await withTxRetry(db, (tx) => bookListStep(tx, run, finishedStep))
}

/** Lets a worker fall silent and rescues what it held. */
export async function lose(arena: Arena, workerId: string): Promise<void> {
  await arena.db.query(`update collection_workers set heartbeat_at = now() - interval '1 minute' where id = $1`, [
    workerId,
  ])
  await rescueRuns(arena.db)
}
