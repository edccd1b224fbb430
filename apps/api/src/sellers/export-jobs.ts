/** Exports made by workers: what is asked for, who makes it, and its file in parts. Statements only. */
import type { Queryable, Tx } from '../db/client.ts'
import type { Beside } from '../db/keyset.ts'
import type { ExportColumnName } from './export-columns.ts'
import type { ExportFormat } from './export-file.ts'
import type { SellerSortKey } from './view.ts'

export type ExportState = 'queued' | 'running' | 'ready' | 'failed' | 'stopped' | 'expired'

export type ExportRow = Readonly<{
  id: string
  orgId: string
  createdBy: string
  createdAt: Date
  format: ExportFormat
  columns: readonly ExportColumnName[]
  /** The view as it was asked for, in the words of the API. */
  filter: Readonly<Record<string, unknown>>
  sort: SellerSortKey
  descending: boolean
  safe: boolean
  onlyNew: boolean
  profileId: string | null
  state: ExportState
  rows: number
  /** How many there will be; null until it is known. */
  total: number | null
  bytes: number
  parts: number
  attempt: number
  startedAt: Date | null
  endedAt: Date | null
  stopRequestedAt: Date | null
  expiresAt: Date | null
  error: string | null
}>

const COLUMNS = `id, org_id as "orgId", created_by as "createdBy", created_at as "createdAt", format, columns, filter, sort,
  descending, safe, only_new as "onlyNew", profile_id as "profileId", state, row_count as rows, total_count as total,
  byte_count as bytes, part_count as parts, attempt, started_at as "startedAt", ended_at as "endedAt",
  stop_requested_at as "stopRequestedAt", expires_at as "expiresAt", error_message as error`

export type ExportOrder = Pick<
  ExportRow,
  | 'id'
  | 'orgId'
  | 'createdBy'
  | 'format'
  | 'columns'
  | 'filter'
  | 'sort'
  | 'descending'
  | 'safe'
  | 'onlyNew'
  | 'profileId'
>

/** Asks for an export: a worker makes it from the commit on. */
export async function orderExport(tx: Tx, order: ExportOrder): Promise<ExportRow> {
  const { rows } = await tx.query<ExportRow>(
    `insert into seller_exports (id, org_id, created_by, format, columns, filter, sort, descending, safe, only_new, profile_id)
     values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11) returning ${COLUMNS}`,
    [
      order.id,
      order.orgId,
      order.createdBy,
      order.format,
      order.columns,
      JSON.stringify(order.filter),
      order.sort,
      order.descending,
      order.safe,
      order.onlyNew,
      order.profileId,
    ],
  )
  if (!rows[0]) throw new Error('the export was not written')
  return rows[0]
}

/** The export with this id, or null. */
export async function readExport(db: Queryable, orgId: string, id: string): Promise<ExportRow | null> {
  const { rows } = await db.query<ExportRow>(`select ${COLUMNS} from seller_exports where org_id = $1 and id = $2`, [
    orgId,
    id,
  ])
  return rows[0] ?? null
}

/** Up to `limit` exports of the organisation, the newest first, beside the one named: after it, or backwards before it. */
export async function listExports(
  db: Queryable,
  orgId: string,
  page: Readonly<{ limit: number; beside?: Beside }>,
): Promise<(ExportRow & { at: string })[]> {
  const back = page.beside?.back ?? false
  const direction = back ? 'asc' : 'desc'
  const { rows } = await db.query<ExportRow & { at: string }>(
    `select ${COLUMNS}, created_at::text as at from seller_exports
     where org_id = $1 and ($2::timestamptz is null or (created_at, id) ${back ? '>' : '<'} ($2::timestamptz, $3::uuid))
     order by created_at ${direction}, id ${direction} limit $4`,
    [orgId, page.beside?.key ?? null, page.beside?.id ?? null, page.limit],
  )
  return rows
}

/** Asks the worker that makes it to stop. False when it is not being made. */
export async function requestStop(tx: Tx, orgId: string, id: string): Promise<boolean> {
  const { rowCount } = await tx.query(
    `update seller_exports set stop_requested_at = now()
     where org_id = $1 and id = $2 and state in ('queued', 'running') and stop_requested_at is null`,
    [orgId, id],
  )
  return rowCount === 1
}

