/**
 * Verify: the invariants, checked over the live database. Read-only and of one moment, so that it may be run while workers
 * work: what is true at every commit is true of what it sees.
 */
import { type Db, withTx } from '../db/client.ts'
import { checkAccess } from './verify/access.ts'
import { type BillingSource, checkBilling, readLedger } from './verify/billing.ts'
import { checkCap, checkCounters } from './verify/money.ts'
import { checkRepeats, checkResults } from './verify/results.ts'
import { checkEvents, checkProgress, checkStates } from './verify/states.ts'
import type { Finding } from './verify/types.ts'

export type { Example, Finding, Invariant } from './verify/types.ts'

export type VerifyOptions = Readonly<{
  /** Only these runs, and the sellers of their organisations. All runs when left out. */
  runIds?: readonly string[]
  /** The sandbox whose bill the ledger is compared with; without it I2 and I4 are not checked. */
  billing?: BillingSource
}>

/** Sums over millions of rows take longer than the statements of workers may. */
const STATEMENT_TIMEOUT_MS = 600_000

/**
 * Checks I1 to I10 and returns one finding each, in order. Everything but the bill is read in one read-only transaction
 * over one snapshot; nothing is locked and nothing is changed. Calls in flight are held to what holds for them: only
 * booked ones are compared with the bill.
 */
export async function verify(db: Db, options: VerifyOptions = {}): Promise<Finding[]> {
  const scope = options.runIds ?? null
  const found = await withTx(
    db,
    async (tx) => {
      await tx.query('set transaction read only')
      await tx.query(`set local statement_timeout = ${STATEMENT_TIMEOUT_MS}`)
      return {
        cap: await checkCap(tx, scope),
        counters: await checkCounters(tx, scope),
        results: await checkResults(tx, scope),
        states: await checkStates(tx, scope),
        repeats: await checkRepeats(tx, scope),
        progress: await checkProgress(tx, scope),
        events: await checkEvents(tx, scope),
        ledger: await readLedger(tx, scope),
        // Last: the transaction is a stranger's afterwards.
        access: await checkAccess(tx),
      }
    },
    { isolation: 'repeatable read' },
  )
  // After the snapshot: a charge is on the bill before its answer is sent, so every booked call is on it by now.
  const [billed, charges] = await checkBilling(found.ledger, options.billing)
  const { cap, counters, results, states, repeats, progress, access, events } = found
  return [cap, billed, counters, charges, results, states, repeats, progress, access, events]
}
