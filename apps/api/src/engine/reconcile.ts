/**
 * Reconcile: suspect calls against the provider's own count. The count is never less than what was charged, so when it
 * equals what is settled by answers, no suspect call was charged, whoever else uses the account. Nothing else is concluded:
 * a higher count may be somebody else's (docs/adr/0011).
 */
import { type Db, type Tx, withTxRetry } from '../db/client.ts'
import { type AccountCalls, type CallTarget, callsOfAccount } from '../ledger/account-calls.ts'
import { DEAD_AFTER_MS } from '../ledger/rescue.ts'
import { insertResolutions, lockCallsToResolve } from '../ledger/resolve.ts'
import type { PriceKind } from '../providers/types.ts'
import { type UsageCount, usageReport } from '../providers/usage.ts'
import { lockRun } from '../runs/snapshot.ts'
import { openAccount } from './account-credentials.ts'
import { type Account, listAccounts } from './accounts.ts'
import { tell } from './audit-run.ts'

export type ReconcileOptions = Readonly<{
  /** The person who asks; null when a worker does. */
  actorId: string | null
  env: NodeJS.ProcessEnv
  /** A request is taken to be processed within this time after its lease, ms, or never. */
  settleMs?: number
  /** How far from the beginning of a day's count calls have to be, ms. */
  edgeMs?: number
  deadAfterMs?: number
}>

export type Reconciled = Readonly<{
  account: string
  kind: PriceKind
  /** What the provider counted, what answers settled, what is suspect. Null: it told nothing. */
  counted: number | null
  settled: number
  suspect: number
  /** Released now, because the count leaves no room for them. */
  resolved: number
  why: string
}>

/** Longer than any provider works on a request (Oxylabs gives up after 180 s); the same once more, and some. */
const SETTLE_MS = 15 * 60_000
/** A day's count begins at a midnight that moves by an hour twice a year, by a clock that is not ours. */
const WINDOW_EDGE_MS = 65 * 60_000

const TARGETS: Readonly<Partial<Record<PriceKind, CallTarget>>> = {
  'ebay.search': 'items',
  'oxylabs.ebay': 'items',
  'oxylabs.amazon_bestsellers': 'categories',
}

/**
 * Holds the suspect calls of the account against its usage report, one result for each kind of charge that has any. Only
 * a sandbox's report is known to count a call before it is answered: those of live accounts are read and told, and settle
 * nothing. Safe to run from every worker at once.
 */
export async function reconcileAccount(db: Db, account: Account, options: ReconcileOptions): Promise<Reconciled[]> {
  const deadAfterMs = options.deadAfterMs ?? DEAD_AFTER_MS
  const settleMs = options.settleMs ?? SETTLE_MS
  const kinds = (Object.keys(TARGETS) as PriceKind[]).filter((kind) => kind.startsWith(prefixOf(account)))
  const results: Reconciled[] = []
  for (const kind of kinds) {
    const target = TARGETS[kind] as CallTarget
    const before = await callsOfAccount(db, account.id, target, null, deadAfterMs)
    if (before.suspects.length === 0) continue
    const figures = { account: account.name, kind, settled: before.settled, suspect: before.suspects.length }
    const open = (why: string, counted: number | null = null) => results.push({ ...figures, counted, resolved: 0, why })
    const restless = notAtRest(before, settleMs)
    if (restless) {
      open(restless)
      continue
    }
    const report = await usageReport(await openAccount(db, account, options.env))
    const count = report.ok ? report.counts.find((one) => one.kind === kind) : undefined
    if (!report.ok || !count) {
      open(report.ok ? 'The report does not name this kind of call.' : report.message)
      continue
    }
    const decide = (tx: Tx) => decideUnder(tx, { account, kind, target, count, before, options, deadAfterMs, settleMs })
    results.push(await withTxRetry(db, decide))
  }
  return results
}

