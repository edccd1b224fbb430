/** The routes under /sandbox: billing, faults, truth, uploads. For tests and people, never for adapters. */
import { z } from 'zod'
import type { Billing } from './billing.ts'
import type { Config } from './config.ts'
import type { CounterStore } from './counters.ts'
import type { Ebay } from './ebay/ebay.ts'
import { KeySchema, NoticeSchema } from './ebay/notifications.ts'
import { json, type Reply } from './exchange.ts'
import { type FaultDesk, type FaultRule, FaultRuleSchema } from './faults.ts'
import type { Oxylabs } from './oxylabs/oxylabs.ts'
import type { Stats } from './stats.ts'
import type { Waiting } from './waiting.ts'
import { ladderOf, trueProducts, trueSellers } from './world/truth.ts'
import type { World } from './world/world.ts'

export type Sandbox = Readonly<{
  startedMs: number
  /** Latency and quota limits may be changed while it runs. */
  config: Config
  world: World
  billing: Billing
  counters: CounterStore
  faults: FaultDesk
  ebay: Ebay
  oxylabs: Oxylabs
  stats: Stats
  waiting: Waiting
}>

type Request = Readonly<{ query: URLSearchParams; body: () => unknown }>
type Route = (sandbox: Sandbox, request: Request) => Reply

const MOST_ENTRIES = 10_000

export const CatalogueRowSchema = z.object({
  asin: z.string().regex(/^[A-Z0-9]{10}$/, 'an ASIN has 10 capital letters and digits'),
  title: z.string().trim().min(1).max(2000),
  priceCents: z.int().min(1).nullable().default(null),
  gtin: z
    .string()
    .regex(/^\d{8,14}$/)
    .nullish(),
})

const ROUTES: Readonly<Record<string, Route>> = {
  'GET /sandbox/health': ({ startedMs, world }) =>
    json(200, { status: 'ok', pid: process.pid, upMs: Date.now() - startedMs, seed: world.seed }),
  'GET /sandbox/stats': ({ stats, waiting, world, ebay, oxylabs }) => {
    const rate = { ebay: ebay.rate.report(), oxylabs: oxylabs.rate.report() }
    return json(200, { ...stats.report(), held: waiting.held(), rate, world: world.counts() })
  },
  'GET /sandbox/prices': ({ config }) => json(200, config.prices),
  'GET /sandbox/billing': billing,
  'GET /sandbox/billing/summary': ({ billing }) => json(200, billing.summary()),
  'POST /sandbox/billing/lookup': ({ billing }, { body }) => {
    const { requestIds } = z.object({ requestIds: z.array(z.string()).max(200_000) }).parse(body())
    return json(200, { entries: billing.lookup(requestIds) })
  },
  'GET /sandbox/faults': ({ faults }) => json(200, { rules: faults.rules() }),
  'POST /sandbox/faults': ({ faults }, { body }) => {
    faults.set(rulesOf(body()))
    return json(200, { rules: faults.rules() })
  },
  'POST /sandbox/faults/add': ({ faults }, { body }) => {
    faults.add(rulesOf(body()))
    return json(200, { rules: faults.rules() })
  },
  'POST /sandbox/faults/release': ({ waiting }) => json(200, { released: waiting.release() }),
  'POST /sandbox/latency': ({ config }, { body }) => {
    const latency = z.strictObject({ ms: z.number().min(0), jitterMs: z.number().min(0).default(0) }).parse(body())
    Object.assign(config.latency, latency)
    return json(200, config.latency)
  },
  'GET /sandbox/quota': ({ ebay, counters }) => json(200, quotaState(ebay, counters)),
  'POST /sandbox/quota': quota,
  'POST /sandbox/ebay/expire-tokens': ({ ebay, counters }) => {
    ebay.tokens.expireAll()
    return json(200, { mints: counters.values.ebayMints })
  },
  'POST /sandbox/ebay/notice': ({ ebay }, { body }) => json(200, ebay.notifications.sign(NoticeSchema.parse(body()))),
  'POST /sandbox/ebay/public-keys': ({ ebay }, { body }) => {
    const { kid, answer } = KeySchema.parse(body())
    ebay.notifications.addKey(kid, answer)
    return json(200, { kid })
  },
  'POST /sandbox/reset': ({ faults, config, ebay, waiting, counters }) => {
    faults.set([])
    Object.assign(config.latency, { ms: 0, jitterMs: 0 })
    ebay.quota.set(0)
    counters.values.keepaTickMs = 0
    counters.save()
    return json(200, { released: waiting.release() })
  },
  'POST /sandbox/catalogue': ({ world }, { body }) => {
    const { products } = z.object({ products: z.array(CatalogueRowSchema).max(50_000) }).parse(body())
    const rows = products.map((row) => ({ ...row, gtin: row.gtin ?? null }))
    return json(200, { ...world.addCatalogue(rows), catalogue: world.counts().catalogue })
  },
  'GET /sandbox/truth/products': ({ world }, { query }) => {
    const category = world.tree.byKey.get(query.get('category') ?? '')
    if (!category) return json(404, { message: `no category ${query.get('category')}` })
    return json(200, { category: category.key, products: trueProducts(world, category) })
  },
  'GET /sandbox/truth/sellers': ({ world }, { query }) => {
    const truth = truthOf(world, query.get('asin') ?? '')
    return truth === null ? json(404, { message: `no product ${query.get('asin')}` }) : json(200, truth)
  },
  'POST /sandbox/truth/sellers': ({ world }, { body }) => {
    const { asins } = z.object({ asins: z.array(z.string()).max(10_000) }).parse(body())
    return json(200, { products: asins.map((asin) => truthOf(world, asin)).filter((truth) => truth !== null) })
  },
}

