/** Serving declared routes: who asks, validation, the transaction, the check of the answer. The same for every route. */
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify'
import { z } from 'zod'
import { AppError } from '../base/errors.ts'
import { actingFor, type Gate, joined, roleTooLow } from '../db/acting.ts'
import { type Tx, withTx, withTxRetry } from '../db/client.ts'
import { asMember, type Member, type Role } from '../db/session.ts'
import { type Authenticate, memberOf, type Principal, principalOf, signInFirst } from './principal.ts'
import { type Kept, keep, remember, repeatable } from './repeats.ts'
import { type HttpDeps, isOfOrg, isWrite, type Route } from './route.ts'
import { checkScope } from './scopes.ts'

const principals = new WeakMap<FastifyRequest, Principal>()

const orgParams = z.object({ orgId: z.uuid() })

/** Serves `routes`. Without an authenticator every route that is not public answers 401. */
export function mountRoutes(
  app: FastifyInstance,
  routes: readonly Route[],
  deps: HttpDeps,
  authenticate: Authenticate = async () => null,
): void {
  for (const route of routes) mount(app, route, deps, authenticate)
}

function mount(app: FastifyInstance, route: Route, deps: HttpDeps, authenticate: Authenticate): void {
  const params = paramsOf(route)
  app.route({
    method: route.method,
    url: route.path.replaceAll(/\{(\w+)\}/g, ':$1'),
    config: { operationId: route.operationId },
    ...(route.bodyMost === undefined ? {} : { bodyLimit: route.bodyMost }),
    schema: {
      ...(params ? { params } : {}),
      querystring: route.query ?? z.strictObject({}),
      ...(isWrite(route) && !takesStream(route) ? { body: route.body ?? noBody } : {}),
    },
    // Before the body is read: nobody sends a megabyte to be told that they are nobody.
    onRequest: async (request) => {
      if (route.access === 'public') return
      const principal = await authenticate(request)
      if (!principal) throw signInFirst()
      checkScope(route, principal)
      principals.set(request, principal)
    },
    handler: (request, reply) => answer(route, deps, authenticate, request, reply),
  })
}

/** A write that takes nothing: no body, or an empty object. */
const noBody = z.union([z.undefined(), z.null(), z.strictObject({})])

/** Uploads are read by their handler. */
function takesStream(route: Route): boolean {
  return route.bodyMost !== undefined && route.body === undefined
}

function paramsOf(route: Route): z.ZodType | undefined {
  if (!isOfOrg(route)) return route.params
  const own = route.params as z.ZodObject | undefined
  return own ? orgParams.extend(own.shape) : orgParams
}

async function answer(
  route: Route,
  deps: HttpDeps,
  authenticate: Authenticate,
  request: FastifyRequest,
  reply: FastifyReply,
): Promise<FastifyReply> {
  const gone = new AbortController()
  reply.raw.once('close', () => gone.abort())
  const common = {
    params: request.params,
    query: request.query,
    body: request.body ?? undefined,
    deps,
    request,
    signal: gone.signal,
  }
  if (route.access === 'public') return send(route, reply, encode(route, await route.handle(common as never)))
  const principal = principals.get(request)
  if (!principal) throw new Error('a request came past the check of who asks')
  const orgId = isOfOrg(route) ? (request.params as { orgId: string }).orgId : undefined
  if (principal.orgId !== undefined && orgId !== undefined && principal.orgId !== orgId) throw unknownOrg()
  const member = memberOf(principal, orgId)
  const told = { ...common, principal, member, ...(orgId === undefined ? {} : { orgId }) }
  if (route.transaction === 'none') {
    const asOne = <V>(work: (tx: Tx) => Promise<V>): Promise<V> =>
      withTx(deps.db, (tx) => begun(tx, route, member, orgId, () => work(tx)), READ)
    const role = await withTx(deps.db, (tx) => begun(tx, route, member, orgId, async (known) => known), READ)
    const checkIdentity = async (): Promise<void> => {
      const now = await authenticate(request)
      if (!now || principalOf(now) !== principalOf(principal)) throw signInFirst()
    }
    const more = { role, asMember: asOne, checkIdentity }
    return send(route, reply, encode(route, await route.handle({ ...told, ...more } as never)))
  }
  const run = (tx: Tx) =>
    begun(tx, route, member, orgId, (role) => inTx(route, deps, request, tx, { ...told, role }, { principal, orgId }))
  const kept = route.transaction === 'read' ? await withTx(deps.db, run, READ) : await withTxRetry(deps.db, run)
  return send(route, reply, kept)
}

