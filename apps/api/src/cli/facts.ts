/** What notices and figures about a run need beside its snapshot: its prices, who paused it, its place in line. */
import type { Micros } from '../base/money.ts'
import type { Queryable } from '../db/client.ts'
import { type Account, listAccounts, PRICE_KINDS } from '../engine/accounts.ts'
import { leftOfMonth, type Month } from '../ledger/month.ts'
import type { Range } from '../runs/range.ts'
import { openRetry } from '../runs/retries.ts'
import { readSettings } from '../runs/settings.ts'
import { type RunSnapshot, TERMINAL } from '../runs/snapshot.ts'
import { runDecimals } from './format.ts'
import type { RunFacts } from './words.ts'

/** The organisation's month, for --json. Amounts are micro-dollars; `leftMicros` is null without a month cap. */
export function monthJson(month: Month): Record<string, unknown> {
  return { ...month, leftMicros: leftOfMonth(month) }
}

/** The facts of one run as it stands. */
export async function factsOf(db: Queryable, run: RunSnapshot): Promise<RunFacts> {
  const accounts = await listAccounts(db)
  const search = accounts.find((account) => account.id === run.searchAccountId)
  const list = accounts.find((account) => account.id === run.listAccountId)
  const searchPrice = search ? priceOf(search, search.adapter === 'oxylabs' ? 'oxylabs.ebay' : undefined) : null
  const listPrice = list ? priceOf(list, list.adapter === 'oxylabs' ? 'oxylabs.amazon_bestsellers' : undefined) : null
  const pausedBy = run.status === 'paused' && run.pauseReason === 'operator' ? await pauserOf(db, run.id) : null
  const base = {
    decimals: runDecimals([searchPrice, listPrice].filter((price) => price !== null)),
    sandbox: search?.sandbox ?? false,
    callPrice: run.pendingItems > 0 || listPrice === null ? searchPrice : listPrice,
    pausedBy,
    estimate: await estimatedCost(db, run.id),
  }
  if (TERMINAL.has(run.status)) {
    const open = await openRetry(db, run.id)
    return open ? { ...base, openRetry: open.number } : base
  }
  if (run.status !== 'pending') return base
  const line = await lineOf(db, run)
  return line ? { ...base, line } : base
}

function priceOf(account: Account, kind = PRICE_KINDS[account.adapter][0]): Micros | null {
  return (kind && account.prices[kind]) ?? null
}

async function estimatedCost(db: Queryable, runId: string): Promise<Range<Micros> | null> {
  const { rows } = await db.query<{ cost: Range<Micros> | null }>(
    `select estimate -> 'cost' as cost from collection_runs where id = $1`,
    [runId],
  )
  return rows[0]?.cost ?? null
}

/** Who paused the run last: the person's address, or "The operator" for the one every installation begins with. */
async function pauserOf(db: Queryable, runId: string): Promise<string | null> {
  const { rows } = await db.query<{ email: string | null }>(
    `select u.email from collection_events e left join auth.users u on u.id = e.actor_id
     where e.run_id = $1 and e.type = 'run.paused' order by e.seq desc limit 1`,
    [runId],
  )
  const email = rows[0]?.email ?? null
  return email === null || email.endsWith('@gleaner.invalid') ? null : email
}

async function lineOf(db: Queryable, run: RunSnapshot): Promise<RunFacts['line'] | null> {
  const { rows } = await db.query<{ id: string; name: string }>(
    `select id, name from collection_runs
     where org_id = $1 and status = 'pending' and start_requested_at is not null order by start_requested_at, number`,
    [run.orgId],
  )
  const at = rows.findIndex((row) => row.id === run.id)
  if (at < 0) return null
  const { maxConcurrentRuns } = await readSettings(db, run.orgId)
  return { place: at + 1, places: maxConcurrentRuns, ahead: rows.slice(0, at).map((row) => row.name) }
}