/** Takes the export with its file away. False when there is none. */
export async function deleteExport(tx: Tx, orgId: string, id: string): Promise<boolean> {
  const { rowCount } = await tx.query('delete from seller_exports where org_id = $1 and id = $2', [orgId, id])
  return rowCount === 1
}

/**
 * Takes the export that has waited longest, or one whose worker fell silent, for `leaseMs`; null when none waits. What a
 * former attempt wrote is gone. One asked to stop while it waited is stopped.
 */
export async function takeExport(tx: Tx, leaseMs: number): Promise<ExportRow | null> {
  await tx.query(
    `update seller_exports set state = 'stopped', ended_at = now() where state = 'queued' and stop_requested_at is not null`,
  )
  const { rows } = await tx.query<ExportRow>(
    `update seller_exports set state = 'running', started_at = now(), lease_until = now() + $1 * interval '1 ms',
       attempt = attempt + 1, row_count = 0, byte_count = 0, part_count = 0, total_count = null
     where id = (
       select id from seller_exports
       where state in ('queued', 'running') and (state = 'queued' or lease_until < now())
       order by created_at limit 1 for update skip locked
     ) returning ${COLUMNS}`,
    [leaseMs],
  )
  const taken = rows[0] ?? null
  if (taken) await tx.query('delete from seller_export_parts where export_id = $1', [taken.id])
  return taken
}

export type Progress = Readonly<{ rows: number; bytes: number; parts: number }>

/**
 * Writes a part and how far the export is; the lease begins anew. `gone`: it was deleted, or another worker has it.
 * `stop`: somebody asked to.
 */
export async function writePart(
  tx: Tx,
  job: ExportRow,
  content: Buffer,
  progress: Progress,
  leaseMs: number,
): Promise<'go on' | 'stop' | 'gone'> {
  const { rows } = await tx.query<{ stop: boolean }>(
    `update seller_exports set row_count = $3, byte_count = $4, part_count = $5, lease_until = now() + $6 * interval '1 ms'
     where id = $1 and attempt = $2 and state = 'running' returning stop_requested_at is not null as stop`,
    [job.id, job.attempt, progress.rows, progress.bytes, progress.parts, leaseMs],
  )
  const found = rows[0]
  if (!found) return 'gone'
  if (found.stop) return 'stop'
  await tx.query('insert into seller_export_parts (export_id, number, org_id, content) values ($1, $2, $3, $4)', [
    job.id,
    progress.parts - 1,
    job.orgId,
    content,
  ])
  return 'go on'
}

/** Says how many rows there will be. */
export async function writeTotal(db: Queryable, job: ExportRow, total: number): Promise<void> {
  await db.query('update seller_exports set total_count = $3 where id = $1 and attempt = $2', [
    job.id,
    job.attempt,
    total,
  ])
}

/** Ends it. The file of one that is not ready is gone. False when it was not this attempt's any more. */
export async function endExport(
  tx: Tx,
  job: ExportRow,
  end: Readonly<{ state: 'ready' | 'failed' | 'stopped'; error?: string; keepDays: number }>,
): Promise<boolean> {
  const { rowCount } = await tx.query(
    `update seller_exports set state = $3, ended_at = now(), error_message = $4, lease_until = null,
       expires_at = case when $3 = 'ready' then now() + $5 * interval '1 day' end
     where id = $1 and attempt = $2 and state = 'running'`,
    [job.id, job.attempt, end.state, end.error ?? null, end.keepDays],
  )
  if (end.state !== 'ready') await tx.query('delete from seller_export_parts where export_id = $1', [job.id])
  return rowCount === 1
}

/** One part of a file, compressed, or null behind the last. */
export async function readPart(db: Queryable, orgId: string, id: string, number: number): Promise<Buffer | null> {
  const { rows } = await db.query<{ content: Buffer }>(
    'select content from seller_export_parts where org_id = $1 and export_id = $2 and number = $3',
    [orgId, id, number],
  )
  return rows[0]?.content ?? null
}

/** Takes away the files that have been kept long enough. Returns how many. */
export async function expireExports(tx: Tx): Promise<number> {
  const { rows } = await tx.query<{ id: string }>(
    `update seller_exports set state = 'expired' where state = 'ready' and expires_at < now() returning id`,
  )
  if (rows.length > 0) {
    await tx.query('delete from seller_export_parts where export_id = any ($1::uuid[])', [rows.map(({ id }) => id)])
  }
  return rows.length
}
