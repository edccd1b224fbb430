/** Oxylabs' realtime method: one request, one job, one result (and one charge) a page. */
import { z } from 'zod'
import type { BillingKind } from '../billing.ts'
import type { Config } from '../config.ts'
import type { CounterStore } from '../counters.ts'
import { type Ask, basicCredentials, json, type Provider, type Reply, retryAfter } from '../exchange.ts'
import type { FaultKind, FaultRule } from '../faults.ts'
import { createRate, type Rate } from '../rate.ts'
import type { World } from '../world/world.ts'
import { bestsellerPage, pageOfUrl, type TargetPage, wantedCategory } from './bestsellers.ts'
import { ebayPage } from './ebay-html.ts'

const PayloadSchema = z.looseObject({
  source: z.enum(['amazon_bestsellers', 'amazon', 'ebay']),
  query: z.union([z.string(), z.number().transform(String)]).optional(),
  url: z.string().optional(),
  domain: z.string().optional(),
  start_page: z.int().min(1).default(1),
  pages: z.int().min(1).max(20).default(1),
  parse: z.boolean().default(false),
  geo_location: z.string().nullish(),
  context: z.array(z.object({ key: z.string(), value: z.unknown() })).default([]),
})
type Payload = z.infer<typeof PayloadSchema>

/** What was charged so far, by price kind. */
export type Usage = Readonly<Record<string, Readonly<{ units: number }>>>

export type Oxylabs = Readonly<{ provider: Provider; rate: Rate }>

/** What the rate counts; the usage report is on another host. */
const QUERIES: ReadonlySet<string> = new Set(['ebay', 'amazon_bestsellers'])

export function createOxylabs(config: () => Config, counters: CounterStore, world: World, usage: () => Usage): Oxylabs {
  const rate = createRate(() => config().oxylabs.ratePerSecond)
  const arrive = (operation: string, atMs: number): boolean => !QUERIES.has(operation) || rate.arrive(atMs)

  const rateHeaders = (): Record<string, string> => ({
    'x-ratelimit-requests-limit': String(config().oxylabs.ratePerSecond),
    'x-ratelimit-requests-remaining': String(rate.room(performance.now())),
  })

  const answer = (ask: Ask, operation: string): Reply => {
    const basic = basicCredentials(ask.headers.authorization)
    const { user, password } = config().oxylabs
    if (basic?.user !== user || basic.secret !== password) return json(401, { message: 'Unauthorized' })
    if (operation === 'stats') return usageReport(ask, usage())
    if (ask.method !== 'POST' || ask.path !== '/v1/queries') return json(404, { message: 'Not found' })
    const payload = readPayload(ask.body)
    if ('message' in payload) return json(400, payload, rateHeaders())
    const pages = pagesOf(world, payload, ask, config())
    counters.values.oxylabsJobs += 1
    counters.save()
    const id = `74${String(counters.values.oxylabsJobs).padStart(17, '0')}`
    const reply = json(200, envelope(id, payload, pages), { 'x-oxylabs-job-id': id, ...rateHeaders() })
    return withCharge(reply, payload, pages, config())
  }

  const refuse = (kind: FaultKind, rule: FaultRule): Reply => refusal(kind, rule, rateHeaders())

  return { provider: { name: 'oxylabs', operationOf, answer, refuse, arrive }, rate }
}

function operationOf({ path, body }: Pick<Ask, 'path' | 'body'>): string {
  if (path === '/v2/stats') return 'stats'
  if (path !== '/v1/queries') return 'unknown'
  return /"source"\s*:\s*"ebay"/.test(body) ? 'ebay' : 'amazon_bestsellers'
}

/** Charged results by source since the record began; free of charge. */
function usageReport(ask: Ask, usage: Usage): Reply {
  if (ask.method !== 'GET') return json(405, { message: 'Method not allowed' })
  const sources = Object.entries(usage)
    .filter(([kind]) => kind.startsWith('oxylabs.'))
    .map(([kind, { units }]) => ({ title: kind.slice('oxylabs.'.length), results_count: units }))
  return json(200, { meta: { group_by: 'none' }, data: { sources } })
}

