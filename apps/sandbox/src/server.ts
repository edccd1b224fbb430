/** The sandbox: one HTTP server speaking every provider's wire format, with its own billing record and control routes. */
import { mkdirSync } from 'node:fs'
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { join } from 'node:path'
import { openBilling } from './billing.ts'
import { type ConfigInput, readConfig } from './config.ts'
import { control, type Sandbox } from './control.ts'
import { openCounters } from './counters.ts'
import { createEbay } from './ebay/ebay.ts'
import { type Ask, json, type Provider, type Reply } from './exchange.ts'
import { createFaultDesk, type FaultKind, FaultRuleSchema } from './faults.ts'
import { createGuests } from './guests.ts'
import { createKeepa } from './keepa/keepa.ts'
import { lockDirectory } from './lock.ts'
import { createOxylabs } from './oxylabs/oxylabs.ts'
import { BodyTooLarge, readBody, reset, send, sendSpoilt } from './send.ts'
import { createStats } from './stats.ts'
import { createWaiting } from './waiting.ts'
import { readCategories } from './world/categories.ts'
import { fixSeed } from './world/seed.ts'
import type { CatalogueRow } from './world/shelf.ts'
import { createWorld } from './world/world.ts'

export type SandboxOptions = Readonly<{
  /** 0 = any free port. A port that is taken is replaced by a free one. */
  port: number
  host: string
  dataDir: string
  categoriesFile: string
  /** Left out: the seed the data directory was made with, or 1. */
  seed?: number
  config?: ConfigInput
  catalogue?: readonly CatalogueRow[]
  /** Called when the last guest has left (guests.ts), or none came within ten seconds. Never when left out. */
  onUnused?: () => void
}>

export type RunningSandbox = Readonly<{ url: string; port: number; close: () => Promise<void> }>

/** What a request beyond the provider's rate is told. */
const TOO_FAST = FaultRuleSchema.parse({ provider: '*', kind: 'throttled' })

/** Refused for free, in the order in which they take precedence. */
const REFUSALS: readonly FaultKind[] = [
  'throttled',
  'quota',
  'unauthorized',
  'forbidden',
  'payment_required',
  'bad_request',
  'server_error',
]

/**
 * Starts a sandbox; it listens when this returns. Throws DirectoryInUse, or an Error that names what is wrong with the
 * configuration, the category file or the seed; nothing stays open then.
 */
export async function startSandbox(options: SandboxOptions): Promise<RunningSandbox> {
  const config = readConfig(options.config ?? {})
  const tree = readCategories(options.categoriesFile)
  mkdirSync(options.dataDir, { recursive: true })
  const unlock = lockDirectory(options.dataDir)
  const closers: (() => void)[] = [unlock]
  try {
    const seed = fixSeed(join(options.dataDir, 'world.json'), options.seed)
    const world = createWorld(seed, tree, options.dataDir)
    if (options.catalogue) world.addCatalogue(options.catalogue)
    const billing = openBilling(join(options.dataDir, 'billing.jsonl'))
    closers.unshift(billing.close)
    const counters = openCounters(join(options.dataDir, 'counters.json'))
    closers.unshift(counters.close)
    const faults = createFaultDesk(seed)
    faults.set(config.faults)
    const ebay = createEbay(() => config, counters, world)
    const oxylabs = createOxylabs(
      () => config,
      counters,
      world,
      () => billing.summary().byKind,
    )
    const providers = [ebay.provider, oxylabs.provider, createKeepa(() => config, counters, world)]
    const sandbox: Sandbox = {
      startedMs: Date.now(),
      config,
      world,
      billing,
      counters,
      faults,
      ebay,
      oxylabs,
      stats: createStats(),
      waiting: createWaiting(),
    }
    const guests = options.onUnused ? createGuests(options.onUnused) : null
    const server = createServer({ keepAlive: true }, (request, response) => {
      if (guests && request.url === '/sandbox/guest') return guests.welcome(response)
      serve(sandbox, providers, request, response).catch((error: unknown) => fail(response, error))
    })
    server.keepAliveTimeout = 60_000
    server.requestTimeout = 0
    const port = await listen(server, options.host, options.port)
    return { url: `http://${options.host}:${port}`, port, close: () => close(server, sandbox, closers) }
  } catch (error) {
    for (const closer of closers) closer()
    throw error
  }
}

async function listen(server: Server, host: string, port: number): Promise<number> {
  const attempt = (wanted: number): Promise<number> =>
    new Promise((resolve, reject) => {
      server.once('error', reject)
      server.listen(wanted, host, () => {
        server.removeListener('error', reject)
        resolve((server.address() as AddressInfo).port)
      })
    })
  try {
    return await attempt(port)
  } catch (error) {
    if (port === 0 || (error as NodeJS.ErrnoException).code !== 'EADDRINUSE') throw error
    return attempt(0)
  }
}

