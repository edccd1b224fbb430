/** Compliance over HTTP: eBay's notifications, do not collect, erasing on request, what is held; and credentials. */
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { newId } from '../../src/base/ids.ts'
import type { Secrets } from '../../src/base/seal.ts'
import type { Db } from '../../src/db/client.ts'
import { saveAccount } from '../../src/engine/accounts.ts'
import { eraseDue } from '../../src/engine/erase.ts'
import { makeApp } from '../../src/http/app.ts'
import { DELETION_PATH, ebayDeletion } from '../../src/http/ebay-deletion.ts'
import { makeLog } from '../../src/http/log.ts'
import { type Listening, listen } from '../../src/http/server.ts'
import { loadSecrets } from '../../src/secrets/installation.ts'
import { newKeyText } from '../../src/secrets/key-source.ts'
import { expectClean, found, searchWith, work } from '../engine/arena.ts'
import { type SandboxProcess, startSandboxProcess } from '../providers/sandbox-process.ts'
import { type Door, makeDoor } from './support.ts'

let door: Door
let db: Db & { secrets: Secrets }
let sandbox: SandboxProcess
beforeAll(async () => {
  door = await makeDoor()
  db = door.db as typeof db
  sandbox = await startSandboxProcess()
})
afterAll(async () => {
  await sandbox.stop()
  await door.close()
})

let serial = 0
const person = () => `zh-person.${++serial}-${process.pid}`
const url = (path: string, org = door.org) => `/api/v1/orgs/${org}/${path}`
const { admin, analyst, owner, viewer } = new Proxy(
  {} as Record<'admin' | 'analyst' | 'owner' | 'viewer', () => string>,
  {
    get: (_, role: string) => () => door.people[role as 'owner'],
  },
)

async function collect(...sellers: string[]): Promise<void> {
  const run = await door.arena.makeRun({ products: 2 })
  await work(door.arena, { db, run, search: searchWith(() => found(sellers)) })
}
const sellerNamed = async (name: string) =>
  (await door.arena.rows<{ id: string }>('select id from sellers where normalized_name = $1', [name]))[0]?.id

describe('eBay’s deletion address', () => {
  const config = {
    endpoint: 'https://collector.example.com/hook',
    verificationToken: 'collector_verification_token_0123456789ab',
    account: 'sandbox-ebay',
  }
  let served: Listening
  let silent: Listening
  beforeAll(async () => {
    await saveAccount(db, {
      name: 'sandbox-ebay',
      adapter: 'ebay_browse',
      baseUrl: `${sandbox.url}/ebay`,
      sandbox: true,
    })
    const log = makeLog('silent')
    const open = async (given: typeof config | null) => {
      const plugins = [ebayDeletion({ db, env: {}, config: given })]
      return listen(await makeApp({ deps: { db, env: {}, log, version: '0' }, plugins }), '127.0.0.1', 0)
    }
    served = await open(config)
    silent = await open(null)
  })
  afterAll(async () => {
    await served.stop()
    await silent.stop()
  })

  const send = (body: string | Buffer, headers: Record<string, string> = {}, to = served) =>
    fetch(to.origin + DELETION_PATH, {
      method: 'POST',
      body,
      headers: { 'content-type': 'application/json', ...headers },
    })
  const notice = (of: object) =>
    sandbox.post('/sandbox/ebay/notice', of) as Promise<{ notificationId: string; body: string; signature: string }>

  it('answers the challenge, without anybody signing in', async () => {
    const answer = await fetch(`${served.origin}${DELETION_PATH}?challenge_code=abc`)
    expect(answer.status).toBe(200)
    expect(answer.headers.get('content-type')).toMatch(/^application\/json/)
    expect(await answer.json()).toEqual({ challengeResponse: expect.stringMatching(/^[0-9a-f]{64}$/) as string })
    for (const bad of ['', '?challenge_code=', `?challenge_code=${'x'.repeat(501)}`])
      expect((await fetch(served.origin + DELETION_PATH + bad)).status).toBe(400)
  })

  it('takes what eBay signed with 204, and the seller is gone', async () => {
    const name = person()
    await collect(name)
    const { body, signature } = await notice({ username: name, userId: 'aB1' })
    const answer = await send(body, { 'x-ebay-signature': signature })
    expect([answer.status, await answer.text()]).toEqual([204, ''])
    expect((await send(body, { 'x-ebay-signature': signature })).status).toBe(204)
    expect(await eraseDue({ db, log: () => {} })).toBe(1)
    expect(await sellerNamed(name)).toBeUndefined()
    await expectClean(db)
  })

  it('refuses with 412 what eBay did not sign, whatever it is', async () => {
    for (const spoil of ['body', 'key']) {
      const { body, signature } = await notice({ username: 'x', spoil })
      expect((await send(body, { 'x-ebay-signature': signature })).status).toBe(412)
    }
    expect((await send('{}')).status).toBe(412)
    expect((await send(Buffer.from([0, 255, 254]), { 'x-ebay-signature': '%%%' })).status).toBe(412)
    expect((await send('[[[[', { 'content-type': 'text/plain', 'x-ebay-signature': 'x' })).status).toBe(412)
  })

  it('says 500 when it cannot be decided, so that eBay sends it again', async () => {
    const { body, signature } = await notice({ username: 'x', spoil: 'kid' })
    expect((await send(body, { 'x-ebay-signature': signature })).status).toBe(500)
  })

  it('takes no more than a notification', async () => {
    expect((await send('x'.repeat(20_000))).status).toBe(413)
  })

  it('says 503 when nothing is configured', async () => {
    const answer = await send('{}', {}, silent)
    expect(answer.status).toBe(503)
    expect(await answer.json()).toMatchObject({ code: 'compliance.not_configured' })
    expect((await fetch(`${silent.origin}${DELETION_PATH}?challenge_code=abc`)).status).toBe(503)
  })
})

