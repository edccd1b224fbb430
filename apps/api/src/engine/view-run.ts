/** Everything a person is shown of one run that costs no look at each of its products. Reads only, at one moment. */
import type { Micros } from '../base/money.ts'
import type { Queryable } from '../db/client.ts'
import { type CallInFlight, callsInFlight } from '../ledger/call-page.ts'
import { leftOfMonth, type Month, monthOf } from '../ledger/month.ts'
import type { Estimate } from '../runs/estimate.ts'
import { type FailureGroup, failuresOfRun } from '../runs/find-run.ts'
import { type LinkedRun, openRetry, retryLinks } from '../runs/retries.ts'
import { leftMicros, type RunSnapshot, runSnapshot, TERMINAL } from '../runs/snapshot.ts'
import { type Account, listAccounts, PRICE_KINDS } from './accounts.ts'

export type RunView = Readonly<{
  run: RunSnapshot
  /** The database's clock. */
  at: Date
  /** Its money is play money. */
  sandbox: boolean
  /** Price of the next call; null when it has none. */
  callPriceMicros: Micros | null
  month: Month
  nearestLimit: Readonly<{ kind: 'run' | 'month'; leftMicros: Micros }>
  /** Of a run that waits: its place in line, how many run at once, and the names of those ahead. */
  line: Readonly<{ place: number; places: number; ahead: readonly string[] }> | null
  estimate: Estimate | null
  failures: readonly FailureGroup[]
  lanes: readonly CallInFlight[]
  createdBy: string
  /** Of a pause by an operator: the person. */
  pausedBy: string | null
  retryOf: LinkedRun | null
  retries: readonly LinkedRun[]
  openRetry: LinkedRun | null
}>

const LANES_MOST = 100

/** The run as it is shown, or null when there is none. */
export async function viewRun(db: Queryable, runId: string): Promise<RunView | null> {
  const run = await runSnapshot(db, runId)
  if (!run) return null
  const { rows } = await db.query<{ at: Date; estimate: Estimate | null; createdBy: string }>(
    `select clock_timestamp() as at, estimate, created_by as "createdBy" from collection_runs where id = $1`,
    [runId],
  )
  const [row] = rows
  if (!row) return null
  const accounts = await listAccounts(db)
  const month = await monthOf(db, run.orgId)
  const links = await retryLinks(db, runId)
  return {
    run,
    ...row,
    sandbox: accounts.find((account) => account.id === run.searchAccountId)?.sandbox ?? false,
    callPriceMicros: nextCallPrice(run, accounts),
    month,
    nearestLimit: nearest(run, month),
    line: run.status === 'pending' ? await lineOf(db, run) : null,
    failures: await failuresOfRun(db, runId),
    lanes: run.heldCalls > 0 ? await callsInFlight(db, runId, LANES_MOST) : [],
    pausedBy: run.pauseReason === 'operator' ? await pauserOf(db, runId) : null,
    ...links,
    openRetry: TERMINAL.has(run.status) ? await openRetry(db, runId) : null,
  }
}

/** What the next call of the run costs at most: a search while products wait, else a step through a list. Null when unknown. */
export function nextCallPrice(run: RunSnapshot, accounts: readonly Account[]): Micros | null {
  const search = accounts.find((account) => account.id === run.searchAccountId)
  const list = accounts.find((account) => account.id === run.listAccountId)
  const searchPrice = search ? priceOf(search, search.adapter === 'oxylabs' ? 'oxylabs.ebay' : undefined) : null
  const listPrice = list ? priceOf(list, list.adapter === 'oxylabs' ? 'oxylabs.amazon_bestsellers' : undefined) : null
  return run.pendingItems > 0 || listPrice === null ? searchPrice : listPrice
}

function priceOf(account: Account, kind = PRICE_KINDS[account.adapter][0]): Micros | null {
  return (kind && account.prices[kind]) ?? null
}

function nearest(run: RunSnapshot, month: Month): RunView['nearestLimit'] {
  const ofRun = leftMicros(run)
  const ofMonth = leftOfMonth(month)
  return ofMonth !== null && ofMonth < ofRun
    ? { kind: 'month', leftMicros: ofMonth }
    : { kind: 'run', leftMicros: ofRun }
}

async function lineOf(db: Queryable, run: RunSnapshot): Promise<RunView['line']> {
  const { rows } = await db.query<{ id: string; name: string; places: number }>(
    `select r.id, r.name, coalesce(s.max_concurrent_runs, 3) as places
     from collection_runs r left join collection_settings s on s.org_id = r.org_id
     where r.org_id = $1 and r.status = 'pending' and r.start_requested_at is not null
     order by r.start_requested_at, r.number`,
    [run.orgId],
  )
  const at = rows.findIndex((row) => row.id === run.id)
  if (at < 0) return null
  return { place: at + 1, places: rows[0]?.places ?? 3, ahead: rows.slice(0, at).map((row) => row.name) }
}

async function pauserOf(db: Queryable, runId: string): Promise<string | null> {
  const { rows } = await db.query<{ actorId: string | null }>(
    `select actor_id as "actorId" from collection_events
     where run_id = $1 and type = 'run.paused' order by seq desc limit 1`,
    [runId],
  )
  return rows[0]?.actorId ?? null
}
