/** The HTTP door: a Fastify instance with the rules every request keeps, and the routes it is given. */
import type { Socket } from 'node:net'
import helmet from '@fastify/helmet'
import Fastify, {
  type FastifyBaseLogger,
  type FastifyInstance,
  type FastifyReply,
  type FastifyRequest,
  LogController,
} from 'fastify'
import { validatorCompiler } from 'fastify-type-provider-zod'
import { AppError } from '../base/errors.ts'
import { newId } from '../base/ids.ts'
import { sendCookies } from './cookies.ts'
import { docsPages } from './docs.ts'
import { type Live, makeLive } from './live/live.ts'
import { makeMetrics } from './metrics.ts'
import { mountRoutes } from './mount.ts'
import type { Authenticate } from './principal.ts'
import { PROBLEM_TYPE, problemOf, sendProblem } from './problems.ts'
import { checkQuery, checkSameSite, readQuery, takeJson } from './request-rules.ts'
import type { HttpDeps, Route } from './route.ts'
import { allRoutes } from './routes.ts'

export type AppOptions = Readonly<{
  deps: Omit<HttpDeps, 'live'>
  /** Left out: every route that is not public answers 401. */
  authenticate?: Authenticate
  /** Registered before the routes: what answers in a form of its own (sign-in of a library, event streams). */
  plugins?: readonly ((app: FastifyInstance) => Promise<void> | void)[]
  routes?: readonly Route[]
  /** Made over the database of `deps` when left out. Closed with the app. */
  live?: Live
}>

const BODY_MOST = 1024 * 1024
/** A request has to arrive within this time, ms; how long its answer takes is not limited by it. */
const ARRIVE_MS = 30_000

/** The app with all routes, ready to listen or to be injected requests. Close it when done. */
export async function makeApp(options: AppOptions): Promise<FastifyInstance> {
  const { routes = allRoutes } = options
  const live = options.live ?? makeLive(options.deps.db, (message, err) => options.deps.log.warn({ err }, message))
  const deps: HttpDeps = { ...options.deps, live }
  const app = Fastify({
    loggerInstance: deps.log as FastifyBaseLogger,
    logController: new LogController({ disableRequestLogging: true }),
    genReqId: newId,
    requestIdHeader: false,
    bodyLimit: BODY_MOST,
    requestTimeout: ARRIVE_MS,
    keepAliveTimeout: 72_000,
    http: { headersTimeout: 15_000, maxHeaderSize: 16 * 1024 },
    // A proxy on this machine may say for whom it asks; nobody else.
    trustProxy: 'loopback',
    forceCloseConnections: 'idle',
    return503OnClosing: false,
    routerOptions: { maxParamLength: 200, querystringParser: readQuery as never },
    frameworkErrors: (error, request, reply) => void sendProblem(error, request, reply),
    clientErrorHandler: refuseUnreadable,
  })
  app.setValidatorCompiler(validatorCompiler)
  app.setErrorHandler(sendProblem)
  app.setNotFoundHandler((request, reply) => sendProblem(notFound(routes, request, reply), request, reply))
  takeJson(app)
  addRules(app, deps)
  await app.register(helmet, {
    contentSecurityPolicy: { useDefaults: false, directives: { defaultSrc: ["'none'"], frameAncestors: ["'none'"] } },
    referrerPolicy: { policy: 'same-origin' },
  })
  makeMetrics(app, deps)
  await docsPages(app, deps)
  for (const plugin of options.plugins ?? []) await app.register(async (scope) => plugin(scope))
  mountRoutes(app, routes, deps, options.authenticate)
  await app.ready()
  return app
}

/** What every request has to be, and what is written down of it. */
function addRules(app: FastifyInstance, deps: HttpDeps): void {
  let closing = false
  app.addHook('preClose', async () => {
    closing = true
    // Or closing would wait for streams that do not end.
    await deps.live.close()
  })
  app.addHook('onRequest', async (request, reply) => {
    reply.header('x-request-id', request.id)
    if (closing) {
      reply.header('connection', 'close')
      throw new AppError('server.busy', 'The server is stopping.', { hint: 'Try again in a moment.' })
    }
    checkQuery(request)
    checkSameSite(request, deps.publicOrigin)
  })
  app.addHook('onSend', sendCookies)
  app.addHook('onResponse', async (request, reply) => {
    const { url: route = 'unknown' } = request.routeOptions
    if (route === '/healthz' || route === '/readyz' || route === '/metrics') return
    const took = Math.round(reply.elapsedTime * 10) / 10
    request.log.info({ method: request.method, route, status: reply.statusCode, ms: took }, 'answered')
  })
}

/** 405 where the address knows other methods, 404 otherwise. */
function notFound(routes: readonly Route[], request: FastifyRequest, reply: FastifyReply): AppError {
  const path = request.url.split('?')[0] ?? ''
  const methods = routes.filter((route) => pattern(route.path).test(path)).map((route) => route.method)
  if (methods.length === 0) {
    return new AppError('request.route_unknown', 'There is no such address.', { hint: 'See /docs.' })
  }
  reply.header('allow', [...new Set(methods)].sort().join(', '))
  return new AppError('request.method', `This address does not know ${request.method}.`, {
    hint: `It knows ${methods.join(', ')}.`,
  })
}

function pattern(path: string): RegExp {
  return new RegExp(`^${path.replaceAll(/[.*+?^$()|[\]\\]/g, '\\$&').replaceAll(/\{\w+\}/g, '[^/]+')}$`)
}

/** Bytes that are no HTTP: Node refuses them before there is a request. */
function refuseUnreadable(error: Error & { code?: string }, socket: Socket): void {
  if (error.code === 'ECONNRESET' || !socket.writable) return
  const slow = error.code === 'ERR_HTTP_REQUEST_TIMEOUT'
  const body = JSON.stringify(
    problemOf(
      slow
        ? new AppError('request.too_slow', 'The request did not arrive in time.')
        : new AppError('request.malformed', 'This is not a request this server reads.'),
      newId(),
    ),
  )
  const status = slow ? '408 Request Timeout' : '400 Bad Request'
  socket.end(
    `HTTP/1.1 ${status}\r\ncontent-type: ${PROBLEM_TYPE}\r\ncontent-length: ${Buffer.byteLength(body)}\r\nconnection: close\r\n\r\n${body}`,
  )
}
