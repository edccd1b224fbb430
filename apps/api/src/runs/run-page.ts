/** Runs of an organisation, a page at a time. */
import type { Queryable } from '../db/client.ts'
import { type Beside, keyset, type SortKey } from '../db/keyset.ts'
import { type RunSnapshot, type RunStatus, SNAPSHOT_COLUMNS } from './snapshot.ts'

export const RUN_SORTS = {
  number: { expression: 'number', type: 'bigint' },
  name: { expression: 'lower(name)', type: 'text' },
  started: { expression: `coalesce(started_at, '-infinity')`, type: 'timestamptz' },
  spent: { expression: 'spent_micros', type: 'bigint' },
  new_sellers: { expression: 'new_sellers', type: 'bigint' },
} as const satisfies Record<string, Omit<SortKey, 'descending'>>

export type RunSort = keyof typeof RUN_SORTS

export type RunPageQuery = Readonly<{
  statuses?: readonly RunStatus[]
  /** Part of the name, in any case. */
  search?: string
  from?: Date
  to?: Date
  category?: string
  createdBy?: string
  /** Only runs a person has to do something about. */
  needsYou?: boolean
  sort: RunSort
  descending: boolean
  beside: Beside | null
  /** So many, and one more when there is one. */
  limit: number
}>

export type RunRow = RunSnapshot & Readonly<{ sortKey: string }>

/** True for a row that waits for a person: paused by one or by its own cap, failed, or with suspect money. */
const NEEDS_YOU = `((status = 'paused' and (pause_reason = 'operator' or pause_reason = 'budget' and pause_limit = 'run'))
  or suspect_calls > 0)`

/** A page of runs and, when there is one, the first of the next page. Asked backwards, in the opposite order. */
export async function runPage(db: Queryable, orgId: string, query: RunPageQuery): Promise<RunRow[]> {
  const values: unknown[] = [
    orgId,
    query.statuses ?? null,
    query.search ? `%${query.search.replaceAll(/[\\%_]/g, '\\$&')}%` : null,
    query.from ?? null,
    query.to ?? null,
    query.category ?? null,
    query.createdBy ?? null,
    query.needsYou ?? null,
    query.limit + 1,
  ]
  const sort: SortKey = { ...RUN_SORTS[query.sort], descending: query.descending }
  const page = keyset(sort, { expression: 'id', type: 'uuid' }, query.beside, values)
  const { rows } = await db.query<RunRow>(
    `select ${SNAPSHOT_COLUMNS}, ${page.keyText} as "sortKey" from collection_runs
     where org_id = $1 and ($2::text[] is null or status = any($2)) and ($3::text is null or name ilike $3)
       and ($4::timestamptz is null or coalesce(started_at, created_at) >= $4)
       and ($5::timestamptz is null or coalesce(started_at, created_at) < $5)
       and ($6::text is null or category_ids @> array[$6]) and ($7::uuid is null or created_by = $7)
       and ($8::boolean is null or ${NEEDS_YOU} = $8) and ${page.where}
     order by ${page.orderBy} limit $9`,
    values,
  )
  return rows
}
