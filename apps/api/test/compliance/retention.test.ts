import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest'
import { appendAudit } from '../../src/audit/append.ts'
import { newId } from '../../src/base/ids.ts'
import { withTx } from '../../src/db/client.ts'
import { retainDue } from '../../src/engine/retain.ts'
import { changeSettings, readSettings, type Settings } from '../../src/runs/settings.ts'
import type { RunSnapshot } from '../../src/runs/snapshot.ts'
import { type Arena, expectClean, found, makeArena, searchWith, work } from '../engine/arena.ts'

let arena: Arena
beforeAll(async () => {
  arena = await makeArena()
})
afterAll(() => arena.close())
afterEach(() => expectClean(arena.db))

let serial = 0
/** An organisation that keeps things as told, and the name of a seller nobody else has. */
async function org(keep: Partial<Settings> = {}): Promise<{ orgId: string; name: string }> {
  const orgId = newId()
  await arena.db.query(`insert into orgs (id, name) values ($1, 'Keeps')`, [orgId])
  await changeSettings(arena.db, orgId, { maxConcurrentRuns: 100, ...keep })
  return { orgId, name: `kept-${++serial}` }
}

async function collect(orgId: string, sellers: readonly string[], products = 3): Promise<RunSnapshot> {
  const run = await arena.makeRun({ products, orgId })
  return work(arena, { run, search: searchWith(() => found(sellers)) })
}

/** Makes everything of the run `days` days older than it is. */
async function age(run: RunSnapshot, days: number): Promise<void> {
  const back = `- ${days} * interval '1 day'`
  await arena.fresh.db.query(
    `alter table collection_runs disable trigger user;
     update collection_runs set created_at = created_at ${back}, started_at = started_at ${back},
       completed_at = completed_at ${back} where id = '${run.id}';
     alter table collection_runs enable trigger user;
     update collection_sightings set seen_at = seen_at ${back}
       where item_id in (select id from collection_items where run_id = '${run.id}');
     alter table sellers disable trigger user;
     update sellers set last_seen_at = last_seen_at ${back} where org_id = '${run.orgId}' and last_seen_run_id = '${run.id}';
     update sellers set created_at = created_at ${back} where org_id = '${run.orgId}' and first_seen_run_id = '${run.id}';
     alter table sellers enable trigger user;
     update collection_items set created_at = created_at ${back} where run_id = '${run.id}'`,
  )
}

async function retain(): Promise<void> {
  await arena.db.query(`update compliance_sweeps set next_at = now()`)
  await retainDue({ db: arena.db, log: () => {} })
  expect(await arena.rows('select trouble from compliance_sweeps where trouble is not null')).toEqual([])
}

const proofs = (run: RunSnapshot) =>
  arena.rows<{ proofs: number; sellers: number }>(
    `select json_array_length(evidence) as proofs, cardinality(seller_ids) as sellers from collection_sightings s
     join collection_items i on i.id = s.item_id where i.run_id = $1`,
    [run.id],
  )
const removedAt = async (run: RunSnapshot) =>
  (
    await arena.rows<{ at: Date | null }>('select evidence_removed_at as at from collection_runs where id = $1', [
      run.id,
    ])
  )[0]?.at
const sellers = (orgId: string) =>
  arena.rows<{ name: string }>('select normalized_name as name from sellers where org_id = $1', [orgId])

describe('what providers showed', () => {
  it('goes after thirty days; who was seen for what stays', async () => {
    const { orgId, name } = await org()
    const run = await collect(orgId, [name, `${name}-b`])
    await age(run, 29)
    await retain()
    expect(await proofs(run)).toEqual(Array.from({ length: 3 }, () => ({ proofs: 2, sellers: 2 })))
    expect(await removedAt(run)).toBeNull()

    await age(run, 2)
    await retain()
    expect(await proofs(run)).toEqual(Array.from({ length: 3 }, () => ({ proofs: 0, sellers: 2 })))
    expect(await removedAt(run)).toBeInstanceOf(Date)
    expect(await arena.rows('select from sightings where run_id = $1', [run.id])).toEqual([])
    expect(await sellers(orgId)).toHaveLength(2)
  })

  it('of a run that goes on goes too, and the run is looked at again', async () => {
    const { orgId, name } = await org()
    const run = await arena.makeRun({ products: 2, orgId })
    let asked = 0
    const left = new AbortController()
    await work(arena, {
      run,
      slots: 1,
      signal: left.signal,
      search: searchWith(() => {
        if (++asked === 1) left.abort()
        return found([name])
      }),
    })
    await age(run, 40)
    await retain()
    expect(await proofs(run)).toEqual([{ proofs: 0, sellers: 1 }])
    expect(await removedAt(run)).toBeNull()
    await work(arena, { run, search: searchWith(() => found([name])) })
    await age(run, 40)
    await retain()
    expect(await removedAt(run)).toBeInstanceOf(Date)
  })

  it('is looked through in pieces, each of its own transaction', async () => {
    const { orgId, name } = await org({ keepEvidenceDays: 1 })
    const run = await collect(orgId, [name], 1_203)
    await age(run, 2)
    await retain()
    expect((await proofs(run)).every((row) => row.proofs === 0)).toBe(true)
    const [swept] = await arena.rows<{ rows: number }>(
      'select evidence_rows::int as rows from compliance_sweeps where org_id = $1',
      [orgId],
    )
    expect(swept?.rows).toBe(1_203)
  })
})

