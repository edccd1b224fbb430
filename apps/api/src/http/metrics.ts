/**
 * /metrics for Prometheus. The figures are those of the whole installation, so they are not for members: only this machine
 * reads them, or who sends GLEANER_METRICS_TOKEN.
 */
import { createHash, timingSafeEqual } from 'node:crypto'
import type { FastifyInstance, FastifyRequest } from 'fastify'
import { collectDefaultMetrics, Gauge, Histogram, Registry } from 'prom-client'
import { AppError } from '../base/errors.ts'
import type { Queryable } from '../db/client.ts'
import { DEAD_AFTER_MS } from '../ledger/rescue.ts'
import type { HttpDeps } from './route.ts'

const STATES = ['pending', 'running', 'paused', 'completed', 'failed', 'cancelled'] as const

/** Counts requests from now on, and serves the figures at /metrics. */
export function makeMetrics(app: FastifyInstance, deps: HttpDeps): void {
  const registry = new Registry()
  collectDefaultMetrics({ register: registry, prefix: 'gleaner_' })
  const seconds = new Histogram({
    name: 'gleaner_http_request_seconds',
    help: 'From the request to the end of its answer, by operation.',
    labelNames: ['operation', 'status'],
    buckets: [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 10],
    registers: [registry],
  })
  new Gauge({
    name: 'gleaner_streams',
    help: 'Event streams that are open.',
    registers: [registry],
    collect() {
      this.set(deps.live.count())
    },
  })
  app.addHook('onResponse', async (request, reply) => {
    // How long somebody watches is not how long the server takes.
    if (reply.getHeader('content-type')?.toString().startsWith('text/event-stream')) return
    const { operationId = 'none' } = request.routeOptions.config as { operationId?: string }
    seconds.observe({ operation: operationId, status: reply.statusCode }, reply.elapsedTime / 1000)
  })
  const refresh = engineGauges(registry, deps.db)
  app.get('/metrics', async (request, reply) => {
    checkReader(request, deps.env['GLEANER_METRICS_TOKEN'])
    await refresh()
    return reply
      .header('cache-control', 'no-store')
      .type(registry.contentType)
      .send(await registry.metrics())
  })
}

function engineGauges(registry: Registry, db: Queryable): () => Promise<void> {
  const gauge = <L extends string>(name: string, help: string, labelNames: readonly L[] = []) =>
    new Gauge({ name: `gleaner_${name}`, help, labelNames, registers: [registry] })
  const runs = gauge('runs', 'Runs by state.', ['state'])
  const calls = gauge('calls', 'Calls of all runs by state.', ['state'])
  const money = gauge('micros', 'Money of all runs, micro-dollars.', ['kind'])
  const workers = gauge('workers', 'Workers that are alive.')
  const accounts = gauge('provider_in_flight', 'Calls in flight by provider account.', ['account', 'health'])
  return async () => {
    const { rows } = await db.query<Record<string, string | number>>(
      `select status, count(*)::int as runs, sum(held_calls)::int as held, sum(settled_calls)::int as settled,
         sum(released_calls)::int as released, sum(suspect_calls)::int as suspect, sum(spent_micros)::bigint as spent_micros,
         sum(held_micros)::bigint as held_micros, sum(suspect_micros)::bigint as suspect_micros,
         sum(breach_micros)::bigint as breach_micros
       from collection_runs group by status`,
    )
    const sum = (field: string) => rows.reduce((all, row) => all + Number(row[field] ?? 0), 0)
    for (const state of STATES) runs.set({ state }, Number(rows.find((row) => row['status'] === state)?.['runs'] ?? 0))
    for (const state of ['held', 'settled', 'released', 'suspect']) calls.set({ state }, sum(state))
    for (const kind of ['spent', 'held', 'suspect', 'breach']) money.set({ kind }, sum(`${kind}_micros`))
    const alive = await db.query<{ count: number }>(
      `select count(*)::int as count from collection_workers
       where stopped_at is null and heartbeat_at >= now() - $1 * interval '1 ms'`,
      [DEAD_AFTER_MS],
    )
    workers.set(alive.rows[0]?.count ?? 0)
    const { rows: flights } = await db.query<{ name: string; health: string; calls: number }>(
      `select a.name, g.health, (select count(*)::int from collection_calls c where c.account_id = a.id and c.state = 'held') as calls
       from provider_accounts a join provider_governors g on g.account_id = a.id`,
    )
    accounts.reset()
    for (const { name, health, calls: count } of flights) accounts.set({ account: name, health }, count)
  }
}

const LOOPBACK: ReadonlySet<string> = new Set(['127.0.0.1', '::1', '::ffff:127.0.0.1'])

/** Throws AppError `auth.required` unless the request comes from this machine or carries the token. */
function checkReader(request: FastifyRequest, token: string | undefined): void {
  const given = request.headers.authorization
  if (token && given !== undefined && isSame(given, `Bearer ${token}`)) return
  if (given === undefined && LOOPBACK.has(request.ip)) return
  throw new AppError('auth.required', 'The figures of the installation are read from this machine only.', {
    hint: 'Or set GLEANER_METRICS_TOKEN for the server, and send it as a bearer token.',
  })
}

/** Takes as long whatever differs. */
function isSame(a: string, b: string): boolean {
  const hash = (text: string) => createHash('sha256').update(text).digest()
  return timingSafeEqual(hash(a), hash(b))
}
