/** How a run went over its time, in equal steps: what a chart draws. */
import type { Queryable } from '../db/client.ts'

export type ChartStep = Readonly<{
  /** Where the step begins. */
  at: Date
  /** Booked in this step. */
  spentMicros: number
  settledCalls: number
  /** Products whose search ended in this step, and those of them that were not answered. */
  searched: number
  unanswered: number
  sellers: number
  newSellers: number
}>

export type RunChart = Readonly<{ stepSeconds: number; steps: ChartStep[] }>

/**
 * The run from its start to its end, or to now, in at most `most` steps of whole seconds; empty before it has started. What is
 * booked after the end (a late answer, a resolution) counts to the last step.
 */
export async function runChart(db: Queryable, runId: string, most: number): Promise<RunChart> {
  const { rows } = await db.query<ChartStep & { stepSeconds: number }>(
    `with span as (
       select started_at as first, greatest(coalesce(completed_at, now()), started_at) as last,
         greatest(1, ceil((extract(epoch from greatest(coalesce(completed_at, now()), started_at) - started_at) + 0.001) / $2))::int as step
       from collection_runs where id = $1 and started_at is not null
     ), steps as (
       select generate_series(0, floor(extract(epoch from last - first) / step)::int) as n, first, last, step from span
     ), calls as (
       select floor(extract(epoch from least(greatest(c.booked_at, s.first), s.last) - s.first) / s.step)::int as n,
         sum(c.charge_micros) as micros, count(*) as calls
       from collection_calls c cross join span s where c.run_id = $1 and c.state = 'settled' group by 1
     ), products as (
       select floor(extract(epoch from least(greatest(i.finished_at, s.first), s.last) - s.first) / s.step)::int as n, count(*) as ended,
         count(*) filter (where i.status = 'failed') as unanswered
       from collection_items i cross join span s
       where i.run_id = $1 and i.item_type = 'amazon_product' and i.finished_at is not null and i.status <> 'skipped' group by 1
     ), sellers as (
       select floor(extract(epoch from least(greatest(i.created_at, s.first), s.last) - s.first) / s.step)::int as n, count(*) as met,
         count(*) filter (where i.new_to_org) as fresh
       from collection_items i cross join span s where i.run_id = $1 and i.item_type = 'ebay_seller' group by 1
     )
     select t.step as "stepSeconds", t.first + t.n * t.step * interval '1 second' as at,
       coalesce(c.micros, 0)::bigint as "spentMicros", coalesce(c.calls, 0)::int as "settledCalls",
       coalesce(p.ended, 0)::int as searched, coalesce(p.unanswered, 0)::int as unanswered,
       coalesce(m.met, 0)::int as sellers, coalesce(m.fresh, 0)::int as "newSellers"
     from steps t left join calls c using (n) left join products p using (n) left join sellers m using (n) order by t.n`,
    [runId, most],
  )
  return { stepSeconds: rows[0]?.stepSeconds ?? 1, steps: rows.map(({ stepSeconds: _seconds, ...step }) => step) }
}
