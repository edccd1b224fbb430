import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { LIMITS } from '../../src/auth/tries.ts'
import { type Client, PASSWORD, type PeopleServer, peopleServer } from './people-server.ts'

let server: PeopleServer
beforeAll(async () => {
  server = await peopleServer()
})
afterAll(() => server.close())
beforeEach(() => server.fresh.db.query('delete from gleaner_auth.tries'))

const acts = async (userId: string): Promise<string[]> => {
  const { rows } = await server.fresh.db.query<{ action: string }>(
    'select action from audit_log where actor_id = $1 order by id',
    [userId],
  )
  return rows.map(({ action }) => action)
}
const setPassword = (browser: Client, email: string, next = PASSWORD, current?: string) =>
  browser.send('PUT', '/api/v1/me/password', { email, next, ...(current === undefined ? {} : { current }) })
const signIn = (browser: Client, email: string, password = PASSWORD) =>
  browser.send('POST', '/api/v1/auth/sign-in', { email, password })

describe('the owner link', () => {
  it('signs in as the person the runs of the installation belong to, once', async () => {
    const token = await server.ownerToken()
    const [first, second] = [server.browser(), server.browser()]
    const answers = await Promise.all(
      [first, second].map((browser) => browser.send('POST', '/api/v1/auth/owner-link', { token })),
    )
    expect(answers.map(({ status }) => status).sort()).toEqual([200, 410])
    const inside = answers[0]?.status === 200 ? first : second
    const me = await inside.send('GET', '/api/v1/me')
    expect(me.body).toMatchObject({
      id: server.ownerId,
      email: null,
      hasPassword: false,
      orgs: [{ id: server.orgId, role: 'owner' }],
    })
    const again = await server.browser().send('POST', '/api/v1/auth/owner-link', { token })
    expect(again.body).toMatchObject({ status: 410, code: 'auth.link_invalid' })
    expect(again.body.detail).toMatch(/^This link was used on \d{4}-\d\d-\d\d \d\d:\d\d UTC\.$/)
    expect(await acts(server.ownerId)).toEqual(
      expect.arrayContaining(['person.owner_link_printed', 'person.owner_link_used', 'person.signed_in']),
    )
  })

  it('is void when a new one was printed, when it is old, and when it never was', async () => {
    const old = await server.ownerToken()
    const fresh = await server.ownerToken()
    const open = (token: string) => server.browser().send('POST', '/api/v1/auth/owner-link', { token })
    expect((await open(old)).body).toMatchObject({ status: 410, detail: 'This link is old.' })
    await server.fresh.db.query(`update gleaner_auth.owner_links set expires_at = now() - interval '1 second'`)
    expect((await open(fresh)).status).toBe(410)
    expect((await open('x'.repeat(43))).body.detail).toBe('This link is not one of this installation.')
  })

  it('is not in the database: only its hash is', async () => {
    const token = await server.ownerToken()
    const { rows } = await server.fresh.db.query<{ text: string }>(
      'select string_agg(t::text, $1) as text from gleaner_auth.owner_links t',
      ['\n'],
    )
    expect(rows[0]?.text).not.toContain(token)
  })
})

