import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { type Client, PASSWORD, type PeopleServer, peopleServer } from './people-server.ts'

let server: PeopleServer
let owner: Client
beforeAll(async () => {
  server = await peopleServer()
  owner = await server.ownerBrowser()
})
afterAll(() => server.close())
beforeEach(() => server.fresh.db.query('delete from gleaner_auth.tries'))

const at = (path: string, org = server.orgId) => `/api/v1/orgs/${org}${path}`
const idOf = async (browser: Client): Promise<string> => (await browser.send('GET', '/api/v1/me')).body.id
const tokenOf = (link: string) => new URL(link).hash.slice(1)
const invite = async (email: string, role = 'viewer') => {
  const { body } = await owner.send('POST', at('/invitations'), { email, role })
  return { token: tokenOf(body.link), id: body.invitation.id as string, body }
}
const accept = (
  token: string,
  more: Record<string, unknown> = { name: 'New', password: PASSWORD },
  browser = server.browser(),
) => browser.send('POST', '/api/v1/auth/invitation/accept', { token, ...more })
const audit = async (target: string): Promise<string[]> => {
  const { rows } = await server.fresh.db.query<{ action: string }>(
    'select action from audit_log where target = $1 order by id',
    [target],
  )
  return rows.map(({ action }) => action)
}

describe('an organisation', () => {
  it('is made by anybody who is signed in, who owns it', async () => {
    const browser = await server.memberBrowser('viewer')
    const { status, body } = await browser.send('POST', '/api/v1/orgs', { name: 'My own' })
    expect({ status, body }).toMatchObject({ status: 201, body: { name: 'My own', role: 'owner' } })
    expect((await browser.send('GET', at('/members', body.id))).body.items).toHaveLength(1)
    expect((await owner.send('GET', at('/members', body.id))).status).toBe(404)
    expect(await audit(`org:${body.id}`)).toEqual(['org.created'])
    expect((await server.browser().send('POST', '/api/v1/orgs', { name: 'x' })).status).toBe(401)
  })

  it('is renamed by its admins', async () => {
    for (const [role, status] of [
      ['admin', 204],
      ['analyst', 403],
      ['viewer', 403],
    ] as const) {
      const browser = await server.memberBrowser(role)
      expect((await browser.send('PATCH', at(''), { name: `By ${role}` })).status).toBe(status)
    }
    expect((await owner.send('PATCH', at(''), { name: ' ' })).status).toBe(400)
    expect((await owner.send('PATCH', at(''), { name: 'My agency' })).status).toBe(204)
  })
})

