/** The do-not-collect list of an organisation. */
import type { Queryable, Tx } from '../db/client.ts'
import { type Beside, keyset } from '../db/keyset.ts'

export type Excluded = Readonly<{
  id: string
  name: string
  note: string | null
  addedBy: string
  addedAt: Date
  /** The seller that was taken off the list with it. */
  removedSellerId: string | null
}>

const COLUMNS = `id, display_name as name, note, added_by as "addedBy", added_at as "addedAt",
  removed_seller_id as "removedSellerId"`

/** Adds a name. Null when it is on the list already. */
export async function insertExcluded(
  tx: Tx,
  input: Readonly<{
    id: string
    orgId: string
    name: string
    normalizedName: string
    note: string | null
    addedBy: string
    removedSellerId: string | null
  }>,
): Promise<Excluded | null> {
  const { rows } = await tx.query<Excluded>(
    `insert into compliance_do_not_collect (id, org_id, display_name, normalized_name, note, added_by, removed_seller_id)
     values ($1, $2, $3, $4, $5, $6, $7) on conflict (org_id, normalized_name) do nothing returning ${COLUMNS}`,
    [input.id, input.orgId, input.name, input.normalizedName, input.note, input.addedBy, input.removedSellerId],
  )
  return rows[0] ?? null
}

/** Removes an entry. Returns what it was, or null when there is none. */
export async function deleteExcluded(tx: Tx, orgId: string, id: string): Promise<Excluded | null> {
  const { rows } = await tx.query<Excluded>(
    `delete from compliance_do_not_collect where org_id = $1 and id = $2 returning ${COLUMNS}`,
    [orgId, id],
  )
  return rows[0] ?? null
}

/** The list by name, beside a row, and the first of the next page when there is one. */
export async function listExcluded(
  db: Queryable,
  orgId: string,
  query: Readonly<{ limit: number; beside: Beside | null; search?: string }>,
): Promise<(Excluded & { key: string })[]> {
  const pattern = query.search ? `%${query.search.toLowerCase().replace(/[\\%_]/g, '\\$&')}%` : null
  const values: unknown[] = [orgId, query.limit, pattern]
  const sort = { expression: 'normalized_name', type: 'text', descending: false } as const
  const page = keyset(sort, { expression: 'id', type: 'uuid' }, query.beside, values)
  const { rows } = await db.query<Excluded & { key: string }>(
    `select ${COLUMNS}, ${page.keyText} as key from compliance_do_not_collect
     where org_id = $1 and ($3::text is null or normalized_name like $3) and ${page.where}
     order by ${page.orderBy} limit $2`,
    values,
  )
  return rows
}

/** The entry of this name, or null. */
export async function findExcluded(db: Queryable, orgId: string, normalizedName: string): Promise<Excluded | null> {
  const { rows } = await db.query<Excluded>(
    `select ${COLUMNS} from compliance_do_not_collect where org_id = $1 and normalized_name = $2`,
    [orgId, normalizedName],
  )
  return rows[0] ?? null
}
