/** The figures of runs as they stand at one commit, with the event number and the moment they belong to. */
import type { Micros } from '../base/money.ts'
import type { Queryable } from '../db/client.ts'
import { THIS_MONTH } from '../ledger/month.ts'
import { type RunSnapshot, SNAPSHOT_COLUMNS, TERMINAL } from '../runs/snapshot.ts'

export type FiguresNow = Readonly<{
  /** Its `eventSeq` is the event the figures belong to. */
  run: RunSnapshot
  /** What the cap of the organisation's month leaves; null when there is none. */
  monthLeftMicros: Micros | null
  /** The database's clock when they were read. */
  at: Date
  /** True when nothing happens to the run by itself any more: it has ended and its last call is booked. */
  isOver: boolean
}>

/** The figures of these runs, and of all that are running in these organisations, in one statement. Runs that are gone are left out. */
export async function figuresNow(
  db: Queryable,
  runIds: readonly string[],
  orgIds: readonly string[],
): Promise<FiguresNow[]> {
  type Row = RunSnapshot & { at: Date; monthLeftMicros: Micros | null }
  const { rows } = await db.query<Row>({
    name: 'engine.figures_now',
    text: `
      with wanted as (
        select id from collection_runs where id = any($1)
        union select id from collection_runs where org_id = any($2) and status = 'running'
      )
      select ${SNAPSHOT_COLUMNS}, clock_timestamp() as at,
        (select case when m.month is null then s.month_cap_micros
            when m.left_micros is not null then greatest(0, m.left_micros) end
         from (select ${THIS_MONTH} as month) now
         left join collection_months m on m.org_id = collection_runs.org_id and m.month = now.month
         left join collection_settings s on s.org_id = collection_runs.org_id) as "monthLeftMicros"
      from collection_runs where id in (select id from wanted)`,
    values: [runIds, orgIds],
  })
  return rows.map(({ at, monthLeftMicros, ...run }) => ({
    run,
    monthLeftMicros,
    at,
    isOver: isOver(run),
  }))
}

/** True when nothing happens to the run by itself any more. */
export function isOver(run: Pick<RunSnapshot, 'status' | 'heldCalls'>): boolean {
  return TERMINAL.has(run.status) && run.heldCalls === 0
}