describe('a session', () => {
  it('is a cookie no script reads and no other site sends', async () => {
    const owner = await server.ownerBrowser()
    const cookie = owner.setCookies.find((set) => set.startsWith('gleaner.session_token='))
    expect(cookie).toMatch(/; HttpOnly/i)
    expect(cookie).toMatch(/; SameSite=Lax/i)
    expect(cookie).toMatch(/; Path=\//i)
    expect(cookie).not.toMatch(/; Secure/i)
  })

  it('is Secure where people come by https', async () => {
    const https = await peopleServer({ publicOrigin: 'https://gleaner.example.org' })
    const owner = await https.ownerBrowser()
    expect(owner.setCookies.find((set) => set.startsWith('__Secure-gleaner.session_token='))).toMatch(/; Secure/i)
    expect((await owner.send('GET', '/api/v1/me')).status).toBe(200)
    await https.close()
  })

  it('is nobody with a changed, foreign, expired or ended cookie', async () => {
    const owner = await server.ownerBrowser()
    const [name = '', value = ''] = [...owner.jar][0] ?? []
    const as = async (cookie: string) =>
      (await server.browser().send('GET', '/api/v1/me', undefined, { cookie: `${name}=${cookie}` })).status
    expect(await as(value)).toBe(200)
    const [token = '', signature = ''] = decodeURIComponent(value).split('.')
    for (const wrong of [
      '',
      'x',
      token,
      `${token}.${signature.replace(/^./, (c) => (c === 'A' ? 'B' : 'A'))}`,
      `x${value}`,
    ])
      expect(await as(encodeURIComponent(wrong))).toBe(401)
    await server.fresh.db.query(
      `update gleaner_auth.sessions set expires_at = now() - interval '1 second' where token = $1`,
      [token],
    )
    expect(await as(value)).toBe(401)
  })

  it('changes nothing for a request another site sends with it', async () => {
    const owner = await server.ownerBrowser()
    const write = (headers: Record<string, string>) => owner.send('PATCH', '/api/v1/me', { name: 'Mallory' }, headers)
    expect((await write({ 'sec-fetch-site': 'cross-site', origin: 'https://evil.example' })).body).toMatchObject({
      status: 403,
      code: 'request.cross_site',
    })
    expect((await write({ 'sec-fetch-site': 'same-site' })).status).toBe(403)
    expect((await write({})).status).toBe(204)
  })

  it('is listed, and ended one by one or all but this one', async () => {
    const browsers = [await server.ownerBrowser(), await server.ownerBrowser(), await server.ownerBrowser()]
    const [here, there] = browsers as [Client, Client]
    const listed = (await here.send('GET', '/api/v1/me/sessions')).body.items as { id: string; current: boolean }[]
    expect(listed.filter(({ current }) => current)).toHaveLength(1)
    expect(listed[0]).toMatchObject({ userAgent: 'test browser', address: '127.0.0.1' })
    expect(JSON.stringify(listed)).not.toContain('token')
    const itself = (await there.send('GET', '/api/v1/me/sessions')).body.items.find(
      (s: { current: boolean }) => s.current,
    )
    expect((await here.send('DELETE', `/api/v1/me/sessions/${itself.id}`)).status).toBe(204)
    expect((await there.send('GET', '/api/v1/me')).status).toBe(401)
    expect((await here.send('DELETE', `/api/v1/me/sessions/${itself.id}`)).body).toMatchObject({
      code: 'auth.session_unknown',
    })
    const { body } = await here.send('DELETE', '/api/v1/me/sessions')
    expect(body.ended).toBeGreaterThanOrEqual(1)
    expect(await Promise.all(browsers.map(async (b) => (await b.send('GET', '/api/v1/me')).status))).toEqual([
      200, 401, 401,
    ])
    expect(await acts(server.ownerId)).toEqual(
      expect.arrayContaining(['person.session_ended', 'person.sessions_ended']),
    )
  })

  it('of somebody else is not ended, nor shown', async () => {
    const other = await server.memberBrowser('viewer')
    const owner = await server.ownerBrowser()
    const theirs = (await other.send('GET', '/api/v1/me/sessions')).body.items[0]
    expect((await owner.send('DELETE', `/api/v1/me/sessions/${theirs.id}`)).status).toBe(404)
    expect((await other.send('GET', '/api/v1/me')).status).toBe(200)
  })

  it('ends with signing out', async () => {
    const owner = await server.ownerBrowser()
    const kept = new Map(owner.jar)
    expect((await owner.send('POST', '/api/v1/auth/sign-out')).status).toBe(204)
    expect(owner.jar.size).toBe(0)
    const thief = server.browser()
    for (const [name, value] of kept) thief.jar.set(name, value)
    expect((await thief.send('GET', '/api/v1/me')).status).toBe(401)
    expect((await server.browser().send('POST', '/api/v1/auth/sign-out')).status).toBe(204)
  })
})

describe('a password', () => {
  it('is set with an address, and lets its person in from then on', async () => {
    const owner = await server.ownerBrowser()
    const other = await server.ownerBrowser()
    expect((await owner.send('PUT', '/api/v1/me/password', { next: PASSWORD })).body).toMatchObject({
      code: 'input.invalid',
      errors: [{ path: 'body.email' }],
    })
    expect((await owner.send('PUT', '/api/v1/me/password', { next: 'short', email: 'o@example.org' })).status).toBe(400)
    expect((await setPassword(owner, 'Owner@Example.org')).status).toBe(204)
    expect((await other.send('GET', '/api/v1/me')).status).toBe(401)
    expect((await owner.send('GET', '/api/v1/me')).body).toMatchObject({
      email: 'owner@example.org',
      hasPassword: true,
    })
    const browser = server.browser()
    expect((await signIn(browser, ' owner@example.ORG '.trim())).body).toEqual({ signedIn: true })
    expect((await browser.send('GET', '/api/v1/me')).body.id).toBe(server.ownerId)
    const { rows } = await server.fresh.db.query('select email from auth.users where id = $1', [server.ownerId])
    expect(rows).toEqual([{ email: 'owner@example.org' }])
    expect(await acts(server.ownerId)).toEqual(expect.arrayContaining(['person.email_changed', 'person.password_set']))
  })

  it('is changed with the one before only', async () => {
    const browser = await server.memberBrowser('viewer', 'changes@example.org')
    expect((await setPassword(browser, 'changes@example.org', 'another long one')).body).toMatchObject({
      status: 403,
      code: 'auth.current_password_wrong',
    })
    expect((await setPassword(browser, 'changes@example.org', 'another long one', 'wrong')).status).toBe(403)
    expect((await setPassword(browser, 'changes@example.org', 'another long one', PASSWORD)).status).toBe(204)
    expect((await signIn(server.browser(), 'changes@example.org')).status).toBe(401)
    expect((await signIn(server.browser(), 'changes@example.org', 'another long one')).status).toBe(200)
  })

  it('never takes the address of somebody else', async () => {
    await server.memberBrowser('viewer', 'taken@example.org')
    const browser = await server.memberBrowser('viewer')
    expect((await setPassword(browser, 'TAKEN@example.org', 'another long one', PASSWORD)).body).toMatchObject({
      status: 409,
      code: 'auth.address_taken',
    })
  })

  it('that is wrong is answered like an address that is not known', async () => {
    await server.memberBrowser('viewer', 'known@example.org')
    const wrong = await signIn(server.browser(), 'known@example.org', 'not the password')
    const unknown = await signIn(server.browser(), 'unknown@example.org', 'not the password')
    const instance = expect.any(String)
    expect(wrong.body).toEqual({ ...unknown.body, instance })
    expect(unknown.body).toMatchObject({
      status: 401,
      code: 'auth.credentials_wrong',
      detail: 'E-mail or password is wrong.',
    })
  })

  it('costs the same work whether the address is known or not', async () => {
    await server.memberBrowser('viewer', 'timed@example.org')
    if (server.signIn.kind !== 'local') throw new Error('local accounts were asked for')
    const { password } = await server.signIn.local.auth.$context
    let hashes = 0
    for (const name of ['hash', 'verify'] as const) {
      const original = password[name] as unknown as (...given: never[]) => Promise<never>
      password[name] = ((...given: never[]) => {
        hashes++
        return original(...given)
      }) as never
    }
    const costs = async (email: string): Promise<number> => {
      const before = hashes
      expect((await signIn(server.browser(), email, 'not the password')).status).toBe(401)
      return hashes - before
    }
    expect([await costs('timed@example.org'), await costs('nobody@example.org')]).toEqual([1, 1])
  })
})

describe('tries', () => {
  it('end with the words and the time to wait, also when they come at once', async () => {
    await server.memberBrowser('viewer', 'limited@example.org')
    const most = LIMITS.addressAndEmail.most
    const answers = await Promise.all(
      Array.from({ length: most + 3 }, () => signIn(server.browser(), 'limited@example.org', 'wrong password')),
    )
    expect(answers.filter(({ status }) => status === 401)).toHaveLength(most)
    const limited = answers.find(({ status }) => status === 429)
    expect(limited?.body).toMatchObject({ code: 'auth.too_many_tries' })
    expect(limited?.body.detail).toMatch(/^Too many tries\. Try again in (5 min|4 min \d+ s)\.$/)
    expect(Number(limited?.headers.get('retry-after'))).toBeGreaterThan(200)
    // The right password does not help now, and another person at this address is not held up.
    expect((await signIn(server.browser(), 'limited@example.org')).status).toBe(429)
    await server.memberBrowser('viewer', 'neighbour@example.org')
    expect((await signIn(server.browser(), 'neighbour@example.org')).status).toBe(200)
    await server.fresh.db.query(
      `update gleaner_auth.tries set since_at = since_at - interval '5 minutes' where key like 'address+email:%'`,
    )
    expect((await signIn(server.browser(), 'limited@example.org')).status).toBe(200)
  })

  it('are forgiven by one that succeeds', async () => {
    await server.memberBrowser('viewer', 'clumsy@example.org')
    for (let round = 0; round < 3; round++) {
      for (let n = 0; n < LIMITS.addressAndEmail.most - 1; n++)
        expect((await signIn(server.browser(), 'clumsy@example.org', 'wrong password')).status).toBe(401)
      expect((await signIn(server.browser(), 'clumsy@example.org')).status).toBe(200)
    }
  })

  it('are not told by whether an address exists', async () => {
    const tell = async (email: string) => {
      const answers = []
      for (let n = 0; n <= LIMITS.addressAndEmail.most; n++)
        answers.push((await signIn(server.browser(), email, 'wrong password')).status)
      return answers
    }
    await server.memberBrowser('viewer', 'exists@example.org')
    expect(await tell('exists@example.org')).toEqual(await tell('exists-not@example.org'))
  })
})

describe('the log', () => {
  it('holds no password, no link, no cookie', async () => {
    const token = await server.ownerToken()
    const owner = server.browser()
    await owner.send('POST', '/api/v1/auth/owner-link', { token })
    await signIn(server.browser(), 'who@example.org', 'a password nobody may read')
    const cookie = decodeURIComponent([...owner.jar.values()][0] ?? '')
    const all = server.logged.join('\n')
    expect(all).toContain('/api/v1/auth/sign-in')
    for (const secret of [token, 'a password nobody may read', cookie, cookie.split('.')[0] ?? '', PASSWORD])
      expect(all).not.toContain(secret)
  })
})
