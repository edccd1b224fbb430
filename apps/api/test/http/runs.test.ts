/** Runs over HTTP: creating, acting, reading, paging; idempotency and versions with them. */
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { newId } from '../../src/base/ids.ts'
import { saveSandboxAccounts } from '../../src/engine/accounts.ts'
import { failed, found, searchWith, UNKNOWN, work } from '../engine/arena.ts'
import { claim } from '../engine/by-hand.ts'
import { type Answer, type Door, keyOf, makeDoor } from './support.ts'

let door: Door
let runs: string
beforeAll(async () => {
  door = await makeDoor()
  runs = `/api/v1/orgs/${door.org}/runs`
  await saveSandboxAccounts(door.arena.db, 'http://127.0.0.1:9', {
    'ebay.search': 1_000,
    'oxylabs.amazon_bestsellers': 500,
    'oxylabs.ebay': 1_000,
    'keepa.token': 1,
  })
})
afterAll(() => door.close())

const accounts = { lists: 'lists', search: 'search' }
const list = (count: number) => ({
  kind: 'list',
  label: 'wanted.csv',
  products: Array.from({ length: count }, (_, at) => ({
    asin: `B${String(at).padStart(9, '0')}`,
    title: `Teapot AX${1000 + at} ceramic`,
    priceCents: 1_999,
  })),
})
const admin = (line: string, body?: unknown, headers: Record<string, string> = {}): Promise<Answer> =>
  door.ask(door.people.admin, line, { ...(body === undefined ? {} : { body }), headers })

describe('a new run', () => {
  it('is created as it was estimated, and started when asked', async () => {
    const collect = { kind: 'categories', categories: ['kitchen/289742', 'toys-and-games'] }
    const plan = await admin(`POST /api/v1/orgs/${door.org}/estimates`, { collect })
    expect(plan.status).toBe(200)
    expect(plan.body).toMatchObject({
      startable: true,
      sandbox: true,
      accounts: { lists: 'sandbox-oxylabs', search: 'sandbox-ebay' },
    })
    const made = await admin(`POST ${runs}`, { collect, name: 'Kitchen, week 47', start: true })
    expect(made.status).toBe(201)
    const { run, estimate, can } = made.body as never as {
      run: Record<string, unknown>
      estimate: unknown
      can: Record<string, { may: boolean }>
    }
    expect(run).toMatchObject({
      name: 'Kitchen, week 47',
      status: 'running',
      capMicros: 25_000_000,
      totalCategories: 2,
    })
    expect(estimate).toEqual(plan.body['estimate'])
    expect(can).toMatchObject({
      pause: { may: true },
      resume: { may: false, code: 'run.wrong_state' },
      delete: { may: false, code: 'auth.role_too_low' },
    })
    expect(made.headers['location']).toBe(`${runs}/${run['id']}`)
    expect((await admin(`GET ${made.headers['location']}`)).body['run']).toEqual(run)
  })

  it('of a product list holds each product once', async () => {
    const { products, ...rest } = list(3)
    const made = await admin(`POST ${runs}`, { collect: { ...rest, products: [...products, products[0]] }, accounts })
    expect(made.body['run']).toMatchObject({ source: 'product_list', totalItems: 3, status: 'pending' })
  })

  it('is refused below its estimate, and above what anybody may spend', async () => {
    const low = await admin(`POST ${runs}`, { collect: list(50), accounts, capMicros: 5_000 })
    expect(low.body).toMatchObject({
      status: 409,
      code: 'run.cap_below_estimate',
      hint: expect.stringContaining('products'),
    })
    const partly = await admin(`POST ${runs}`, { collect: list(50), accounts, capMicros: 5_000, upToCap: true })
    expect(partly.status).toBe(201)
    expect((await admin(`POST ${runs}`, { collect: list(1), accounts, capMicros: 1e13 })).body['code']).toBe(
      'input.invalid',
    )
    const unknown = await admin(`POST ${runs}`, { collect: { kind: 'categories', categories: ['no/such'] } })
    expect(unknown.body['code']).toBe('input.category_unknown')
  })

  it('waits in line when all places are taken', async () => {
    const before = (await admin(`GET /api/v1/orgs/${door.org}/settings`)).headers['etag'] ?? ''
    const set = await admin(`PATCH /api/v1/orgs/${door.org}/settings`, { maxConcurrentRuns: 1 }, { 'if-match': before })
    expect(set.status).toBe(200)
    await door.arena.makeRun({ products: 1 }).catch(() => {})
    const waits = await admin(`POST ${runs}`, { collect: list(1), accounts, start: true })
    expect(waits.body).toMatchObject({
      run: { status: 'pending' },
      line: { places: 1 },
      can: { start: { may: false } },
    })
    await admin(`PATCH /api/v1/orgs/${door.org}/settings`, { maxConcurrentRuns: 1000 }, { 'if-match': '*' })
  })
})

