import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { catchUp } from '../../src/engine/keep-list.ts'
import { makeNextExport } from '../../src/engine/make-exports.ts'
import { asked, found, searchWith, work } from '../engine/arena.ts'
import { type Door, makeDoor } from './support.ts'

/** How many there are in a list of an answer. */
const sizeOf = (list: unknown): number => (list as unknown[]).length

let door: Door
let base: string
beforeAll(async () => {
  door = await makeDoor()
  base = `/api/v1/orgs/${door.org}`
  const run = await door.arena.makeRun({ products: 12 })
  const search = searchWith((request) => {
    const { product } = asked(request)
    return found([`shop-${product}`, `mart-${product % 3}`, '=risky'])
  })
  await work(door.arena, { run, search })
  await catchUp(door.arena.db)
}, 60_000)
afterAll(() => door.close())

describe('the list', () => {
  it('is read page by page, both ways, and counted apart', async () => {
    const { viewer } = door.people
    const names: string[] = []
    let cursor = ''
    let previous = ''
    for (;;) {
      const { status, body } = await door.ask(
        viewer,
        `GET ${base}/sellers?limit=5&sort=matched${cursor && `&cursor=${cursor}`}`,
      )
      expect([status, body['uncountedSince']]).toEqual([200, null])
      names.push(...(body['items'] as unknown as { name: string }[]).map(({ name }) => name))
      previous = body['previous'] as string
      if (!body['next']) break
      cursor = body['next'] as string
    }
    expect([names.length, new Set(names).size]).toEqual([16, 16])
    const before = await door.ask(viewer, `GET ${base}/sellers?limit=5&sort=matched&cursor=${previous}`)
    expect((before.body['items'] as unknown as { name: string }[]).map(({ name }) => name)).toEqual(names.slice(10, 15))
    expect((await door.ask(viewer, `GET ${base}/seller-list/count?search=-`)).body['count']).toBe(0)
    expect((await door.ask(viewer, `GET ${base}/seller-list/count`)).body['count']).toBe(16)
  })

  it('refuses a cursor of another order, and filters there are none of', async () => {
    const { viewer } = door.people
    const first = await door.ask(viewer, `GET ${base}/sellers?limit=5&sort=matched`)
    const next = first.body['next']
    expect((await door.ask(viewer, `GET ${base}/sellers?limit=5&sort=matched&cursor=${next}`)).status).toBe(200)
    for (const query of [`sort=score&cursor=${next}`, 'cursor=nonsense', 'colour=red', 'matchedFrom=-1', 'limit=201']) {
      expect((await door.ask(viewer, `GET ${base}/sellers?${query}`)).status).toBe(400)
    }
  })

  it('has marks whose cursors lead there', async () => {
    const marks = await door.ask(door.people.viewer, `GET ${base}/seller-list/marks?sort=matched`)
    expect(marks.body).toMatchObject({ count: 16, exact: true })
    expect(sizeOf(marks.body['marks'])).toBe(11)
    const cursor = marks.body['marks']?.[5]?.['cursor']
    expect(
      sizeOf((await door.ask(door.people.viewer, `GET ${base}/sellers?sort=matched&cursor=${cursor}`)).body['items']),
    ).toBeGreaterThan(3)
  })
})

describe('a seller', () => {
  it('is shown with its evidence and changed under its version', async () => {
    const { analyst, viewer } = door.people
    const list = await door.ask(viewer, `GET ${base}/sellers?search=mart`)
    const address = `${base}/sellers/${list.body['items']?.[0]?.['id']}`
    const read = await door.ask(viewer, `GET ${address}`)
    expect(read.body).toMatchObject({ matched: 4, flag: null, can: { edit: false } })
    const evidence = await door.ask(viewer, `GET ${address}/evidence?limit=3`)
    expect([sizeOf(evidence.body['items']), evidence.body['searches']]).toEqual([3, 4])
    const rest = await door.ask(viewer, `GET ${address}/evidence?cursor=${evidence.body['next']}`)
    expect([sizeOf(rest.body['items']), rest.body['next']]).toEqual([1, null])
    const etag = read.headers['etag'] ?? ''
    const change = (tag: string) =>
      door.ask(analyst, `PATCH ${address}`, { body: { flag: 'contacted' }, headers: { 'if-match': tag } })
    const changed = await change(etag)
    expect([changed.status, changed.body['flag']]).toEqual([200, 'contacted'])
    expect((await change(etag)).body['code']).toBe('request.precondition_failed')
    expect((await door.ask(analyst, `PATCH ${address}`, { body: { flag: null } })).status).toBe(428)
  })

  it('is one of many an act concerns, which is undone once', async () => {
    const { analyst } = door.people
    const body = { filter: { search: 'shop' }, act: { kind: 'remove' } }
    const done = await door.ask(analyst, `POST ${base}/seller-acts`, { body })
    expect([done.status, done.body['sellers']]).toEqual([200, 12])
    const undo = () => door.ask(analyst, `POST ${base}/seller-undos`, { body: { undoToken: done.body['undoToken'] } })
    expect((await undo()).body).toEqual({ restored: 12, changedSince: 0 })
    expect((await undo()).body['code']).toBe('seller.undo_used')
  })
})

