import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import type { Tx } from '../../src/db/client.ts'
import { actOnSellers, editSeller, sellerTag, undoOnSellers } from '../../src/engine/edit-sellers.ts'
import { catchUp } from '../../src/engine/keep-list.ts'
import { checkMatch } from '../../src/http/versions.ts'
import { formerNames } from '../../src/sellers/edit.ts'
import { countView } from '../../src/sellers/list-count.ts'
import { readSeller } from '../../src/sellers/seller-detail.ts'
import { asked, found, searchWith, work } from '../engine/arena.ts'
import { makeWorld, type Role, type World } from './world.ts'

let world: World
const matches = (tag: string) => (now: string) => checkMatch(tag, now)
beforeAll(async () => {
  world = await makeWorld()
}, 60_000)
afterAll(() => world?.arena.close())

const idOf = async (name: string): Promise<string> => {
  const { rows } = await world.arena.fresh.db.query<{ id: string }>(
    'select id from sellers where normalized_name = $1',
    [name],
  )
  return rows[0]?.id ?? ''
}
const actor = (who: Role | 'stranger') => ({ userId: world.people[who], orgId: world.arena.actor.orgId })
const as = <T>(who: Role | 'stranger', work: (tx: Tx, me: ReturnType<typeof actor>) => Promise<T>): Promise<T> =>
  world.as(who, (tx) => work(tx, actor(who)))
const audits = async (action: string) =>
  (
    await world.arena.fresh.db.query<{ actor: string; before: unknown; after: Record<string, unknown> }>(
      'select actor_id as actor, before, after from audit_log where action = $1 order by id',
      [action],
    )
  ).rows
/** All a person can have set, of every seller: what an undo must bring back. */
const everything = async (): Promise<unknown> =>
  (
    await world.arena.fresh.db.query(
      `select l.seller_id, l.removed_at, l.removed_by, m.flag, m.flagged_by, m.flagged_at, m.note, m.noted_by, m.noted_at
       from seller_list l left join seller_marks m on m.seller_id = l.seller_id order by 1`,
    )
  ).rows

describe('one seller', () => {
  it('is changed, with what it was and is in the audit log, and its ETag moves on', async () => {
    const id = await idOf('deep-0')
    const first = await as('analyst', (tx, me) =>
      editSeller(tx, me, id, { flag: 'promising', note: ' Look here. ' }, matches('"0-0"')),
    )
    expect(first).toMatchObject({ flag: 'promising', flaggedBy: world.people.analyst, note: 'Look here.', revision: 1 })
    const second = await as('admin', (tx, me) =>
      editSeller(tx, me, id, { name: 'Deep\u202eZero  ' }, matches(sellerTag(first))),
    )
    expect(second).toMatchObject({ name: 'DeepZero', flaggedBy: world.people.analyst, revision: 2 })
    expect(await as('viewer', (tx) => formerNames(tx, id))).toMatchObject([
      { name: 'deep-0', changedBy: world.people.admin },
    ])
    expect(await audits('seller.changed')).toEqual([
      {
        actor: world.people.analyst,
        before: { flag: null, note: null },
        after: { flag: 'promising', note: 'Look here.' },
      },
      { actor: world.people.admin, before: { name: 'deep-0' }, after: { name: 'DeepZero' } },
    ])
    const unflagged = await as('analyst', (tx, me) => editSeller(tx, me, id, { flag: null, note: '' }, () => {}))
    expect(unflagged).toMatchObject({ flag: null, flaggedBy: null, flaggedAt: null, note: null, notedAt: null })
  })

  it('is not changed on the ground of what somebody else changed meanwhile', async () => {
    const id = await idOf('deep-1')
    const tags = await as('analyst', async (tx, me) => {
      const seller = await readSeller(tx, me.orgId, id)
      return seller ? sellerTag(seller) : ''
    })
    const race = await Promise.allSettled([
      as('analyst', (tx, me) => editSeller(tx, me, id, { flag: 'contacted' }, matches(tags))),
      as('admin', (tx, me) => editSeller(tx, me, id, { flag: 'rejected' }, matches(tags))),
    ])
    expect(race.map(({ status }) => status).toSorted()).toEqual(['fulfilled', 'rejected'])
    expect(race.find(({ status }) => status === 'rejected')).toMatchObject({
      reason: { code: 'request.precondition_failed' },
    })
    await expect(
      as('analyst', (tx, me) => editSeller(tx, me, id, { removed: true }, matches(tags))),
    ).rejects.toMatchObject({
      code: 'request.precondition_failed',
    })
  })

  it.each(['viewer', 'stranger'] as const)('is not changed by a %s', async (who) => {
    const id = await idOf('deep-2')
    await expect(as(who, (tx, me) => editSeller(tx, me, id, { flag: 'promising' }, () => {}))).rejects.toMatchObject({
      code: who === 'viewer' ? 'auth.role_too_low' : 'seller.unknown',
    })
    for (const sql of [
      `update seller_list set removed_at = now()`,
      `update sellers set display_name = 'x'`,
      `update seller_marks set flag = 'rejected', flagged_at = now()`,
    ]) {
      expect((await as(who, (tx) => tx.query(sql))).rowCount).toBe(0)
    }
    await expect(
      as(who, (tx, me) => tx.query('insert into seller_marks (seller_id, org_id) values ($1, $2)', [id, me.orgId])),
    ).rejects.toMatchObject({ code: '42501' })
    await expect(as(who, (tx, me) => actOnSellers(tx, me, {}, { kind: 'remove' }))).rejects.toMatchObject({
      code: '42501',
    })
  })

  it('keeps its figures from the hands of people', async () => {
    for (const sql of [
      `update seller_list set matched_count = 99`,
      `delete from seller_list`,
      `update sellers set times_seen = 9`,
    ]) {
      await expect(as('owner', (tx) => tx.query(sql))).rejects.toMatchObject({ code: '42501' })
    }
  })
})

