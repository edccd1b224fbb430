/** Everything that can be configured, with its default. Checked once, at the door. */
import { z } from 'zod'
import { FaultRuleSchema } from './faults.ts'

const micros = z.int().min(0)

export const ConfigSchema = z.strictObject({
  /** Micro-dollars a unit. */
  prices: z
    .strictObject({
      'ebay.search': micros.default(5000),
      'oxylabs.amazon_bestsellers': micros.default(5000),
      'oxylabs.ebay': micros.default(6000),
      'keepa.token': micros.default(60),
    })
    .prefault({}),
  latency: z.strictObject({ ms: z.number().min(0).default(0), jitterMs: z.number().min(0).default(0) }).prefault({}),
  ebay: z
    .strictObject({
      clientId: z.string().default('sandbox-client'),
      clientSecret: z.string().default('sandbox-secret'),
      /** Real accounts have 5,000. */
      dailyQuota: z.int().min(0).default(1_000_000),
      tokenLifeS: z.int().min(1).default(7200),
      /** Searches and items in any second, counted from each one back; more are refused with 429 and counted as passed. */
      ratePerSecond: z.int().min(1).default(1_000_000),
      /** Real accounts have 1,000 mints a day. */
      mintLimit: z.int().min(1).default(1_000_000),
    })
    .prefault({}),
  oxylabs: z
    .strictObject({
      user: z.string().default('sandbox-user'),
      password: z.string().default('sandbox-password'),
      /** Queries in any second, counted from each one back; more are refused with 429 and counted as passed. */
      ratePerSecond: z.int().min(1).default(1_000_000),
      ebayLayout: z.enum(['s-card', 's-item']).default('s-card'),
      /** Rows of one best-seller page: 50, or 30 as Amazon's first HTML has. */
      pageRows: z.union([z.literal(50), z.literal(30)]).default(50),
    })
    .prefault({}),
  keepa: z
    .strictObject({
      key: z.string().default('k'.repeat(64)),
      /** Tokens a minute. */
      refillRate: z.int().min(1).default(2000),
      /** Most tokens the bucket holds; null = what 60 minutes refill. */
      capacity: z.int().min(1).nullable().default(null),
      /** How often a refill is added, ms. Keepa: a minute. */
      tickMs: z.int().min(10).default(60_000),
      /** Send `asinList` at the top level instead of inside `bestSellersList`. */
      topLevelAsinList: z.boolean().default(false),
    })
    .prefault({}),
  faults: z.array(FaultRuleSchema).default([]),
})

export type Config = z.infer<typeof ConfigSchema>
export type ConfigInput = z.input<typeof ConfigSchema>

/** Throws an Error whose message names each wrong field. */
export function readConfig(input: unknown): Config {
  const parsed = ConfigSchema.safeParse(input)
  if (!parsed.success) throw new Error(z.prettifyError(parsed.error))
  return parsed.data
}
