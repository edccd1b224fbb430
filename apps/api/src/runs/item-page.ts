/** Items of a run, a page at a time. */
import type { Queryable } from '../db/client.ts'
import { type Beside, keyset } from '../db/keyset.ts'

export type ItemRow = Readonly<{
  id: string
  type: 'amazon_product' | 'ebay_seller'
  externalId: string
  status: string
  outcome: string | null
  rung: number
  attempt: number
  title: string | null
  priceCents: number | null
  errorCode: string | null
  errorMessage: string | null
  costMicros: number
  newToOrg: boolean
  parentId: string | null
  createdAt: Date
  finishedAt: Date | null
}>

export type ItemPageQuery = Readonly<{
  type: ItemRow['type']
  status?: string
  outcome?: string
  errorCode?: string
  /** Beginning of the ASIN, or of the seller's normalised name. */
  begins?: string
  beside: Beside | null
  limit: number
}>

/** A page of items of one type, by external id, and the first of the next page when there is one. */
export async function itemPage(db: Queryable, runId: string, query: ItemPageQuery): Promise<ItemRow[]> {
  const values: unknown[] = [
    runId,
    query.type,
    query.status ?? null,
    query.outcome ?? null,
    query.errorCode ?? null,
    query.begins ?? null,
    query.limit + 1,
  ]
  const sort = { expression: 'external_id', type: 'text', descending: false } as const
  const page = keyset(sort, { expression: 'id', type: 'uuid' }, query.beside, values)
  const { rows } = await db.query<ItemRow>(
    `select id, item_type as type, external_id as "externalId", status, outcome, rung, attempt, data ->> 'title' as title,
       (data ->> 'priceCents')::int as "priceCents", error_code as "errorCode", error_message as "errorMessage",
       cost_micros as "costMicros", new_to_org as "newToOrg", parent_id as "parentId", created_at as "createdAt",
       finished_at as "finishedAt"
     from collection_items
     where run_id = $1 and item_type = $2 and ($3::text is null or status = $3) and ($4::text is null or outcome = $4)
       and ($5::text is null or error_code = $5) and ($6::text is null or starts_with(external_id, $6)) and ${page.where}
     order by ${page.orderBy} limit $7`,
    values,
  )
  return rows
}
