import { gunzipSync } from 'node:zlib'
import { parse } from 'csv-parse/sync'
import readXlsx from 'read-excel-file/node'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { newId } from '../../src/base/ids.ts'
import type { Tx } from '../../src/db/client.ts'
import { asMember } from '../../src/db/session.ts'
import { catchUp } from '../../src/engine/keep-list.ts'
import { makeNextExport } from '../../src/engine/make-exports.ts'
import { streamExport } from '../../src/engine/stream-export.ts'
import {
  DEFAULT_EXPORT_COLUMNS,
  EXPORT_COLUMN_NAMES,
  type ExportColumnName,
  isoTime,
} from '../../src/sellers/export-columns.ts'
import { type ExportFormat, makeWriter } from '../../src/sellers/export-file.ts'
import { type ExportOrder, orderExport, readExport, readPart, requestStop } from '../../src/sellers/export-jobs.ts'
import { addProfile, readProfile } from '../../src/sellers/export-profiles.ts'
import { firstRows } from '../../src/sellers/export-rows.ts'
import type { SellerView } from '../../src/sellers/view.ts'
import { viewToJson } from '../../src/sellers/view-json.ts'
import { makeWorkbook } from '../../src/sellers/xlsx-writer.ts'
import { found, searchWith, work } from '../engine/arena.ts'
import { makeWorld, type World } from './world.ts'

let world: World
const HARD = ['=1+1', '+x', '-2', '@cmd', '\tTab', '\rReturn', 'a "quoted", one', 'line\nbreak', '<&>', '漢字 ünï']

beforeAll(async () => {
  world = await makeWorld()
  const { fresh } = world.arena
  for (const [at, name] of HARD.entries()) {
    await fresh.db.query(
      `update sellers set display_name = $1 where id = (select seller_id from seller_list where listed_seq > $2 order by listed_seq limit 1)`,
      [name, at],
    )
  }
}, 60_000)
afterAll(() => world?.arena.close())

const orgId = () => world.arena.actor.orgId
const total = async (): Promise<number> =>
  (
    await world.arena.fresh.db.query<{ n: number }>(
      'select count(*)::int as n from seller_list where removed_at is null',
    )
  ).rows[0]?.n ?? 0

async function streamed(
  format: ExportFormat,
  view: SellerView = {},
  columns: readonly ExportColumnName[] = DEFAULT_EXPORT_COLUMNS,
): Promise<Buffer> {
  const actAs = (tx: Tx) => asMember(tx, { userId: world.people.viewer, orgId: orgId() })
  const chunks: Buffer[] = []
  const wanted = {
    orgId: orgId(),
    view,
    order: { sort: 'name', descending: false },
    columns,
    format,
    safe: true,
  } as const
  for await (const chunk of streamExport(world.arena.db, actAs, wanted)) chunks.push(chunk)
  return Buffer.concat(chunks)
}

async function order(given: Partial<ExportOrder> & { view?: SellerView } = {}) {
  const { view = {}, ...rest } = given
  const wanted: ExportOrder = {
    id: newId(),
    orgId: orgId(),
    createdBy: world.people.analyst,
    format: 'csv',
    columns: ['seller', 'id'],
    filter: viewToJson(view),
    sort: 'name',
    descending: false,
    safe: true,
    onlyNew: false,
    profileId: null,
    ...rest,
  }
  await world.as('analyst', (tx) => orderExport(tx, wanted))
  return wanted.id
}
const look = (id: string) => world.as('viewer', (tx) => readExport(tx, orgId(), id))
async function fileOf(id: string): Promise<Buffer> {
  const parts: Buffer[] = []
  for (let number = 0; ; number++) {
    const part = await world.as('viewer', (tx) => readPart(tx, orgId(), id, number))
    if (!part) return Buffer.concat(parts)
    parts.push(gunzipSync(part))
  }
}