describe('members', () => {
  it('are seen by all of them, with names and addresses', async () => {
    const viewer = await server.memberBrowser('viewer', 'seen@example.org')
    const { items } = (await viewer.send('GET', `${at('/members')}?limit=200`)).body
    expect(items[0]).toMatchObject({ userId: server.ownerId, role: 'owner' })
    expect(items.at(-1)).toMatchObject({ name: 'A viewer', email: 'seen@example.org', role: 'viewer' })
  })

  it('are changed by owners only; the refusal names them', async () => {
    const victim = await idOf(await server.memberBrowser('analyst'))
    await owner.send('PATCH', '/api/v1/me', { name: 'Ana K.' })
    for (const role of ['admin', 'analyst', 'viewer']) {
      const browser = await server.memberBrowser(role)
      for (const [method, body] of [
        ['PATCH', { role: 'viewer' }],
        ['DELETE', undefined],
      ] as const) {
        const answer = await browser.send(method, at(`/members/${victim}`), body)
        expect(answer.body).toMatchObject({
          status: 403,
          detail: 'Members can be changed by owners only.',
          hint: 'Owners: Ana K.',
        })
      }
    }
    expect((await owner.send('PATCH', at(`/members/${victim}`), { role: 'admin' })).body).toMatchObject({
      role: 'admin',
    })
    expect((await owner.send('PATCH', at(`/members/${victim}`), { role: 'king' })).status).toBe(400)
    expect((await owner.send('DELETE', at(`/members/${victim}`))).status).toBe(204)
    expect((await owner.send('DELETE', at(`/members/${victim}`))).body).toMatchObject({
      status: 404,
      code: 'org.member_unknown',
    })
    expect((await audit(`person:${victim}`)).filter((action) => action.startsWith('member.'))).toEqual([
      'member.joined',
      'member.role_changed',
      'member.removed',
    ])
  })

  it('lose access with the next request once removed, and may leave themselves', async () => {
    const browser = await server.memberBrowser('admin')
    const id = await idOf(browser)
    expect((await browser.send('GET', at('/members'))).status).toBe(200)
    await owner.send('DELETE', at(`/members/${id}`))
    expect((await browser.send('GET', at('/members'))).body).toMatchObject({ status: 404, code: 'org.unknown' })
    const leaver = await server.memberBrowser('viewer')
    const leaving = await idOf(leaver)
    expect((await leaver.send('DELETE', `/api/v1/me/memberships/${server.orgId}`)).status).toBe(204)
    expect((await leaver.send('GET', '/api/v1/me')).body.orgs).toEqual([])
    expect((await audit(`person:${leaving}`)).at(-1)).toBe('member.left')
  })

  it('keep an owner: the last one neither leaves nor is lowered', async () => {
    const self = at(`/members/${server.ownerId}`)
    const leave = `/api/v1/me/memberships/${server.orgId}`
    expect((await owner.send('DELETE', self)).body).toMatchObject({ status: 409, code: 'org.last_owner' })
    expect((await owner.send('DELETE', leave)).body).toMatchObject({ status: 409, code: 'org.last_owner' })
    expect((await owner.send('PATCH', self, { role: 'admin' })).body).toMatchObject({
      status: 409,
      code: 'org.last_owner',
    })
    expect((await audit(`person:${server.ownerId}`)).filter((action) => action === 'member.left')).toEqual([])
  })

  it('of another organisation are nobody here', async () => {
    const other = await server.memberBrowser('viewer')
    const own = (await other.send('POST', '/api/v1/orgs', { name: 'Elsewhere' })).body.id
    expect((await other.send('DELETE', at(`/members/${server.ownerId}`, own))).status).toBe(404)
    expect((await owner.send('PATCH', at(`/members/${await idOf(other)}`, own), { role: 'viewer' })).status).toBe(404)
  })
})

