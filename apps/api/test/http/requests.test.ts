/** What every request has to be like, and how refusals look: the rules that hold before any route. */
import { connect as connectTcp } from 'node:net'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { ERRORS } from '../../src/base/errors.ts'
import { problem } from '../../src/http/problems.ts'
import { type Answer, type Door, makeDoor } from './support.ts'

let door: Door
let origin: string
beforeAll(async () => {
  door = await makeDoor({ env: { GLEANER_METRICS_TOKEN: 'figures-for-the-dashboard' } })
  origin = await door.app.listen({ host: '127.0.0.1', port: 0 })
})
afterAll(() => door.close())

/** Fails unless the answer is the problem document of this code. */
function expectProblem(answer: Answer, code: keyof typeof ERRORS): void {
  expect(answer.body).toMatchObject({ code, status: ERRORS[code].status, type: `/docs/problems#${code}` })
  expect(answer.status).toBe(ERRORS[code].status)
  expect(answer.headers['content-type']).toBe('application/problem+json; charset=utf-8')
  expect(problem.safeParse(answer.body).success).toBe(true)
  expect(answer.body['instance']).toBe(answer.headers['x-request-id'])
}

const estimates = () => `POST /api/v1/orgs/${door.org}/estimates`
const settings = (query = '') => `GET /api/v1/orgs/${door.org}/settings${query}`

describe('a refusal', () => {
  it('is a problem document with the id of the request', async () => {
    const { ask, people } = door
    expectProblem(await ask(null, 'GET /nowhere'), 'request.route_unknown')
    expectProblem(await ask(null, settings()), 'auth.required')
    expect((await ask(null, settings())).headers['www-authenticate']).toContain('Bearer')
    const wrong = await ask(people.owner, `PUT /api/v1/orgs/${door.org}/settings`)
    expectProblem(wrong, 'request.method')
    expect(wrong.headers['allow']).toBe('GET, PATCH')
  })

  it('names every field that is wrong', async () => {
    const answer = await door.ask(door.people.owner, settings('?limit=5&colour=red'))
    expectProblem(answer, 'input.invalid')
    expect(answer.body['errors']).toEqual([{ path: 'query', message: expect.stringContaining('limit') }])
    const body = { collect: { kind: 'list', label: '', products: [{ asin: 'x', title: 'A' }] }, capMicros: -1 }
    const fields = (await door.ask(door.people.owner, estimates(), { body })).body['errors'] ?? []
    expect([...fields].map((field) => field['path']).sort()).toEqual([
      'body.capMicros',
      'body.collect.label',
      'body.collect.products.0.asin',
    ])
    expectProblem(await door.ask(door.people.owner, 'GET /api/v1/orgs/not-an-id'), 'input.invalid')
  })

  it('says nothing of a fault but where to look', async () => {
    await door.arena.fresh.db.query('alter table collection_settings rename to hidden')
    const answer = await door.ask(door.people.owner, settings())
    await door.arena.fresh.db.query('alter table hidden rename to collection_settings')
    expectProblem(answer, 'server.fault')
    expect(answer.text).not.toContain('collection_settings')
    const line = door.log.find(
      (one) => one.includes(answer.headers['x-request-id'] ?? '-') && one.includes('"level":50'),
    )
    expect(line).toContain('collection_settings')
  })
})

describe('a body', () => {
  const send = (body: string | Buffer, type = 'application/json') =>
    door.app
      .inject({
        method: 'POST',
        url: `/api/v1/orgs/${door.org}/estimates`,
        headers: {
          'x-principal': JSON.stringify({ kind: 'person', userId: door.people.owner, name: 'Ana' }),
          'content-type': type,
        },
        payload: body,
      })
      .then((answer) => ({ status: answer.statusCode, code: (JSON.parse(answer.body) as { code: string }).code }))

  it.each([
    ['no JSON', '{"collect":', 'request.malformed'],
    ['bad UTF-8', Buffer.from([0x22, 0xc3, 0x28, 0x22]), 'request.malformed'],
    ['an overlong encoding', Buffer.from([0x22, 0xc0, 0xaf, 0x22]), 'request.malformed'],
    ['a NUL character', '{"collect":"\\u0000"}', 'request.malformed'],
    ['too deep', `${'['.repeat(21)}${']'.repeat(21)}`, 'request.malformed'],
    ['a million levels', '['.repeat(1_000_000), 'request.malformed'],
    ['too many values', `[${'1,'.repeat(20_001)}1]`, 'request.malformed'],
    ['__proto__', '{"__proto__":{"role":"owner"}}', 'request.malformed'],
    ['over 1 MB', `"${'x'.repeat(1024 * 1024)}"`, 'request.too_large'],
    ['nothing', '', 'input.invalid'],
    ['a number', '7', 'input.invalid'],
    ['unknown fields', '{"collect":{"kind":"categories","categories":["kitchen"]},"role":"owner"}', 'input.invalid'],
  ] as const)('with %s is refused', async (_, body, code) => {
    expect(await send(body)).toEqual({ status: ERRORS[code].status, code })
  })

  it.each(['text/plain', 'application/xml', 'application/x-www-form-urlencoded', 'multipart/form-data; boundary=x'])(
    'of the type %s is refused',
    async (type) => {
      expect(await send('{}', type)).toEqual({ status: 415, code: 'request.media_type' })
    },
  )

  it('is refused where a route takes none', async () => {
    const run = await door.arena.makeRun({ products: 1 })
    const line = `POST /api/v1/orgs/${door.org}/runs/${run.id}/pause`
    expectProblem(await door.ask(door.people.owner, line, { body: { force: true } }), 'input.invalid')
    expect((await door.ask(door.people.owner, line, { body: {} })).status).toBe(200)
  })
})

