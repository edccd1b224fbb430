import type { Micros } from '../base/money.ts'
import type { Queryable } from '../db/client.ts'

export type RunStatus = 'pending' | 'running' | 'paused' | 'completed' | 'failed' | 'cancelled'
export type PauseReason = 'operator' | 'budget' | 'quota' | 'provider'

/** Which cap a run paused by `budget` has reached. */
export type PauseLimit = 'run' | 'month'

export const TERMINAL: ReadonlySet<RunStatus> = new Set(['completed', 'failed', 'cancelled'])

/** A run as it stands at one commit: state, money, counters. All amounts are micro-dollars. */
export type RunSnapshot = Readonly<{
  id: string
  number: number
  orgId: string
  name: string
  status: RunStatus
  phase: 'products' | 'sellers'
  source: 'categories' | 'product_list'
  pauseReason: PauseReason | null
  pauseNote: string | null
  pauseLimit: PauseLimit | null
  /** Paused because no worker has credentials for the accounts it needs. */
  pauseUnserved: boolean
  resumeAt: Date | null
  failureReason: string | null
  listAccountId: string | null
  searchAccountId: string | null
  capMicros: Micros
  spentMicros: Micros
  heldMicros: Micros
  suspectMicros: Micros
  breachMicros: Micros
  /** Charged, as answers proved, for calls a person had settled as less. */
  contradictedMicros: Micros
  softWarningPercent: number
  softWarnedAt: Date | null
  heldCalls: number
  settledCalls: number
  releasedCalls: number
  suspectCalls: number
  totalCategories: number
  openCategories: number
  failedCategories: number
  totalItems: number
  pendingItems: number
  processingItems: number
  processedItems: number
  failedItems: number
  foundItems: number
  noneItems: number
  blockedItems: number
  driftItems: number
  rejectedItems: number
  skippedItems: number
  sellerItems: number
  newSellers: number
  eventSeq: number
  /** The ended run whose unanswered products this one takes up. */
  retryOfRunId: string | null
  createdAt: Date
  startedAt: Date | null
  pausedAt: Date | null
  completedAt: Date | null
  /** So many products are searched before the others wait for a person; null = no sample. */
  sampleProducts: number | null
  /** When that sample was through and the run paused. */
  sampledAt: Date | null
}>

/** The select list that makes a `RunSnapshot` of a row of `collection_runs` (unaliased). */
export const SNAPSHOT_COLUMNS = `
  id, number, org_id as "orgId", name, status, phase, source, pause_reason as "pauseReason", pause_note as "pauseNote",
  pause_limit as "pauseLimit", pause_unserved as "pauseUnserved",
  resume_at as "resumeAt", failure_reason as "failureReason", list_account_id as "listAccountId",
  search_account_id as "searchAccountId", cap_micros as "capMicros", spent_micros as "spentMicros",
  held_micros as "heldMicros", suspect_micros as "suspectMicros", breach_micros as "breachMicros",
  contradicted_micros as "contradictedMicros", retry_of_run_id as "retryOfRunId",
  soft_warning_percent as "softWarningPercent", soft_warned_at as "softWarnedAt", held_calls as "heldCalls",
  settled_calls as "settledCalls", released_calls as "releasedCalls", suspect_calls as "suspectCalls",
  total_categories as "totalCategories", open_categories as "openCategories", failed_categories as "failedCategories",
  total_items as "totalItems", pending_items as "pendingItems", processing_items as "processingItems",
  processed_items as "processedItems", failed_items as "failedItems", found_items as "foundItems",
  none_items as "noneItems", blocked_items as "blockedItems", drift_items as "driftItems",
  rejected_items as "rejectedItems", skipped_items as "skippedItems", seller_items as "sellerItems",
  new_sellers as "newSellers", event_seq as "eventSeq", created_at as "createdAt", started_at as "startedAt",
  paused_at as "pausedAt", completed_at as "completedAt", sample_products as "sampleProducts", sampled_at as "sampledAt"`

/** What is left under the cap: cap - spent - held - suspect; never below zero, also after a breach. */
export function leftMicros(
  run: Pick<RunSnapshot, 'capMicros' | 'spentMicros' | 'heldMicros' | 'suspectMicros'>,
): Micros {
  return Math.max(0, run.capMicros - run.spentMicros - run.heldMicros - run.suspectMicros) as Micros
}

/** True when no product or category is pending or in work and no call is held: the run can be completed. */
export function isDone(run: RunSnapshot): boolean {
  return run.pendingItems === 0 && run.processingItems === 0 && run.openCategories === 0 && run.heldCalls === 0
}

/** The run with this id, or null. */
export async function runSnapshot(db: Queryable, runId: string): Promise<RunSnapshot | null> {
  const { rows } = await db.query<RunSnapshot>({
    name: 'runs.snapshot',
    text: `select ${SNAPSHOT_COLUMNS} from collection_runs where id = $1`,
    values: [runId],
  })
  return rows[0] ?? null
}

/** The run with this id, its row locked against other writers until the transaction ends, or null. */
export async function lockRun(tx: Queryable, runId: string): Promise<RunSnapshot | null> {
  const { rows } = await tx.query<RunSnapshot>(
    `select ${SNAPSHOT_COLUMNS} from collection_runs where id = $1 for no key update`,
    [runId],
  )
  return rows[0] ?? null
}
