/** Saved views of the seller list: statements only. */
import type { Queryable, Tx } from '../db/client.ts'
import type { SellerSortKey } from './view.ts'
import type { ViewJson } from './view-json.ts'

export type SavedView = Readonly<{
  id: string
  name: string
  filter: ViewJson
  sort: SellerSortKey
  descending: boolean
  columns: readonly string[]
  revision: number
  createdBy: string
  createdAt: Date
}>

export type ViewFields = Pick<SavedView, 'name' | 'filter' | 'sort' | 'descending' | 'columns'>

const COLUMNS = `id, name, filter, sort, descending, columns, revision, created_by as "createdBy", created_at as "createdAt"`

/** The views of the organisation, by name. */
export async function listViews(db: Queryable, orgId: string): Promise<SavedView[]> {
  const { rows } = await db.query<SavedView>(
    `select ${COLUMNS} from seller_views where org_id = $1 order by name, id`,
    [orgId],
  )
  return rows
}

/** The view with this id, locked until the transaction ends, or null. */
export async function lockView(tx: Tx, orgId: string, id: string): Promise<SavedView | null> {
  const { rows } = await tx.query<SavedView>(
    `select ${COLUMNS} from seller_views where org_id = $1 and id = $2 for no key update`,
    [orgId, id],
  )
  return rows[0] ?? null
}

/** True when another view of the organisation has this name. */
export async function isNameTaken(tx: Tx, orgId: string, name: string, except: string | null): Promise<boolean> {
  const { rowCount } = await tx.query(
    'select from seller_views where org_id = $1 and name = $2 and id is distinct from $3::uuid',
    [orgId, name, except],
  )
  return (rowCount ?? 0) > 0
}

/** Adds a view. */
export async function addView(
  tx: Tx,
  given: ViewFields & Readonly<{ id: string; orgId: string; createdBy: string }>,
): Promise<SavedView> {
  const { rows } = await tx.query<SavedView>(
    `insert into seller_views (id, org_id, name, filter, sort, descending, columns, created_by)
     values ($1, $2, $3, $4, $5, $6, $7, $8) returning ${COLUMNS}`,
    [
      given.id,
      given.orgId,
      given.name,
      JSON.stringify(given.filter),
      given.sort,
      given.descending,
      given.columns,
      given.createdBy,
    ],
  )
  if (!rows[0]) throw new Error('the view was not written')
  return rows[0]
}

/** Writes its fields and raises its revision. */
export async function writeView(tx: Tx, id: string, fields: ViewFields): Promise<SavedView> {
  const { rows } = await tx.query<SavedView>(
    `update seller_views set name = $2, filter = $3, sort = $4, descending = $5, columns = $6, revision = revision + 1
     where id = $1 returning ${COLUMNS}`,
    [id, fields.name, JSON.stringify(fields.filter), fields.sort, fields.descending, fields.columns],
  )
  if (!rows[0]) throw new Error('the view is gone')
  return rows[0]
}

/** Takes it away; false when there is none. */
export async function deleteView(tx: Tx, orgId: string, id: string): Promise<boolean> {
  const { rowCount } = await tx.query('delete from seller_views where org_id = $1 and id = $2', [orgId, id])
  return rowCount === 1
}
