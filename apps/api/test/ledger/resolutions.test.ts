/** What the database itself keeps of resolutions and of the audit log, whoever writes: by role, and against hostile SQL. */
import { beforeEach, describe, expect, it } from 'vitest'
import { newId } from '../../src/base/ids.ts'
import { type Tx, withTx } from '../../src/db/client.ts'
import { asAnonymous, asMember, asService } from '../../src/db/session.ts'
import { resolveCalls } from '../../src/engine/resolve-calls.ts'
import type { RunSnapshot } from '../../src/runs/snapshot.ts'
import { expectClean, failed, found, PRICE, UNKNOWN } from '../engine/arena.ts'
import { book, claim, finished } from '../engine/by-hand.ts'
import { useArena } from '../engine/use-arena.ts'

const arena = useArena()

const DENIED = { code: '42501' }
let run: RunSnapshot
/** Of `run`: suspect, settled, suspect. */
let calls: string[]
beforeEach(async () => {
  run = await arena.makeRun({ products: 3, cap: 3 * PRICE })
  const claimed = await claim(arena, run, await arena.makeWorker(), 3)
  calls = claimed.map(({ callId }) => callId)
  await book(
    arena,
    run,
    finished(claimed[0], failed('lost', UNKNOWN)),
    finished(claimed[1], found(['anna'])),
    finished(claimed[2], failed('lost', UNKNOWN)),
  )
})

/** Runs `work` as workers do. */
const worker = <T>(work: (tx: Tx) => Promise<T>): Promise<T> =>
  withTx(arena.db, async (tx) => {
    await asService(tx)
    return work(tx)
  })
const insert = (more: Record<string, unknown>) => {
  const row = {
    call_id: calls[0],
    how: 'person',
    actor_id: arena.actor.userId,
    verdict: 'not_charged',
    note: 'so',
    ...more,
  }
  const columns = Object.keys(row)
  return worker((tx) =>
    tx.query(
      `insert into collection_call_resolutions (${columns.join(', ')}) values (${columns.map((_, at) => `$${at + 1}`).join(', ')})`,
      Object.values(row),
    ),
  )
}
const resolve = () =>
  resolveCalls(arena.db, {
    runId: run.id,
    actorId: arena.actor.userId,
    calls: [calls[0] ?? ''],
    verdict: { kind: 'not_charged' },
    note: 'so',
  })

describe('a row of resolutions', () => {
  it('is what moves the money', async () => {
    await insert({ verdict: 'charged', amount_micros: 700 })
    expect(await arena.look(run.id)).toMatchObject({ spentMicros: PRICE + 700, suspectMicros: PRICE, suspectCalls: 1 })
    await expectClean(arena.db, { runIds: [run.id] })
  })

  it.each<[string, () => Record<string, unknown>, Record<string, unknown>]>([
    ['of a call that is not suspect', () => ({ call_id: calls[1] }), { code: 'GL002' }],
    ['of a call that is not there', () => ({ call_id: newId() }), { code: '23503' }],
    ['of nobody', () => ({ actor_id: null }), { constraint: 'collection_call_resolutions_has_author' }],
    ['without a note', () => ({ note: '  ' }), { constraint: 'collection_call_resolutions_note_length' }],
    [
      'charged without an amount',
      () => ({ verdict: 'charged' }),
      { constraint: 'collection_call_resolutions_amount_fits' },
    ],
    [
      'not charged with an amount',
      () => ({ amount_micros: 1 }),
      { constraint: 'collection_call_resolutions_amount_fits' },
    ],
    [
      'of less than nothing',
      () => ({ verdict: 'charged', amount_micros: -1 }),
      { constraint: 'collection_call_resolutions_amount_range' },
    ],
    ['with a moment of its own', () => ({ at: new Date(0) }), DENIED],
  ])('is refused: %s', async (_what, row, refusal) => {
    await expect(insert(row())).rejects.toMatchObject(refusal)
    expect(await arena.look(run.id)).toMatchObject({ suspectMicros: 2 * PRICE, spentMicros: PRICE })
  })

  it('is written once for a call', async () => {
    await insert({})
    await expect(insert({ verdict: 'charged', amount_micros: 1 })).rejects.toMatchObject({
      constraint: 'collection_call_resolutions_pkey',
    })
  })
})

