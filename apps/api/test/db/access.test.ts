import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { newId } from '../../src/base/ids.ts'
import { type Db, type Tx, withTx } from '../../src/db/client.ts'
import { asAnonymous, asMember, asService } from '../../src/db/session.ts'
import { type FreshDb, freshDb } from '../support/db.ts'

let fresh: FreshDb
let db: Db
beforeAll(async () => {
  fresh = await freshDb()
  db = fresh.db
})
afterAll(() => fresh.close())

/** What service_role may do with every column and row; single columns it may insert or update are in 045 and 047. */
const WORKERS_MAY = {
  collection_settings: ['delete', 'insert', 'select', 'update'],
  collection_runs: ['delete', 'insert', 'select'],
  collection_items: ['insert', 'select'],
  sellers: ['delete', 'insert', 'select'],
  collection_calls: ['select'],
  collection_events: ['select'],
} as const
const TABLES = Object.keys(WORKERS_MAY) as (keyof typeof WORKERS_MAY)[]
const DENIED = { code: '42501' }

/** Two organisations with a person in each role; new for every test. */
type World = Readonly<{
  org: string
  other: string
  people: Record<'owner' | 'admin' | 'analyst' | 'viewer' | 'stranger', string>
}>
let world: World
beforeEach(async () => {
  world = {
    org: newId(),
    other: newId(),
    people: { owner: newId(), admin: newId(), analyst: newId(), viewer: newId(), stranger: newId() },
  }
  const { org, other, people } = world
  await db.query(`insert into auth.users (id) select unnest($1::uuid[])`, [Object.values(people)])
  await db.query(`insert into orgs (id, name) values ($1, 'Ours'), ($2, 'Theirs')`, [org, other])
  for (const role of ['owner', 'admin', 'analyst', 'viewer'] as const)
    await db.query('insert into org_members (org_id, user_id, role) values ($1, $2, $3)', [org, people[role], role])
  await db.query(`insert into org_members (org_id, user_id, role) values ($1, $2, 'owner')`, [other, people.stranger])
  await db.query('insert into collection_settings (org_id) values ($1), ($2)', [org, other])
})

type Who = keyof World['people'] | 'anon' | 'service'

/** Runs `work` on behalf of `who`, in a transaction of its own. */
function as<T>(who: Who, work: (tx: Tx) => Promise<T>): Promise<T> {
  return withTx(db, async (tx) => {
    if (who === 'anon') await asAnonymous(tx)
    else if (who === 'service') await asService(tx)
    else await asMember(tx, { userId: world.people[who], orgId: who === 'stranger' ? world.other : world.org })
    return work(tx)
  })
}

const rows = (who: Who, sql: string, values: unknown[] = []) =>
  as(who, async (tx) => (await tx.query(sql, values)).rows)
const count = (who: Who, sql: string, values: unknown[] = []) =>
  as(who, async (tx) => (await tx.query(sql, values)).rowCount ?? 0)

describe('a session', () => {
  it('knows who asks, for one transaction only', async () => {
    const sql = `select current_user as role, auth.uid() as uid, auth.role() as claim, auth.jwt() ->> 'org_id' as org`
    expect(await rows('viewer', sql)).toEqual([
      { role: 'authenticated', uid: world.people.viewer, claim: 'authenticated', org: world.org },
    ])
    expect(await rows('anon', sql)).toEqual([{ role: 'anon', uid: null, claim: 'anon', org: null }])
    expect(await rows('service', sql)).toEqual([{ role: 'service_role', uid: null, claim: 'service_role', org: null }])
    const after = await Promise.all([1, 2, 3, 4].map(() => db.query('select current_user as role, auth.uid() as uid')))
    expect(after.map(({ rows: [row] }) => row)).toEqual(Array(4).fill({ role: 'postgres', uid: null }))
  })
})

describe('organisations', () => {
  it('are seen by their members only', async () => {
    for (const who of ['owner', 'admin', 'analyst', 'viewer'] as const) {
      expect(await rows(who, 'select name from orgs')).toEqual([{ name: 'Ours' }])
      expect(await count(who, 'select from org_members')).toBe(4)
    }
    expect(await rows('stranger', 'select name from orgs')).toEqual([{ name: 'Theirs' }])
    await expect(rows('anon', 'select from orgs')).rejects.toMatchObject(DENIED)
    expect(await count('service', 'select from orgs where id = any ($1)', [[world.org, world.other]])).toBe(2)
  })

  it('are renamed by owners and admins, and nothing else about them changes', async () => {
    const rename = `update orgs set name = 'New' where id = any ($1)`
    const both = [[world.org, world.other]]
    expect(await count('owner', rename, both)).toBe(1)
    expect(await count('admin', rename, both)).toBe(1)
    expect(await count('analyst', rename, both)).toBe(0)
    expect(await count('viewer', rename, both)).toBe(0)
    await expect(count('owner', `update orgs set created_at = now()`)).rejects.toMatchObject(DENIED)
    await expect(count('owner', 'delete from orgs')).rejects.toMatchObject(DENIED)
    await expect(count('owner', `insert into orgs (name) values ('Mine')`)).rejects.toMatchObject(DENIED)
  })

  it('say who is a member, in which role', async () => {
    const ask = 'select is_member($1) as member, member_role($1) as role, array(select member_org_ids()) as orgs'
    expect(await rows('analyst', ask, [world.org])).toEqual([{ member: true, role: 'analyst', orgs: [world.org] }])
    expect(await rows('analyst', ask, [world.other])).toEqual([{ member: false, role: null, orgs: [world.org] }])
    for (const call of ['is_member($1)', 'member_role($1)'])
      await expect(rows('anon', `select ${call}`, [world.org])).rejects.toMatchObject(DENIED)
  })
})

