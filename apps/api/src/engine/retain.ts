/**
 * Retention: what has been kept long enough is removed, organisation by organisation, once an hour, by one worker of the
 * fleet. Every transaction is small and may be done again; who is interrupted leaves the rest to the next look.
 */
import {
  addSweeps,
  endSweep,
  markEvidenceRemoved,
  removeOldAudit,
  removeOldEvidence,
  removeOldSellers,
  runsWithOldEvidence,
  type Swept,
  takeSweep,
} from '../compliance/retention.ts'
import { type Db, withTxRetry } from '../db/client.ts'

export type RetainOptions = Readonly<{
  db: Db
  log: (message: string, facts?: Record<string, unknown>) => void
  /** Aborted when the worker leaves: what is left waits for the next look. */
  signal?: AbortSignal
}>

/** Searches looked at in one transaction: some tens of milliseconds. */
const SEARCHES_AT_ONCE = 500
/** Each may have been seen in hundreds of searches, which are rewritten with it. */
const SELLERS_AT_ONCE = 20
const AUDIT_AT_ONCE = 1_000

/** Looks through every organisation that is due. Returns how many were. */
export async function retainDue(options: RetainOptions): Promise<number> {
  const { db, log, signal } = options
  await addSweeps(db)
  let looked = 0
  for (;;) {
    const orgId = signal?.aborted ? null : await takeSweep(db)
    if (orgId === null) return looked
    const swept = { evidenceRows: 0, sellers: 0, auditRows: 0 }
    try {
      await sweep(options, orgId, swept)
      await endSweep(db, orgId, swept, null)
    } catch (error) {
      log('an organisation could not be looked through for what was kept long enough', {
        org: orgId,
        error: String(error),
      })
      await endSweep(db, orgId, swept, String(error))
    }
    if (swept.evidenceRows + swept.sellers + swept.auditRows > 0)
      log('kept long enough, removed', { org: orgId, ...swept })
    looked += 1
  }
}

async function sweep({ db, signal }: RetainOptions, orgId: string, swept: { -readonly [K in keyof Swept]: number }) {
  const leaving = (): boolean => signal?.aborted === true
  for (const runId of await runsWithOldEvidence(db, orgId)) {
    let after: string | null = null
    do {
      const emptied = await emptyNext(db, orgId, runId, after)
      swept.evidenceRows += emptied.rows
      after = emptied.last
    } while (after !== null && !leaving())
    if (leaving()) return
    await withTxRetry(db, (tx) => markEvidenceRemoved(tx, runId))
  }
  for (let removed = 1; removed > 0 && !leaving(); ) {
    removed = await withTxRetry(db, (tx) => removeOldSellers(tx, orgId, SELLERS_AT_ONCE))
    swept.sellers += removed
  }
  for (let removed = 1; removed > 0 && !leaving(); ) {
    removed = await withTxRetry(db, (tx) => removeOldAudit(tx, orgId, AUDIT_AT_ONCE))
    swept.auditRows += removed
  }
}

function emptyNext(db: Db, orgId: string, runId: string, after: string | null): ReturnType<typeof removeOldEvidence> {
  return withTxRetry(db, (tx) => removeOldEvidence(tx, orgId, runId, after, SEARCHES_AT_ONCE))
}