describe('acts', () => {
  it('go through the engine, one after the other, and are audited with who did them', async () => {
    const run = await door.arena.makeRun({ products: 2 })
    const act = async (name: string, body?: unknown) =>
      (await admin(`POST ${runs}/${run.id}/${name}`, body)).body['run']
    expect(await act('pause')).toMatchObject({ status: 'paused', pauseReason: 'operator' })
    expect(await act('resume')).toMatchObject({ status: 'running' })
    expect(await act('cap', { capMicros: 2_000 })).toMatchObject({ capMicros: 2_000 })
    expect(await act('cancel')).toMatchObject({ status: 'cancelled' })
    const again = await admin(`POST ${runs}/${run.id}/resume`)
    expect(again.body).toMatchObject({ status: 409, code: 'run.wrong_state' })
    const key = keyOf(door.people.owner, door.org, 'owner')
    const renamed = await door.ask(key, `PATCH ${runs}/${run.id}`, { body: { name: 'Old' } })
    expect(renamed.body['run']).toMatchObject({ name: 'Old' })
    const { body } = await admin(`GET /api/v1/orgs/${door.org}/audit?target=run:${run.id}`)
    expect([...(body['items'] ?? [])].map((row) => [row['action'], row['actorId'], row['keyId']])).toEqual([
      ['run.renamed', door.people.owner, key.keyId],
      ['run.cancelled', door.people.admin, null],
      ['run.cap_changed', door.people.admin, null],
      ['run.resumed', door.people.admin, null],
      ['run.paused', door.people.admin, null],
    ])
  })

  it('raise a cap and let the run go on in one step, or do neither', async () => {
    const run = await door.arena.makeRun({ products: 3, cap: 2_000 })
    const paused = await work(door.arena, { run, search: searchWith(() => found(['anna'])) })
    expect(paused.pauseReason).toBe('budget')
    const little = await admin(`POST ${runs}/${run.id}/cap`, { capMicros: 2_500, resume: true })
    expect(little.body).toMatchObject({ code: 'run.cap_reached' })
    expect((await door.arena.look(run.id)).capMicros).toBe(2_000)
    const enough = await admin(`POST ${runs}/${run.id}/cap`, { capMicros: 3_000, resume: true })
    expect(enough.body['run']).toMatchObject({ status: 'running', capMicros: 3_000 })
    const low = await admin(`POST ${runs}/${run.id}/cap`, { capMicros: 1_000 })
    expect(low.body).toMatchObject({ status: 409, code: 'run.cap_too_low' })
  })

  it('retry what was not answered, for a cost told before', async () => {
    const run = await door.arena.makeRun({ products: 4 })
    const search = searchWith((request) =>
      request.query.kind === 'text' && / [01] /.test(request.query.text)
        ? failed('blocked', { kind: 'not_charged' })
        : found(['bert']),
    )
    await work(door.arena, { run, search })
    await admin(`POST ${runs}/${run.id}/cancel`)
    const before = await admin(`GET ${runs}/${run.id}/outlook`)
    const { body } = await admin(`GET ${runs}/${run.id}`)
    expect(before.body).toMatchObject({ forecast: null, retry: { counts: { blocked: 2 }, cost: { low: 2_000 } } })
    expect(body['outcomes']).toEqual([
      { outcome: 'blocked', count: 2, reasons: [expect.objectContaining({ code: 'test.blocked', count: 2 })] },
    ])
    const made = await admin(`POST ${runs}/${run.id}/retry`, { start: true })
    expect(made.status).toBe(201)
    expect(made.body).toMatchObject({ run: { status: 'running', totalItems: 2 }, retryOf: { id: run.id } })
    expect((await admin(`POST ${runs}/${run.id}/retry`, {})).body['code']).toBe('run.retry_open')
  })

  it('settle suspect calls, but not while an answer may come', async () => {
    const run = await door.arena.makeRun({ products: 1 })
    await work(door.arena, {
      run,
      search: searchWith(() => failed('lost', UNKNOWN)),
      signal: AbortSignal.timeout(3_000),
    })
    const worker = await door.arena.rows<{ id: string }>('select id from collection_workers')
    await door.arena.db.query(
      `update collection_workers set heartbeat_at = now() - interval '1 hour' where id = any ($1)`,
      [worker.map(({ id }) => id)],
    )
    await door.arena.db.query(`update collection_calls set lease_until = now() - interval '1 hour' where run_id = $1`, [
      run.id,
    ])
    const [counted] = await door.arena.rows<{ count: number }>(
      `select count(*)::int as count from collection_calls where run_id = $1 and state = 'suspect'`,
      [run.id],
    )
    const suspect = counted?.count ?? 0
    expect(suspect).toBeGreaterThan(0)
    const body = { calls: 'all', verdict: 'charged', amountMicros: 700, note: 'Line 12 of the invoice.' }
    const settled = await admin(`POST ${runs}/${run.id}/resolutions`, body)
    expect(settled.body).toMatchObject({
      calls: suspect,
      chargedMicros: 700 * suspect,
      left: 0,
      run: { run: { suspectCalls: 0 } },
    })
    const list = await admin(`GET ${runs}/${run.id}/calls?state=settled`)
    expect(list.body['items']?.[0]).toMatchObject({
      chargeMicros: 700,
      resolution: { how: 'person', actorId: door.people.admin, note: 'Line 12 of the invoice.' },
    })
    expect((await admin(`POST ${runs}/${run.id}/resolutions`, body)).body['code']).toBe('call.none_suspect')
  })

  it('delete a run that has ended, for an owner, and only then', async () => {
    const run = await door.arena.makeRun({ products: 1 })
    const remove = (who: string) => door.ask(who, `DELETE ${runs}/${run.id}`)
    expect((await remove(door.people.owner)).body).toMatchObject({ code: 'run.wrong_state' })
    await admin(`POST ${runs}/${run.id}/cancel`)
    expect((await remove(door.people.admin)).status).toBe(403)
    expect((await remove(door.people.owner)).status).toBe(204)
    expect((await remove(door.people.owner)).status).toBe(404)
    const acts = await door.arena.rows(
      'select action, before from audit_log where target = $1 order by id desc limit 1',
      [`run:${run.id}`],
    )
    expect(acts).toEqual([{ action: 'run.deleted', before: expect.objectContaining({ number: run.number }) }])
  })
})

