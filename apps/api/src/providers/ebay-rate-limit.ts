/** eBay's own count of the day: `rate_limit` of the Developer Analytics API. Free, and within a quota of its own. */
import * as z from 'zod'
import { NOT_CHARGED } from './charges.ts'
import { tokenSource } from './ebay-token.ts'
import { failure } from './failures.ts'
import { askFree } from './free-question.ts'
import type { Failure, ProviderAccount } from './types.ts'

const PATH = '/developer/analytics/v1_beta/rate_limit/?api_context=buy&api_name=browse'
const DAY_S = 86_400

const rateLimit = z.object({
  rateLimits: z.array(
    z.object({
      apiName: z.string(),
      resources: z.array(
        z.object({
          name: z.string(),
          rates: z.array(
            z.object({
              limit: z.int().nonnegative(),
              // Newer than the published types: optional (providers/README of the wire formats).
              count: z.int().nonnegative().optional(),
              remaining: z.int(),
              reset: z.coerce.date(),
              timeWindow: z.number().positive(),
            }),
          ),
        }),
      ),
    }),
  ),
})

export type EbayDay = Readonly<{
  ok: true
  limit: number
  /** Calls that reached the Browse API today, refused ones too; null when eBay does not count them one by one. */
  count: number | null
  remaining: number
  reset: Date
}>

/** What eBay counted for the Browse API today, whoever made the calls. Never throws; a failure has cost nothing. */
export async function ebayDay(account: ProviderAccount, timeoutMs: number): Promise<EbayDay | Failure> {
  const token = await tokenSource(account.baseUrl, account.credentials).get(timeoutMs)
  if (!token.ok) return token
  const body = await askFree(account, `${account.baseUrl}${PATH}`, `Bearer ${token.value}`, timeoutMs)
  if (!body.ok) return body
  const rates = rateLimit
    .safeParse(body.value)
    .data?.rateLimits.flatMap(({ resources }) => resources)
    .find(({ name }) => name === 'buy.browse')?.rates
  const daily = rates?.find(({ timeWindow }) => timeWindow === DAY_S)
  if (!daily) {
    return failure('drift', NOT_CHARGED, 'usage.schema', 'eBay does not say how many calls it counted.')
  }
  const { limit, count, remaining, reset } = daily
  return { ok: true, limit, count: count ?? null, remaining, reset }
}

/** When the day that ends at `reset` began. */
export function dayBefore(reset: Date): Date {
  return new Date(reset.getTime() - DAY_S * 1000)
}
