/**
 * Usage reports: what a provider itself counts for an account. Asking is free. A count is used in one direction only: it is
 * never less than what was charged, so a count that equals what is known to be charged leaves room for nothing else.
 */
import * as z from 'zod'
import { NOT_CHARGED } from './charges.ts'
import { dayBefore, ebayDay } from './ebay-rate-limit.ts'
import { failure } from './failures.ts'
import { askFree } from './free-question.ts'
import { basicAuthorization } from './oxylabs-query.ts'
import type { Failure, PriceKind, ProviderAccount } from './types.ts'

/** How often the provider counted something that may have been charged as this kind, since a moment; null = always. */
export type UsageCount = Readonly<{ kind: PriceKind; count: number; since: Date | null }>

export type UsageReport = Readonly<{ ok: true; counts: readonly UsageCount[] }> | Failure

const TIMEOUT_MS = 15_000

/**
 * The usage report of the account. Keepa has none: its tokens come back while one looks. Never throws; a failure has cost
 * nothing.
 */
export async function usageReport(account: ProviderAccount): Promise<UsageReport> {
  if (account.adapter === 'ebay_browse') return ebayUsage(account)
  if (account.adapter === 'oxylabs') return oxylabsUsage(account)
  return failure('rejected', NOT_CHARGED, 'usage.none', 'Keepa keeps no count of what it charged: tokens flow back.')
}

/** Calls that reached the Browse API today, refused ones too. */
async function ebayUsage(account: ProviderAccount): Promise<UsageReport> {
  const day = await ebayDay(account, TIMEOUT_MS)
  if (!day.ok) return day
  if (day.count === null) return noCount('eBay does not say how many calls it counted.')
  return { ok: true, counts: [{ kind: 'ebay.search', count: day.count, since: dayBefore(day.reset) }] }
}

const oxylabsStats = z.object({
  data: z.object({ sources: z.array(z.object({ title: z.string(), results_count: z.int().nonnegative() })) }),
})

/** Charged results by source since its record began. */
async function oxylabsUsage(account: ProviderAccount): Promise<UsageReport> {
  const body = await askFree(account, `${account.baseUrl}/v2/stats`, basicAuthorization(account), TIMEOUT_MS)
  if (!body.ok) return body
  const parsed = oxylabsStats.safeParse(body.value)
  if (!parsed.success) return noCount('The usage report of Oxylabs does not have the expected shape.')
  const count = (title: string): number =>
    parsed.data.data.sources.filter((source) => source.title === title).reduce((sum, one) => sum + one.results_count, 0)
  const kinds = ['oxylabs.amazon_bestsellers', 'oxylabs.ebay'] as const
  return {
    ok: true,
    counts: kinds.map((kind) => ({ kind, count: count(kind.slice('oxylabs.'.length)), since: null })),
  }
}

function noCount(message: string): Failure {
  return failure('drift', NOT_CHARGED, 'usage.schema', message)
}