/** Requests that wait end without an answer; what was charged is in the record. */
async function close(server: Server, sandbox: Sandbox, closers: readonly (() => void)[]): Promise<void> {
  const closed = new Promise<void>((resolve) => server.close(() => resolve()))
  sandbox.waiting.stop()
  server.closeAllConnections()
  await closed
  for (const closer of closers) closer()
}

async function serve(
  sandbox: Sandbox,
  providers: readonly Provider[],
  request: IncomingMessage,
  response: ServerResponse,
): Promise<void> {
  const arrivedMs = performance.now()
  const url = request.url ?? '/'
  const mark = url.indexOf('?')
  const path = mark < 0 ? url : url.slice(0, mark)
  const query = new URLSearchParams(mark < 0 ? '' : url.slice(mark + 1))
  const prefix = path.split('/', 2)[1] ?? ''
  const provider = providers.find(({ name }) => name === prefix)
  if (!provider) {
    const body = await readBody(request)
    return send(response, control(sandbox, request.method ?? 'GET', path, query, body))
  }
  const leave = sandbox.stats.enter(provider.name)
  try {
    const body = await readBody(request)
    const place = {
      method: request.method ?? 'GET',
      path: path.slice(prefix.length + 1) || '/',
      query,
      headers: request.headers,
      body,
    }
    await exchange(sandbox, provider, place, `http://${request.headers.host}/${prefix}`, response, arrivedMs)
  } finally {
    leave()
  }
}

/**
 * One request to a provider. Once the delays before processing are over it is processed and charged whether or not the
 * client is still there; the charge is on record before the first byte of the answer is sent.
 */
async function exchange(
  sandbox: Sandbox,
  provider: Provider,
  place: Omit<Ask, 'hits' | 'origin'>,
  origin: string,
  response: ServerResponse,
  arrivedMs: number,
): Promise<void> {
  const { waiting, faults, config } = sandbox
  const operation = provider.operationOf(place)
  const hits = faults.decide(provider.name, operation, () => searchable(place))
  const ask: Ask = { ...place, origin, hits }
  if (provider.arrive && !provider.arrive(operation, arrivedMs)) {
    sandbox.stats.count(provider.name, operation, 'refused')
    return send(response, provider.refuse('throttled', TOO_FAST, ask, operation))
  }
  if (hits.has('reset_before')) return reset(response)
  const hang = hits.get('hang')
  if (hang && !(await waiting.hold(response, hang.ms))) return
  const { ms, jitterMs } = config.latency
  const delay = ms + (jitterMs > 0 ? Math.random() * jitterMs : 0) + (hits.get('slow')?.ms ?? 0)
  if (delay > 0) await waiting.sleep(delay)
  if (waiting.stopped()) return
  const refused = REFUSALS.find((kind) => hits.has(kind))
  const rule = refused && hits.get(refused)
  if (refused && rule) {
    sandbox.stats.count(provider.name, operation, 'refused')
    return send(response, provider.refuse(refused, rule, ask, operation))
  }
  const reply = charged(sandbox, provider, ask, provider.answer(ask, operation))
  sandbox.stats.count(provider.name, operation, reply.charge ? 'charged' : 'free')
  const after = hits.get('hang_after')
  if (after && !(await waiting.hold(response, after.ms))) return
  await sendSpoilt(response, reply, hits, waiting.sleep)
}

function searchable(place: Omit<Ask, 'hits' | 'origin'>): string {
  return `${place.method} ${place.path}?${[...place.query].map(([name, value]) => `${name}=${value}`).join('&')} ${place.body}`
}

/**
 * Books what the reply costs. A charge above the list price is named in the answer (`x-charged-micros`), as a provider's
 * invoice would: it is the proof of the breach.
 */
function charged(sandbox: Sandbox, provider: Provider, ask: Ask, reply: Reply): Reply {
  if (!reply.charge) return reply
  const above = ask.hits.get('price_above_list')
  const requestId = ask.headers['x-request-id']
  const { kind, units, account, what } = reply.charge
  const micros = above ? Math.ceil(reply.charge.micros * above.factor) : reply.charge.micros
  sandbox.billing.append({
    provider: provider.name,
    kind,
    units,
    micros,
    requestId: typeof requestId === 'string' ? requestId : null,
    account,
    what,
  })
  return above ? { ...reply, headers: { ...reply.headers, 'x-charged-micros': String(micros) } } : reply
}

function fail(response: ServerResponse, error: unknown): void {
  if (response.destroyed) return
  const status = error instanceof BodyTooLarge ? 413 : 500
  const message = error instanceof Error ? error.message : String(error)
  if (status === 500) process.stderr.write(`${error instanceof Error ? error.stack : message}\n`)
  if (response.headersSent) response.destroy()
  else send(response, json(status, { message }))
}
