/** Claiming and booking by hand, one step at a time, as a worker's lane does them. */
import { newId } from '../../src/base/ids.ts'
import { withTxRetry } from '../../src/db/client.ts'
import { bookSearches, type FinishedSearch } from '../../src/engine/book.ts'
import { rescueRuns } from '../../src/engine/rescue.ts'
import { type ClaimedItem, claimItems } from '../../src/ledger/claim.ts'
import type { SearchAnswer } from '../../src/providers/types.ts'
import type { RunSnapshot } from '../../src/runs/snapshot.ts'
import { makeKnownSellers } from '../../src/sellers/known.ts'
import { type Arena, PRICE } from './arena.ts'

/** Claims as a worker does, without sending anything. */
export async function claim(arena: Arena, run: RunSnapshot, workerId: string, slots = 1): Promise<ClaimedItem[]> {
  const callIds = Array.from({ length: slots }, newId)
  const accountId = arena.search.id
  return withTxRetry(arena.db, (tx) =>
    claimItems(tx, { runId: run.id, workerId, accountId, callIds, priceMicros: PRICE, leaseMs: 60_000 }),
  )
}

/** The answer to a claimed search. */
export function finished(claimed: ClaimedItem | undefined, answer: SearchAnswer): FinishedSearch {
  if (!claimed) throw new Error('nothing was claimed')
  return { ...claimed, rungs: claimed.data.ladder.length, answer, durationMs: 1 }
}

/** Books answers in one transaction. */
export async function book(arena: Arena, run: RunSnapshot, ...searches: FinishedSearch[]): Promise<void> {
  const options = { mayClimb: true, known: makeKnownSellers() }
  await withTxRetry(arena.db, (tx) => bookSearches(tx, run, searches, options))
}

/** Lets a worker fall silent and rescues what it held. */
export async function lose(arena: Arena, workerId: string): Promise<void> {
  await arena.db.query(`update collection_workers set heartbeat_at = now() - interval '1 minute' where id = $1`, [
    workerId,
  ])
  await rescueRuns(arena.db)
}