function readPayload(body: string): Payload | { message: string } {
  let input: unknown
  try {
    input = JSON.parse(body)
  } catch {
    return { message: 'Invalid JSON payload' }
  }
  const parsed = PayloadSchema.safeParse(input)
  if (!parsed.success) return { message: `Invalid payload: ${z.prettifyError(parsed.error)}` }
  const needed = parsed.data.source === 'amazon_bestsellers' ? parsed.data.query : parsed.data.url
  return needed === undefined ? { message: 'Provided payload is missing query or url' } : parsed.data
}

function pagesOf(world: World, payload: Payload, ask: Ask, config: Config): TargetPage[] {
  const url = payload.url ?? ''
  if (payload.source === 'ebay') return [ebayPage(world, url, config.oxylabs.ebayLayout, ask.hits)]
  const categoryId = payload.context.find(({ key }) => key === 'category_id')?.value
  const category = wantedCategory(world, {
    query: payload.query,
    url: payload.url,
    categoryId: categoryId === undefined ? undefined : String(categoryId),
  })
  const options = { parse: payload.parse, rows: config.oxylabs.pageRows, hits: ask.hits }
  if (payload.source === 'amazon') return [bestsellerPage(world, category, pageOfUrl(url), url, options)]
  return Array.from({ length: payload.pages }, (_, i) =>
    bestsellerPage(world, category, payload.start_page + i, payload.query ?? '', options),
  )
}

function envelope(id: string, payload: Payload, pages: readonly TargetPage[]): object {
  const at = new Date().toISOString().slice(0, 19).replace('T', ' ')
  const faulted = pages.every((page) => page.status >= 300)
  return {
    results: pages.map((page, i) => ({
      content: page.content,
      created_at: at,
      updated_at: at,
      page: payload.start_page + i,
      url: page.url,
      job_id: id,
      is_render_forced: false,
      status_code: page.status,
      type: page.type,
      parser_type: '',
      parser_preset: null,
    })),
    job: {
      callback_url: null,
      client_id: 0,
      context: payload.context,
      created_at: at,
      domain: payload.domain ?? 'com',
      geo_location: payload.geo_location ?? null,
      id,
      limit: 10,
      pages: payload.pages,
      parse: payload.parse,
      render: null,
      url: payload.url ?? null,
      query: payload.query ?? '',
      source: payload.source,
      start_page: payload.start_page,
      status: faulted ? 'faulted' : 'done',
      updated_at: at,
      user_agent_type: 'desktop',
      statuses: [],
      client_notes: null,
      _links: [{ rel: 'self', href: `http://data.oxylabs.io/v1/queries/${id}`, method: 'GET' }],
    },
  }
}

/** A page is charged when its target status is 2xx or 4xx, whatever it contains. */
function withCharge(reply: Reply, payload: Payload, pages: readonly TargetPage[], config: Config): Reply {
  const units = pages.filter(({ status }) => (status >= 200 && status < 300) || (status >= 400 && status < 500)).length
  if (units === 0) return reply
  const kind: BillingKind = payload.source === 'ebay' ? 'oxylabs.ebay' : 'oxylabs.amazon_bestsellers'
  const what = `${payload.query ?? payload.url} page ${payload.start_page}${payload.pages > 1 ? `+${payload.pages - 1}` : ''}`
  return {
    ...reply,
    charge: {
      kind,
      units,
      micros: units * config.prices[kind],
      account: config.oxylabs.user,
      what: what.slice(0, 200),
    },
  }
}

function refusal(kind: FaultKind, rule: FaultRule, headers: Readonly<Record<string, string>>): Reply {
  switch (kind) {
    case 'quota':
      return json(429, { message: 'Monthly usage limit reached' }, headers)
    case 'throttled':
      return json(429, { message: 'Too many requests' }, { ...headers, ...retryAfter(rule) })
    case 'unauthorized':
      return json(401, { message: 'Unauthorized' })
    case 'payment_required':
    case 'forbidden':
      return json(403, { message: 'Forbidden: this source is not in your plan' })
    case 'bad_request':
      return json(rule.status ?? 400, { message: 'Invalid payload' })
    default:
      return json(rule.status ?? 500, { message: 'Internal server error' })
  }
}
