/** The audit log: every act of a person, written in the transaction of the act. */
import { toJson } from '../base/json.ts'
import type { Tx } from '../db/client.ts'

export type AuditEntry = Readonly<{
  orgId: string
  /** The person. */
  actorId: string
  /** As the event of the act is called where it has one: `run.paused`, `settings.changed`. */
  action: string
  /** What was acted on, as `kind:id`. */
  target: string
  /** The fields the act changed, as they were. */
  before?: Readonly<Record<string, unknown>>
  /** The same fields as they are now. */
  after?: Readonly<Record<string, unknown>>
  note?: string
}>

/** Adds one row to the audit log of the organisation. It stays for good: nobody may change or remove it. */
export async function appendAudit(tx: Tx, entry: AuditEntry): Promise<void> {
  const { orgId, actorId, action, target, before, after, note } = entry
  await tx.query(
    `insert into audit_log (org_id, actor_id, action, target, before, after, note) values ($1, $2, $3, $4, $5, $6, $7)`,
    [orgId, actorId, action, target, before ? toJson(before) : null, after ? toJson(after) : null, note ?? null],
  )
}
