/** Settings of an organisation: what a new run starts with. */
import { toJson } from '../base/json.ts'
import type { Micros } from '../base/money.ts'
import type { Queryable } from '../db/client.ts'

export type Settings = Readonly<{
  budgetCapCents: number
  softWarningPercent: number
  maxConcurrentRuns: number
  /** The most all runs together may spend in a calendar month (UTC), micro-dollars; null = no such cap. */
  monthCapMicros: Micros | null
  /** Overrides of the default filters (matching/filters.ts), as stored. */
  filters: Readonly<Record<string, unknown>>
  /** How long what providers showed is kept, days after it was seen. */
  keepEvidenceDays: number
  /** How long a seller is kept, days after it was last seen. */
  keepSellersDays: number
  keepExportsDays: number
  keepAuditDays: number
}>

const COLUMNS = `budget_cap_cents as "budgetCapCents", soft_warning_percent as "softWarningPercent",
  max_concurrent_runs as "maxConcurrentRuns", month_cap_micros as "monthCapMicros", filters,
  keep_evidence_days as "keepEvidenceDays", keep_sellers_days as "keepSellersDays",
  keep_exports_days as "keepExportsDays", keep_audit_days as "keepAuditDays"`

/** The organisation's settings; the defaults are stored first when it has none yet. */
export async function readSettings(db: Queryable, orgId: string): Promise<Settings> {
  await db.query('insert into collection_settings (org_id) values ($1) on conflict (org_id) do nothing', [orgId])
  const { rows } = await db.query<Settings>(`select ${COLUMNS} from collection_settings where org_id = $1`, [orgId])
  if (!rows[0]) throw new Error(`no settings for organisation ${orgId}`)
  return rows[0]
}

/**
 * Changes the given settings and keeps the others. Returns all. A month cap below what is spent, held or suspect this
 * month breaks the constraint `collection_months_within_cap`.
 */
export async function changeSettings(db: Queryable, orgId: string, change: Partial<Settings>): Promise<Settings> {
  await readSettings(db, orgId)
  const { rows } = await db.query<Settings>(
    `update collection_settings set budget_cap_cents = coalesce($2, budget_cap_cents),
       soft_warning_percent = coalesce($3, soft_warning_percent),
       max_concurrent_runs = coalesce($4, max_concurrent_runs), filters = coalesce($5::jsonb, filters),
       month_cap_micros = case when $6 then $7::bigint else month_cap_micros end,
       keep_evidence_days = coalesce($8, keep_evidence_days), keep_sellers_days = coalesce($9, keep_sellers_days),
       keep_exports_days = coalesce($10, keep_exports_days), keep_audit_days = coalesce($11, keep_audit_days)
     where org_id = $1 returning ${COLUMNS}`,
    [
      orgId,
      change.budgetCapCents ?? null,
      change.softWarningPercent ?? null,
      change.maxConcurrentRuns ?? null,
      change.filters ? toJson(change.filters) : null,
      change.monthCapMicros !== undefined,
      change.monthCapMicros ?? null,
      change.keepEvidenceDays ?? null,
      change.keepSellersDays ?? null,
      change.keepExportsDays ?? null,
      change.keepAuditDays ?? null,
    ],
  )
  if (!rows[0]) throw new Error(`no settings for organisation ${orgId}`)
  return rows[0]
}
