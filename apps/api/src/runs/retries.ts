/**
 * Retries: what an ended run left unanswered, and taking it over into a new run. The runs that go back to one first run
 * are a family: what one of them has answered, none of them asks again.
 */
import { toJson } from '../base/json.ts'
import type { Queryable, Tx } from '../db/client.ts'
import type { CategoryRef, ListStep } from '../providers/types.ts'
import type { RunStatus } from './snapshot.ts'

/** What can be taken up: outcomes of products, `rest` = what the run had not come to, `lists` = lists that failed. */
export const RETRY_REASONS = ['blocked', 'drift', 'rejected', 'rest', 'lists'] as const
export type RetryReason = (typeof RETRY_REASONS)[number]

export type RetryProduct = Readonly<{
  id: string
  why: Exclude<RetryReason, 'lists'>
  /** The rung to go on with: the furthest one the family has reached. */
  rung: number
  /** Rungs of its ladder. */
  rungs: number
}>

export type RetryCategory = Readonly<{
  why: 'lists' | 'rest'
  category: CategoryRef
  /** The step to go on with: pages the family has read are not read again. */
  step: ListStep
}>

const FAMILY = `
  select f.id, f.number from collection_runs me
  join collection_runs f on f.id = coalesce(me.retry_root_run_id, me.id)
    or f.retry_root_run_id = coalesce(me.retry_root_run_id, me.id)
  where me.id = $1`

/** True for a product row `a` that has its answer, or part of it. */
const ANSWERED = `(coalesce(a.outcome in ('found', 'none'), false) or exists (select from collection_sightings s where s.item_id = a.id))`

/** Products of the run that were left unanswered for one of `reasons`, and that no run of its family has answered since. */
export async function unansweredProducts(
  tx: Queryable,
  runId: string,
  reasons: readonly RetryReason[],
): Promise<RetryProduct[]> {
  const { rows } = await tx.query<RetryProduct>(
    `with family as materialized (${FAMILY})
     select i.id, coalesce(i.outcome, 'rest') as why, reached.rung,
       case jsonb_typeof(i.data -> 'ladder') when 'array' then jsonb_array_length(i.data -> 'ladder') else 1 end as rungs
     from collection_items i
     cross join lateral (
       select max(a.rung) as rung, bool_or(${ANSWERED}) as answered
       from family f join collection_items a
         on a.run_id = f.id and a.item_type = 'amazon_product' and a.external_id = i.external_id
     ) reached
     where i.run_id = $1 and i.item_type = 'amazon_product' and i.status in ('failed', 'pending', 'processing')
       and coalesce(i.outcome, 'rest') = any($2) and not reached.answered
     order by i.id`,
    [runId, reasons],
  )
  return rows
}

/** Category lists of the run that failed or were not read to their end, in order, and that no run of its family has read since. */
export async function unreadCategories(
  tx: Queryable,
  runId: string,
  reasons: readonly RetryReason[],
): Promise<RetryCategory[]> {
  const { rows } = await tx.query<RetryCategory>(
    `with family as materialized (${FAMILY})
     select case c.status when 'failed' then 'lists' else 'rest' end as why, c.category, latest.step
     from collection_run_categories c
     cross join lateral (
       select k.step, bool_or(k.status = 'completed') over () as done
       from family f join collection_run_categories k on k.run_id = f.id and k.category_key = c.category_key
       order by f.number desc limit 1
     ) latest
     where c.run_id = $1 and c.status <> 'completed' and not latest.done
       and case c.status when 'failed' then 'lists' else 'rest' end = any($2)
     order by c.position`,
    [runId, reasons],
  )
  return rows
}

/** Adds products of another run to this one as pending, with their data, each at its rung, in order. */
export async function copyProducts(
  tx: Tx,
  runId: string,
  products: readonly Readonly<{ id: string; from: string; rung: number }>[],
): Promise<void> {
  await tx.query(
    `insert into collection_items (id, run_id, item_type, external_id, status, data, rung)
     select n.id, $1, 'amazon_product', i.external_id, 'pending', i.data, n.rung
     from json_to_recordset($2) as n(id uuid, "from" uuid, rung smallint, place int)
     join collection_items i on i.id = n."from" order by n.place`,
    [runId, toJson(products.map((product, place) => ({ ...product, place })))],
  )
}

/** Which of `asins` another run of this run's family has answered, with the number of that run. */
export async function answeredInFamily(
  tx: Queryable,
  runId: string,
  asins: readonly string[],
): Promise<Map<string, number>> {
  const { rows } = await tx.query<{ asin: string; number: number }>(
    `with family as materialized (${FAMILY})
     select a.external_id as asin, max(f.number) as number from family f
     join collection_items a on a.run_id = f.id and a.item_type = 'amazon_product' and a.external_id = any($2)
     where f.id <> $1 and ${ANSWERED} group by 1`,
    [runId, asins],
  )
  return new Map(rows.map(({ asin, number }) => [asin, number]))
}

export type LinkedRun = Readonly<{ id: string; number: number; name: string; status: RunStatus }>

/** The run this one retries (null when none, or deleted since) and the runs that retry it, oldest first. */
export async function retryLinks(
  db: Queryable,
  runId: string,
): Promise<Readonly<{ retryOf: LinkedRun | null; retries: readonly LinkedRun[] }>> {
  const { rows } = await db.query<LinkedRun & { parent: boolean }>(
    `select r.id, r.number, r.name, r.status, r.id = me.retry_of_run_id as parent
     from collection_runs me join collection_runs r on r.id = me.retry_of_run_id or r.retry_of_run_id = me.id
     where me.id = $1 order by r.number`,
    [runId],
  )
  const linked = rows.map(({ parent, ...run }) => ({ parent, run }))
  return {
    retryOf: linked.find(({ parent }) => parent)?.run ?? null,
    retries: linked.filter(({ parent }) => !parent).map(({ run }) => run),
  }
}

/** The retry of this run's family that has not ended, or null. */
export async function openRetry(db: Queryable, runId: string): Promise<LinkedRun | null> {
  const { rows } = await db.query<LinkedRun>(
    `select r.id, r.number, r.name, r.status from collection_runs me
     join collection_runs r on r.retry_root_run_id = coalesce(me.retry_root_run_id, me.id)
     where me.id = $1 and r.status in ('pending', 'running', 'paused')`,
    [runId],
  )
  return rows[0] ?? null
}
