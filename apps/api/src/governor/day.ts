/** The day's count of an account, corrected by what its provider counted: others may use the same key. */
import type { Queryable, Tx } from '../db/client.ts'

/** A provider's count is read at most so often for an account, by the whole fleet. */
const READ_EVERY = `interval '5 minutes'`

/**
 * Takes the reading of one of these accounts that is due: it has a quota of calls a day, a running run uses it, and nobody
 * in the fleet has read it for five minutes. Returns the account's id, or null when none is due.
 */
export async function takeDueReading(
  db: Queryable,
  accountIds: readonly string[],
  adapters: readonly string[],
): Promise<string | null> {
  const { rows } = await db.query<{ accountId: string }>(
    `update provider_governors set day_read_at = now()
     where account_id = (
       select g.account_id from provider_governors g join provider_accounts a on a.id = g.account_id
       where g.account_id = any ($1) and a.adapter = any ($2) and a.calls_per_day is not null
         and g.day_read_at < now() - ${READ_EVERY} and exists (select from collection_runs r
           where r.status = 'running' and (r.search_account_id = g.account_id or r.list_account_id = g.account_id))
       order by g.day_read_at limit 1 for update of g skip locked)
     returning account_id as "accountId"`,
    [accountIds, adapters],
  )
  return rows[0]?.accountId ?? null
}

export type ProviderDay = Readonly<{ used: number; usedUp: boolean; resetAt: Date }>

/** A reset further away than this is not that of the day: an answer nobody should go by. */
const DAY_MOST = `interval '26 hours'`
/** A reset so much later than that of our own count is that of the next day: what was counted before is over. */
const NEXT_DAY = `interval '12 hours'`

/**
 * Lets the account's count follow the provider's: upward only, because calls claimed a moment ago have not reached it. The
 * day ends when the provider says; one that is used up bars the account until then. A report of a day that is over changes
 * nothing. Returns the count as it stands, or null when nothing was changed.
 */
export async function correctDay(tx: Tx, accountId: string, day: ProviderDay): Promise<number | null> {
  const { rows } = await tx.query<{ dayCalls: number }>(
    `update provider_governors g set
       day_calls = case when g.day_ends_at > clock_timestamp() and $3 < g.day_ends_at + ${NEXT_DAY}
         then greatest(g.day_calls, $2) else $2 end,
       day_ends_at = $3,
       quota_until = case when $4 then greatest(g.quota_until, $3) else g.quota_until end,
       trouble = case when $4 then 'The provider says that the calls of the day are used.' else g.trouble end,
       trouble_at = case when $4 then clock_timestamp() else g.trouble_at end
     where g.account_id = $1 and $3 > clock_timestamp() and $3 < clock_timestamp() + ${DAY_MOST}
     returning g.day_calls as "dayCalls"`,
    [accountId, day.used, day.resetAt, day.usedUp],
  )
  return rows[0]?.dayCalls ?? null
}
