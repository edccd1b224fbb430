/**
 * Start: a run takes one of its organisation's places, or waits in line. The places are counted under the lock of the
 * organisation's settings row, over the runs themselves: there is no counter that could leak.
 */
import { AppError } from '../base/errors.ts'
import { type Db, type Tx, withTxRetry } from '../db/client.ts'
import { appendEvents } from '../events/append.ts'
import { monthOf, THIS_MONTH } from '../ledger/month.ts'
import { DEAD_AFTER_MS } from '../ledger/rescue.ts'
import { aliveWorkers, servedBy } from '../queue/credentials.ts'
import { sendTicket } from '../queue/tickets.ts'
import type { Estimate } from '../runs/estimate.ts'
import { lockRun, type RunSnapshot, runSnapshot } from '../runs/snapshot.ts'
import { tell } from './audit-run.ts'
import { nextCallPrice } from './call-price.ts'
import { checkCapCovers, checkMonthLeaves } from './cap-covers.ts'

/** True when the organisation has a place free for one more running run. Its settings row stays locked until the end. */
export async function claimPlace(tx: Tx, orgId: string): Promise<boolean> {
  await tx.query(`insert into collection_settings (org_id) values ($1) on conflict (org_id) do nothing`, [orgId])
  const settings = await tx.query<{ most: number }>(
    `select max_concurrent_runs as most from collection_settings where org_id = $1 for update`,
    [orgId],
  )
  const running = await tx.query<{ count: number }>(
    `select count(*)::int as count from collection_runs where org_id = $1 and status = 'running'`,
    [orgId],
  )
  return (running.rows[0]?.count ?? 0) < (settings.rows[0]?.most ?? 0)
}

/**
 * Asks for a pending run to be started. It runs at once when its organisation has a place free, and otherwise waits in
 * line and is started by `startWaiting`. Returns the run as it stands.
 * Throws AppError `run.wrong_state` for a run that is not pending; `month.cap_reached` when the month cap leaves less than
 * its first call; `run.cap_below_estimate` or `month.cap_below_estimate` when the nearer of both caps leaves less than the
 * low end of its estimate, and it is not meant to collect up to its cap.
 */
export function startRun(db: Db, runId: string, actorId?: string): Promise<RunSnapshot> {
  return withTxRetry(db, async (tx) => {
    const known = await runSnapshot(tx, runId)
    if (!known) throw new AppError('run.not_found', `There is no run ${runId}.`)
    // The settings row first, then the run's: the same order everywhere, so two starts cannot wait for each other.
    const free = await claimPlace(tx, known.orgId)
    const run = (await lockRun(tx, runId)) ?? known
    if (run.status !== 'pending') {
      throw new AppError('run.wrong_state', `Run ${run.number} is ${run.status} and cannot be started.`)
    }
    await checkStillCovered(tx, run)
    const status = free ? 'running' : 'pending'
    await tx.query(
      `update collection_runs set status = $2, start_requested_at = coalesce(start_requested_at, now()) where id = $1`,
      [runId, status],
    )
    if (free) await sendTicket(tx, known.orgId)
    return tell(tx, { type: free ? 'run.started' : 'run.queued', actorId: actorId ?? null }, run)
  })
}

/**
 * Cap and month may leave less than when the run was created. What it was created for is kept beside its estimate. A run
 * that waits in line is not asked again: nobody is there to be told, and it pauses with the reason.
 */
async function checkStillCovered(tx: Tx, run: RunSnapshot): Promise<void> {
  const { id, capMicros } = run
  const month = await monthOf(tx, run.orgId)
  if (month.capMicros !== null) checkMonthLeaves(month, await nextCallPrice(tx, run))
  const { rows } = await tx.query<{ estimate: Estimate; upToCap: boolean }>(
    `select estimate, up_to_cap or sample_products is not null as "upToCap" from collection_runs
     where id = $1 and estimate is not null`,
    [id],
  )
  if (rows[0]) checkCapCovers({ capMicros, month, ...rows[0] })
}

/**
 * True for a row `r` of collection_runs whose organisation has a place free. Without it, runs of one organisation whose
 * places are taken would fill the look at who is next, and nobody else's would ever be started.
 */
