/** The HTTP door over a database of its own, with two organisations, people in every role, keys, and runs to act on. */
import { once } from 'node:events'
import type { Readable } from 'node:stream'
import { text as textOf } from 'node:stream/consumers'
import type { FastifyInstance } from 'fastify'
import { pino } from 'pino'
import { SCOPES } from '../../src/auth/keys.ts'
import { openSignIn } from '../../src/auth/open.ts'
import { newId } from '../../src/base/ids.ts'
import type { Db } from '../../src/db/client.ts'
import type { Role } from '../../src/db/session.ts'
import { makeApp } from '../../src/http/app.ts'
import type { Authenticate, Principal } from '../../src/http/principal.ts'
import type { Route } from '../../src/http/route.ts'
import { allRoutes } from '../../src/http/routes.ts'
import { loadSecrets } from '../../src/secrets/installation.ts'
import { newKeyText } from '../../src/secrets/key-source.ts'
import { type Arena, makeArena } from '../engine/arena.ts'

export const ROLES = ['viewer', 'analyst', 'admin', 'owner'] as const

/** An answer as JSON has it: tests look into whatever came. */
type Json = { readonly [field: string]: Json } & readonly Json[] & string & number & boolean

export type Answer = Readonly<{
  status: number
  headers: Readonly<Record<string, string>>
  body: Json
  text: string
}>

export type Door = Readonly<{
  app: FastifyInstance
  arena: Arena
  /** The database as the door has it: with the installation's key. */
  db: Db
  routes: readonly Route[]
  org: string
  /** Another organisation, with its owner. */
  theirs: string
  stranger: string
  /** Owner of both organisations. */
  both: string
  people: Readonly<Record<Role, string>>
  /** Log lines written so far. */
  log: readonly string[]
  /** Sends a request as a person, as a key, or as nobody (null). */
  ask: (who: string | Principal | null, line: string, options?: AskOptions) => Promise<Answer>
  close: () => Promise<void>
}>

export type AskOptions = Readonly<{
  body?: unknown
  headers?: Readonly<Record<string, string>>
}>

/** Signs requests for the tests: `x-principal` is a principal as JSON. Never shipped: the door takes it from its caller. */
const authenticate: Authenticate = async (request) => {
  const header = request.headers['x-principal']
  return typeof header === 'string' ? (JSON.parse(header) as Principal) : null
}

export const person = (userId: string): Principal => ({ kind: 'person', userId, name: 'Ana' })
export const keyOf = (userId: string, orgId: string, maxRole: Role): Principal => ({
  kind: 'key',
  userId,
  orgId,
  maxRole,
  keyId: newId(),
  name: 'A script',
  scopes: [...SCOPES],
})

export type DoorOptions = Readonly<{
  routes?: readonly Route[]
  publicOrigin?: string
  env?: NodeJS.ProcessEnv
  /** Changes every statement of the door's own connections before it is sent. */
  rewrite?: (sql: string) => string
}>

/** The door, in a new database. */
export async function makeDoor(options: DoorOptions = {}): Promise<Door> {
  const arena = await makeArena()
  const { db, actor } = arena
  const people: Record<Role, string> = { viewer: newId(), analyst: newId(), admin: newId(), owner: newId() }
  const [theirs, stranger, both] = [newId(), newId(), newId()]
  const everybody = [...Object.values(people), stranger, both]
  await arena.fresh.db.query('insert into auth.users (id) select unnest($1::uuid[])', [everybody])
  const join = (org: string, user: string, role: Role) =>
    db.query('insert into org_members (org_id, user_id, role) values ($1, $2, $3)', [org, user, role])
  for (const role of ROLES) await join(actor.orgId, people[role], role)
  await db.query(`insert into orgs (id, name) values ($1, 'Theirs')`, [theirs])
  await join(theirs, stranger, 'owner')
  await join(theirs, both, 'owner')
  await join(actor.orgId, both, 'owner')
  const log: string[] = []
  const { env = {}, publicOrigin, routes = allRoutes, rewrite } = options
  const own = rewrite ? rewriting(await arena.fresh.connect({ role: 'service_role' }), rewrite) : db
  const signIn = openSignIn({
    config: { oidc: null, supabase: null },
    db,
    signInDb: await arena.fresh.connect({ role: 'gleaner_auth', max: 2 }),
    secret: 'a secret of tests, longer than 32 characters: 0f8c1d7e',
    publicUrl: 'http://localhost',
    log: () => {},
    onJoined: async () => {},
  })
  const secrets = await loadSecrets(db, { variable: newKeyText(), file: '/nowhere' }, true)
  const app = await makeApp({
    deps: {
      db: { ...own, secrets },
      signIn,
      env,
      version: '0.0.0-test',
      log: pino({ level: 'info' }, { write: (text: string) => void log.push(text) }),
      ...(publicOrigin === undefined ? {} : { publicOrigin }),
    },
    authenticate,
    routes,
  })
  const close = async () => {
    await app.close()
    await arena.close()
  }
  const { orgId: org } = actor
  return {
    app,
    arena,
    db: { ...db, secrets },
    routes,
    org,
    theirs,
    stranger,
    both,
    people,
    log,
    ask: asker(app),
    close,
  }
}

/** `db` whose statements go through `rewrite`. */
function rewriting(db: Db, rewrite: (sql: string) => string): Db {
  const changed = new WeakSet<object>()
  db.pool.on('acquire', (client) => {
    if (changed.has(client)) return
    changed.add(client)
    const send = client.query.bind(client) as (...all: unknown[]) => unknown
    const change = (first: unknown): unknown =>
      typeof first === 'string'
        ? rewrite(first)
        : // A prepared statement keeps its text: under another name it is another one.
          { ...(first as object), text: rewrite((first as { text: string }).text) }
    Object.assign(client, { query: (first: unknown, ...rest: unknown[]) => send(change(first), ...rest) })
  })
  return db
}

async function firstOf(stream: Readable): Promise<string> {
  const [chunk] = (await once(stream, 'data')) as [Buffer]
  stream.destroy()
  return chunk.toString()
}

function asker(app: FastifyInstance): Door['ask'] {
  return async (who, line, { body, headers = {} } = {}) => {
    const [method = 'GET', url = '/'] = line.split(' ')
    const principal = typeof who === 'string' ? person(who) : who
    const response = await app.inject({
      payloadAsStream: true,
      method: method as 'GET',
      url,
      headers: {
        ...(principal ? { 'x-principal': JSON.stringify(principal) } : {}),
        ...(body === undefined ? {} : { 'content-type': 'application/json' }),
        ...headers,
      },
      ...(body === undefined ? {} : { payload: typeof body === 'string' ? body : JSON.stringify(body) }),
    })
    const type = String(response.headers['content-type'] ?? '')
    // An event stream does not end: what it says first is its answer here.
    const text = type.startsWith('text/event-stream')
      ? await firstOf(response.stream())
      : await textOf(response.stream())
    const json = /json/.test(type)
    return {
      status: response.statusCode,
      headers: response.headers as Record<string, string>,
      body: (json && text !== '' ? JSON.parse(text) : null) as never,
      text,
    }
  }
}