describe('an address', () => {
  it.each([
    '/api/v1/orgs?x=%ff',
    '/api/v1/orgs?x=%C3%28',
    '/api/v1/orgs?__proto__=1',
    '/api/v1/orgs?x=%00',
    '/api/v1/orgs/%ff',
    '/api/v1/orgs/%00',
  ])('that cannot be read is refused: %s', async (url) => {
    const answer = await door.ask(door.people.owner, `GET ${url}`)
    expect([400, 404]).toContain(answer.status)
    expect(answer.headers['content-type']).toContain('problem+json')
  })

  it.each([
    '/api/v1/../../etc/passwd',
    '/api/v1/orgs/../../../docs/errors.md',
    '//api//v1//orgs',
    '/api/v1/orgs/..%2f..%2fdocs',
    '/docs/..%2f..%2fpackage.json',
    '/docs/reference/',
    '/docs/reference/openapi.json',
    '/api/v1/orgs;jsessionid=1',
    '/API/V1/ORGS',
  ])('leads nowhere it should not: %s', async (url) => {
    const answer = await door.ask(door.people.owner, `GET ${url}`)
    expect([400, 404]).toContain(answer.status)
    expect(answer.headers['content-type']).toContain('problem+json')
  })

  it('keeps SQL as text', async () => {
    const text = encodeURIComponent(`'; drop table orgs; --`)
    const answer = await door.ask(door.people.owner, `GET /api/v1/orgs/${door.org}/runs?search=${text}`)
    expect(answer.status).toBe(200)
    expect(answer.body['items']).toEqual([])
    expect((await door.ask(door.people.owner, `GET /api/v1/orgs/${door.org}/runs?sort=id;drop`)).status).toBe(400)
  })
})

/** Sends bytes as they are, and returns everything that comes back. */
function raw(text: string): Promise<string> {
  return new Promise((resolve, reject) => {
    const { port } = new URL(origin)
    const socket = connectTcp(Number(port), '127.0.0.1', () => socket.end(text))
    let got = ''
    socket.on('data', (chunk) => {
      got += chunk.toString('latin1')
    })
    socket.on('close', () => resolve(got))
    socket.on('error', reject)
  })
}

describe('bytes that are no request', () => {
  const head = `POST /api/v1/orgs HTTP/1.1\r\nhost: x\r\nconnection: close\r\n`

  it.each([
    ['two lengths', `${head}content-length: 4\r\ncontent-length: 5\r\n\r\nabcde`],
    ['a length and chunks', `${head}content-length: 4\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n`],
    ['chunks twice over', `${head}transfer-encoding: chunked, identity\r\n\r\n0\r\n\r\n`],
    ['a space before the colon', `${head}content-length : 4\r\n\r\nabcd`],
    ['a folded header', `${head}x: a\r\n b\r\ncontent-length: 0\r\n\r\n`],
    ['a bare line feed', 'GET /healthz HTTP/1.1\nhost: x\n\n'],
    ['a header without end', `GET /healthz HTTP/1.1\r\nhost: x\r\nx: ${'a'.repeat(20_000)}\r\n\r\n`],
    ['no HTTP at all', 'hello\r\n\r\n'],
  ])('are refused: %s', async (_, text) => {
    const got = await raw(text)
    expect(got).toMatch(/^HTTP\/1\.1 (400|413|431) /)
    expect(got).not.toMatch(/HTTP\/1\.1 200/)
  })

  it('are answered once, not twice: the rest of a refused request is no second one', async () => {
    const smuggled = 'GET /healthz HTTP/1.1\r\nhost: x\r\n\r\n'
    const got = await raw(`${head}content-length: 4\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n${smuggled}`)
    expect(got.match(/HTTP\/1\.1/g)).toHaveLength(1)
  })
})