export function control(sandbox: Sandbox, method: string, path: string, query: URLSearchParams, text: string): Reply {
  const route = ROUTES[`${method} ${path.replace(/\/$/, '')}`]
  if (!route) return json(404, { message: `no route ${method} ${path}`, routes: Object.keys(ROUTES) })
  try {
    return route(sandbox, { query, body: () => JSON.parse(text || '{}') as unknown })
  } catch (error) {
    if (error instanceof z.ZodError) return json(400, { message: z.prettifyError(error) })
    if (error instanceof SyntaxError) return json(400, { message: 'the body is not JSON' })
    throw error
  }
}

/** A list of rules, or an object with one under `rules`. */
function rulesOf(input: unknown): FaultRule[] {
  const rules = typeof input === 'object' && input !== null && 'rules' in input ? input.rules : input
  return z.array(FaultRuleSchema).parse(rules)
}

function billing({ billing }: Sandbox, { query }: Request): Reply {
  const after = Number(query.get('after') ?? 0)
  const limit = Math.min(MOST_ENTRIES, Number(query.get('limit') ?? 1000))
  if (!Number.isSafeInteger(after) || after < 0 || !Number.isSafeInteger(limit) || limit < 1) {
    return json(400, { message: 'after and limit are whole numbers, limit at least 1' })
  }
  const entries = billing.after(after, limit)
  return json(200, { entries, next: entries.at(-1)?.seq ?? after })
}

function quota({ config, ebay, counters }: Sandbox, { body }: Request): Reply {
  const wanted = z
    .strictObject({
      ebayDailyQuota: z.int().min(0).optional(),
      ebayUsed: z.int().min(0).optional(),
      ebayPerSecond: z.int().min(1).optional(),
      keepaTokens: z.int().optional(),
    })
    .parse(body())
  if (wanted.ebayDailyQuota !== undefined) config.ebay.dailyQuota = wanted.ebayDailyQuota
  if (wanted.ebayPerSecond !== undefined) config.ebay.ratePerSecond = wanted.ebayPerSecond
  if (wanted.ebayUsed !== undefined) ebay.quota.set(wanted.ebayUsed)
  if (wanted.keepaTokens !== undefined) {
    counters.values.keepaTokens = wanted.keepaTokens
    counters.values.keepaTickMs ||= Date.now()
    counters.save()
  }
  return json(200, quotaState(ebay, counters))
}

function quotaState(ebay: Ebay, counters: CounterStore): object {
  const { ebayMints, keepaTokens, oxylabsJobs } = counters.values
  return {
    ebay: { ...ebay.quota.state(), mints: ebayMints },
    keepa: { tokens: keepaTokens },
    oxylabs: { jobs: oxylabsJobs },
  }
}

function truthOf(world: World, asin: string): object | null {
  const product = world.product(asin)
  if (!product) return null
  const sellers = trueSellers(world, product)
  return {
    ...product,
    ladder: ladderOf(product),
    sellers: sellers.filter(({ findable }) => findable),
    unfindable: sellers.filter(({ findable }) => !findable),
  }
}
