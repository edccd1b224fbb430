/** Export profiles: form and columns under a name, and how far the last export under it went. */
import type { Queryable, Tx } from '../db/client.ts'
import type { ExportColumnName } from './export-columns.ts'
import type { ExportFormat } from './export-file.ts'

export type ExportProfile = Readonly<{
  id: string
  orgId: string
  name: string
  format: ExportFormat
  columns: readonly ExportColumnName[]
  safe: boolean
  /** What is listed behind this number is new to it. */
  lastSeq: number
  lastExportAt: Date | null
  createdBy: string
  createdAt: Date
}>

const COLUMNS = `id, org_id as "orgId", name, format, columns, safe, last_seq as "lastSeq", last_export_at as "lastExportAt",
  created_by as "createdBy", created_at as "createdAt"`

/** The profiles of the organisation, by name. */
export async function listProfiles(db: Queryable, orgId: string): Promise<ExportProfile[]> {
  const { rows } = await db.query<ExportProfile>(
    `select ${COLUMNS} from seller_export_profiles where org_id = $1 order by name`,
    [orgId],
  )
  return rows
}

/** The profile with this id, or null. */
export async function readProfile(db: Queryable, orgId: string, id: string): Promise<ExportProfile | null> {
  const { rows } = await db.query<ExportProfile>(
    `select ${COLUMNS} from seller_export_profiles where org_id = $1 and id = $2`,
    [orgId, id],
  )
  return rows[0] ?? null
}

export type ProfileFields = Pick<ExportProfile, 'name' | 'format' | 'columns' | 'safe'>

/** Adds a profile. Null when the name is taken. */
export async function addProfile(
  tx: Tx,
  given: ProfileFields & Readonly<{ id: string; orgId: string; createdBy: string }>,
): Promise<ExportProfile | null> {
  const { rows } = await tx.query<ExportProfile>(
    `insert into seller_export_profiles (id, org_id, name, format, columns, safe, created_by)
     values ($1, $2, $3, $4, $5, $6, $7) on conflict (org_id, name) do nothing returning ${COLUMNS}`,
    [given.id, given.orgId, given.name, given.format, given.columns, given.safe, given.createdBy],
  )
  return rows[0] ?? null
}

/** Takes it away; false when there is none. */
export async function deleteProfile(tx: Tx, orgId: string, id: string): Promise<boolean> {
  const { rowCount } = await tx.query('delete from seller_export_profiles where org_id = $1 and id = $2', [orgId, id])
  return rowCount === 1
}

/** Notes that everything listed up to `seq` has been exported under this profile. It never goes back. */
export async function moveProfileOn(tx: Tx, orgId: string, id: string, seq: number): Promise<void> {
  await tx.query(
    `update seller_export_profiles set last_seq = greatest(last_seq, $3), last_export_at = now() where org_id = $1 and id = $2`,
    [orgId, id, seq],
  )
}
