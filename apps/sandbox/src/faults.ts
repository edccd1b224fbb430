/** Faults on demand: rules say which requests they hit, and what happens to those. */
import { z } from 'zod'
import { hash53 } from './random.ts'

export const FAULT_KINDS = [
  // Refused before anything is processed: never charged.
  'throttled',
  'quota',
  'unauthorized',
  'forbidden',
  'payment_required',
  'bad_request',
  'server_error',
  'reset_before',
  'hang',
  // Processed and charged; the answer suffers.
  'slow',
  'reset_after',
  'hang_after',
  'truncated',
  'garbage',
  'empty_body',
  'drip',
  // Processed; what the answer says is not what it should say.
  'captcha',
  'drift_html',
  'drift_json',
  'no_seller_rows',
  'old_layout',
  'fewer_words',
  'ignored_filters',
  'ignored_filters_silent',
  'price_above_list',
  'renamed_sellers',
  'ids_as_usernames',
  'anonymous_sellers',
  'short_pages',
  'target_status',
  'parse_status',
  'top_level_asins',
  'keepa_error_200',
] as const
export type FaultKind = (typeof FAULT_KINDS)[number]

export const FaultRuleSchema = z.strictObject({
  provider: z.enum(['ebay', 'oxylabs', 'keepa', '*']).default('*'),
  kind: z.enum(FAULT_KINDS),
  /**
   * `search`, `item`, `token`, `rate_limit` (eBay), `amazon_bestsellers`, `ebay`, `stats` (Oxylabs), `bestsellers`, `product`,
   * `category`, `token` (Keepa), or `*`. Left out: every operation that can cost something, and `item`.
   */
  operation: z.string().optional(),
  /** All that are given must hold. Counted over the requests this rule could hit. */
  when: z
    .strictObject({
      /** Every n-th. */
      every: z.int().min(1).optional(),
      /** Seeded: the same sequence of requests is hit each time. */
      probability: z.number().min(0).max(1).optional(),
      /** Only the n-th. */
      nth: z.int().min(1).optional(),
      /** Only the first n. */
      first: z.int().min(1).optional(),
      /** Only those after the first n. */
      after: z.int().min(0).optional(),
      /** Only requests whose decoded path, query or body contains this (any case). */
      matching: z.string().optional(),
    })
    .prefault({}),
  /** At most this many hits. */
  times: z.int().min(1).optional(),
  /** slow, drip, hang: how long, ms (a hang without it waits until released or closed). */
  ms: z.number().min(0).optional(),
  /** server_error: 500, 502, 503 or 504; target_status: the status of the target page (404, 612, 613, 5xx). */
  status: z.int().optional(),
  /** throttled: seconds for Retry-After; left out, no such header. */
  retryAfterS: z.int().min(0).optional(),
  /** bad_request: the eBay error id; parse_status: the code. */
  code: z.int().optional(),
  /** price_above_list: the charge is this many times the list price. */
  factor: z.number().min(1).default(2),
  /** target_status: only this page of a job of several. */
  page: z.int().min(1).optional(),
})

export type FaultRule = z.infer<typeof FaultRuleSchema>
export type FaultInput = z.input<typeof FaultRuleSchema>

/** The faults that hit one request, at most one rule per kind. */
export type Hits = ReadonlyMap<FaultKind, FaultRule>

export type FaultDesk = Readonly<{
  set: (rules: readonly FaultRule[]) => void
  add: (rules: readonly FaultRule[]) => void
  rules: () => readonly (FaultRule & { seen: number; hits: number })[]
  decide: (provider: string, operation: string, text: () => string) => Hits
}>

const FREE_OPERATIONS: ReadonlySet<string> = new Set(['token', 'rate_limit', 'category', 'stats'])
const NO_HITS: Hits = new Map()

export function createFaultDesk(seed: number): FaultDesk {
  let desk: { rule: FaultRule; seen: number; hits: number; number: number }[] = []
  let added = 0

  const add = (rules: readonly FaultRule[]): void => {
    desk = [...desk, ...rules.map((rule) => ({ rule, seen: 0, hits: 0, number: ++added }))]
  }

  const decide = (provider: string, operation: string, text: () => string): Hits => {
    if (desk.length === 0) return NO_HITS
    const hits = new Map<FaultKind, FaultRule>()
    for (const entry of desk) {
      const { rule } = entry
      if (!concerns(rule, provider, operation, text)) continue
      entry.seen++
      if (rule.times !== undefined && entry.hits >= rule.times) continue
      if (!strikes(rule, entry.seen, `${seed}|fault|${entry.number}|${entry.seen}`)) continue
      entry.hits++
      if (!hits.has(rule.kind)) hits.set(rule.kind, rule)
    }
    return hits
  }

  return {
    set: (rules) => {
      desk = []
      added = 0
      add(rules)
    },
    add,
    rules: () => desk.map(({ rule, seen, hits }) => ({ ...rule, seen, hits })),
    decide,
  }
}

function concerns(rule: FaultRule, provider: string, operation: string, text: () => string): boolean {
  if (rule.provider !== '*' && rule.provider !== provider) return false
  if (rule.operation === undefined ? FREE_OPERATIONS.has(operation) : !['*', operation].includes(rule.operation)) {
    return false
  }
  return rule.when.matching === undefined || text().toLowerCase().includes(rule.when.matching.toLowerCase())
}

function strikes(rule: FaultRule, seen: number, dice: string): boolean {
  const { every, probability, nth, first, after } = rule.when
  if (every !== undefined && seen % every !== 0) return false
  if (nth !== undefined && seen !== nth) return false
  if (first !== undefined && seen > first) return false
  if (after !== undefined && seen <= after) return false
  return probability === undefined || (hash53(dice) % 1_000_000) / 1_000_000 < probability
}
