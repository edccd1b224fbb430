import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { CLIENT, type IdentityProvider, identityProvider, type Profile } from './identity-provider.ts'
import { type Client, PASSWORD, type PeopleServer, peopleServer } from './people-server.ts'

const ANA: Profile = { sub: 'idp-1', email: 'ana@example.org', email_verified: true, name: 'Ana K.' }

let provider: IdentityProvider
let server: PeopleServer
beforeAll(async () => {
  provider = await identityProvider(ANA)
  server = await peopleServer({
    oidc: { issuer: provider.issuer, ...CLIENT, domains: ['example.org'], defaultRole: 'analyst' },
  })
})
afterAll(async () => {
  await server.close()
  await provider.close()
})
beforeEach(async () => {
  provider.next.profile = ANA
  delete provider.next.claims
  delete provider.next.otherKey
  await server.fresh.db.query('delete from gleaner_auth.tries')
})

/** The whole way round as a browser goes it; where it comes to in the end. */
async function goRound(browser: Client, body: Record<string, unknown> = { returnTo: '/runs' }): Promise<string> {
  const started = await browser.send('POST', '/api/v1/auth/identity', body)
  expect(started.status).toBe(200)
  const there = await fetch(started.body.url, { redirect: 'manual' })
  const back = await browser.send('GET', there.headers.get('location') ?? '', undefined, {
    'sec-fetch-site': 'cross-site',
  })
  expect(back.status).toBe(303)
  return back.headers.get('location') ?? ''
}
const me = async (browser: Client) => (await browser.send('GET', '/api/v1/me')).body
const newPerson = (n: number, more: Partial<Profile> = {}): Profile => ({
  sub: `idp-new-${n}`,
  email: `new${n}@example.org`,
  email_verified: true,
  name: `New ${n}`,
  ...more,
})