describe('a write by cookie', () => {
  const write = async (headers: Record<string, string>) => {
    const run = await door.arena.makeRun({ products: 1 })
    const line = `POST /api/v1/orgs/${door.org}/runs/${run.id}/pause`
    return (await door.ask(door.people.owner, line, { headers })).status
  }

  it.each([
    ['no word of where it comes from', { cookie: 'a=b' }],
    ['another site', { cookie: 'a=b', 'sec-fetch-site': 'cross-site' }],
    ['another subdomain', { cookie: 'a=b', 'sec-fetch-site': 'same-site' }],
    ['another origin', { cookie: 'a=b', origin: 'https://evil.example' }],
    ['no origin', { cookie: 'a=b', origin: 'null' }],
    ['another origin, without a cookie', { origin: 'https://evil.example' }],
    ['an origin of ours by a name that only begins so', { cookie: 'a=b', origin: 'http://localhost:80.evil.example' }],
  ])('is refused with %s', async (_, headers) => {
    expect(await write(headers)).toBe(403)
  })

  it.each([
    ['this site', { cookie: 'a=b', 'sec-fetch-site': 'same-origin' }],
    ['this origin', { cookie: 'a=b', origin: 'http://localhost:80', host: 'localhost:80' }],
    ['a key instead of a cookie', { authorization: 'Bearer x', origin: 'https://evil.example' }],
    ['neither cookie nor origin', {}],
  ])('is taken from %s', async (_, headers) => {
    expect(await write(headers)).toBe(200)
  })

  it('does not stand in the way of reading', async () => {
    const headers = { cookie: 'a=b', 'sec-fetch-site': 'cross-site' }
    expect((await door.ask(door.people.owner, settings(), { headers })).status).toBe(200)
  })
})

describe('every answer', () => {
  it('carries headers that keep browsers from guessing and framing', async () => {
    const { headers } = await door.ask(door.people.owner, settings())
    expect(headers).toMatchObject({
      'content-security-policy': "default-src 'none';frame-ancestors 'none'",
      'x-content-type-options': 'nosniff',
      'x-frame-options': 'SAMEORIGIN',
      'referrer-policy': 'same-origin',
      'cache-control': 'no-store',
      'x-request-id': expect.stringMatching(/^[0-9a-f-]{36}$/),
    })
    expect(headers['access-control-allow-origin']).toBeUndefined()
    expect(headers['x-powered-by']).toBeUndefined()
  })

  it('of the reference lets nothing in from elsewhere', async () => {
    for (const url of ['/docs', '/docs/problems']) {
      const { status, headers, text } = await door.ask(null, `GET ${url}`)
      expect(status).toBe(200)
      expect(headers['content-security-policy']).toContain("script-src 'self';")
      expect(headers['content-security-policy']).toContain("connect-src 'self'")
      expect(text).not.toMatch(/(src|href)="https?:/)
    }
    expect((await door.ask(null, 'GET /docs/reference/js/scalar.js')).headers['content-type']).toContain('javascript')
    expect((await door.ask(null, 'GET /docs/problems')).text).toContain('id="run.cap_too_low"')
    expect((await door.ask(null, 'GET /api/v1/openapi.json')).body['openapi']).toBe('3.1.0')
  })

  it('is logged without anything that opens anything', async () => {
    const before = door.log.length
    await door.ask(door.people.owner, settings('?token=tell-nobody'), {
      headers: { authorization: 'Bearer tell-nobody', cookie: 'session=tell-nobody' },
    })
    const lines = door.log.slice(before).join('')
    expect(lines).toContain('/api/v1/orgs/:orgId/settings')
    expect(lines).not.toContain('tell-nobody')
  })
})

describe('/metrics', () => {
  it('is for this machine, or for the token', async () => {
    const { ask } = door
    const far = { 'x-forwarded-for': '203.0.113.9' }
    expect((await ask(null, 'GET /metrics')).text).toMatch(/^gleaner_runs\{state="running"\} \d+$/m)
    expectProblem(await ask(null, 'GET /metrics', { headers: far }), 'auth.required')
    const token = { ...far, authorization: 'Bearer figures-for-the-dashboard' }
    expect((await ask(null, 'GET /metrics', { headers: token })).status).toBe(200)
    const wrong = { authorization: 'Bearer figures-for-the-dashboarD' }
    expectProblem(await ask(null, 'GET /metrics', { headers: wrong }), 'auth.required')
    const { text } = await ask(null, 'GET /metrics')
    expect(text).toMatch(/gleaner_http_request_seconds_count\{operation="getSettings",status="200"\} [1-9]/)
  })
})

describe('health', () => {
  it('tells the process from the database', async () => {
    const { ask, arena } = door
    expect((await ask(null, 'GET /healthz')).body).toEqual({ status: 'ok', version: '0.0.0-test' })
    expect((await ask(null, 'GET /readyz')).status).toBe(200)
    await arena.fresh.db.query(
      `delete from gleaner.migrations where number = (select max(number) from gleaner.migrations)`,
    )
    const behind = await ask(null, 'GET /readyz')
    expect(behind.status).toBe(503)
    expect(behind.headers['retry-after']).toBe('2')
    expect((await ask(null, 'GET /healthz')).status).toBe(200)
  })
})