describe('a run that goes on', () => {
  it('shows its calls in flight with the exact request, the price of the next and the nearest limit', async () => {
    const run = await door.arena.makeRun({ products: 3, cap: 10_000 })
    await claim(door.arena, run, await door.arena.makeWorker(), 2)
    const { body } = await door.ask(door.people.viewer, `GET ${runs}/${run.id}`)
    expect(body).toMatchObject({
      asOf: { eventSeq: body['run']?.['eventSeq'] },
      callPriceMicros: 1_000,
      inFlight: { calls: 2, mostMicros: 2_000 },
      nearestLimit: { kind: 'run', leftMicros: 8_000 },
      can: { pause: { may: false, code: 'auth.role_too_low' } },
    })
    expect(body['lanes']).toHaveLength(2)
    expect(body['lanes']?.[0]).toMatchObject({
      account: 'search',
      workerName: 'test',
      rung: 1,
      request: { kind: 'text', text: expect.stringContaining('product') },
    })
    const calls = await door.ask(door.people.viewer, `GET ${runs}/${run.id}/calls?state=held`)
    expect(calls.body['items']).toHaveLength(2)
    const workers = await door.ask(door.people.viewer, `GET /api/v1/orgs/${door.org}/workers`)
    expect(
      [...(workers.body['items'] ?? [])].reduce((sum, one) => sum + Number(one['callsInFlight']), 0),
    ).toBeGreaterThanOrEqual(2)
  })
})