describe('an invitation', () => {
  it('makes a new person a member, once, and signs them in', async () => {
    const { token, id, body } = await invite('Ben@example.org', 'analyst')
    expect(body.link).toMatch(/^http:\/\/127\.0\.0\.1:\d+\/join#[A-Za-z0-9_-]{43}$/)
    expect(body.invitation).toMatchObject({ email: 'ben@example.org', role: 'analyst', state: 'open' })
    const days = (Date.parse(body.invitation.expiresAt) - Date.parse(body.invitation.createdAt)) / 86_400_000
    expect(days).toBeCloseTo(7, 3)
    const look = await server.browser().send('POST', '/api/v1/auth/invitation', { token })
    expect(look.body).toMatchObject({ orgId: server.orgId, email: 'ben@example.org', role: 'analyst' })
    const browsers = [server.browser(), server.browser(), server.browser()]
    const answers = await Promise.all(browsers.map((browser) => accept(token, undefined, browser)))
    expect(answers.filter(({ status }) => status === 200)).toHaveLength(1)
    expect(answers.filter(({ status }) => status === 409 || status === 410)).toHaveLength(2)
    const inside = browsers[answers.findIndex(({ status }) => status === 200)] as Client
    expect((await inside.send('GET', '/api/v1/me')).body).toMatchObject({
      email: 'ben@example.org',
      orgs: [{ id: server.orgId, role: 'analyst' }],
    })
    expect((await accept(token)).body).toMatchObject({ status: 410, code: 'auth.link_invalid' })
    const listed = (await owner.send('GET', at('/invitations'))).body.items.find((row: { id: string }) => row.id === id)
    expect(listed.state).toBe('accepted')
    expect(await audit(`invitation:${id}`)).toEqual(['invitation.created'])
    const stored = await server.fresh.db.query<{ text: string }>(
      `select string_agg(i::text, ' ') as text from org_invitations i`,
    )
    expect(stored.rows[0]?.text).not.toContain(token)
    expect(server.logged.join('\n')).not.toContain(token)
  })

  it('opens nothing when it was revoked, has expired, or never was', async () => {
    const revoked = await invite('revoked@example.org')
    expect((await owner.send('DELETE', at(`/invitations/${revoked.id}`))).body.state).toBe('revoked')
    expect((await accept(revoked.token)).body).toMatchObject({ status: 410, detail: 'This invitation was revoked.' })
    const old = await invite('old@example.org')
    await server.fresh.db.query(`update org_invitations set expires_at = now() - interval '1 second' where id = $1`, [
      old.id,
    ])
    expect((await accept(old.token)).body).toMatchObject({ status: 410, detail: 'This invitation has expired.' })
    expect((await accept('x'.repeat(43))).status).toBe(410)
    const { rows } = await server.fresh.db.query(
      `select from auth.users where email in ('revoked@example.org', 'old@example.org')`,
    )
    expect(rows).toEqual([])
    expect((await invite('old@example.org')).body.invitation.state).toBe('open')
  })

  it('is taken up by somebody with an account after signing in, with that address', async () => {
    const existing = await server.memberBrowser('viewer', 'existing@example.org')
    const stranger = await server.memberBrowser('viewer', 'stranger@example.org')
    const second = (await owner.send('POST', '/api/v1/orgs', { name: 'Second' })).body.id
    const { body } = await owner.send('POST', at('/invitations', second), {
      email: 'existing@example.org',
      role: 'admin',
    })
    const token = tokenOf(body.link)
    expect((await accept(token)).body).toMatchObject({ status: 409, code: 'auth.sign_in_first' })
    expect((await accept(token, {}, stranger)).body).toMatchObject({ status: 409, code: 'auth.other_address' })
    const answers = await Promise.all([accept(token, {}, existing), accept(token, {}, existing)])
    expect(answers.map(({ status }) => status).sort()).toEqual([200, 410])
    expect(answers.find(({ status }) => status === 200)?.body).toMatchObject({ orgId: second, role: 'admin' })
    expect((await existing.send('GET', '/api/v1/me')).body.orgs).toHaveLength(2)
    expect((await existing.send('GET', at('/members', second))).status).toBe(200)
  })

  it('is given by admins up to admins, by owners to anybody, by others to nobody', async () => {
    const admin = await server.memberBrowser('admin')
    const by = async (browser: Client, role: string) =>
      (await browser.send('POST', at('/invitations'), { email: `${role}-${Math.random()}@example.org`, role })).status
    expect(await Promise.all(['viewer', 'analyst', 'admin', 'owner'].map((role) => by(admin, role)))).toEqual([
      201, 201, 201, 403,
    ])
    expect(await by(owner, 'owner')).toBe(201)
    for (const role of ['analyst', 'viewer']) {
      const browser = await server.memberBrowser(role)
      expect(await by(browser, 'viewer')).toBe(403)
      expect((await browser.send('GET', at('/invitations'))).status).toBe(403)
    }
    const ownersInvitation = (
      await owner.send('POST', at('/invitations'), { email: 'coming@example.org', role: 'owner' })
    ).body
    expect((await admin.send('DELETE', at(`/invitations/${ownersInvitation.invitation.id}`))).body.state).toBe('open')
  })

  it('is refused for who is a member or invited already', async () => {
    await server.memberBrowser('viewer', 'inside@example.org')
    const again = (email: string) => owner.send('POST', at('/invitations'), { email, role: 'viewer' })
    expect((await again('inside@example.org')).body).toMatchObject({ status: 409, code: 'org.already_member' })
    await invite('twice@example.org')
    expect((await again('TWICE@example.org')).body).toMatchObject({ status: 409, code: 'org.invited_already' })
    expect((await again('not an address')).status).toBe(400)
  })

  it('asks a new person for a name and a password', async () => {
    const { token } = await invite('bare@example.org')
    expect((await accept(token, {})).body).toMatchObject({
      code: 'input.invalid',
      errors: [{ path: 'body.name' }, { path: 'body.password' }],
    })
    expect((await accept(token, { name: 'x', password: 'short' })).status).toBe(400)
    expect((await accept(token)).status).toBe(200)
  })

  it('is looked up so often only', async () => {
    const answers = await Promise.all(Array.from({ length: 25 }, () => accept('y'.repeat(43))))
    expect(answers.filter(({ status }) => status === 429).length).toBe(5)
  })
})