describe('do not collect', () => {
  it('takes a seller off the list, keeps runs from recording it, and gives it back', async () => {
    const [name, other] = [person(), person()]
    await collect(name, other)
    const sellerId = await sellerNamed(name)
    await door.arena.db.query(
      `insert into seller_list (seller_id, org_id, name, run_count, first_seen_at, last_seen_at)
       select id, org_id, normalized_name, 1, now(), now() from sellers where id = $1 on conflict do nothing`,
      [sellerId],
    )
    const added = await door.ask(analyst(), `POST ${url('do-not-collect')}`, {
      body: { sellerId, note: 'A customer.' },
    })
    expect([added.status, added.body]).toMatchObject([201, { name, removedSellerId: sellerId, note: 'A customer.' }])
    expect(
      await door.arena.rows('select from seller_list where seller_id = $1 and removed_at is not null', [sellerId]),
    ).toHaveLength(1)
    const again = await door.ask(analyst(), `POST ${url('do-not-collect')}`, { body: { name: name.toUpperCase() } })
    expect([again.status, again.body['code']]).toEqual([409, 'compliance.listed'])

    const before = await door.arena.rows<{ n: number }>('select times_seen as n from sellers where id = $1', [sellerId])
    await collect(name, other)
    expect(await door.arena.rows('select times_seen as n from sellers where id = $1', [sellerId])).toEqual(before)
    const listed = await door.ask(viewer(), `GET ${url(`do-not-collect?search=${name.slice(0, -1).toUpperCase()}`)}`)
    expect(listed.body['items']).toHaveLength(1)

    const gone = await door.ask(analyst(), `DELETE ${url(`do-not-collect/${added.body['id']}?restore=true`)}`)
    expect([gone.status, gone.body]).toEqual([200, { restored: true }])
    expect(
      await door.arena.rows('select from seller_list where seller_id = $1 and removed_at is null', [sellerId]),
    ).toHaveLength(1)
    await collect(name)
    expect(await door.arena.rows('select times_seen as n from sellers where id = $1', [sellerId])).not.toEqual(before)
    await expectClean(db)
  })

  it('is of one organisation, by name as well, and audited', async () => {
    const name = person()
    const added = await door.ask(analyst(), `POST ${url('do-not-collect')}`, { body: { name } })
    expect(added.status).toBe(201)
    expect((await door.ask(door.stranger, `GET ${url('do-not-collect', door.theirs)}`)).text).not.toContain(name)
    const foreign = await door.ask(door.stranger, `DELETE ${url(`do-not-collect/${added.body['id']}`, door.theirs)}`)
    expect([foreign.status, foreign.body['code']]).toEqual([404, 'compliance.not_listed'])
    expect(
      await door.arena.rows('select action from audit_log where target = $1', [`do_not_collect:${added.body['id']}`]),
    ).toEqual([{ action: 'do_not_collect.added' }])
    for (const body of [{}, { name, sellerId: newId() }, { name: 'not a name!' }])
      expect((await door.ask(analyst(), `POST ${url('do-not-collect')}`, { body })).status).toBe(400)
  })

  it('comes in pages', async () => {
    for (let at = 0; at < 5; at++)
      await door.ask(analyst(), `POST ${url('do-not-collect')}`, { body: { name: `paged-${at}` } })
    const first = await door.ask(viewer(), `GET ${url('do-not-collect?search=paged-&limit=2')}`)
    const second = await door.ask(
      viewer(),
      `GET ${url(`do-not-collect?search=paged-&limit=2&cursor=${first.body['next']}`)}`,
    )
    const names = [...first.body['items'], ...second.body['items']].map((entry) => entry['name'])
    expect(names).toEqual(['paged-0', 'paged-1', 'paged-2', 'paged-3'])
    const back = await door.ask(
      viewer(),
      `GET ${url(`do-not-collect?search=paged-&limit=2&cursor=${second.body['previous']}`)}`,
    )
    expect(back.body['items']).toEqual(first.body['items'])
  })
})

