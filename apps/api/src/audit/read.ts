/** Reading the audit log. */
import type { Queryable } from '../db/client.ts'
import { type Beside, keyset } from '../db/keyset.ts'

export type AuditRow = Readonly<{
  id: number
  at: Date
  actorId: string
  /** The API key it was done with; null for a person at the screen or the command line. */
  keyId: string | null
  action: string
  target: string
  before: unknown
  after: unknown
  note: string | null
}>

export type AuditPageQuery = Readonly<{
  actorId?: string
  /** The whole action, or its beginning up to the dot: `run`, `run.paused`. */
  action?: string
  target?: string
  from?: Date
  to?: Date
  beside: Beside | null
  limit: number
}>

/** A page of the organisation's log, newest first, and the first of the next page when there is one. */
export async function auditPage(db: Queryable, orgId: string, query: AuditPageQuery): Promise<AuditRow[]> {
  const values: unknown[] = [
    orgId,
    query.actorId ?? null,
    query.action ?? null,
    query.target ?? null,
    query.from ?? null,
    query.to ?? null,
    query.limit + 1,
  ]
  const sort = { expression: 'id', type: 'bigint', descending: true } as const
  const page = keyset(sort, { expression: 'id', type: 'bigint' }, query.beside, values)
  const { rows } = await db.query<AuditRow>(
    `select id, at, actor_id as "actorId", key_id as "keyId", action, target, before, after, note from audit_log
     where org_id = $1 and ($2::uuid is null or actor_id = $2)
       and ($3::text is null or action = $3 or starts_with(action, $3 || '.'))
       and ($4::text is null or target = $4) and ($5::timestamptz is null or at >= $5)
       and ($6::timestamptz is null or at < $6) and ${page.where}
     order by ${page.orderBy} limit $7`,
    values,
  )
  return rows
}