describe('a worker with SQL of its own', () => {
  it.each(['audit_log', 'collection_call_resolutions'])('cannot change or remove a row of %s', async (table) => {
    await resolve()
    const statements = [
      `update ${table} set note = 'other'`,
      `update ${table} set actor_id = gen_random_uuid()`,
      `delete from ${table}`,
      `truncate ${table}`,
      `alter table ${table} disable trigger all`,
      `drop table ${table}`,
    ]
    for (const sql of statements)
      await expect(
        worker((tx) => tx.query(sql)),
        sql,
      ).rejects.toMatchObject(DENIED)
    expect(await arena.rows(`select from ${table}`)).not.toEqual([])
  })

  it('cannot give an audit row a moment or a number', async () => {
    const values = [arena.actor.orgId, arena.actor.userId]
    const add = (column: string, value: string) =>
      worker((tx) =>
        tx.query(
          `insert into audit_log (org_id, actor_id, action, target, ${column}) values ($1, $2, 'a.b', 'c:d', ${value})`,
          values,
        ),
      )
    await expect(add('at', "'1999-01-01'")).rejects.toMatchObject(DENIED)
    await expect(add('at', 'default')).rejects.toMatchObject(DENIED)
    await expect(add('id', '1')).rejects.toThrow()
    await add('note', "'possible'")
  })

  it('cannot say of a call that it was resolved, nor overrule one that was not', async () => {
    const set = (sql: string, id: string | undefined) =>
      arena.fresh.db.query(`update collection_calls set ${sql} where id = $1`, [id])
    const claim = worker((tx) => tx.query('update collection_calls set resolved_micros = 0 where id = $1', [calls[1]]))
    await expect(claim).rejects.toMatchObject(DENIED)
    await expect(set('resolved_micros = 0', calls[1])).rejects.toMatchObject({ code: 'GL003' })
    await expect(set(`overruled_at = now(), state = 'settled', charge_micros = 9`, calls[0])).rejects.toThrow()
    await expect(set(`overruled_at = now(), charge_micros = 5000`, calls[1])).rejects.toThrow()
    await expect(worker((tx) => tx.query('update collection_runs set contradicted_micros = 9'))).rejects.toThrow()
    expect(await arena.look(run.id)).toMatchObject({ contradictedMicros: 0, spentMicros: PRICE })
  })

  it('cannot settle a resolved call otherwise, but by an answer that proves more', async () => {
    await resolve()
    const set = (sql: string) => arena.fresh.db.query(`update collection_calls set ${sql} where id = $1`, [calls[0]])
    await expect(set(`state = 'suspect'`)).rejects.toMatchObject({ code: 'GL002' })
    await expect(set(`state = 'settled', charge_micros = 5`)).rejects.toMatchObject({ code: 'GL002' })
    await expect(set(`state = 'settled', charge_micros = 0, overruled_at = now()`)).rejects.toMatchObject({
      code: 'GL002',
    })
    await expect(set(`overruled_at = now()`)).rejects.toMatchObject({ code: 'GL003' })
    await set(`state = 'settled', charge_micros = 5, overruled_at = now()`)
    await expect(set(`charge_micros = 6, overruled_at = clock_timestamp()`)).rejects.toMatchObject({ code: 'GL003' })
    await expect(set(`overruled_at = null`)).rejects.toMatchObject({ code: 'GL003' })
    expect(await arena.look(run.id)).toMatchObject({ contradictedMicros: 5 })
    await expectClean(arena.db, { runIds: [run.id] })
  })
})

describe('the owner of the tables', () => {
  it.each(['audit_log', 'collection_call_resolutions'])(
    'does not change rows of %s by a slip either',
    async (table) => {
      await resolve()
      for (const sql of [`update ${table} set note = 'other'`, `delete from ${table}`])
        await expect(arena.fresh.db.query(sql)).rejects.toMatchObject({ code: 'GL003' })
    },
  )

  it('removes them with the run, or the organisation', async () => {
    await resolve()
    await arena.fresh.db.query(`update collection_runs set status = 'cancelled' where id = $1`, [run.id])
    await insert({ call_id: calls[2] })
    await arena.fresh.db.query('delete from collection_runs where id = $1', [run.id])
    expect(await arena.rows('select from collection_call_resolutions where call_id = any($1)', [calls])).toEqual([])
    const orgId = newId()
    await arena.db.query(`insert into orgs (id, name) values ($1, 'Other')`, [orgId])
    await arena.db.query(
      `insert into audit_log (org_id, actor_id, action, target) values ($1, $2, 'settings.changed', 'settings:x')`,
      [orgId, arena.actor.userId],
    )
    await arena.fresh.db.query('delete from orgs where id = $1', [orgId])
    expect(await arena.rows('select from audit_log where org_id = $1', [orgId])).toEqual([])
  })
})

describe('members', () => {
  it('read resolutions of their runs; the audit log is for owners and admins; nobody writes', async () => {
    await resolve()
    const { orgId } = arena.actor
    const people = { owner: newId(), admin: newId(), analyst: newId(), viewer: newId(), stranger: newId() }
    await arena.db.query('insert into auth.users (id) select unnest($1::uuid[])', [Object.values(people)])
    for (const role of ['owner', 'admin', 'analyst', 'viewer'] as const)
      await arena.db.query('insert into org_members (org_id, user_id, role) values ($1, $2, $3)', [
        orgId,
        people[role],
        role,
      ])
    const count = (who: keyof typeof people, table: string) =>
      withTx(arena.db, async (tx) => {
        await asMember(tx, { userId: people[who], orgId })
        return (await tx.query(`select from ${table}`)).rowCount ?? 0
      })
    for (const who of ['owner', 'admin'] as const) expect(await count(who, 'audit_log')).toBeGreaterThan(0)
    for (const who of ['analyst', 'viewer', 'stranger'] as const) expect(await count(who, 'audit_log')).toBe(0)
    for (const who of ['owner', 'viewer'] as const)
      expect(await count(who, 'collection_call_resolutions')).toBeGreaterThan(0)
    expect(await count('stranger', 'collection_call_resolutions')).toBe(0)

    for (const table of ['audit_log', 'collection_call_resolutions']) {
      for (const sql of [
        `insert into ${table} default values`,
        `update ${table} set note = 'x'`,
        `delete from ${table}`,
      ]) {
        const write = withTx(arena.db, async (tx) => {
          await asMember(tx, { userId: people.owner, orgId })
          await tx.query(sql)
        })
        await expect(write, sql).rejects.toMatchObject(DENIED)
      }
      const anonymous = withTx(arena.db, async (tx) => {
        await asAnonymous(tx)
        await tx.query(`select from ${table}`)
      })
      await expect(anonymous).rejects.toMatchObject(DENIED)
    }
  })
})