/** Reconciles every sandbox account that has suspect calls and rests. Returns what was released. */
export async function reconcileAtRest(db: Db, env: NodeJS.ProcessEnv): Promise<Reconciled[]> {
  const { rows } = await db.query<{ id: string }>(
    `select a.id from provider_accounts a where a.sandbox and exists (
       select from collection_calls c join collection_runs r on r.id = c.run_id
       where c.account_id = a.id and c.state = 'suspect' and r.suspect_calls > 0)`,
  )
  const wanted = new Set(rows.map(({ id }) => id))
  const results: Reconciled[] = []
  for (const account of (await listAccounts(db)).filter(({ id }) => wanted.has(id)))
    results.push(...(await reconcileAccount(db, account, { actorId: null, env })))
  return results.filter(({ resolved }) => resolved > 0)
}

function prefixOf({ adapter }: Account): string {
  return adapter === 'ebay_browse' ? 'ebay.' : `${adapter}.`
}

/** Why nothing can be concluded yet, or null when the account rests. */
function notAtRest({ held, quietMs, mayAnswer }: AccountCalls, settleMs: number): string | null {
  if (held > 0) return `${held} calls of the account are in flight: it has to rest.`
  if (mayAnswer) return 'A suspect call may still be answered: the worker that sent it is alive.'
  if (quietMs !== null && quietMs < settleMs) {
    const minutes = Math.ceil((settleMs - quietMs) / 60_000)
    return `The account has to rest ${minutes} more ${minutes === 1 ? 'minute' : 'minutes'}: a request may be worked on that long.`
  }
  return null
}

type Decision = Readonly<{
  account: Account
  kind: PriceKind
  target: CallTarget
  count: UsageCount
  before: AccountCalls
  options: ReconcileOptions
  deadAfterMs: number
  settleMs: number
}>

/** Decides over the ledger as it is now, and only if nothing moved while the report was asked for. */
async function decideUnder(tx: Tx, decision: Decision): Promise<Reconciled> {
  const { account, kind, target, count, before, options, deadAfterMs, settleMs } = decision
  const since = count.since && new Date(count.since.getTime() + (options.edgeMs ?? WINDOW_EDGE_MS))
  const now = await callsOfAccount(tx, account.id, target, null, deadAfterMs)
  const counted = await callsOfAccount(tx, account.id, target, since, deadAfterMs)
  const figures = {
    account: account.name,
    kind,
    counted: count.count,
    settled: counted.settled,
    suspect: counted.suspects.length,
    resolved: 0,
  }
  if (now.calls !== before.calls || now.settled !== before.settled || notAtRest(now, settleMs) !== null)
    return { ...figures, why: 'Calls were made meanwhile.' }
  if (counted.suspects.length === 0) return { ...figures, why: 'The report begins after they were sent.' }
  const more = count.count - counted.settled
  if (more < 0)
    return { ...figures, why: `The report counts ${-more} fewer than answers have settled: it is not complete.` }
  if (more > 0) {
    const some = Math.min(more, counted.suspects.length)
    return {
      ...figures,
      why: `The report counts ${more} more than answers have settled: up to ${some} may have been charged.`,
    }
  }
  const proof = `The report counts ${count.count}, as many as answers have settled`
  if (!account.sandbox) {
    return {
      ...figures,
      why: `${proof}. Whether it counts a call at once is not known, so it settles nothing by itself.`,
    }
  }
  const resolved = await release(tx, counted.suspects, options.actorId, `${proof}.`, { kind, counted: count.count })
  return { ...figures, resolved, why: `${proof}: no suspect call was charged.` }
}

async function release(
  tx: Tx,
  suspects: readonly string[],
  actorId: string | null,
  note: string,
  report: Readonly<{ kind: PriceKind; counted: number }>,
): Promise<number> {
  const { rows } = await tx.query<{ runId: string; ids: string[] }>(
    `select run_id as "runId", array_agg(id) as ids from collection_calls where id = any($1) group by 1 order by 1`,
    [suspects],
  )
  let released = 0
  for (const { runId, ids } of rows) {
    const calls = (await lockCallsToResolve(tx, runId, ids, 0)).filter(({ state }) => state === 'suspect')
    const run = await lockRun(tx, runId)
    if (calls.length === 0 || !run) continue
    await insertResolutions(
      tx,
      calls.map(({ id }) => ({ callId: id, how: 'report', actorId, chargeMicros: null, note })),
    )
    const data = { how: 'report', verdict: 'not_charged', calls: calls.length, charged_micros: 0, report }
    await tell(tx, { type: 'calls.resolved', actorId, data }, run, note)
    released += calls.length
  }
  return released
}
