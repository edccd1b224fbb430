import { createHmac } from 'node:crypto'
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { type Client, PASSWORD, type PeopleServer, peopleServer } from './people-server.ts'

let server: PeopleServer
beforeAll(async () => {
  server = await peopleServer()
})
afterAll(() => server.close())
beforeEach(() => server.fresh.db.query('delete from gleaner_auth.tries'))

/** What an authenticator shows for the secret of `uri` (RFC 6238). */
function codeOf(uri: string): string {
  const secret = new URL(uri).searchParams.get('secret') ?? ''
  const bits = [...secret]
    .map((c) => 'ABCDEFGHIJKLMNOPQRSTUVWXYZ234567'.indexOf(c).toString(2).padStart(5, '0'))
    .join('')
  const key = Buffer.from((bits.match(/.{8}/g) ?? []).map((byte) => Number.parseInt(byte, 2)))
  const counter = Buffer.alloc(8)
  counter.writeBigUInt64BE(BigInt(Math.floor(Date.now() / 30_000)))
  const mac = createHmac('sha1', key).update(counter).digest()
  const at = (mac.at(-1) ?? 0) & 15
  return String((mac.readUInt32BE(at) & 0x7fffffff) % 1_000_000).padStart(6, '0')
}
const wrongCode = (uri: string) => (codeOf(uri) === '000000' ? '111111' : '000000')

let people = 0
async function guarded(): Promise<{ browser: Client; email: string; uri: string; codes: string[] }> {
  const email = `guarded${++people}@example.org`
  const browser = await server.memberBrowser('viewer', email)
  const { body } = await browser.send('POST', '/api/v1/me/second-factor', { password: PASSWORD })
  expect((await browser.send('POST', '/api/v1/me/second-factor/confirm', { code: codeOf(body.uri) })).status).toBe(204)
  return { browser, email, uri: body.uri, codes: body.recoveryCodes }
}
const password = async (email: string, browser = server.browser()) => {
  const answer = await browser.send('POST', '/api/v1/auth/sign-in', { email, password: PASSWORD })
  return { browser, answer }
}
const give = (browser: Client, code: string, kind = 'authenticator') =>
  browser.send('POST', '/api/v1/auth/code', { code, kind })
const isIn = async (browser: Client) => (await browser.send('GET', '/api/v1/me')).status === 200

