/** Rescue: what workers that are gone left behind, with an event for each run it concerns. */
import { type Db, withTxRetry } from '../db/client.ts'
import { appendEvents } from '../events/append.ts'
import { DEAD_AFTER_MS, type Rescued, rescueCalls } from '../ledger/rescue.ts'

/**
 * Makes the held calls of dead workers suspect and gives their items back, run by run. Returns what was rescued. Safe to
 * run from every worker at once. A worker is dead after `deadAfterMs` without a heartbeat.
 */
export async function rescueRuns(db: Db, deadAfterMs: number = DEAD_AFTER_MS): Promise<Rescued[]> {
  return withTxRetry(db, async (tx) => {
    const rescued = await rescueCalls(tx, deadAfterMs)
    for (const { runId, ...data } of rescued) await appendEvents(tx, runId, [{ type: 'calls.rescued', data }])
    return rescued
  })
}