describe('pages', () => {
  /** Every item, page by page, forwards, and then backwards from the last page. */
  async function walk(line: string): Promise<{ forth: string[]; back: string[] }> {
    const idOf = (row: { readonly [field: string]: unknown }) => String(row['id'] ?? row['seq'])
    const forth: string[] = []
    let page = (await door.ask(door.people.owner, line)).body
    for (;;) {
      forth.push(...[...(page['items'] ?? [])].map(idOf))
      if (page['next'] === null) break
      page = (await door.ask(door.people.owner, `${line}&cursor=${page['next']}`)).body
    }
    const back = [...(page['items'] ?? [])].map(idOf)
    while (page['previous'] !== null) {
      page = (await door.ask(door.people.owner, `${line}&cursor=${page['previous']}`)).body
      back.unshift(...[...(page['items'] ?? [])].map(idOf))
    }
    return { forth, back }
  }

  it('of runs hold each run once, in every order, both ways', async () => {
    for (let at = 0; at < 5; at++) await door.arena.makeRun({ products: at % 2, start: at % 2 === 0 })
    const ids = await door.arena.rows<{ id: string }>('select id from collection_runs where org_id = $1', [door.org])
    for (const sort of [
      'number',
      '-number',
      'name',
      '-name',
      'started',
      '-started',
      'spent',
      '-spent',
      'new_sellers',
      '-new_sellers',
    ]) {
      const { forth, back } = await walk(`GET ${runs}?limit=3&sort=${sort}`)
      expect([sort, forth.toSorted()]).toEqual([sort, ids.map(({ id }) => id).sort()])
      expect([sort, back]).toEqual([sort, forth])
    }
  })

  it('of items, events and the audit log too', async () => {
    const run = await door.arena.makeRun({ products: 7 })
    await admin(`POST ${runs}/${run.id}/pause`)
    await admin(`POST ${runs}/${run.id}/resume`)
    for (const [line, count] of [
      [`GET ${runs}/${run.id}/items?limit=3`, 7],
      [`GET ${runs}/${run.id}/events?limit=2`, 4],
      [`GET /api/v1/orgs/${door.org}/audit?limit=1&target=run:${run.id}`, 2],
    ] as const) {
      const { forth, back } = await walk(line)
      expect([line, forth.length, new Set(forth).size]).toEqual([line, count, count])
      expect(back).toEqual(forth)
    }
    const after = await admin(`GET ${runs}/${run.id}/events?after=2&type=run.resumed`)
    expect([...(after.body['items'] ?? [])].map((one) => one['seq'])).toEqual([4])
  })

  it('take no cursor of another list, order or make', async () => {
    const { body } = await door.ask(door.people.owner, `GET ${runs}?limit=1`)
    const cursor = String(body['next'])
    const refused = async (line: string) =>
      expect([line, (await door.ask(door.people.owner, line)).status]).toEqual([line, 400])
    await refused(`GET ${runs}?limit=1&sort=name&cursor=${cursor}`)
    await refused(`GET /api/v1/orgs/${door.org}/audit?cursor=${cursor}`)
    for (const made of [
      ['runs-number', '1; drop table orgs', newId(), false],
      ['runs-number', '1', 'x', false],
      ['runs-number', 1, newId(), 0],
      {},
    ])
      await refused(`GET ${runs}?cursor=${Buffer.from(JSON.stringify(made)).toString('base64url')}`)
    await refused(`GET ${runs}?limit=0`)
    await refused(`GET ${runs}?limit=201`)
  })

  it('are filtered by state, name, category and time', async () => {
    const paused = await door.arena.makeRun({ products: 1 })
    await admin(`POST ${runs}/${paused.id}/pause`)
    await admin(`PATCH ${runs}/${paused.id}`, { name: '100 % tea_pots' })
    const ids = async (query: string) =>
      [...((await admin(`GET ${runs}?limit=200&${query}`)).body['items'] ?? [])].map((one) => one['id'])
    expect(await ids('status=paused&status=pending')).toContain(paused.id)
    expect(await ids('status=completed')).not.toContain(paused.id)
    expect(await ids(`search=${encodeURIComponent('0 % TEA_')}`)).toEqual([paused.id])
    expect(await ids('search=x_x')).toEqual([])
    expect(await ids('needsYou=true')).toContain(paused.id)
    expect(await ids('category=toys-and-games')).toHaveLength(1)
    expect(await ids('to=2020-01-01T00:00:00Z')).toEqual([])
    expect(await ids(`createdBy=${door.people.admin}&from=2020-01-01T00:00:00Z`)).not.toHaveLength(0)
  })
})

