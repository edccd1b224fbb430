/** Telling an act on a run: its event, and a row in the audit log when a person did it, in the transaction of the act. */
import { appendAudit } from '../audit/append.ts'
import type { Tx } from '../db/client.ts'
import { appendEvents, type NewEvent } from '../events/append.ts'
import { type RunSnapshot, runSnapshot } from '../runs/snapshot.ts'

/** What an act can change about a run. */
const FIELDS = ['status', 'pauseReason', 'capMicros', 'spentMicros', 'suspectMicros', 'contradictedMicros'] as const

/**
 * Appends the event of an act that was just carried out. When it names a person, writes the act to the audit log: what of
 * the run it changed, from what (`before`) to what, and what the event says. Returns the run as it stands now.
 */
export async function tell(tx: Tx, event: NewEvent, before: RunSnapshot, note?: string): Promise<RunSnapshot> {
  await appendEvents(tx, before.id, [event])
  const after = (await runSnapshot(tx, before.id)) ?? before
  if (!event.actorId) return after
  const changed = FIELDS.filter((field) => before[field] !== after[field])
  const fields = (run: RunSnapshot) => Object.fromEntries(changed.map((field) => [field, run[field]]))
  await appendAudit(tx, {
    orgId: after.orgId,
    actorId: event.actorId,
    action: event.type,
    target: `run:${after.id}`,
    before: fields(before),
    after: { ...event.data, ...fields(after) },
    ...(note === undefined ? {} : { note }),
  })
  return after
}

/** The same for a run that was just inserted: there is nothing before it, and its event says what it is. */
export async function tellCreated(tx: Tx, runId: string, event: NewEvent): Promise<RunSnapshot> {
  const run = await runSnapshot(tx, runId)
  if (!run) throw new Error(`run ${runId} was inserted and is not found`)
  return tell(tx, event, run)
}
