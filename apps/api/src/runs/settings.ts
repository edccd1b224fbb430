/** Settings of an organisation: what a new run starts with. */
import { toJson } from '../base/json.ts'
import type { Queryable } from '../db/client.ts'

export type Settings = Readonly<{
  budgetCapCents: number
  softWarningPercent: number
  maxConcurrentRuns: number
  /** Overrides of the default filters (matching/filters.ts), as stored. */
  filters: Readonly<Record<string, unknown>>
}>

const COLUMNS = `budget_cap_cents as "budgetCapCents", soft_warning_percent as "softWarningPercent",
  max_concurrent_runs as "maxConcurrentRuns", filters`

/** The organisation's settings; the defaults are stored first when it has none yet. */
export async function readSettings(db: Queryable, orgId: string): Promise<Settings> {
  await db.query('insert into collection_settings (org_id) values ($1) on conflict (org_id) do nothing', [orgId])
  const { rows } = await db.query<Settings>(`select ${COLUMNS} from collection_settings where org_id = $1`, [orgId])
  if (!rows[0]) throw new Error(`no settings for organisation ${orgId}`)
  return rows[0]
}

/** Changes the given settings and keeps the others. Returns all. */
export async function changeSettings(db: Queryable, orgId: string, change: Partial<Settings>): Promise<Settings> {
  await readSettings(db, orgId)
  const { rows } = await db.query<Settings>(
    `update collection_settings set budget_cap_cents = coalesce($2, budget_cap_cents),
       soft_warning_percent = coalesce($3, soft_warning_percent),
       max_concurrent_runs = coalesce($4, max_concurrent_runs), filters = coalesce($5::jsonb, filters)
     where org_id = $1 returning ${COLUMNS}`,
    [
      orgId,
      change.budgetCapCents ?? null,
      change.softWarningPercent ?? null,
      change.maxConcurrentRuns ?? null,
      change.filters ? toJson(change.filters) : null,
    ],
  )
  if (!rows[0]) throw new Error(`no settings for organisation ${orgId}`)
  return rows[0]
}