describe('an Idempotency-Key', () => {
  const create = (key: string, body: object = { collect: list(1), accounts, name: 'Once' }, who = door.people.admin) =>
    door.ask(who, `POST ${runs}`, { body, headers: { 'idempotency-key': key } })
  const made = async () =>
    (
      await door.arena.rows<{ count: number }>(`select count(*)::int as count from collection_runs where name = 'Once'`)
    )[0]?.count ?? 0

  it('does a write once and answers twice the same', async () => {
    const before = await made()
    const key = newId()
    const first = await create(key)
    const second = await create(key)
    expect([first.status, second.status]).toEqual([201, 201])
    expect(second.text).toBe(first.text)
    expect(second.headers['location']).toBe(first.headers['location'])
    expect([first.headers['idempotent-replay'], second.headers['idempotent-replay']]).toEqual([undefined, 'true'])
    expect(await made()).toBe(before + 1)
  })

  it('lets one of two at the same moment do it, and the other wait for its answer', async () => {
    const before = await made()
    const key = newId()
    const answers = await Promise.all([1, 2, 3, 4].map(() => create(key)))
    expect(answers.map(({ status }) => status)).toEqual([201, 201, 201, 201])
    expect(new Set(answers.map(({ text }) => text)).size).toBe(1)
    expect(await made()).toBe(before + 1)
  })

  it('refuses another request with it, and is one’s own', async () => {
    const key = newId()
    await create(key)
    expect((await create(key, { collect: list(2), accounts, name: 'Once' })).body).toMatchObject({
      status: 422,
      code: 'request.key_reused',
    })
    const before = await made()
    expect((await create(key, undefined, door.people.owner)).headers['idempotent-replay']).toBeUndefined()
    expect(await made()).toBe(before + 1)
  })

  it('leaves nothing of a write that was refused', async () => {
    const run = await door.arena.makeRun({ products: 1, start: false })
    const headers = { 'idempotency-key': newId() }
    const resume = () => door.ask(door.people.admin, `POST ${runs}/${run.id}/pause`, { headers })
    const start = `POST ${runs}/${run.id}/resume`
    expect((await door.ask(door.people.admin, start, { headers })).body['code']).toBe('run.wrong_state')
    expect((await resume()).status).toBe(200)
  })

  it('is forgotten after a day', async () => {
    const key = newId()
    await create(key)
    await door.arena.fresh.db.query(`update api_requests set created_at = now() - interval '25 hours' where key = $1`, [
      key,
    ])
    expect((await create(key, { collect: list(2), accounts, name: 'Once' })).status).toBe(201)
  })

  it('of a wrong form is refused', async () => {
    for (const key of ['', 'two words', 'x'.repeat(201), 'ümlaut']) {
      const answer = await create(key)
      expect([key, answer.status]).toEqual([key, key === '' ? expect.any(Number) : 400])
    }
  })
})