describe('an identity provider', () => {
  it('lets in people of its domains, who join the first organisation with the configured role', async () => {
    const browser = server.browser()
    expect(await goRound(browser)).toBe('/runs')
    expect(await me(browser)).toMatchObject({
      name: 'Ana K.',
      email: 'ana@example.org',
      hasPassword: false,
      identity: true,
      orgs: [{ id: server.orgId, role: 'analyst' }],
    })
    const again = server.browser()
    await goRound(again)
    expect((await me(again)).id).toBe((await me(browser)).id)
    const { rows } = await server.fresh.db.query<{ action: string }>(
      'select action from audit_log where actor_id = $1 order by id',
      [(await me(browser)).id],
    )
    expect(rows.map(({ action }) => action)).toEqual(expect.arrayContaining(['member.joined', 'person.signed_in']))
    expect((await server.browser().send('GET', '/api/v1/auth')).body.identity).toEqual({ name: 'Work account' })
  })

  it('keeps none of its tokens here', async () => {
    await goRound(server.browser())
    const { rows } = await server.fresh.db.query(
      `select count(*)::int as n from gleaner_auth.accounts
       where provider_id = 'oidc' and coalesce(access_token, refresh_token, id_token) is null`,
    )
    expect(rows[0]).toMatchObject({ n: expect.any(Number) })
    const all = await server.fresh.db.query<{ text: string }>(
      `select string_agg(a::text, ' ') as text from gleaner_auth.accounts a`,
    )
    expect(all.rows[0]?.text).not.toMatch(/eyJ/)
  })

  it('lets nobody in of another domain, or whose address it does not vouch for', async () => {
    provider.next.profile = newPerson(1, { email: 'eve@example.com' })
    const other = server.browser()
    expect(await goRound(other)).toMatch(/^\/sign-in\?.*error=domain_not_allowed/)
    expect((await other.send('GET', '/api/v1/me')).status).toBe(401)
    provider.next.profile = newPerson(2, { email_verified: false })
    expect(await goRound(server.browser())).toMatch(/error=email_not_verified/)
    provider.next.profile = newPerson(3, { email: 'eve@example.org.example.com' })
    expect(await goRound(server.browser())).toMatch(/error=domain_not_allowed/)
    const { rows } = await server.fresh.db.query(`select from auth.users where email like 'eve@%'`)
    expect(rows).toEqual([])
  })

  it('is believed with its own signature, audience, issuer and nonce only', async () => {
    for (const [n, wrong] of [
      { claims: { aud: 'somebody-else' } },
      { claims: { iss: 'https://evil.example' } },
      { claims: { nonce: 'of-another-sign-in' } },
      { claims: { exp: Math.floor(Date.now() / 1000) - 3600 } },
      { otherKey: true },
    ].entries()) {
      provider.next.profile = newPerson(10 + n)
      Object.assign(provider.next, { claims: undefined, otherKey: false }, wrong)
      const browser = server.browser()
      expect(await goRound(browser), JSON.stringify(wrong)).toMatch(/^\/sign-in\?.*error=/)
      expect((await browser.send('GET', '/api/v1/me')).status).toBe(401)
    }
  })

  it('is answered in the browser that asked only, and once', async () => {
    const browser = server.browser()
    const { body } = await browser.send('POST', '/api/v1/auth/identity', { returnTo: '/runs' })
    const there = await fetch(body.url, { redirect: 'manual' })
    const address = there.headers.get('location') ?? ''
    const victim = server.browser()
    expect((await victim.send('GET', address)).headers.get('location')).toMatch(/error=/)
    expect((await victim.send('GET', '/api/v1/me')).status).toBe(401)
    const replayed = server.browser()
    await goRound(replayed)
    expect((await replayed.send('GET', address)).headers.get('location')).toMatch(/error=/)
    expect((await server.browser().send('GET', '/api/v1/auth/oidc/callback')).headers.get('location')).toMatch(/error=/)
  })

  it('never leads to another site afterwards', async () => {
    const start = (returnTo: string) => server.browser().send('POST', '/api/v1/auth/identity', { returnTo })
    for (const evil of [
      'https://evil.example',
      '//evil.example',
      '/\\evil.example',
      '\t//evil.example',
      'javascript:alert(1)',
      '',
    ])
      expect((await start(evil)).body).toMatchObject({ status: 400, code: 'input.invalid' })
    expect((await start('/runs?x=1#y')).status).toBe(200)
  })

  it('is not let into an account of the same address that nobody proved is theirs, unless its person adds it', async () => {
    const member = await server.memberBrowser('viewer', 'both@example.org')
    provider.next.profile = newPerson(20, { email: 'both@example.org' })
    const outside = server.browser()
    expect(await goRound(outside)).toMatch(/error=account_not_linked/)
    expect((await outside.send('GET', '/api/v1/me')).status).toBe(401)
    expect((await server.browser().send('POST', '/api/v1/auth/identity', { link: true })).status).toBe(401)
    expect(await goRound(member, { returnTo: '/settings', link: true })).toBe('/settings')
    expect(await goRound(outside)).toBe('/runs')
    expect((await me(outside)).id).toBe((await me(member)).id)
  })

  it('that is down or hangs does not keep passwords from working', async () => {
    const gone = await identityProvider(ANA)
    await gone.close()
    const hanging = createServer(() => {})
    await new Promise<void>((resolve) => hanging.listen(0, '127.0.0.1', resolve))
    const silent = `http://127.0.0.1:${(hanging.address() as AddressInfo).port}`
    for (const [issuer, word] of [
      [gone.issuer, 'gone'],
      [silent, 'silent'],
    ] as const) {
      const lonely = await peopleServer({ oidc: { issuer, ...CLIENT, name: word }, identityTimeoutMs: 300 })
      const asked = lonely.browser().send('POST', '/api/v1/auth/identity', {})
      await lonely.memberBrowser('viewer', 'stays@example.org')
      const given = { email: 'stays@example.org', password: PASSWORD }
      expect((await lonely.browser().send('POST', '/api/v1/auth/sign-in', given)).status).toBe(200)
      expect((await asked).body).toMatchObject({
        status: 503,
        code: 'auth.provider_down',
        detail: `The identity provider (${word}) does not answer.`,
      })
      await lonely.close()
    }
    hanging.closeAllConnections()
    hanging.close()
  })
})

describe('without an identity provider', () => {
  it('its routes say so', async () => {
    const plain = await peopleServer()
    expect((await plain.browser().send('POST', '/api/v1/auth/identity', {})).body.code).toBe(
      'auth.no_identity_provider',
    )
    expect((await plain.browser().send('GET', '/api/v1/auth/oidc/callback?code=x&state=y')).status).toBe(409)
    expect((await plain.browser().send('GET', '/api/v1/auth')).body).toEqual({
      password: true,
      identity: null,
      supabase: null,
    })
    await plain.close()
  })
})
