/**
 * Erasing: every trace of a seller, in all organisations or in one. The first step puts up the tombstones under the lock that
 * bookings share, so that nothing new comes; then each kind of trace is taken out in small transactions. Whoever goes on with
 * it after a crash finds what is left by looking, so every step may be done again. ADR 0023.
 */
import { appendAudit } from '../audit/append.ts'
import type { Secrets } from '../base/seal.ts'
import {
  countErased,
  type Erasure,
  finishErasure,
  keepSubject,
  noteRowsGone,
  openSubject,
  postponeErasure,
  takeErasure,
} from '../compliance/erasures.ts'
import { addTombstones, raiseLeftOut } from '../compliance/left-out.ts'
import { marksOf, type Subject } from '../compliance/subject.ts'
import {
  type Changed,
  deleteSellers,
  eraseFromAnswers,
  eraseFromAudit,
  eraseFromDoNotCollect,
  eraseFromEvidence,
  eraseFromExports,
  eraseFromItems,
  eraseFromMessages,
  eraseFromNotes,
  withRows,
} from '../compliance/traces.ts'
import { type Db, type Tx, withTxRetry } from '../db/client.ts'

export type EraseOptions = Readonly<{
  db: Db
  log: (message: string, facts?: Record<string, unknown>) => void
  /** Called between the steps; for tests that end the process there. */
  onStep?: (step: string) => void | Promise<void>
}>

/** Searches whose evidence is rewritten, or items renamed, in one transaction: some tens of milliseconds. */
const ROWS_AT_ONCE = 200
const BACKOFF_MS = 2_000
/** An erasure has an hour: it is never left alone for long. */
const BACKOFF_MOST_MS = 120_000
/** In the audit log, where nobody of the organisation asked for it. */
export const EBAY_ACTOR = '00000000-0000-0000-0000-000000000000'

/** Carries out every erasure that is due. Returns how many are done now. Without the installation's key it leaves them to others. */
export async function eraseDue(options: EraseOptions): Promise<number> {
  const { db, log } = options
  const { secrets } = db
  if (!secrets) return 0
  let done = 0
  for (let next = await takeErasure(db); next !== null; next = await takeErasure(db)) {
    const erasure = next
    try {
      await erase(options, secrets, erasure)
      done += 1
    } catch (error) {
      const waitMs = Math.min(BACKOFF_MOST_MS, BACKOFF_MS * 2 ** Math.min(erasure.attempts - 1, 6))
      // The error may quote the row it failed at.
      const trouble = error instanceof Error && 'code' in error ? `${error.name} ${String(error.code)}` : 'a fault'
      log('an erasure could not be carried out, it is tried again', { erasure: erasure.id, trouble })
      await postponeErasure(db, erasure.id, trouble, waitMs)
    }
  }
  return done
}

async function erase(options: EraseOptions, secrets: Secrets, erasure: Erasure): Promise<void> {
  const { db, onStep = () => {} } = options
  const subject = await ban(db, secrets, erasure)
  if (subject === null) return
  await onStep('banned')
  // What somebody did meanwhile (an audit row, a name on a list) is met by one more look.
  for (let found = true; found; ) found = await takeOut(options, erasure, subject)
  await onStep('erased')
  await withTxRetry(db, (tx) => conclude(tx, erasure))
}

/**
 * Puts up the tombstones and finds out under which names and ids the person is known. When it is committed, no booking
 * records the seller any more, and none that did is still under way. Null when somebody else has finished it.
 */
function ban(db: Db, secrets: Secrets, erasure: Erasure): Promise<Subject | null> {
  return withTxRetry(db, async (tx) => {
    await raiseLeftOut(tx)
    const subject = await withRows(tx, erasure.orgId, openSubject(erasure, secrets))
    await addTombstones(tx, marksOf(subject, secrets), erasure.orgId)
    return (await keepSubject(tx, secrets, erasure.id, subject)) ? subject : null
  })
}

type Step = Readonly<{ name: string; work: (tx: Tx) => Promise<Changed> }>

/** Takes out everything there is, kind by kind, so that the invariants hold after each. True when there was something. */
async function takeOut(options: EraseOptions, erasure: Erasure, subject: Subject): Promise<boolean> {
  const { db, onStep = () => {} } = options
  let found = false
  for (const { name, work } of stepsFor(erasure, subject)) {
    for (;;) {
      const changed = await withTxRetry(db, async (tx) => {
        const rows = await work(tx)
        for (const { orgId, rows: count } of rows) await countErased(tx, erasure.id, orgId, name, count)
        return rows.length > 0
      })
      if (!changed) break
      found = true
      await onStep(name)
    }
  }
  return found
}

function stepsFor({ id, orgId }: Erasure, subject: Subject): readonly Step[] {
  const { names, sellers } = subject
  return [
    { name: 'evidence', work: (tx) => eraseFromEvidence(tx, sellers, ROWS_AT_ONCE) },
    // Before the items: a seller that is there is held against its items (times_seen).
    { name: 'sellers', work: (tx) => deleteSellers(tx, sellers) },
    {
      name: 'items',
      work: async (tx) => {
        const changed = await eraseFromItems(tx, names, orgId, ROWS_AT_ONCE)
        await eraseFromMessages(
          tx,
          changed.map(({ runId }) => runId),
          names,
        )
        return changed
      },
    },
    {
      name: 'exports',
      work: async (tx) => {
        const gone = await noteRowsGone(tx, id)
        return gone ? eraseFromExports(tx, gone.orgIds, gone.goneAt) : []
      },
    },
    {
      name: 'notes',
      work: async (tx) => {
        await eraseFromAnswers(tx, names)
        return eraseFromNotes(tx, names, orgId)
      },
    },
    { name: 'doNotCollect', work: (tx) => eraseFromDoNotCollect(tx, names, orgId) },
    { name: 'audit', work: (tx) => eraseFromAudit(tx, subject, orgId) },
  ]
}

/** Marks it done, and tells every organisation in which something was erased, without saying who. */
async function conclude(tx: Tx, erasure: Erasure): Promise<void> {
  const counts = await finishErasure(tx, erasure.id)
  if (counts === null) return
  const concerned = [...Object.keys(counts), ...(erasure.orgId === null ? [] : [erasure.orgId])]
  // One that was deleted meanwhile took everything with it.
  const { rows: orgs } = await tx.query<{ id: string }>('select id from orgs where id = any($1::uuid[])', [concerned])
  for (const { id: orgId } of orgs) {
    await appendAudit(tx, {
      orgId,
      actorId: erasure.requestedBy ?? EBAY_ACTOR,
      action: 'seller.erased',
      target: `erasure:${erasure.id}`,
      after: { source: erasure.source, ...counts[orgId] },
    })
  }
}