describe('settings', () => {
  const address = () => `/api/v1/orgs/${door.org}/settings`
  it('are changed by who has read them, all or nothing, audited', async () => {
    const read = await admin(`GET ${address()}`)
    expect((await admin(`PATCH ${address()}`, { softWarningPercent: 70 })).body).toMatchObject({
      status: 428,
      code: 'request.precondition_missing',
    })
    const ifMatch = { 'if-match': read.headers['etag'] ?? '' }
    const changed = await admin(`PATCH ${address()}`, { softWarningPercent: 70, filters: { locatedIn: null } }, ifMatch)
    expect(changed.body).toMatchObject({ softWarningPercent: 70, filters: { locatedIn: null, minPercent: 80 } })
    expect(changed.headers['etag']).not.toBe(read.headers['etag'])
    expect((await admin(`PATCH ${address()}`, { softWarningPercent: 60 }, ifMatch)).body).toMatchObject({
      status: 412,
      code: 'request.precondition_failed',
    })
    const wrong = await admin(
      `PATCH ${address()}`,
      { softWarningPercent: 60, filters: { minPercent: 200 } },
      { 'if-match': changed.headers['etag'] ?? '' },
    )
    expect(wrong.status).toBe(400)
    expect((await admin(`GET ${address()}`)).body).toEqual(changed.body)
    const { body } = await admin(`GET /api/v1/orgs/${door.org}/audit?action=settings&limit=1`)
    expect(body['items']?.[0]).toMatchObject({
      action: 'settings.changed',
      before: { softWarningPercent: 80 },
      after: { softWarningPercent: 70 },
    })
  })

  it('of two who change them at once, one is told', async () => {
    const etag = (await admin(`GET ${address()}`)).headers['etag'] ?? ''
    const answers = await Promise.all(
      [61, 62, 63].map((softWarningPercent) =>
        admin(`PATCH ${address()}`, { softWarningPercent }, { 'if-match': etag }),
      ),
    )
    expect(answers.map(({ status }) => status).sort()).toEqual([200, 412, 412])
  })

  it('keep a month cap above what is used', async () => {
    const run = await door.arena.makeRun({ products: 1 })
    await claim(door.arena, run, await door.arena.makeWorker(), 1)
    const low = await admin(`PATCH ${address()}`, { monthCapMicros: 0 }, { 'if-match': '*' })
    expect(low.body).toMatchObject({ status: 409, code: 'month.cap_too_low' })
  })
})

describe('notifications', () => {
  const address = () => `/api/v1/orgs/${door.org}/settings/notifications`
  it('are sent where an admin says; the secret is shown once, whoever asks again', async () => {
    expect((await admin(`GET ${address()}`)).body).toMatchObject({ url: null })
    const headers = { 'idempotency-key': newId() }
    const body = { url: 'https://example.org/hook' }
    const set = await admin(`PUT ${address()}`, body, headers)
    expect(set.body).toMatchObject({ url: 'https://example.org/hook', secret: expect.stringMatching(/^[0-9a-f]{64}$/) })
    const again = await admin(`PUT ${address()}`, body, headers)
    expect(again.body).toMatchObject({ status: 409, code: 'request.key_done' })
    expect(again.text).not.toContain(String(set.body['secret']))
    expect((await admin(`GET ${address()}`)).text).not.toContain(String(set.body['secret']))
    expect(door.log.join('')).not.toContain(String(set.body['secret']))
    for (const url of ['ftp://example.org', 'https://a:b@example.org', 'nowhere'])
      expect((await admin(`PUT ${address()}`, { url })).status).toBe(400)
    expect((await admin(`PUT ${address()}`, { url: null })).body).toMatchObject({ url: null, secret: null })
    const { body: log } = await admin(`GET /api/v1/orgs/${door.org}/audit?action=hook.changed`)
    expect(log['items']?.[1]).toMatchObject({ after: { notifyHost: 'example.org', newSecret: true } })
  })
})

describe('a chart', () => {
  it('has all of a run in at most 300 steps', async () => {
    const run = await door.arena.makeRun({ products: 5 })
    const done = await work(door.arena, {
      run,
      search: searchWith(({ query }) => found([query.kind === 'text' ? query.text.slice(0, 9) : 'x'])),
    })
    // Spread over an hour, as a real run would be.
    await door.arena.fresh.db.query('alter table collection_runs disable trigger user')
    await door.arena.fresh.db.query(
      `update collection_runs set started_at = started_at - interval '1 hour' where id = $1`,
      [run.id],
    )
    await door.arena.fresh.db.query('alter table collection_runs enable trigger user')
    const { body } = await admin(`GET ${runs}/${run.id}/chart?steps=60`)
    const steps = [...(body['steps'] ?? [])]
    const sum = (field: string) => steps.reduce((all, step) => all + Number(step[field]), 0)
    expect(steps.length).toBeLessThanOrEqual(60)
    expect(steps.length).toBeGreaterThan(50)
    expect({ spent: sum('spentMicros'), calls: sum('settledCalls'), searched: sum('searched') }).toEqual({
      spent: done.spentMicros,
      calls: done.settledCalls,
      searched: done.processedItems,
    })
    expect(sum('newSellers')).toBe(done.newSellers)
    const waits = await door.arena.makeRun({ products: 1, start: false })
    expect((await admin(`GET ${runs}/${waits.id}/chart`)).body).toEqual({ stepSeconds: 1, steps: [] })
  })
})
