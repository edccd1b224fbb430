/** Finding runs, for people. */
import { AppError } from '../base/errors.ts'
import type { Queryable } from '../db/client.ts'
import { type RunSnapshot, type RunStatus, SNAPSHOT_COLUMNS } from './snapshot.ts'

/** Runs of the organisation, newest first, at most `limit`; only those in `statuses` when given. */
export async function listRuns(
  db: Queryable,
  orgId: string,
  options: Readonly<{ statuses?: readonly RunStatus[]; limit?: number }> = {},
): Promise<RunSnapshot[]> {
  const { rows } = await db.query<RunSnapshot>(
    `select ${SNAPSHOT_COLUMNS} from collection_runs
     where org_id = $1 and ($2::text[] is null or status = any($2)) order by number desc limit $3`,
    [orgId, options.statuses ?? null, options.limit ?? 50],
  )
  return rows
}

/** The organisation's run with this number ("12", "#12"), id, or "last". Throws AppError `run.not_found`. */
export async function findRun(db: Queryable, orgId: string, ref: string): Promise<RunSnapshot> {
  const text = ref.trim().replace(/^#/, '')
  const isNumber = /^\d{1,15}$/.test(text)
  const isId = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/i.test(text)
  if (isNumber || isId || text === 'last') {
    const { rows } = await db.query<RunSnapshot>(
      `select ${SNAPSHOT_COLUMNS} from collection_runs
       where org_id = $1 and ($2::bigint is null or number = $2) and ($3::uuid is null or id = $3)
       order by number desc limit 1`,
      [orgId, isNumber ? Number(text) : null, isId ? text : null],
    )
    if (rows[0]) return rows[0]
  }
  throw new AppError('run.not_found', `There is no run "${ref}".`, { hint: 'List them with gleaner runs.' })
}

export type CategoryOfRun = Readonly<{
  key: string
  name: string
  status: 'pending' | 'processing' | 'completed' | 'failed'
  /** Products this list named, and how many of them are searched by now. */
  products: number
  searched: number
  /** Sellers new to the organisation that products of this list brought first. */
  newSellers: number
  costMicros: number
  errorMessage: string | null
}>

/** The categories of a run, in the order they were chosen. A product in two of them counts in both. */
export async function categoriesOfRun(db: Queryable, runId: string): Promise<CategoryOfRun[]> {
  const { rows } = await db.query<CategoryOfRun>(
    `with brought as (
       select parent_id, count(*) as sellers from collection_items
       where run_id = $1 and item_type = 'ebay_seller' and new_to_org group by parent_id
     ), listed as (
       select p.category_id, count(*) filter (where i.finished_at is not null) as searched,
         coalesce(sum(b.sellers), 0) as sellers, coalesce(sum(i.cost_micros), 0) as cost
       from collection_category_products p
       join collection_run_categories c on c.id = p.category_id and c.run_id = $1
       join collection_items i on i.id = p.item_id
       left join brought b on b.parent_id = i.id
       group by p.category_id
     )
     select c.category_key as key, c.name, c.status, c.product_count as products,
       coalesce(l.searched, 0)::int as searched, coalesce(l.sellers, 0)::int as "newSellers",
       coalesce(l.cost, 0)::bigint as "costMicros", c.error_message as "errorMessage"
     from collection_run_categories c left join listed l on l.category_id = c.id
     where c.run_id = $1 order by c.position`,
    [runId],
  )
  return rows
}

export type FailureGroup = Readonly<{ outcome: string; code: string; message: string; count: number }>

/** Why products of the run were not answered or not asked, grouped, most frequent first. */
export async function failuresOfRun(db: Queryable, runId: string): Promise<FailureGroup[]> {
  const { rows } = await db.query<FailureGroup>(
    `select outcome, coalesce(error_code, '') as code, coalesce(min(error_message), '') as message,
       count(*)::int as count
     from collection_items where run_id = $1 and status in ('failed', 'skipped')
     group by outcome, error_code order by count(*) desc, outcome`,
    [runId],
  )
  return rows
}