describe('erasing on request', () => {
  it('is an owner’s, done within the hour, and told of without a name', async () => {
    const name = person()
    await collect(name)
    const sellerId = await sellerNamed(name)
    expect((await door.ask(admin(), `POST ${url('erasures')}`, { body: { sellerId } })).status).toBe(403)
    const asked = await door.ask(owner(), `POST ${url('erasures')}`, { body: { sellerId } })
    expect(asked.status).toBe(202)
    const open = await door.ask(admin(), `GET ${url('erasures?limit=1')}`)
    expect(open.body['items'][0]).toMatchObject({
      id: asked.body['id'],
      state: 'pending',
      source: 'owner',
      overdue: false,
    })
    await eraseDue({ db, log: () => {} })
    const done = await door.ask(admin(), `GET ${url('erasures?limit=1')}`)
    expect(done.body['items'][0]).toMatchObject({ state: 'done', counts: { sellers: 1, items: 1, evidence: 2 } })
    expect(await sellerNamed(name)).toBeUndefined()
    expect(done.text + (await door.ask(admin(), `GET ${url('audit?limit=200')}`)).text).not.toContain(name)
    await collect(name)
    expect(await sellerNamed(name)).toBeUndefined()
  })

  it('of one organisation is not seen by another', async () => {
    const { body } = await door.ask(owner(), `POST ${url('erasures')}`, { body: { name: person() } })
    expect((await door.ask(door.stranger, `GET ${url('erasures', door.theirs)}`)).text).not.toContain(
      String(body['id']),
    )
    await eraseDue({ db, log: () => {} })
  })
})

describe('what is held about a seller', () => {
  it('is told whole, to admins', async () => {
    const name = person()
    await collect(name)
    const sellerId = await sellerNamed(name)
    expect((await door.ask(analyst(), `GET ${url(`sellers/${sellerId}/personal-data`)}`)).status).toBe(403)
    const { status, body } = await door.ask(admin(), `GET ${url(`sellers/${sellerId}/personal-data`)}`)
    expect(status).toBe(200)
    expect(body).toMatchObject({
      seller: { display_name: name },
      runs: [{ newToOrganisation: true }],
      doNotCollect: null,
    })
    expect(body['sightings']).toHaveLength(2)
  })
})

describe('credentials', () => {
  it('are set, said of, tested and removed, and never returned', async () => {
    const account = await saveAccount(db, {
      name: 'ebay',
      adapter: 'ebay_browse',
      baseUrl: `${sandbox.url}/ebay`,
      sandbox: false,
    })
    const at = url(`provider-accounts/${account.id}/credentials`)
    const none = await door.ask(viewer(), `GET ${at}`)
    expect(none.body).toMatchObject({ source: 'none', stored: null, test: { calls: 1, costMicros: 0 }, terms: null })
    const secret = 'sandbox-secret'
    const body = { user: 'sandbox-client', secret: `${secret}-that-is-long-7F2K` }
    expect((await door.ask(analyst(), `PUT ${at}`, { body })).status).toBe(403)
    const key = { 'idempotency-key': newId() }
    const set = await door.ask(admin(), `PUT ${at}`, { body, headers: key })
    expect(set.body).toMatchObject({ source: 'stored', stored: { ends: '7F2K', setBy: admin(), yours: true } })
    expect((await door.ask(admin(), `PUT ${at}`, { body, headers: key })).body['code']).toBe('request.key_done')
    const wrong = await door.ask(admin(), `POST ${at}/test`)
    expect([wrong.status, wrong.body]).toMatchObject([200, { ok: false, code: 'ebay.invalid_client' }])
    await door.ask(admin(), `PUT ${at}`, { body: { user: 'sandbox-client', secret } })
    expect((await door.ask(admin(), `POST ${at}/test`)).body).toMatchObject({ ok: true })
    const told = await Promise.all([
      door.ask(viewer(), `GET ${at}`),
      door.ask(admin(), `GET ${url('audit?limit=200')}`),
      door.ask(viewer(), `GET ${url('provider-accounts')}`),
    ])
    for (const { text } of told) expect(text).not.toContain('sandbox-secret')
    expect(door.log.join('')).not.toContain('sandbox-secret')
    expect(
      (
        await door.ask(door.stranger, `PUT ${url(`provider-accounts/${account.id}/credentials`, door.theirs)}`, {
          body,
        })
      ).body['code'],
    ).toBe('provider.not_yours')
    expect((await door.ask(admin(), `PUT ${url(`provider-accounts/${account.id}/terms`)}`)).body).toMatchObject({
      confirmedBy: admin(),
    })
    expect((await door.ask(viewer(), `GET ${at}`)).body['terms']).toMatchObject({ confirmedBy: admin() })
    expect((await door.ask(admin(), `DELETE ${at}`)).status).toBe(204)
    expect((await door.ask(viewer(), `GET ${at}`)).body).toMatchObject({ source: 'none' })
  })
})

it('a door without the key cannot seal, and says so', async () => {
  const secrets = await loadSecrets(db, { variable: null, file: '/nowhere' }, false)
  expect(secrets).toBeNull()
  await expect(loadSecrets(db, { variable: newKeyText(), file: '/nowhere' }, false)).rejects.toMatchObject({
    code: 'key.wrong',
  })
})
