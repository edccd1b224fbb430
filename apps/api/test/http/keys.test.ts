import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { type Client, type PeopleServer, peopleServer } from './people-server.ts'

let server: PeopleServer
let owner: Client
beforeAll(async () => {
  server = await peopleServer()
  owner = await server.ownerBrowser()
})
afterAll(() => server.close())

const keys = () => `/api/v1/orgs/${server.orgId}/keys`
const make = async (wish: Record<string, unknown> = {}, by = owner) => {
  const { status, body } = await by.send('POST', keys(), { name: 'Nightly report', ...wish })
  expect({ status, body }).toMatchObject({ status: 201 })
  return body as { key: string; apiKey: { id: string; prefix: string; lastFour: string } }
}
const usable = async (key: string) =>
  (await server.program(key).send('GET', `/api/v1/orgs/${server.orgId}/members`)).status

describe('an API key', () => {
  it('is shown once, and known by its hash afterwards', async () => {
    const { key, apiKey } = await make()
    expect(key).toMatch(/^glk_[0-9a-z]{10}_[A-Za-z0-9_-]{43}$/)
    expect(apiKey).toMatchObject({
      name: 'Nightly report',
      prefix: key.slice(0, 14),
      lastFour: key.slice(-4),
      scopes: ['read'],
      maxRole: 'viewer',
      createdBy: server.ownerId,
    })
    expect(await usable(key)).toBe(200)
    const { rows } = await server.fresh.db.query<{ text: string }>(
      `select string_agg(k::text, ' ') as text from api_keys k`,
    )
    expect(rows[0]?.text).not.toContain(key.slice(15))
    expect(JSON.stringify((await owner.send('GET', keys())).body)).not.toContain(key.slice(15, 50))
    expect(server.logged.join('\n')).not.toContain(key.slice(15))
    const log = await server.fresh.db.query<{ text: string }>(
      `select string_agg(a::text, ' ') as text from audit_log a`,
    )
    expect(log.rows[0]?.text).toContain('key.created')
    expect(log.rows[0]?.text).not.toContain(key.slice(15))
  })

  it('is refused when it is garbage, changed, revoked or expired', async () => {
    const { key, apiKey } = await make()
    const changed = key.slice(0, -1) + (key.endsWith('A') ? 'B' : 'A')
    const other = `glk_${'0'.repeat(10)}${key.slice(14)}`
    for (const wrong of [changed, other, 'glk_', `${key}x`, `glk_${'x'.repeat(54)}`]) {
      const { status, body } = await server.program(wrong).send('GET', '/api/v1/orgs')
      expect({ wrong, status, code: body.code }).toEqual({ wrong, status: 401, code: 'auth.key_invalid' })
      expect(JSON.stringify(body)).not.toContain(wrong === 'glk_' ? key : wrong)
    }
    for (const header of ['Basic Z2xrOg==', 'Bearer', 'Bearer a.b.c', `Bearer ${key} ${key}`])
      expect((await server.browser().send('GET', '/api/v1/orgs', undefined, { authorization: header })).status).toBe(
        401,
      )
    expect((await owner.send('DELETE', `${keys()}/${apiKey.id}`)).body.revokedAt).toEqual(expect.any(String))
    expect(await usable(key)).toBe(401)
    const brief = await make({ days: 1 })
    await server.fresh.db.query(`update api_keys set expires_at = now() - interval '1 second' where id = $1`, [
      brief.apiKey.id,
    ])
    expect((await server.program(brief.key).send('GET', '/api/v1/orgs')).body).toMatchObject({
      detail: 'This API key has expired.',
    })
  })

  it('that is wrong is not made good by a cookie beside it', async () => {
    const { status } = await owner.send('GET', '/api/v1/me', undefined, {
      authorization: `Bearer glk_${'0'.repeat(10)}_${'x'.repeat(43)}`,
    })
    expect(status).toBe(401)
  })

  it('works for its organisation only', async () => {
    const second = await owner.send('POST', '/api/v1/orgs', { name: 'Second' })
    const { key } = await make()
    const program = server.program(key)
    expect((await program.send('GET', `/api/v1/orgs/${second.body.id}/members`)).status).toBe(404)
    expect((await program.send('GET', '/api/v1/orgs')).body.items.map((org: { id: string }) => org.id)).toEqual([
      server.orgId,
    ])
    expect((await owner.send('GET', '/api/v1/orgs')).body.items).toHaveLength(2)
  })

  it('does no more than its scopes, its role, and its person', async () => {
    const rename = (key: string) =>
      server.program(key).send('PATCH', `/api/v1/orgs/${server.orgId}`, { name: 'By a key' })
    const all = ['read', 'sellers:write', 'exports:write', 'runs:write', 'settings:write']
    const strong = await make({ scopes: all, maxRole: 'admin' })
    expect((await rename(strong.key)).body).toMatchObject({ status: 403, code: 'auth.session_needed' })
    expect((await server.program(strong.key).send('GET', '/api/v1/me')).body.code).toBe('auth.session_needed')
    expect((await server.program(strong.key).send('POST', keys(), { name: 'Child' })).body.code).toBe(
      'auth.session_needed',
    )
    // Reading keys takes an admin: the key's own role decides, whoever made it.
    expect((await server.program(strong.key).send('GET', keys())).status).toBe(200)
    expect((await server.program((await make({ scopes: all })).key).send('GET', keys())).body.code).toBe(
      'auth.role_too_low',
    )
    const blind = await make({ scopes: ['runs:write'], maxRole: 'admin' })
    expect((await server.program(blind.key).send('GET', keys())).body).toMatchObject({
      status: 403,
      code: 'auth.scope_missing',
    })
    // Somebody who was an admin and is a viewer now: so is the key.
    const admin = await server.memberBrowser('admin', 'lowered@example.org')
    const { key } = await make({ scopes: all, maxRole: 'admin' }, admin)
    expect((await server.program(key).send('GET', keys())).status).toBe(200)
    const id = (await admin.send('GET', '/api/v1/me')).body.id
    const member = `/api/v1/orgs/${server.orgId}/members/${id}`
    expect((await owner.send('PATCH', member, { role: 'viewer' })).status).toBe(200)
    expect((await server.program(key).send('GET', keys())).body.code).toBe('auth.role_too_low')
    expect((await owner.send('DELETE', member)).status).toBe(204)
    expect((await server.program(key).send('GET', '/api/v1/orgs')).body).toMatchObject({
      status: 401,
      code: 'auth.key_invalid',
    })
  })

  it('cannot be made in the database by a key, nor for somebody else, nor beyond the list', async () => {
    expect((await owner.send('POST', keys(), { name: 'x', scopes: ['everything'] })).status).toBe(400)
    expect((await owner.send('POST', keys(), { name: 'x', maxRole: 'owner' })).status).toBe(400)
    expect((await owner.send('POST', keys(), { name: 'x', scopes: [] })).status).toBe(400)
    for (const role of ['analyst', 'viewer']) {
      const member = await server.memberBrowser(role)
      expect((await member.send('POST', keys(), { name: 'x' })).body).toMatchObject({
        status: 403,
        code: 'auth.role_too_low',
      })
      expect((await member.send('GET', keys())).status).toBe(403)
    }
    expect((await server.browser().send('POST', keys(), { name: 'x' })).status).toBe(401)
  })

  it('notes its use at most once a minute', async () => {
    const { key, apiKey } = await make()
    const used = async () => {
      const { rows } = await server.fresh.db.query<{ at: Date | null }>(
        'select last_used_at as at from api_keys where id = $1',
        [apiKey.id],
      )
      return rows[0]?.at?.toISOString() ?? null
    }
    expect(await used()).toBeNull()
    await usable(key)
    const first = await used()
    expect(first).not.toBeNull()
    await usable(key)
    expect(await used()).toBe(first)
    await server.fresh.db.query(`update api_keys set last_used_at = now() - interval '61 seconds' where id = $1`, [
      apiKey.id,
    ])
    await Promise.all([usable(key), usable(key), usable(key)])
    expect(Date.parse((await used()) ?? '')).toBeGreaterThan(Date.parse(first ?? '') - 1)
  })

  it('is listed page by page, both ways', async () => {
    const all = (await owner.send('GET', `${keys()}?limit=200`)).body.items.map((k: { id: string }) => k.id)
    const seen: string[] = []
    let cursor: string | null = ''
    let last
    while (cursor !== null) {
      last = (await owner.send('GET', `${keys()}?limit=2${cursor ? `&cursor=${cursor}` : ''}`)).body
      seen.push(...last.items.map((k: { id: string }) => k.id))
      cursor = last.next
    }
    expect(seen).toEqual(all)
    const before = (await owner.send('GET', `${keys()}?limit=2&cursor=${last.previous}`)).body
    const index = all.indexOf(last.items[0].id)
    expect(before.items.map((k: { id: string }) => k.id)).toEqual(all.slice(index - 2, index))
  })

  it('of another organisation is not found', async () => {
    const second = await owner.send('POST', '/api/v1/orgs', { name: 'Third' })
    const { body } = await owner.send('POST', `/api/v1/orgs/${second.body.id}/keys`, { name: 'Theirs' })
    expect((await owner.send('DELETE', `${keys()}/${body.apiKey.id}`)).body).toMatchObject({
      status: 404,
      code: 'auth.key_unknown',
    })
    expect((await server.program(body.key).send('GET', '/api/v1/orgs')).status).toBe(200)
  })
})
