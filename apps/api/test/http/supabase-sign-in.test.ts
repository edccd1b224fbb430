import { createServer, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import { exportJWK, generateKeyPair, type JWTPayload, SignJWT } from 'jose'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { newId } from '../../src/base/ids.ts'
import { type PeopleServer, peopleServer } from './people-server.ts'

const SECRET = 'a shared secret of an older project, long enough'
let project: Server
let url: string
let keys: Awaited<ReturnType<typeof generateKeyPair>>
let strangerKeys: Awaited<ReturnType<typeof generateKeyPair>>
let publicPem: string
let server: PeopleServer
const person = newId()

beforeAll(async () => {
  keys = await generateKeyPair('ES256', { extractable: true })
  strangerKeys = await generateKeyPair('ES256')
  const jwk = { ...(await exportJWK(keys.publicKey)), kid: 'k1', alg: 'ES256', use: 'sig' }
  publicPem = JSON.stringify(jwk)
  project = createServer((request, response) => {
    if (request.url !== '/auth/v1/.well-known/jwks.json') return response.writeHead(404).end()
    return response.writeHead(200, { 'content-type': 'application/json' }).end(JSON.stringify({ keys: [jwk] }))
  })
  await new Promise<void>((resolve) => project.listen(0, '127.0.0.1', resolve))
  url = `http://127.0.0.1:${(project.address() as AddressInfo).port}`
  server = await peopleServer({ supabase: { url, jwtSecret: SECRET } })
  await server.fresh.db.query('insert into auth.users (id, email, raw_user_meta_data) values ($1, $2, $3)', [
    person,
    'ana@example.org',
    JSON.stringify({ full_name: 'Ana K.' }),
  ])
  await server.fresh.db.query(`insert into org_members (org_id, user_id, role) values ($1, $2, 'analyst')`, [
    server.orgId,
    person,
  ])
})
afterAll(async () => {
  await server.close()
  await new Promise((resolve) => project.close(resolve))
})

const claims = (): JWTPayload => ({
  sub: person,
  role: 'authenticated',
  email: 'ana@example.org',
  user_metadata: { full_name: 'Ana K.' },
})
const sign = (payload: JWTPayload, key: Parameters<SignJWT['sign']>[0] = keys.privateKey, alg = 'ES256') =>
  new SignJWT({ iss: `${url}/auth/v1`, aud: 'authenticated', exp: Math.floor(Date.now() / 1000) + 3600, ...payload })
    .setProtectedHeader({ alg, ...(alg === 'ES256' ? { kid: 'k1' } : {}) })
    .sign(key)
const secret = (text: string) => new TextEncoder().encode(text)
const ask = async (token: string, path = '/api/v1/me') => server.program(token).send('GET', path)

describe('a Supabase project', () => {
  it('says who somebody is by tokens of its keys, or of its shared secret', async () => {
    for (const token of [await sign(claims()), await sign(claims(), secret(SECRET), 'HS256')]) {
      const { status, body } = await ask(token)
      expect({ status, body }).toMatchObject({
        status: 200,
        body: { id: person, name: 'Ana K.', email: 'ana@example.org', orgs: [{ id: server.orgId, role: 'analyst' }] },
      })
    }
    expect((await ask(await sign(claims()), `/api/v1/orgs/${server.orgId}/members`)).status).toBe(200)
    expect((await ask(await sign(claims()), `/api/v1/orgs/${server.orgId}/keys`)).status).toBe(403)
  })

  it('is not believed otherwise', async () => {
    const soon = Math.floor(Date.now() / 1000)
    const none = `${Buffer.from('{"alg":"none"}').toString('base64url')}.${Buffer.from(
      JSON.stringify({ ...claims(), iss: `${url}/auth/v1`, aud: 'authenticated', exp: soon + 60 }),
    ).toString('base64url')}.`
    const wrong: Record<string, string> = {
      'another key': await sign(claims(), strangerKeys.privateKey),
      'another secret': await sign(claims(), secret('not the secret of this project, at all'), 'HS256'),
      // The public key as a shared secret: what a checker that takes the algorithm of the token falls for.
      'the public key as secret': await sign(claims(), secret(publicPem), 'HS256'),
      'no signature': none,
      expired: await sign({ ...claims(), exp: soon - 60 }),
      'no end': await sign({ ...claims(), exp: undefined } as never),
      'another issuer': await sign({ ...claims(), iss: 'https://other.supabase.co/auth/v1' }),
      'another audience': await sign({ ...claims(), aud: 'anon' }),
      'the key of the project': await sign({ role: 'service_role', sub: person }),
      nobody: await sign({ role: 'authenticated' }),
      'no id of a person': await sign({ ...claims(), sub: 'admin' }),
      garbage: 'a.b.c',
    }
    for (const [why, token] of Object.entries(wrong)) {
      const { status, body } = await ask(token)
      expect({ why, status, code: body.code }).toEqual({ why, status: 401, code: 'auth.token_invalid' })
    }
  })

  it('shows somebody who is no member nothing', async () => {
    const token = await sign({ ...claims(), sub: newId() })
    expect((await ask(token, `/api/v1/orgs/${server.orgId}/members`)).status).toBe(404)
    expect((await ask(token, '/api/v1/orgs')).body).toEqual({ items: [] })
  })

  it('leaves nothing of accounts of ours: every such route says so', async () => {
    expect((await server.browser().send('GET', '/api/v1/auth')).body).toEqual({
      password: false,
      identity: null,
      supabase: { url },
    })
    for (const [path, body] of [
      ['/api/v1/auth/sign-in', { email: 'a@example.org', password: 'x' }],
      ['/api/v1/auth/owner-link', { token: 'x'.repeat(43) }],
      ['/api/v1/auth/code', { code: '1' }],
      ['/api/v1/auth/identity', {}],
      ['/api/v1/auth/invitation', { token: 'x'.repeat(43) }],
    ] as const)
      expect((await server.browser().send('POST', path, body)).body).toMatchObject({
        status: 409,
        code: 'auth.not_local',
      })
    const program = server.program(await sign(claims()))
    expect((await program.send('GET', '/api/v1/me/sessions')).status).toBe(409)
    expect((await program.send('POST', '/api/v1/orgs', { name: 'x' })).body.code).toBe('org.made_elsewhere')
  })

  it('lets API keys work beside it', async () => {
    await server.fresh.db.query(`update org_members set role = 'admin' where user_id = $1`, [person])
    const made = await server
      .program(await sign(claims()))
      .send('POST', `/api/v1/orgs/${server.orgId}/keys`, { name: 'k' })
    expect(made.status).toBe(201)
    expect((await server.program(made.body.key).send('GET', '/api/v1/orgs')).status).toBe(200)
  })
})