describe('a second factor', () => {
  it('guards from its first right code on, not before', async () => {
    const browser = await server.memberBrowser('viewer', 'setting-up@example.org')
    const start = (given: string) => browser.send('POST', '/api/v1/me/second-factor', { password: given })
    expect((await start('wrong')).body).toMatchObject({ status: 403, code: 'auth.current_password_wrong' })
    const { body } = await start(PASSWORD)
    expect(body.uri).toMatch(/^otpauth:\/\/totp\/Gleaner/)
    expect(body.recoveryCodes).toHaveLength(10)
    expect((await password('setting-up@example.org')).answer.body).toEqual({ signedIn: true })
    const confirm = (code: string) => browser.send('POST', '/api/v1/me/second-factor/confirm', { code })
    expect((await confirm(wrongCode(body.uri))).body.code).toBe('auth.code_wrong')
    expect((await confirm(codeOf(body.uri))).status).toBe(204)
    expect((await browser.send('GET', '/api/v1/me')).body.secondFactor).toBe(true)
    expect((await password('setting-up@example.org')).answer.body).toEqual({ signedIn: false })
    expect((await start(PASSWORD)).body).toMatchObject({ status: 409, code: 'auth.second_factor_on' })
  })

  it('lets nobody in with the password alone, and its person with the code', async () => {
    const { email, uri } = await guarded()
    const { browser, answer } = await password(email)
    expect(answer.body).toEqual({ signedIn: false })
    expect(await isIn(browser)).toBe(false)
    // What the first step may have set and taken back again is worth nothing either.
    for (const set of browser.setCookies.filter((cookie) => cookie.startsWith('gleaner.session_token='))) {
      const thief = server.browser()
      expect((await thief.send('GET', '/api/v1/me', undefined, { cookie: set.split(';')[0] ?? '' })).status).toBe(401)
    }
    expect((await give(browser, wrongCode(uri))).body).toMatchObject({ status: 401, code: 'auth.code_wrong' })
    expect((await give(browser, codeOf(uri))).body).toEqual({ signedIn: true })
    expect(await isIn(browser)).toBe(true)
  })

  it('takes a code for the sign-in it belongs to only', async () => {
    const mine = await guarded()
    const theirs = await guarded()
    const { browser } = await password(theirs.email)
    expect((await give(browser, codeOf(mine.uri))).status).toBe(401)
    // A session of mine beside it does not make my code theirs.
    const both = await password(theirs.email, mine.browser)
    expect(both.answer.body).toEqual({ signedIn: false })
    expect((await give(both.browser, codeOf(mine.uri))).body.code).toBe('auth.code_wrong')
    expect((await give(server.browser(), codeOf(mine.uri))).body).toMatchObject({
      status: 401,
      code: 'auth.sign_in_again',
    })
  })

  it('takes each recovery code once', async () => {
    const { email, codes } = await guarded()
    const [code = '', other = ''] = codes
    const first = await password(email)
    expect((await give(first.browser, code, 'recovery')).body).toEqual({ signedIn: true })
    const second = await password(email)
    expect((await give(second.browser, code, 'recovery')).body.code).toBe('auth.code_wrong')
    expect((await give(second.browser, other, 'recovery')).body).toEqual({ signedIn: true })
    const { rows } = await server.fresh.db.query<{ text: string }>(
      `select string_agg(t::text, ' ') as text from gleaner_auth.two_factors t`,
    )
    for (const kept of codes) expect(rows[0]?.text).not.toContain(kept)
  })

  it('ends a sign-in after five wrong codes', async () => {
    const { email, uri } = await guarded()
    const { browser } = await password(email)
    for (let n = 0; n < 5; n++) expect((await give(browser, wrongCode(uri))).status).toBe(401)
    expect((await give(browser, codeOf(uri))).body).toMatchObject({ status: 401, code: 'auth.sign_in_again' })
    expect(await isIn(browser)).toBe(false)
  })

  it('rests after ten wrong codes in a row, over any number of sign-ins', async () => {
    const { email, uri } = await guarded()
    for (let round = 0; round < 2; round++) {
      const { browser } = await password(email)
      for (let n = 0; n < 5; n++) await give(browser, wrongCode(uri))
    }
    const { browser } = await password(email)
    const rested = await give(browser, codeOf(uri))
    expect(rested.body).toMatchObject({
      status: 429,
      code: 'auth.too_many_tries',
      detail: 'Too many tries. Try again in 15 min.',
    })
    expect(rested.headers.get('retry-after')).toBe('900')
  })

  it('is turned off with the password, its recovery codes made anew, all of it written down', async () => {
    const { browser, email, codes } = await guarded()
    const renewed = await browser.send('POST', '/api/v1/me/recovery-codes', { password: PASSWORD })
    expect(renewed.body.recoveryCodes).toHaveLength(10)
    const old = await password(email)
    expect((await give(old.browser, codes[0] ?? '', 'recovery')).status).toBe(401)
    expect((await browser.send('POST', '/api/v1/me/second-factor/off', { password: 'wrong' })).status).toBe(403)
    expect((await browser.send('POST', '/api/v1/me/second-factor/off', { password: PASSWORD })).status).toBe(204)
    expect((await password(email)).answer.body).toEqual({ signedIn: true })
    expect((await browser.send('POST', '/api/v1/me/recovery-codes', { password: PASSWORD })).body.code).toBe(
      'auth.second_factor_off',
    )
    const id = (await browser.send('GET', '/api/v1/me')).body.id
    const { rows } = await server.fresh.db.query<{ action: string }>(
      `select action from audit_log where actor_id = $1 and action like 'person.%factor%' or actor_id = $1 and action like 'person.recovery%' order by id`,
      [id],
    )
    expect(rows.map(({ action }) => action)).toEqual([
      'person.second_factor_on',
      'person.recovery_codes_changed',
      'person.second_factor_off',
    ])
  })

  it('asks for the password again so often only', async () => {
    const browser = await server.memberBrowser('viewer')
    const statuses = []
    for (let n = 0; n < 11; n++)
      statuses.push((await browser.send('POST', '/api/v1/me/second-factor', { password: 'wrong' })).status)
    expect(statuses).toEqual([...Array(10).fill(403), 429])
  })
})
