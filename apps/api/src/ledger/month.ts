/** The money of an organisation's calendar month (UTC): its own cap stands beside those of the runs. */
import type { Micros } from '../base/money.ts'
import type { Queryable } from '../db/client.ts'

export type Month = Readonly<{
  /** Null when the organisation has no month cap. */
  capMicros: Micros | null
  spentMicros: Micros
  heldMicros: Micros
  suspectMicros: Micros
  /** Of calls that were deleted with their run: it still counts. */
  deletedMicros: Micros
  /** What the cap leaves, below zero after a breach; null without a cap. */
  leftMicros: Micros | null
  /** Calls of the month in flight, over all runs. */
  heldCalls: number
  /** First moment of the next month. */
  startsAnewAt: Date
}>

/** The month it is by the database's clock. */
export const THIS_MONTH = `date_trunc('month', clock_timestamp() at time zone 'UTC')::date`

/** The organisation's month as it stands; locks nothing. */
export async function monthOf(db: Queryable, orgId: string): Promise<Month> {
  const { rows } = await db.query<Month>({
    name: 'ledger.month_of',
    text: `
      select case when m.month is null then s.month_cap_micros else m.cap_micros end as "capMicros",
        coalesce(m.spent_micros, 0) as "spentMicros", coalesce(m.held_micros, 0) as "heldMicros",
        coalesce(m.suspect_micros, 0) as "suspectMicros", coalesce(m.deleted_micros, 0) as "deletedMicros",
        case when m.month is null then s.month_cap_micros else m.left_micros end as "leftMicros",
        coalesce(m.held_calls, 0) as "heldCalls",
        (now.month + interval '1 month') at time zone 'UTC' as "startsAnewAt"
      from (select ${THIS_MONTH} as month) now
      left join collection_months m on m.org_id = $1 and m.month = now.month
      left join collection_settings s on s.org_id = $1`,
    values: [orgId],
  })
  const month = rows[0]
  if (!month) throw new Error(`no month for organisation ${orgId}`)
  return month
}

/** What counts against the cap of the month. */
export function usedOfMonth(month: Month): Micros {
  return (month.spentMicros + month.heldMicros + month.suspectMicros + month.deletedMicros) as Micros
}

/** What the month cap leaves, never below zero; null when there is none. */
export function leftOfMonth(month: Month): Micros | null {
  return month.leftMicros === null ? null : (Math.max(0, month.leftMicros) as Micros)
}

/** When the next month begins, as "1 December": the month is one of UTC, whoever reads it. */
export function startsAnewOn({ startsAnewAt }: Month): string {
  return new Intl.DateTimeFormat('en-GB', { day: 'numeric', month: 'long', timeZone: 'UTC' }).format(startsAnewAt)
}
