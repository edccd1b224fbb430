/**
 * Usage reports: what a provider itself counts for an account. Asking is free. A count is used in one direction only: it is
 * never less than what was charged, so a count that equals what is known to be charged leaves room for nothing else.
 */
import * as z from 'zod'
import { NOT_CHARGED } from './charges.ts'
import { tokenSource } from './ebay-token.ts'
import { failedStatus, failure, scrub, unanswered } from './failures.ts'
import { exchange } from './http.ts'
import { parseJson } from './json.ts'
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

const ebayRateLimit = z.object({
  rateLimits: z.array(
    z.object({
      apiName: z.string(),
      resources: z.array(
        z.object({
          name: z.string(),
          rates: z.array(
            z.object({
              // Newer than the published types: optional (providers/README of the wire formats).
              count: z.int().nonnegative().optional(),
              reset: z.coerce.date(),
              timeWindow: z.number().positive(),
            }),
          ),
        }),
      ),
    }),
  ),
})

/** Calls that reached the Browse API today, refused ones too. */
async function ebayUsage(account: ProviderAccount): Promise<UsageReport> {
  const token = await tokenSource(account.baseUrl, account.credentials).get(TIMEOUT_MS)
  if (!token.ok) return token
  const path = '/developer/analytics/v1_beta/rate_limit/?api_context=buy&api_name=browse'
  const body = await ask(account, `${account.baseUrl}${path}`, `Bearer ${token.value}`)
  if (!body.ok) return body
  const parsed = ebayRateLimit.safeParse(body.value)
  const rates = parsed.data?.rateLimits
    .flatMap(({ resources }) => resources)
    .find(({ name }) => name === 'buy.browse')?.rates
  const daily = rates?.find(({ timeWindow }) => timeWindow === 86_400)
  if (daily?.count === undefined) return noCount('eBay does not say how many calls it counted.')
  const since = new Date(daily.reset.getTime() - daily.timeWindow * 1000)
  return { ok: true, counts: [{ kind: 'ebay.search', count: daily.count, since }] }
}

const oxylabsStats = z.object({
  data: z.object({ sources: z.array(z.object({ title: z.string(), results_count: z.int().nonnegative() })) }),
})

/** Charged results by source since its record began. */
async function oxylabsUsage(account: ProviderAccount): Promise<UsageReport> {
  const body = await ask(account, `${account.baseUrl}/v2/stats`, basicAuthorization(account))
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

async function ask(
  account: ProviderAccount,
  url: string,
  authorization: string,
): Promise<Readonly<{ ok: true; value: unknown }> | Failure> {
  const outcome = await exchange({ method: 'GET', url, headers: { authorization }, timeoutMs: TIMEOUT_MS })
  if (outcome.kind !== 'answered') return { ...unanswered(outcome), charge: NOT_CHARGED }
  const { status, headers, text } = outcome
  if (status === 200) return { ok: true, value: parseJson(text) }
  return failedStatus(status, headers, NOT_CHARGED, scrub(text, account.credentials))
}

function noCount(message: string): Failure {
  return failure('drift', NOT_CHARGED, 'usage.schema', message)
}