describe('an act on many', () => {
  const views = [
    ['by filter', { matched: { to: 1 } }],
    ['by search with exceptions', { search: 'mart' }],
    ['by ids', {}],
  ] as const

  it.each(views)('%s answers the true number, and its undo brings back exactly what was, once', async (what, view) => {
    const ids = await Promise.all(['deep-1', 'deep-2', 'shop_3'].map(idOf))
    const except = [await idOf('mart0')]
    const chosen = what === 'by ids' ? { ids } : what === 'by search with exceptions' ? { ...view, except } : view
    for (const act of [
      { kind: 'flag', flag: 'rejected' },
      { kind: 'note', note: 'x' },
      { kind: 'flag', flag: null },
      { kind: 'remove' },
    ] as const) {
      const before = await everything()
      const expected = await as('viewer', (tx, me) => countView(tx, me.orgId, chosen))
      expect(expected).toBeGreaterThan(0)
      const done = await as('analyst', (tx, me) => actOnSellers(tx, me, chosen, act))
      expect(done.sellers).toBe(expected)
      expect(await everything()).not.toEqual(before)
      const undo = () => as('admin', (tx, me) => undoOnSellers(tx, me, done.undoToken ?? ''))
      expect(await undo()).toEqual({ restored: expected, changedSince: 0 })
      expect(await everything()).toEqual(before)
      await expect(undo()).rejects.toMatchObject({ code: 'seller.undo_used' })
    }
  })

  it('is one row in the audit log, however many it concerns', async () => {
    const { length } = await audits('sellers.flagged')
    const done = await as('analyst', (tx, me) => actOnSellers(tx, me, {}, { kind: 'flag', flag: 'contacted' }))
    const log = await audits('sellers.flagged')
    expect(log.length).toBe(length + 1)
    expect(log.at(-1)).toMatchObject({
      actor: world.people.analyst,
      after: { flag: 'contacted', sellers: done.sellers },
    })
    await as('analyst', (tx, me) => undoOnSellers(tx, me, done.undoToken ?? ''))
  })

  it('leaves alone, when it is undone, who was changed by somebody since', async () => {
    const id = await idOf('mart1')
    const done = await as('analyst', (tx, me) =>
      actOnSellers(tx, me, { search: 'mart' }, { kind: 'flag', flag: 'promising' }),
    )
    await as('admin', (tx, me) => editSeller(tx, me, id, { flag: 'contacted' }, () => {}))
    const undone = await as('analyst', (tx, me) => undoOnSellers(tx, me, done.undoToken ?? ''))
    expect(undone).toEqual({ restored: done.sellers - 1, changedSince: 1 })
    expect(await as('viewer', (tx, me) => readSeller(tx, me.orgId, id))).toMatchObject({ flag: 'contacted' })
  })

  it('cannot be undone a day later, nor by a viewer, nor from another organisation', async () => {
    const done = await as('analyst', (tx, me) =>
      actOnSellers(tx, me, { search: 'mart2' }, { kind: 'flag', flag: 'promising' }),
    )
    const token = done.undoToken ?? ''
    await expect(as('viewer', (tx, me) => undoOnSellers(tx, me, token))).rejects.toMatchObject({
      code: 'seller.undo_unknown',
    })
    await expect(as('stranger', (tx, me) => undoOnSellers(tx, me, token))).rejects.toMatchObject({
      code: 'seller.undo_unknown',
    })
    await world.arena.fresh.db.query(`update seller_acts set at = at - interval '24 hours 1 second' where id = $1`, [
      token,
    ])
    await expect(as('analyst', (tx, me) => undoOnSellers(tx, me, token))).rejects.toMatchObject({
      code: 'seller.undo_expired',
    })
  })

  it('that concerns nobody has nothing to undo', async () => {
    const done = await as('analyst', (tx, me) => actOnSellers(tx, me, { search: 'nobody at all' }, { kind: 'remove' }))
    expect(done).toEqual({ sellers: 0, undoToken: null, undoUntil: null })
  })
})

describe('a seller taken off the list', () => {
  it('stays off when a run sees it again, its figures going on, and comes back as the same', async () => {
    const { arena } = world
    const id = await idOf('deep-2')
    const count = () => as('viewer', (tx, me) => countView(tx, me.orgId, {}))
    const before = await count()
    await as('analyst', (tx, me) => actOnSellers(tx, me, { ids: [id] }, { kind: 'remove' }))
    expect(await count()).toBe(before - 1)
    const run = await arena.makeRun({ products: 1, from: 900 })
    await work(arena, {
      run,
      search: searchWith((request) => found([`deep-${asked(request).product === 900 ? 2 : 0}`])),
    })
    await catchUp(arena.db)
    const off = await as('viewer', (tx, me) => readSeller(tx, me.orgId, id))
    expect(off).toMatchObject({ runs: 4, removedBy: world.people.analyst })
    expect(off?.removedAt).not.toBeNull()
    expect(await count()).toBe(before - 1)
    expect(
      await as('admin', (tx, me) => actOnSellers(tx, me, { removed: true, ids: [id] }, { kind: 'restore' })),
    ).toMatchObject({ sellers: 1 })
    expect(await count()).toBe(before)
    expect(await idOf('deep-2')).toBe(id)
  })
})
