/** The door with sign-in, on a port of its own over a database of its own, and browsers and programs that use it. */
import type { AuthConfig, OidcConfig } from '../../src/auth/config.ts'
import { openSignIn, type SignIn } from '../../src/auth/open.ts'
import { makeOwnerLink } from '../../src/auth/owner-links.ts'
import { type Db, withTx } from '../../src/db/client.ts'
import { actorFor } from '../../src/engine/bootstrap.ts'
import { makeApp } from '../../src/http/app.ts'
import { makeAuthenticate } from '../../src/http/authenticate.ts'
import { makeLog } from '../../src/http/log.ts'
import { noteJoined } from '../../src/http/routes/members.ts'
import { type FreshDb, freshDb } from '../support/db.ts'

export type Answer = Readonly<{
  status: number
  headers: Headers
  // oxlint-disable-next-line typescript/no-explicit-any -- tests look into answers of every kind
  body: any
}>

export type Client = Readonly<{
  /** Cookies by name. */
  jar: Map<string, string>
  /** Set-Cookie headers as they came, all of them. */
  setCookies: string[]
  send(method: string, path: string, body?: unknown, headers?: Readonly<Record<string, string>>): Promise<Answer>
}>

export type PeopleServer = Readonly<{
  origin: string
  fresh: FreshDb
  /** Works as service_role, as the door does. */
  service: Db
  signInDb: Db
  signIn: SignIn
  /** Everything that was logged. */
  logged: string[]
  orgId: string
  ownerId: string
  browser(): Client
  program(bearer: string): Client
  /** A new link for the owner. */
  ownerToken(): Promise<string>
  /** A browser in which the owner is signed in. */
  ownerBrowser(): Promise<Client>
  /** A browser of a new member of the organisation. */
  memberBrowser(role: string, email?: string): Promise<Client>
  close(): Promise<void>
}>

export const PASSWORD = 'correct horse battery staple'

export type ServerOptions = Readonly<{
  oidc?: Omit<OidcConfig, 'name' | 'domains' | 'defaultRole'> & Partial<OidcConfig>
  supabase?: AuthConfig['supabase']
  publicOrigin?: string
  identityTimeoutMs?: number
}>

/** Starts it. Close it when done. */
export async function peopleServer(options: ServerOptions = {}): Promise<PeopleServer> {
  const fresh = await freshDb()
  const service = await fresh.connect({ role: 'service_role', max: 6 })
  const signInDb = await fresh.connect({ role: 'gleaner_auth', max: 4 })
  const actor = await actorFor(service)
  const logged: string[] = []
  const log = makeLog('trace', { write: (line: string) => logged.push(line) })
  const listening = await freePort()
  const origin = `http://127.0.0.1:${listening}`
  const oidc = options.oidc
    ? { name: 'Work account', domains: [], defaultRole: 'viewer' as const, ...options.oidc }
    : null
  const signIn = openSignIn({
    config: { oidc, supabase: options.supabase ?? null },
    db: service,
    signInDb,
    secret: 'a secret of tests, longer than 32 characters: 0f8c1d7e',
    publicUrl: options.publicOrigin ?? origin,
    log: (level, message) => log[level](message),
    onJoined: noteJoined,
    ...(options.identityTimeoutMs === undefined ? {} : { identityTimeoutMs: options.identityTimeoutMs }),
  })
  const deps = { db: service, env: {}, log, version: 'test', signIn, ...publicOrigin(options) }
  const app = await makeApp({ deps, authenticate: makeAuthenticate(signIn, service) })
  await app.listen({ host: '127.0.0.1', port: listening })
  const server = {
    origin,
    fresh,
    service,
    signInDb,
    signIn,
    logged,
    orgId: actor.orgId,
    ownerId: actor.userId,
    browser: () => client(origin, logged, { 'sec-fetch-site': 'same-origin', 'user-agent': 'test browser' }),
    program: (bearer: string) => client(origin, logged, { authorization: `Bearer ${bearer}` }),
    ownerToken: () => withTx(signInDb, (tx) => makeOwnerLink(tx, actor)),
    close: async () => {
      await app.close()
      await fresh.close()
    },
  }
  let owner: Promise<Client> | undefined
  // Signed out by a test that sets the owner's password, it signs in again.
  const inviting = async (): Promise<Client> => {
    if (owner && (await (await owner).send('GET', '/api/v1/me')).status === 200) return owner
    owner = ownerBrowser(server)
    return owner
  }
  return {
    ...server,
    ownerBrowser: () => ownerBrowser(server),
    memberBrowser: async (role, email) => memberBrowser(server, await inviting(), role, email),
  }
}

const publicOrigin = ({ publicOrigin: origin }: ServerOptions) => (origin === undefined ? {} : { publicOrigin: origin })

async function freePort(): Promise<number> {
  const { createServer } = await import('node:net')
  return new Promise((resolve) => {
    const probe = createServer().listen(0, '127.0.0.1', () => {
      const { port } = probe.address() as { port: number }
      probe.close(() => resolve(port))
    })
  })
}

function client(origin: string, logged: readonly string[], always: Readonly<Record<string, string>>): Client {
  const jar = new Map<string, string>()
  const setCookies: string[] = []
  const send: Client['send'] = async (method, path, body, headers = {}) => {
    const cookie = [...jar].map(([name, value]) => `${name}=${value}`).join('; ')
    const response = await fetch(path.startsWith('http') ? path : `${origin}${path}`, {
      method,
      redirect: 'manual',
      headers: {
        ...always,
        ...(cookie ? { cookie } : {}),
        ...(body === undefined ? {} : { 'content-type': 'application/json' }),
        ...headers,
      },
      ...(body === undefined ? {} : { body: JSON.stringify(body) }),
    })
    for (const set of response.headers.getSetCookie()) {
      setCookies.push(set)
      const [pair = '', ...attributes] = set.split(';')
      const at = pair.indexOf('=')
      if (attributes.some((attribute) => /^\s*max-age=0$/i.test(attribute))) jar.delete(pair.slice(0, at))
      else jar.set(pair.slice(0, at), pair.slice(at + 1))
    }
    const text = await response.text()
    if (response.status >= 500) console.error(logged.filter((line) => line.includes('"level":50')).at(-1))
    return { status: response.status, headers: response.headers, body: text === '' ? null : JSON.parse(text) }
  }
  return { jar, setCookies, send }
}

async function ownerBrowser(server: Pick<PeopleServer, 'browser' | 'ownerToken'>): Promise<Client> {
  const browser = server.browser()
  const { status } = await browser.send('POST', '/api/v1/auth/owner-link', { token: await server.ownerToken() })
  if (status !== 200) throw new Error(`the owner link answered ${status}`)
  return browser
}

let people = 0

async function memberBrowser(
  server: Pick<PeopleServer, 'browser' | 'orgId'>,
  owner: Client,
  role: string,
  email = `person${++people}@example.org`,
): Promise<Client> {
  const invited = await owner.send('POST', `/api/v1/orgs/${server.orgId}/invitations`, { email, role })
  if (invited.status !== 201)
    throw new Error(`the invitation answered ${invited.status}: ${JSON.stringify(invited.body)}`)
  const token = new URL(invited.body.link).hash.slice(1)
  const browser = server.browser()
  const joined = await browser.send('POST', '/api/v1/auth/invitation/accept', {
    token,
    name: `A ${role}`,
    password: PASSWORD,
  })
  if (joined.status !== 200) throw new Error(`joining answered ${joined.status}: ${JSON.stringify(joined.body)}`)
  return browser
}
