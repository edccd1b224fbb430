/** Lanes as the fleet sees them: who works on which run, which run is next, and who waits. */
import type { Queryable, Tx } from '../db/client.ts'
import { canUse, NEEDS } from './credentials.ts'

/** True for a lane `l` of a worker `w` that counts: open, and the worker alive. $1 is how long it may be silent, ms. */
const IS_LIVE = `l.closed_at is null and w.stopped_at is null and w.heartbeat_at >= now() - $1 * interval '1 ms'`

export type Asking = Readonly<{
  workerId: string
  /** A worker silent for so long is dead, ms. */
  deadAfterMs: number
  /** Runs the worker has a lane on, or leaves alone for now. */
  except: readonly string[]
  /** Names of the credentials it has; null = all. */
  credentials: readonly string[] | null
}>

export type Choice = Readonly<{
  /** The run that is to get a lane; null when every run has what it needs. */
  runId: string | null
  /** Running runs, of this organisation or of all. */
  running: number
  /** Lanes of the organisation chosen from. */
  orgLanes: number
}>

/** True for a run `r` of which this worker can use every account it needs. The accounts it cannot use are in `foreign_accounts`. */
const SERVABLE = `not exists (select from foreign_accounts a where ${NEEDS})`
const foreignAccounts = (names: string): string =>
  `foreign_accounts as materialized (select a.id from provider_accounts a where not ${canUse(names)})`

/**
 * The run that should get a lane of this worker, of one organisation or (null) of all: the organisation with the fewest
 * lanes first, of its runs the one with the fewest, of those the one not served for longest. A run that has a lane and
 * nothing left to claim needs no other, and one whose accounts this worker cannot use none of this worker.
 */
export async function chooseRun(tx: Tx, orgId: string | null, asking: Asking): Promise<Choice> {
  const { rows } = await tx.query<Choice>(
    `
    with ${foreignAccounts('$4::text[]')}, served as (
      select l.run_id, max(coalesce(l.closed_at, now())) as served_at, count(*) filter (where ${IS_LIVE})::int as lanes
      from collection_lanes l join collection_workers w on w.id = l.worker_id group by l.run_id
    ), counted as (
      select r.id, r.org_id, r.number, r.pending_items + r.open_categories as claimable, s.served_at,
        coalesce(s.lanes, 0) as lanes, (sum(coalesce(s.lanes, 0)) over (partition by r.org_id))::int as org_lanes,
        ${SERVABLE} as servable
      from collection_runs r left join served s on s.run_id = r.id
      where r.status = 'running' and ($2::uuid is null or r.org_id = $2)
    ), next as (
      select * from counted where servable and id <> all ($3::uuid[]) and (lanes = 0 or claimable > 0)
      order by org_lanes, lanes, served_at nulls first, number limit 1
    )
    select (select id from next) as "runId", count(*)::int as running,
      coalesce((select org_lanes from next), max(org_lanes), 0) as "orgLanes" from counted`,
    [asking.deadAfterMs, orgId, asking.except, asking.credentials],
  )
  return rows[0] ?? { runId: null, running: 0, orgLanes: 0 }
}

/** Writes down that this worker has a lane on this run. The worker must be registered. */
export async function openedLane(tx: Tx, workerId: string, runId: string): Promise<void> {
  await tx.query(
    `insert into collection_lanes (run_id, worker_id) values ($1, $2)
     on conflict (run_id, worker_id) do update set opened_at = now(), closed_at = null`,
    [runId, workerId],
  )
}

/** Writes down that it has none any more. Does nothing when it has none. */
export async function closedLane(db: Queryable, workerId: string, runId: string): Promise<void> {
  await db.query(
    `update collection_lanes set closed_at = now() where run_id = $1 and worker_id = $2 and closed_at is null`,
    [runId, workerId],
  )
}

/** An organisation's lanes in the whole fleet, and how many of its running runs have none and wait for this worker's. */
export type OrgLanes = Readonly<{ orgId: string; lanes: number; waiting: number }>

/** How lanes are spread over the organisations that have running runs, as a worker with these credentials sees it. */
export async function lanesByOrg(
  db: Queryable,
  { deadAfterMs, credentials }: Pick<Asking, 'deadAfterMs' | 'credentials'>,
): Promise<OrgLanes[]> {
  const { rows } = await db.query<OrgLanes>(
    `
    with ${foreignAccounts('$2::text[]')}, live as (
      select l.run_id, l.worker_id from collection_lanes l join collection_workers w on w.id = l.worker_id where ${IS_LIVE}
    )
    select r.org_id as "orgId", (count(live.worker_id))::int as lanes,
      (count(*) filter (where live.worker_id is null and ${SERVABLE}))::int as waiting
    from collection_runs r left join live on live.run_id = r.id
    where r.status = 'running' group by r.org_id`,
    [deadAfterMs, credentials],
  )
  return rows
}

/** Runs at which this worker has calls in flight. */
export async function busyRuns(db: Queryable, workerId: string): Promise<Set<string>> {
  const { rows } = await db.query<{ id: string }>(
    `select distinct run_id as id from collection_calls where worker_id = $1 and state = 'held'`,
    [workerId],
  )
  return new Set(rows.map(({ id }) => id))
}

/**
 * Forgets lanes of runs that are not running and workers silent for `afterDays`. A worker to whom a held call still
 * refers is kept until that call is rescued.
 */
export async function forgetOld(db: Queryable, afterDays: number): Promise<void> {
  await db.query(
    `delete from collection_lanes l using collection_runs r
     where r.id = l.run_id and l.closed_at is not null and r.status <> 'running'`,
  )
  await db.query(
    `delete from collection_workers w where w.heartbeat_at < now() - $1 * interval '1 day'
       and not exists (select from collection_calls c where c.worker_id = w.id and c.state = 'held')`,
    [afterDays],
  )
}
