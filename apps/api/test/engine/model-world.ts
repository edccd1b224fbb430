/** What the acts of the model act upon: two organisations, a few workers, and one look at everything after each act. */
import { expect } from 'vitest'
import { newId } from '../../src/base/ids.ts'
import { THIS_MONTH } from '../../src/ledger/month.ts'
import { changeSettings } from '../../src/runs/settings.ts'
import { type RunSnapshot, SNAPSHOT_COLUMNS } from '../../src/runs/snapshot.ts'
import { type Look, prepareRules } from '../proofs/every-rule.ts'
import { type Arena, makeArena } from './arena.ts'
import { expectedMonth, usedOfMonth } from './model-of-money.ts'
import * as rules from './model-of-runs.ts'
import type { Model } from './model-types.ts'

export const WORKERS = 3
const ORGS = 2
/** Workers of the model beat once and crash on purpose only, however slow the machine is. */
export const DEAD_AFTER_MS = 600_000
/** Places an organisation begins with. */
const PLACES = 2

export type World = Readonly<{
  arena: Arena
  look: Look
  /** Each with its member. */
  orgs: readonly Readonly<{ id: string; member: string }>[]
  workers: readonly string[]
}>

export type Ground = Readonly<{ arena: Arena; look: Look; close: () => Promise<void> }>

/** A database for any number of worlds, one after another. */
export async function makeGround(): Promise<Ground> {
  const arena = await makeArena()
  // Nothing here depends on what a crash of the machine would leave, and a commit then waits for no disk.
  await arena.fresh.db.query(
    `do $$ begin execute format('alter database %I set synchronous_commit = off', current_database()); end $$`,
  )
  for (const client of await Promise.all(Array.from({ length: 10 }, () => arena.db.pool.connect())))
    client.release(true)
  const look = await prepareRules(arena.fresh.db, VISIBLE)
  return {
    arena,
    look,
    close: async () => {
      look.close()
      await arena.close()
    },
  }
}

export async function makeWorld({ arena, look }: Ground): Promise<World> {
  const orgs = await Promise.all(
    Array.from({ length: ORGS }, async () => {
      const [id, member] = [newId(), newId()]
      await arena.fresh.db.query(`insert into orgs (id, name) values ($1, 'Model')`, [id])
      await arena.fresh.db.query('insert into auth.users (id, email) values ($1, $2)', [
        member,
        `${member}@model.invalid`,
      ])
      await arena.fresh.db.query(`insert into org_members (org_id, user_id, role) values ($1, $2, 'owner')`, [
        id,
        member,
      ])
      await changeSettings(arena.db, id, { maxConcurrentRuns: PLACES })
      return { id, member }
    }),
  )
  const workers = await Promise.all(Array.from({ length: WORKERS }, () => arena.makeWorker()))
  return { arena, look, orgs, workers }
}

export function newModel(): Model {
  const places = Array.from({ length: ORGS }, () => PLACES)
  return { runs: [], asks: 0, dead: new Set(), places, caps: places.map(() => null) }
}

/** Its runs end, so that they do not stand in the line of the next world's. */
export async function endWorld({ arena, orgs }: World): Promise<void> {
  await arena.db.query(
    `update collection_runs set status = 'cancelled'
     where org_id = any($1) and status in ('pending', 'running', 'paused')`,
    [orgs.map(({ id }) => id)],
  )
}

/** Everything earlier worlds left is gone, so that the tables stay small. */
export async function sweep({ arena }: Ground): Promise<void> {
  await arena.fresh.db.query('truncate collection_runs, collection_workers, sellers cascade')
}

/** Ids of the runs a signed-in person sees something of. */
const VISIBLE = `select array(
  select id from collection_runs
  union select run_id from collection_items
  union select run_id from collection_run_categories
  union select run_id from collection_calls
  union select run_id from collection_events
  union select i.run_id from collection_sightings s join collection_items i on i.id = s.item_id)::text[] as runs,
  array(select distinct org_id from sellers)::text[] as orgs`

const MONTH_COLUMNS = `org_id as "orgId", cap_micros as "capMicros", left_micros as "leftMicros", spent_micros as "spentMicros",
  held_micros as "heldMicros", suspect_micros as "suspectMicros", breach_micros as "breachMicros",
  contradicted_micros as "contradictedMicros", held_calls as "heldCalls", settled_calls as "settledCalls",
  released_calls as "releasedCalls", suspect_calls as "suspectCalls"`

type MonthRow = Readonly<{ orgId: string } & Record<string, number | null>>
type CallRow = Readonly<{ id: string; state: string; charge: number | null }>
type Seen = Readonly<{ runs: string[]; orgs: string[] }>

/**
 * Fails unless the database says of every run and month what the model says, of every call its state and charge (the model
 * is the provider's bill), every rule of `verify` holds, no event number went back, and members see their own organisation
 * only.
 */
export async function compare(model: Model, { look, orgs }: World): Promise<void> {
  const ids = model.runs.map(({ id }) => id)
  const among = ids.map((id) => `'${id}'`).join(', ')
  const own = orgs.map(({ id }) => `'${id}'`)
  const [snapshots, calls, months, seen] = (await look.at(
    ids,
    [
      `select ${SNAPSHOT_COLUMNS} from collection_runs where id in (${among}) order by id`,
      `select id, state, charge_micros as charge from collection_calls where run_id in (${among})`,
      `select ${MONTH_COLUMNS} from collection_months where month = ${THIS_MONTH} and org_id in (${own.join(', ')})`,
    ],
    orgs[0]?.member ?? '',
  )) as [RunSnapshot[], CallRow[], MonthRow[], Seen[]]
  const byId = new Map(snapshots.map((run) => [run.id, run]))
  for (const run of model.runs) {
    const now = byId.get(run.id)
    expect(now).toMatchObject(rules.expected(run))
    expect(now?.eventSeq).toBeGreaterThanOrEqual(run.events)
    run.events = now?.eventSeq ?? 0
  }
  for (const [org, { id }] of orgs.entries())
    compareMonth(
      model,
      org,
      months.find((month) => month.orgId === id),
    )
  const told = new Map(calls.map((call) => [call.id, `${call.state} ${call.charge}`]))
  for (const call of model.runs.flatMap((run) => run.calls)) {
    if (told.get(call.id) !== `${call.state} ${call.charge}`) {
      expect(`call ${call.id} ${told.get(call.id)}`).toBe(`call ${call.id} ${call.state} ${call.charge}`)
    }
    told.delete(call.id)
  }
  expect([...told]).toEqual([])
  const visible = model.runs.filter(({ org }) => org === 0).map(({ id }) => id)
  expect([...(seen[0]?.runs ?? [])].sort()).toEqual(visible.sort())
  expect(seen[0]?.orgs.filter((id) => id !== orgs[0]?.id)).toEqual([])
}

/** The organisation's month, which has no row before its first cap or call. */
function compareMonth(model: Model, org: number, month: MonthRow | undefined): void {
  if (month) expect(month).toMatchObject(expectedMonth(model, org))
  else expect({ used: usedOfMonth(model, org), cap: model.caps[org] }).toEqual({ used: 0, cap: null })
}