describe('a saved view', () => {
  it('is kept, changed under its version, and gone', async () => {
    const { analyst, viewer } = door.people
    const body = {
      name: 'New ones',
      filter: { firstSeenFrom: '2026-01-01T00:00:00.000Z' },
      sort: 'score',
      descending: true,
      columns: ['flag'],
    }
    const saved = await door.ask(analyst, `POST ${base}/seller-views`, { body })
    expect([saved.status, saved.body['filter']]).toEqual([201, body.filter])
    expect((await door.ask(analyst, `POST ${base}/seller-views`, { body })).body['code']).toBe('seller.name_taken')
    const address = `${base}/seller-views/${saved.body['id']}`
    const headers = { 'if-match': saved.headers['etag'] ?? '' }
    expect((await door.ask(analyst, `PATCH ${address}`, { body: { name: 'Newer' }, headers })).body['name']).toBe(
      'Newer',
    )
    expect((await door.ask(analyst, `PATCH ${address}`, { body: { name: 'Newest' }, headers })).status).toBe(412)
    expect(sizeOf((await door.ask(viewer, `GET ${base}/seller-views`)).body['items'])).toBe(1)
    expect((await door.ask(analyst, `DELETE ${address}`)).status).toBe(204)
    expect((await door.ask(analyst, `DELETE ${address}`)).status).toBe(404)
  })
})

describe('an export', () => {
  it('is downloaded straight away, safe for spreadsheets', async () => {
    const file = await door.ask(door.people.analyst, `GET ${base}/seller-list/file?columns=name,matched`)
    expect(file.status).toBe(400)
    const csv = await door.ask(
      door.people.analyst,
      `GET ${base}/seller-list/file?columns=seller,products_matched&sort=name&direction=asc`,
    )
    expect([csv.status, csv.headers['content-disposition']]).toEqual([200, 'attachment; filename="sellers.csv"'])
    expect(csv.text.split('\r\n').slice(0, 2)).toEqual(['seller,products_matched', `'=risky,12`])
    expect(csv.text.split('\r\n').length).toBe(18)
  })

  it('is ordered, made by a worker, fetched, and deleted; the audit log has it all', async () => {
    const { analyst, admin } = door.people
    const ordered = await door.ask(analyst, `POST ${base}/exports`, {
      body: { columns: ['name'], filter: { search: 'mart' } },
    })
    expect([ordered.status, ordered.body['state']]).toEqual([201, 'queued'])
    const address = `${base}/exports/${ordered.body['id']}`
    expect((await door.ask(analyst, `GET ${address}/file`)).body['code']).toBe('export.not_ready')
    expect(await makeNextExport(door.arena.db)).toMatchObject({ end: 'ready' })
    expect((await door.ask(analyst, `GET ${address}`)).body).toMatchObject({ state: 'ready', rows: 3, total: 3 })
    expect((await door.ask(analyst, `GET ${address}/file`)).text.split('\r\n').length).toBe(5)
    expect(sizeOf((await door.ask(analyst, `GET ${base}/exports`)).body['items'])).toBe(1)
    expect((await door.ask(analyst, `DELETE ${address}`)).status).toBe(204)
    const log = await door.ask(admin, `GET ${base}/audit?action=export`)
    expect((log.body['items'] as unknown as { action: string }[]).map(({ action }) => action)).toEqual([
      'export.deleted',
      'export.ordered',
    ])
    const preview = await door.ask(analyst, `POST ${base}/export-previews`, {
      body: { columns: ['seller'], filter: { search: '=ri' } },
    })
    expect(preview.body).toEqual({ rows: [[`'=risky`]] })
    expect((await door.ask(analyst, `POST ${base}/exports`, { body: { onlyNew: true } })).status).toBe(400)
  })
})
