/** How much of a day's quota a provider itself says is used: others may use the same key. Asking is free. */
import { ebayDay } from './ebay-rate-limit.ts'
import type { Failure, ProviderAccount } from './types.ts'

export type DayCount = Readonly<{
  ok: true
  /** Calls of the day, whoever made them. */
  used: number
  /** Nothing is left of it. */
  usedUp: boolean
  /** When the next day begins, by the provider's clock. */
  resetAt: Date
}>

/** Kinds of accounts that have a quota of calls a day and tell how much of it is used. */
export const ADAPTERS_WITH_DAY_COUNT: readonly ProviderAccount['adapter'][] = ['ebay_browse']

/** The count of the day; a failure has cost nothing. Throws for an account of another kind than those, and else never. */
export async function dayCount(account: ProviderAccount, timeoutMs: number): Promise<DayCount | Failure> {
  if (!ADAPTERS_WITH_DAY_COUNT.includes(account.adapter)) throw new Error(`${account.adapter} counts no calls a day`)
  const day = await ebayDay(account, timeoutMs)
  if (!day.ok) return day
  const { limit, count, remaining, reset } = day
  return { ok: true, used: count ?? Math.max(0, limit - remaining), usedUp: remaining <= 0, resetAt: reset }
}