const READ = { isolation: 'repeatable read', readOnly: true } as const

/** Takes on the member's role, and asks the database whether the member may use the route at all. */
async function begun<V>(
  tx: Tx,
  { access, tooLow }: Route,
  member: Member,
  orgId: string | undefined,
  work: (role: Role | undefined) => Promise<V>,
): Promise<V> {
  await asMember(tx, member)
  if (orgId === undefined) return work(undefined)
  const { rows } = await tx.query<{ role: Role | null; may: boolean }>({
    name: 'http.may',
    text: 'select member_role($1) as role, gleaner_has_role($1, $2) as may',
    values: [orgId, access],
  })
  // To somebody who does not belong to it, an organisation is none.
  if (!rows[0]?.role) throw unknownOrg()
  if (!rows[0].may) throw (await tooLow?.(tx, orgId)) ?? roleTooLow(access as Role)
  return work(member.key ? lower(rows[0].role, member.key.maxRole) : rows[0].role)
}

const RANKS: readonly Role[] = ['viewer', 'analyst', 'admin', 'owner']

function lower(a: Role, b: Role): Role {
  return RANKS.indexOf(a) < RANKS.indexOf(b) ? a : b
}

function unknownOrg(): AppError {
  return new AppError('org.unknown', 'There is no such organisation.', {
    hint: 'GET /api/v1/orgs lists those you belong to.',
  })
}

async function inTx(
  route: Route,
  deps: HttpDeps,
  request: FastifyRequest,
  tx: Tx,
  told: object,
  { principal, orgId }: Readonly<{ principal: Principal; orgId: string | undefined }>,
): Promise<Encoded> {
  const header = request.headers['idempotency-key']
  const key = typeof header === 'string' && isWrite(route) ? header : undefined
  const known = key === undefined ? null : repeatable(principal, key, request)
  const before = known ? await remember(tx, known) : null
  if (before) return { ...before, headers: { ...before.headers, 'idempotent-replay': 'true' } }
  const acting = (gate: Partial<Gate> = {}) => {
    const { access } = route
    if (orgId === undefined || access === 'signed-in' || access === 'public') {
      throw new Error('acts of the engine belong to an organisation')
    }
    return actingFor(deps.db, tx, { orgId, role: access, ...gate })
  }
  const ifMatch = request.headers['if-match']
  const db = joined(deps.db, tx)
  const encoded = encode(route, await route.handle({ ...told, tx, db, acting, ifMatch } as never))
  if (known && route.repeats !== 'secret') await keep(tx, known, encoded)
  return encoded
}

type Encoded = Kept & Readonly<{ stream?: NodeJS.ReadableStream }>

/** The answer as it goes out. Throws for a status that is not declared and a body off its schema: both are faults of ours. */
function encode(route: Route, told: Awaited<ReturnType<Route['handle']>>): Encoded {
  const declared = route.answers[told.status]
  if (!declared) throw new Error(`${route.operationId} answers ${told.status}, which it does not declare`)
  const { status, headers = {} } = told
  if (told.stream) return { status, headers, answer: null, stream: told.stream }
  if (!declared.schema) return { status, headers, answer: null }
  const encoded = z.safeEncode(declared.schema, told.body as never)
  if (!encoded.success) {
    throw new Error(`${route.operationId} answers off its schema: ${z.prettifyError(encoded.error)}`)
  }
  return { status, headers, answer: JSON.stringify(encoded.data) }
}

function send(route: Route, reply: FastifyReply, { status, headers, answer, stream }: Encoded): FastifyReply {
  reply.code(status).headers({ 'cache-control': 'no-store', ...headers })
  if (stream) return reply.type(route.answers[status]?.stream ?? 'application/octet-stream').send(stream)
  if (answer === null) return reply.send()
  return reply.type('application/json; charset=utf-8').send(answer)
}