const PLACE_FREE = `
  (select count(*) from collection_runs o where o.org_id = r.org_id and o.status = 'running')
    < coalesce((select max_concurrent_runs from collection_settings s where s.org_id = r.org_id), 3)`

const MAY_START = `status = 'pending' and start_requested_at is not null and ${PLACE_FREE}`

/** SQL: true when a run that waits in line can be started. */
export const SOME_MAY_START = `exists (select from collection_runs r where ${MAY_START})`

/** Starts runs that wait in line, oldest request first, as far as places are free. Returns the ids of those started. */
export async function startWaiting(db: Db): Promise<string[]> {
  const { rows } = await db.query<{ id: string }>(
    `select id from collection_runs r where ${MAY_START} order by start_requested_at, number limit 20`,
  )
  const started: string[] = []
  for (const { id } of rows) {
    const run = await withTxRetry(db, (tx) => startIfPossible(tx, id))
    if (run) started.push(id)
  }
  return started
}

async function startIfPossible(tx: Tx, runId: string): Promise<boolean> {
  const known = await runSnapshot(tx, runId)
  if (!known || !(await claimPlace(tx, known.orgId))) return false
  const run = await lockRun(tx, runId)
  if (run?.status !== 'pending') return false
  await tx.query(`update collection_runs set status = 'running' where id = $1`, [runId])
  await appendEvents(tx, runId, [{ type: 'run.started' }])
  await sendTicket(tx, known.orgId)
  return true
}

/** True for a row `r` whose next calls would go to an account that is stopped: its probe decides (engine/probe-accounts.ts). */
const ACCOUNT_STOPPED = `
  exists (select from provider_governors g where g.health = 'stopped'
    and (g.account_id = r.search_account_id or (g.account_id = r.list_account_id and r.open_categories > 0)))`

/**
 * True for a row `r` of collection_runs whose pause may end by itself now: its moment has come, the month cap it met
 * leaves enough again, because it was raised or what it counted was released, or a worker has the credentials it lacked.
 * `silentMs` is how long a worker may be silent.
 */
const pauseEnds = (silentMs: string): string => `
  (r.resume_at <= now() or r.pause_limit = 'month' and not exists (
    select from collection_months m where m.org_id = r.org_id and m.month = ${THIS_MONTH}
      and m.left_micros < r.pause_needs_micros)
    or r.pause_unserved and ${servedBy(aliveWorkers(silentMs))})`

const mayResume = (silentMs: string): string => `status = 'paused' and ${pauseEnds(silentMs)} and ${PLACE_FREE}
  and not (pause_reason = 'provider' and ${ACCOUNT_STOPPED})`

/** SQL: true when the pause of some run can end by itself. */
export function someMayResume(silentMs: string): string {
  return `exists (select from collection_runs r where ${mayResume(silentMs)})`
}

/**
 * Lets runs go on whose pause ends by itself (quota, provider, month cap) and whose moment has come, as far as places are
 * free. Returns their ids. A worker is dead after `deadAfterMs` without a heartbeat.
 */
export async function resumeDue(db: Db, deadAfterMs: number = DEAD_AFTER_MS): Promise<string[]> {
  const { rows } = await db.query<{ id: string }>(
    `select id from collection_runs r where ${mayResume('$1')} order by resume_at, number limit 20`,
    [deadAfterMs],
  )
  const resumed: string[] = []
  for (const { id } of rows) {
    const done = await withTxRetry(db, async (tx) => {
      const known = await runSnapshot(tx, id)
      if (!known || !(await claimPlace(tx, known.orgId))) return false
      await lockRun(tx, id)
      // Whether its moment has come is for the database to say: clocks of workers may be wrong.
      const { rowCount } = await tx.query(
        `update collection_runs r set status = 'running' where id = $1 and status = 'paused' and ${pauseEnds('$2')}`,
        [id, deadAfterMs],
      )
      if (rowCount === 0) return false
      await appendEvents(tx, id, [{ type: 'run.resumed', data: { by: 'itself' } }])
      await sendTicket(tx, known.orgId)
      return true
    })
    if (done) resumed.push(id)
  }
  return resumed
}