describe('sellers', () => {
  it('go a year after they were last seen, with every trace in runs; their numbers stay', async () => {
    const { orgId, name } = await org()
    const run = await collect(orgId, [name, `${name}-b`])
    await age(run, 364)
    await retain()
    expect(await sellers(orgId)).toHaveLength(2)
    const again = await collect(orgId, [`${name}-b`])
    await age(run, 2)
    await retain()
    expect(await sellers(orgId)).toEqual([{ name: `${name}-b` }])
    expect(await arena.rows('select from collection_items where external_id = $1', [name])).toEqual([])
    expect(await arena.look(run.id)).toMatchObject({ sellerItems: 2, newSellers: 2 })
    expect(await arena.look(again.id)).toMatchObject({ sellerItems: 1 })
  })

  it('that are seen again after that are new', async () => {
    const { orgId, name } = await org({ keepSellersDays: 30 })
    await age(await collect(orgId, [name]), 31)
    await retain()
    expect(await sellers(orgId)).toEqual([])
    const run = await collect(orgId, [name])
    expect(await arena.look(run.id)).toMatchObject({ newSellers: 1 })
  })
})

describe('the audit log', () => {
  const write = (orgId: string, days: number) =>
    arena.fresh.db.query(
      `insert into audit_log (org_id, at, actor_id, action, target) values ($1, now() - $2 * interval '1 day', $3, 'x.y', 'x:y')`,
      [orgId, days, arena.actor.userId],
    )
  const rows = async (orgId: string) => (await arena.rows('select from audit_log where org_id = $1', [orgId])).length

  it('is kept 400 days, or as many as the organisation says', async () => {
    const [usual, short] = [await org(), await org({ keepAuditDays: 90 })]
    for (const { orgId } of [usual, short]) for (const days of [401, 399, 91, 89]) await write(orgId, days)
    await retain()
    expect([await rows(usual.orgId), await rows(short.orgId)]).toEqual([3, 1])
  })

  it('is shortened by the setting alone: nobody gives an age', async () => {
    const { orgId } = await org()
    await write(orgId, 10)
    expect(await arena.rows('select gleaner_trim_audit($1, 1000) as n', [orgId])).toEqual([{ n: 0 }])
    expect(await rows(orgId)).toBe(1)
  })

  it('stays append-only for workers, and for the owner of the tables by a slip', async () => {
    const { orgId } = await org()
    await withTx(arena.db, (tx) => appendAudit(tx, { orgId, actorId: newId(), action: 'x.y', target: 'x:y' }))
    for (const sql of ['delete from audit_log', `update audit_log set note = 'x'`]) {
      await expect(arena.db.query(sql)).rejects.toMatchObject({ code: '42501' })
      // Not even for who names the switch the two functions set for themselves.
      const switched = withTx(arena.db, async (tx) => {
        await tx.query(`set local gleaner.audit_keeper = 'on'`)
        await tx.query(sql)
      })
      await expect(switched).rejects.toMatchObject({ code: '42501' })
      await expect(arena.fresh.db.query(sql)).rejects.toMatchObject({ code: 'GL003' })
    }
    // The switch is off again when a function has returned.
    const after = withTx(arena.fresh.db, async (tx) => {
      await tx.query('select gleaner_trim_audit($1, 10)', [orgId])
      await tx.query('delete from audit_log where org_id = $1', [orgId])
    })
    await expect(after).rejects.toMatchObject({ code: 'GL003' })
  })
})

describe('a look through', () => {
  it('is done once an hour for each organisation, by one worker', async () => {
    await org()
    await arena.db.query(`update compliance_sweeps set next_at = now()`)
    const looked = await Promise.all(Array.from({ length: 4 }, () => retainDue({ db: arena.db, log: () => {} })))
    const [orgs] = await arena.rows<{ count: number }>('select count(*)::int as count from orgs')
    expect(looked.reduce((sum, one) => sum + one, 0)).toBe(orgs?.count)
    expect(await retainDue({ db: arena.db, log: () => {} })).toBe(0)
  })

  it('done again changes nothing', async () => {
    const { orgId, name } = await org({ keepEvidenceDays: 1, keepSellersDays: 30 })
    const run = await collect(orgId, [name])
    await age(run, 3)
    await retain()
    const snapshot = () =>
      arena.rows(
        `select s.*, i.external_id from collection_items i left join collection_sightings s on s.item_id = i.id where i.run_id = $1`,
        [run.id],
      )
    const before = await snapshot()
    await retain()
    expect(await snapshot()).toEqual(before)
  })

  it('that a worker leaves is gone on with by the next', async () => {
    const { orgId, name } = await org({ keepEvidenceDays: 1 })
    const run = await collect(orgId, [name], 1_100)
    await age(run, 2)
    await retainDue({ db: arena.db, log: () => {} })
    await arena.db.query(`update compliance_sweeps set next_at = now() where org_id = $1`, [orgId])
    const leaving = new AbortController()
    leaving.abort()
    expect(await retainDue({ db: arena.db, log: () => {}, signal: leaving.signal })).toBe(0)
    await retain()
    expect((await proofs(run)).every((row) => row.proofs === 0)).toBe(true)
  })
})

describe('settings', () => {
  it('have defaults, and bounds', async () => {
    const { orgId } = await org()
    expect(await readSettings(arena.db, orgId)).toMatchObject({
      keepEvidenceDays: 30,
      keepSellersDays: 365,
      keepExportsDays: 7,
      keepAuditDays: 400,
    })
    for (const wrong of [
      { keepAuditDays: 89 },
      { keepEvidenceDays: 0 },
      { keepSellersDays: 29 },
      { keepExportsDays: 366 },
    ])
      await expect(changeSettings(arena.db, orgId, wrong)).rejects.toMatchObject({ code: '23514' })
  })
})