describe('a file', () => {
  it('has every seller once, in every form the same, and no cell that a spreadsheet would run', async () => {
    const csv = (await streamed('csv', {}, EXPORT_COLUMN_NAMES)).toString()
    expect(csv.startsWith('\ufeffseller,')).toBe(true)
    const lines = parse(csv, { bom: true, columns: true }) as Record<string, string>[]
    const json = (await streamed('jsonl', {}, EXPORT_COLUMN_NAMES))
      .toString()
      .trimEnd()
      .split('\n')
      .map((line) => JSON.parse(line) as Record<string, string | number | null>)
    const sheets = await readXlsx(await streamed('xlsx', {}, EXPORT_COLUMN_NAMES))
    const sheet = (sheets as unknown as { data: unknown[][] }[])[0]?.data ?? (sheets as unknown as unknown[][])
    expect([lines.length, json.length, sheet.length - 1]).toEqual(Array(3).fill(await total()))
    expect(new Set(lines.map(({ id }) => id)).size).toBe(lines.length)
    for (const [at, line] of lines.entries()) {
      const record = json[at] ?? {}
      expect(Object.keys(line)).toEqual([...EXPORT_COLUMN_NAMES])
      for (const [column, name] of EXPORT_COLUMN_NAMES.entries()) {
        const inSheet = sheet[at + 1]?.[column] ?? ''
        const value = record[name] ?? ''
        if (typeof value === 'number') expect([Number(line[name]), Number(inSheet)]).toEqual([value, value])
        else expect(line[name]?.replace(/^'(?=[=+\-@\t\r])/, '')).toBe(value)
        expect(line[name]).not.toMatch(/^[=+@\t\r]/)
      }
    }
    expect(json.map(({ seller }) => seller)).toEqual(expect.arrayContaining(HARD))
    expect(lines.map(({ seller }) => seller)).toEqual(
      expect.arrayContaining([`'=1+1`, `'-2`, `'\tTab`, 'a "quoted", one']),
    )
  })

  it('honours filter and selection', async () => {
    const ids = parse((await streamed('csv', { search: 'mart' }, ['id', 'name'])).toString(), {
      bom: true,
      columns: true,
    }) as { id: string; name: string }[]
    expect(ids.length).toBe(11)
    expect(ids.every(({ name }) => name.startsWith('mart'))).toBe(true)
    const chosen = ids.slice(2, 5).map(({ id }) => id)
    const some = parse((await streamed('csv', { ids: chosen }, ['id'])).toString(), { bom: true, columns: true }) as {
      id: string
    }[]
    expect(some.map(({ id }) => id).toSorted()).toEqual(chosen.toSorted())
  })

  it('goes on in another sheet where one is full', async () => {
    const book = makeWorkbook(['n', 't'], ['number', 'text'], true, 3)
    const rows = Array.from({ length: 8 }, (_, n) => [String(n), n % 2 ? `=${n}<` : null])
    const file = Buffer.concat([
      await book.begin(),
      await book.rows(rows.slice(0, 5)),
      await book.rows(rows.slice(5)),
      await book.end(),
    ])
    const sheets = (await readXlsx(file)) as unknown as { sheet: string; data: unknown[][] }[]
    expect(sheets.map(({ data }) => data)).toEqual([
      [
        ['n', 't'],
        [0, null],
        [1, `'=1<`],
        [2, null],
      ],
      [
        ['n', 't'],
        [3, `'=3<`],
        [4, null],
        [5, `'=5<`],
      ],
      [
        ['n', 't'],
        [6, null],
        [7, `'=7<`],
      ],
    ])
  })

  it('writes times as they are in UTC', () => {
    expect(isoTime('2026-11-22 14:02:11.482123+00')).toBe('2026-11-22T14:02:11.482Z')
    expect(isoTime('2026-11-22 14:02:11.4+00')).toBe('2026-11-22T14:02:11.400Z')
    expect(isoTime('2026-11-22 14:02:11+00')).toBe('2026-11-22T14:02:11.000Z')
  })

  it('shows a stranger nothing, and lets go of everything when the reader leaves', async () => {
    const actAs = (tx: Tx) => asMember(tx, { userId: world.people.stranger, orgId: orgId() })
    const wanted = {
      orgId: orgId(),
      view: {},
      order: { sort: 'score', descending: true },
      columns: ['id'],
      format: 'jsonl',
      safe: true,
    } as const
    for await (const chunk of streamExport(world.arena.db, actAs, wanted)) expect(chunk.length).toBe(0)
    const left = streamExport(world.arena.db, (tx) => asMember(tx, { userId: world.people.viewer, orgId: orgId() }), {
      ...wanted,
      format: 'csv',
    })
    await left.next()
    await left.return()
    const { rows } = await world.arena.fresh.db.query(
      `select from pg_stat_activity where datname = current_database() and state like 'idle in%'`,
    )
    expect(rows).toEqual([])
  })
})

describe('an export made by a worker', () => {
  it('is ready with its file, and gone after seven days', async () => {
    const id = await order({ view: { matched: { from: 1 }, firstSeen: { from: new Date('2020-01-01') } } })
    expect(await look(id)).toMatchObject({ state: 'queued' })
    expect(await makeNextExport(world.arena.db)).toMatchObject({ end: 'ready' })
    const done = await look(id)
    const file = await fileOf(id)
    expect(done).toMatchObject({
      state: 'ready',
      rows: await total(),
      total: await total(),
      bytes: file.length,
      error: null,
    })
    expect(parse(file, { bom: true, columns: true }).length).toBe(await total())
    const days = ((done?.expiresAt?.getTime() ?? 0) - (done?.endedAt?.getTime() ?? 0)) / 86_400_000
    expect(days).toBe(7)
    await world.arena.fresh.db.query(`update seller_exports set expires_at = now() - interval '1 s' where id = $1`, [
      id,
    ])
    expect(await makeNextExport(world.arena.db)).toBeNull()
    expect(await look(id)).toMatchObject({ state: 'expired' })
    expect((await fileOf(id)).length).toBe(0)
  })

  it('is taken up again when its worker fell silent, and what that one still writes does not count', async () => {
    const id = await order()
    const silent = await world.arena.fresh.db.query(
      `update seller_exports set state = 'running', attempt = 1, lease_until = now() - interval '1 s' where id = $1`,
      [id],
    )
    expect(silent.rowCount).toBe(1)
    await world.arena.fresh.db.query(`insert into seller_export_parts values ($1, 0, $2, 'old')`, [id, orgId()])
    expect(await makeNextExport(world.arena.db)).toMatchObject({ end: 'ready', job: { attempt: 2 } })
    expect(parse(await fileOf(id), { bom: true, columns: true }).length).toBe(await total())
    await world.arena.fresh.db.query(
      `update seller_exports set state = 'running', attempt = 3, lease_until = now() - interval '1 s' where id = $1`,
      [id],
    )
    expect(await makeNextExport(world.arena.db)).toMatchObject({ end: 'failed' })
    expect(await look(id)).toMatchObject({ state: 'failed', error: 'Its workers fell silent again and again.' })
  })

  it('stops when it is asked to', async () => {
    const id = await order()
    expect(await world.as('viewer', (tx) => requestStop(tx, orgId(), id))).toBe(false)
    expect(await world.as('analyst', (tx) => requestStop(tx, orgId(), id))).toBe(true)
    expect(await makeNextExport(world.arena.db)).toBeNull()
    expect(await look(id)).toMatchObject({ state: 'stopped', rows: 0 })
    const running = await order()
    await world.arena.fresh.db.query(
      `update seller_exports set state = 'running', stop_requested_at = now(), lease_until = now() - interval '1 s' where id = $1`,
      [running],
    )
    expect(await makeNextExport(world.arena.db)).toMatchObject({ end: 'stopped' })
    expect(await look(running)).toMatchObject({ state: 'stopped' })
    expect((await fileOf(running)).length).toBe(0)
  })

  it('holds only what the person who asked for it may read when it is made', async () => {
    const id = await order()
    await world.arena.fresh.db.query('delete from org_members where user_id = $1', [world.people.analyst])
    await makeNextExport(world.arena.db)
    expect((await fileOf(id)).toString()).toBe('\ufeffseller,id\r\n')
    await world.arena.fresh.db.query(`insert into org_members (org_id, user_id, role) values ($1, $2, 'analyst')`, [
      orgId(),
      world.people.analyst,
    ])
  })

  it('under a profile brings only what is new since the last one', async () => {
    const profileId = newId()
    await world.as('analyst', (tx) =>
      addProfile(tx, {
        id: profileId,
        orgId: orgId(),
        createdBy: world.people.analyst,
        name: 'CRM',
        format: 'jsonl',
        columns: ['seller'],
        safe: true,
      }),
    )
    const names = async (): Promise<string[]> => {
      const id = await order({ format: 'jsonl', columns: ['name'], onlyNew: true, profileId })
      expect(await makeNextExport(world.arena.db)).toMatchObject({ end: 'ready' })
      const text = (await fileOf(id)).toString().trimEnd()
      return text === '' ? [] : text.split('\n').map((line) => (JSON.parse(line) as { name: string }).name)
    }
    expect((await names()).length).toBe(await total())
    expect(await names()).toEqual([])
    const run = await world.arena.makeRun({ products: 1, from: 950 })
    await work(world.arena, { run, search: searchWith(() => found(['deep-1', 'fresh.face'])) })
    await catchUp(world.arena.db)
    expect(await names()).toEqual(['fresh.face'])
    expect(await names()).toEqual([])
    expect((await world.as('viewer', (tx) => readProfile(tx, orgId(), profileId)))?.lastExportAt).not.toBeNull()
  })

  it('is asked for by an analyst, never by a viewer', async () => {
    await expect(
      world.as('viewer', (tx) =>
        tx.query(
          `insert into seller_exports (org_id, created_by, format, columns, sort, descending) values ($1, $2, 'csv', '{id}', 'name', true)`,
          [orgId(), world.people.viewer],
        ),
      ),
    ).rejects.toMatchObject({ code: '42501' })
  })

  it('has a preview with the rows as they will be written', async () => {
    const rows = await world.as('viewer', (tx) =>
      firstRows(
        tx,
        { orgId: orgId(), view: {}, order: { sort: 'name', descending: false }, columns: ['name', 'score'] },
        5,
      ),
    )
    const file = (await makeWriter('csv', ['name', 'score'], true).rows(rows)).toString()
    const whole = (await streamed('csv', {}, ['name', 'score'])).toString()
    expect(rows.length).toBe(5)
    expect(whole.startsWith(`\ufeffname,score\r\n${file}`)).toBe(true)
  })
})