describe('members', () => {
  const add = `insert into org_members (org_id, user_id, role) values ($1, $2, $3)`
  const promote = `update org_members set role = $3 where org_id = $1 and user_id = $2`
  const remove = `delete from org_members where org_id = $1 and user_id = $2`

  it('are changed by owners only, and everybody may leave', async () => {
    const { org, people } = world
    for (const who of ['admin', 'analyst', 'viewer', 'stranger'] as const) {
      await expect(count(who, add, [org, people.stranger, 'viewer'])).rejects.toMatchObject(DENIED)
      expect(await count(who, promote, [org, people.owner, 'viewer'])).toBe(0)
      expect(await count(who, remove, [org, people.owner])).toBe(0)
    }
    expect(await count('admin', promote, [org, people.viewer, 'admin'])).toBe(0)
    expect(await count('admin', remove, [org, people.viewer])).toBe(0)
    expect(await count('owner', add, [org, people.stranger, 'analyst'])).toBe(1)
    expect(await count('owner', promote, [org, people.stranger, 'admin'])).toBe(1)
    expect(await count('owner', remove, [org, people.stranger])).toBe(1)
    expect(await count('viewer', remove, [org, people.viewer])).toBe(1)
    expect(await count('owner', promote, [org, people.admin, 'owner'])).toBe(1)
  })

  it('keep an owner, also when two of them leave at the same moment', async () => {
    const { org, people } = world
    const lastOwner = { code: 'GL007' }
    await expect(count('owner', promote, [org, people.owner, 'admin'])).rejects.toMatchObject(lastOwner)
    await expect(count('owner', remove, [org, people.owner])).rejects.toMatchObject(lastOwner)
    await count('owner', promote, [org, people.admin, 'owner'])
    const left = await Promise.allSettled([
      count('owner', remove, [org, people.owner]),
      count('admin', remove, [org, people.admin]),
    ])
    expect(left.map(({ status }) => status).sort()).toEqual(['fulfilled', 'rejected'])
    await db.query('delete from orgs where id = $1', [org])
    expect((await db.query('select from org_members where org_id = $1', [org])).rowCount).toBe(0)
  })

  it('are never added to another organisation', async () => {
    const { other, people } = world
    for (const who of ['owner', 'admin'] as const)
      await expect(count(who, add, [other, people.owner, 'viewer'])).rejects.toMatchObject(DENIED)
  })

  it('have a role of the list, once', async () => {
    const { org, people } = world
    await expect(db.query(add, [org, people.stranger, 'king'])).rejects.toMatchObject({
      constraint: 'org_members_role',
    })
    await expect(db.query(add, [org, people.viewer, 'viewer'])).rejects.toMatchObject({
      constraint: 'org_members_pkey',
    })
  })
})

describe('collection tables', () => {
  it.each(TABLES)('%s: workers may do only what they must, the anonymous nothing', async (table) => {
    const privileges = `select array_agg(p order by p) filter (where has_table_privilege($1, $2, p)) as may
      from unnest(array['select', 'insert', 'update', 'delete', 'truncate']) as p`
    expect(await rows('service', privileges, ['service_role', table])).toEqual([{ may: WORKERS_MAY[table] }])
    expect(await rows('service', privileges, ['anon', table])).toEqual([{ may: null }])
    await expect(rows('anon', `select from ${table}`)).rejects.toMatchObject(DENIED)
  })

  it.each(TABLES)('%s: members never write, nor see another organisation', async (table) => {
    for (const who of ['owner', 'viewer'] as const) {
      await expect(count(who, `insert into ${table} default values`)).rejects.toMatchObject(DENIED)
      // Runs are deleted by owners: access-matrix.test.ts.
      if (table !== 'collection_runs') await expect(count(who, `delete from ${table}`)).rejects.toMatchObject(DENIED)
      await expect(count(who, `truncate ${table} cascade`)).rejects.toMatchObject(DENIED)
    }
  })

  it('shows settings to the members of their organisation', async () => {
    expect(await rows('viewer', 'select org_id from collection_settings')).toEqual([{ org_id: world.org }])
    expect(await rows('stranger', 'select org_id from collection_settings')).toEqual([{ org_id: world.other }])
  })

  it('lets a worker in by policy alone, where the role may not bypass row level security', async () => {
    const rowsSeen = await withTx(db, async (tx) => {
      await tx.query('alter role service_role nobypassrls') // rolled back below
      await asService(tx)
      const seen = (await tx.query('select from collection_settings where org_id = $1', [world.org])).rowCount
      await tx.query('insert into sellers (org_id, display_name, normalized_name, platform) values ($1, $2, $3, $4)', [
        world.org,
        'A',
        'a',
        'ebay',
      ])
      throw Object.assign(new Error('roll back'), { seen })
    }).catch((error: { seen?: number }) => error.seen)
    expect(rowsSeen).toBe(1)
  })
})
