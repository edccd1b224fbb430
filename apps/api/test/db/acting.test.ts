/** Acts of the engine on behalf of a member: gated by row level security, in one transaction with everything else. */
import { beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { newId } from '../../src/base/ids.ts'
import { actingFor, type Gate } from '../../src/db/acting.ts'
import { type Db, type Tx, withTx, withTxRetry } from '../../src/db/client.ts'
import { asMember, type Member, type Role } from '../../src/db/session.ts'
import { cancelRun, pauseRun } from '../../src/engine/run-acts.ts'
import type { RunSnapshot } from '../../src/runs/snapshot.ts'
import { useArena } from '../engine/use-arena.ts'

const arena = useArena()
let db: Db
const people: Record<Role, string> = { owner: newId(), admin: newId(), analyst: newId(), viewer: newId() }
const theirs = newId()
beforeAll(async () => {
  db = arena.db
  await arena.fresh.db.query('insert into auth.users (id) select unnest($1::uuid[])', [Object.values(people)])
  await db.query(`insert into orgs (id, name) values ($1, 'Theirs')`, [theirs])
  for (const [role, person] of Object.entries(people)) {
    await db.query('insert into org_members (org_id, user_id, role) values ($1, $2, $3)', [
      arena.actor.orgId,
      person,
      role,
    ])
  }
  await db.query(`insert into org_members (org_id, user_id, role) values ($1, $2, 'owner')`, [theirs, people.owner])
})

let run: RunSnapshot
beforeEach(async () => {
  run = await arena.makeRun({ products: 2 })
})

const asks = <T>(member: Member, work: (tx: Tx) => Promise<T>): Promise<T> =>
  withTx(db, async (tx) => {
    await asMember(tx, member)
    return work(tx)
  })
const pause = (member: Member, gate: Partial<Gate> = {}) =>
  asks(member, (tx) => {
    const acting = actingFor(db, tx, { orgId: arena.actor.orgId, role: 'admin', runId: run.id, ...gate })
    return pauseRun(acting, run.id, { reason: 'operator', actorId: member.userId })
  })
const member = (role: Role): Member => ({ userId: people[role], orgId: arena.actor.orgId })

describe('an act for a member', () => {
  it.each(['owner', 'admin'] as const)('is carried out for the %s, and audited', async (role) => {
    expect((await pause(member(role))).status).toBe('paused')
    expect(
      await arena.rows('select actor_id, action, key_id from audit_log where target = $1', [`run:${run.id}`]),
    ).toEqual([{ actor_id: people[role], action: 'run.paused', key_id: null }])
  })

  it.each(['analyst', 'viewer'] as const)('is refused to the %s', async (role) => {
    await expect(pause(member(role))).rejects.toMatchObject({ code: 'auth.role_too_low' })
    expect((await arena.look(run.id)).status).toBe('running')
  })

  it('is refused by row level security alone, when the gate asks for too little', async () => {
    await expect(pause(member('viewer'), { role: 'viewer' })).rejects.toMatchObject({ code: 'auth.role_too_low' })
  })

  it('is refused to a key below the role, whoever it belongs to, and names the key in the audit log', async () => {
    const key = { id: newId(), maxRole: 'viewer' as const }
    await expect(pause({ ...member('owner'), key })).rejects.toMatchObject({ code: 'auth.role_too_low' })
    await pause({ ...member('owner'), key: { ...key, maxRole: 'admin' } })
    expect(await arena.rows('select key_id from audit_log where target = $1', [`run:${run.id}`])).toEqual([
      { key_id: key.id },
    ])
  })

  it('finds no run of an organisation other than the one the claims name', async () => {
    await expect(pause({ userId: people.owner, orgId: theirs })).rejects.toMatchObject({ code: 'run.not_found' })
    await expect(pause({ userId: people.owner, orgId: theirs }, { orgId: theirs })).rejects.toMatchObject({
      code: 'run.not_found',
    })
    await expect(pause({ userId: newId(), orgId: arena.actor.orgId })).rejects.toMatchObject({ code: 'run.not_found' })
  })

  it('is gone with the rest when what follows fails', async () => {
    const failing = asks(member('admin'), async (tx) => {
      const acting = actingFor(db, tx, { orgId: arena.actor.orgId, role: 'admin', runId: run.id })
      await pauseRun(acting, run.id, { reason: 'operator', actorId: people.admin })
      throw new Error('afterwards')
    })
    await expect(failing).rejects.toThrow('afterwards')
    expect((await arena.look(run.id)).status).toBe('running')
  })

  it('leaves the transaction the member’s, also when it fails', async () => {
    const who = async (tx: Tx) => (await tx.query('select current_user as who')).rows[0]
    await asks(member('admin'), async (tx) => {
      const acting = actingFor(db, tx, { orgId: arena.actor.orgId, role: 'admin', runId: run.id })
      expect(await withTxRetry(acting, who)).toEqual({ who: 'service_role' })
      expect(await who(tx)).toEqual({ who: 'authenticated' })
      expect((await acting.query('select current_user as who')).rows[0]).toEqual({ who: 'authenticated' })
      await expect(withTx(acting, () => Promise.reject(new Error('inside')))).rejects.toThrow('inside')
      expect(await who(tx)).toEqual({ who: 'authenticated' })
      await expect(withTx(acting, (inner) => inner.query('select 1/0'))).rejects.toMatchObject({ code: '22012' })
      expect(await who(tx)).toEqual({ who: 'authenticated' })
      await cancelRun(acting, run.id, people.admin)
    })
    expect((await arena.look(run.id)).status).toBe('cancelled')
  })

  it('waits for nobody who deletes the run meanwhile: the run is locked from the gate on', async () => {
    const ended = await arena.makeRun({ products: 1, start: false })
    await asks(member('admin'), async (tx) => {
      const acting = actingFor(db, tx, { orgId: arena.actor.orgId, role: 'admin', runId: ended.id })
      await withTx(acting, async () => {
        const del = db.query(`set local lock_timeout = 100; delete from collection_runs where id = '${ended.id}'`)
        await expect(del).rejects.toMatchObject({ code: '55P03' })
      })
    })
  })

  it('begins no transaction of its own, nor any other isolation', async () => {
    await asks(member('admin'), async (tx) => {
      const acting = actingFor(db, tx, { orgId: arena.actor.orgId, role: 'admin' })
      expect(() => acting.pool).toThrow('one connection')
      await expect(withTx(acting, async () => 1, { isolation: 'serializable' })).rejects.toThrow('not serializable')
    })
  })
})
