/**
 * Retry: a new run, linked to one that has ended, that takes up what was left unanswered and pays for that alone. It takes
 * over accounts, filters and queries; its cap is its own.
 */
import { AppError } from '../base/errors.ts'
import { newId } from '../base/ids.ts'
import { toJson } from '../base/json.ts'
import { centsUp, MICROS_PER_CENT, type Micros, toMicros } from '../base/money.ts'
import { type Db, type Queryable, type Tx, withTxRetry } from '../db/client.ts'
import { hasState, isPgError, SQLSTATE } from '../db/errors.ts'
import { type Month, monthOf } from '../ledger/month.ts'
import { addCategories } from '../runs/categories-of-run.ts'
import type { Estimate } from '../runs/estimate.ts'
import {
  copyProducts,
  openRetry,
  RETRY_REASONS,
  type RetryCategory,
  type RetryProduct,
  type RetryReason,
  unansweredProducts,
  unreadCategories,
} from '../runs/retries.ts'
import { readSettings } from '../runs/settings.ts'
import { lockRun, type RunSnapshot, runSnapshot, TERMINAL } from '../runs/snapshot.ts'
import { accountById, type ChosenAccounts } from './accounts.ts'
import { tell, tellCreated } from './audit-run.ts'
import type { Actor } from './bootstrap.ts'
import { cheapestCall } from './call-price.ts'
import { checkCapCovers, checkMonthLeaves } from './cap-covers.ts'
import { checkCap } from './create.ts'
import { estimateRetry } from './estimate-retry.ts'

/** What a retry takes up unless told otherwise. Not `rejected`: asking the same again would not help. */
export const RETRIED_BY_DEFAULT: readonly RetryReason[] = RETRY_REASONS.filter((reason) => reason !== 'rejected')

export type RetryInput = Readonly<{
  actor: Actor
  /** The run to retry. */
  runId: string
  /** What to take up; RETRIED_BY_DEFAULT when left out. */
  reasons?: readonly RetryReason[]
  /** Left out: the organisation's setting, or the most the retry is estimated to cost when that is less. */
  capMicros?: Micros
  /** Collect as far as the cap goes: without it a cap below the low end of the estimate is refused. */
  upToCap?: boolean
  name?: string
}>

export type RetryPlan = Readonly<{
  parent: RunSnapshot
  /** How many products, and lists, are taken up for each reason. */
  counts: Readonly<Partial<Record<RetryReason, number>>>
  products: readonly RetryProduct[]
  categories: readonly RetryCategory[]
  accounts: ChosenAccounts
  estimate: Estimate
  capMicros: Micros
  month: Month
}>

/**
 * What a retry would take up, cost and be capped at, as things stand; writes nothing. Throws AppError `run.wrong_state`
 * for a run that has not ended or has calls in flight, `run.retry_open` while another retry of its family goes on,
 * `run.nothing_to_retry`, `provider.no_price`.
 */
export async function planRetry(db: Queryable, input: RetryInput): Promise<RetryPlan> {
  const parent = await runSnapshot(db, input.runId)
  if (!parent) throw new AppError('run.not_found', `There is no run ${input.runId}.`)
  checkEnded(parent)
  const open = await openRetry(db, parent.id)
  if (open) throw retryOpen(open)
  const reasons = input.reasons ?? RETRIED_BY_DEFAULT
  const products = await unansweredProducts(db, parent.id, reasons)
  const categories = await unreadCategories(db, parent.id, reasons)
  if (products.length + categories.length === 0) throw nothingToRetry(parent)
  const accounts = await accountsOf(db, parent, categories.length > 0)
  const estimate = estimateRetry({ products, categories }, accounts)
  const counts: Partial<Record<RetryReason, number>> = {}
  for (const { why } of [...products, ...categories]) counts[why] = (counts[why] ?? 0) + 1
  const capMicros = input.capMicros ?? (await defaultCap(db, parent.orgId, estimate))
  const month = await monthOf(db, parent.orgId)
  return { parent, counts, products, categories, accounts, estimate, capMicros, month }
}

/**
 * Creates the retry as a pending run, linked to its parent, with an event on both. Throws what `planRetry` throws,
 * `input.cap_invalid`, and what `createRun` throws when cap or month leave too little. Two at the same moment: one of them is
 * refused with `run.retry_open`, by the database.
 */
export async function retryRun(db: Db, input: RetryInput): Promise<Readonly<{ run: RunSnapshot; plan: RetryPlan }>> {
  if (input.capMicros !== undefined) checkCap(input.capMicros)
  const id = newId()
  try {
    const plan = await withTxRetry(db, (tx) => createRetry(tx, id, input))
    const run = await runSnapshot(db, id)
    if (!run) throw new Error(`run ${id} was created and is not found`)
    return { run, plan }
  } catch (error) {
    // Another member of the family was retried at the same moment, under the lock of another run.
    if (!hasState(error, SQLSTATE.uniqueViolation) || !isPgError(error)) throw error
    const open = error.constraint === 'collection_runs_one_open_retry' ? await openRetry(db, input.runId) : null
    throw open ? retryOpen(open) : error
  }
}

async function createRetry(tx: Tx, id: string, input: RetryInput): Promise<RetryPlan> {
  const { actor } = input
  // Under its lock: nothing of the parent moves between the plan and the copy.
  await lockRun(tx, input.runId)
  const plan = await planRetry(tx, input)
  const { parent, products, categories, counts } = plan
  checkRetryCovered(plan, input.upToCap ?? false)
  await insertRun(tx, id, input, plan)
  for (let from = 0; from < products.length; from += PRODUCTS_AT_ONCE) {
    const some = products.slice(from, from + PRODUCTS_AT_ONCE)
    await copyProducts(
      tx,
      id,
      some.map((product) => ({ id: newId(), from: product.id, rung: product.rung })),
    )
  }
  await addCategories(
    tx,
    id,
    categories.map(({ category, step }) => ({ category, firstStep: step })),
  )
  const actorId = actor.userId
  const retryOf = { id: parent.id, number: parent.number }
  const data = { retry_of: retryOf, ...counts, estimate: plan.estimate }
  const { number } = await tellCreated(tx, id, { type: 'run.created', actorId, data })
  // An ended run is final; what happens to it afterwards is a fact all the same.
  await tell(tx, { type: 'run.retried', actorId, data: { run: { id, number }, ...counts } }, parent)
  return plan
}

/** Throws AppError when cap or month leave too little for the retry, as for any other run. */
export function checkRetryCovered(plan: RetryPlan, upToCap: boolean): void {
  const { month, accounts, products, categories } = plan
  const steps = categories.map(({ step }) => step)
  checkMonthLeaves(month, cheapestCall(accounts, { products: products.length > 0, steps }))
  checkCapCovers({ ...plan, upToCap })
}

/** Products copied by one statement. */
const PRODUCTS_AT_ONCE = 2_000

async function insertRun(tx: Tx, id: string, input: RetryInput, plan: RetryPlan): Promise<void> {
  const { actor } = input
  const { parent, categories, accounts, estimate, capMicros } = plan
  const settings = await readSettings(tx, actor.orgId)
  await tx.query(
    `insert into collection_runs (id, org_id, name, estimated_cost_cents, budget_cap_cents, cap_micros, category_ids,
       created_by, source, phase, list_account_id, search_account_id, filters, estimate, soft_warning_percent,
       retry_of_run_id, up_to_cap)
     select $1, org_id, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, filters, $13, $14, id, $15
     from collection_runs where id = $2`,
    [
      id,
      parent.id,
      input.name?.trim() || nameOf(parent),
      centsUp(estimate.cost.likely),
      centsUp(capMicros),
      capMicros,
      categories.map(({ category }) => category.key),
      actor.userId,
      categories.length > 0 ? 'categories' : 'product_list',
      categories.length > 0 ? 'products' : 'sellers',
      accounts.list?.id ?? null,
      accounts.search.id,
      toJson(estimate),
      settings.softWarningPercent,
      input.upToCap ?? false,
    ],
  )
}

/** A retry of a retry keeps the name: "Retry of" once says it. */
function nameOf({ name, retryOfRunId }: RunSnapshot): string {
  return retryOfRunId !== null && name.startsWith('Retry of ') ? name : `Retry of ${name}`.slice(0, 200)
}

/** The organisation's setting, or the highest estimate in whole cents when that is less. */
async function defaultCap(db: Queryable, orgId: string, { cost }: Estimate): Promise<Micros> {
  const { budgetCapCents } = await readSettings(db, orgId)
  const most = cost.high === 0 ? budgetCapCents : Math.min(budgetCapCents, centsUp(cost.high))
  return toMicros(most * MICROS_PER_CENT)
}

async function accountsOf(db: Queryable, parent: RunSnapshot, needsLists: boolean): Promise<ChosenAccounts> {
  if (!parent.searchAccountId) {
    throw new AppError('provider.unknown', `Run ${parent.number} has no account to search with.`)
  }
  const search = await accountById(db, parent.searchAccountId)
  if (needsLists && !parent.listAccountId) {
    throw new AppError('provider.unknown', `Run ${parent.number} has no account that reads lists.`)
  }
  const list = needsLists && parent.listAccountId ? await accountById(db, parent.listAccountId) : null
  return { list, search }
}

function checkEnded(run: RunSnapshot): void {
  if (!TERMINAL.has(run.status)) {
    throw new AppError(
      'run.wrong_state',
      `Run ${run.number} is ${run.status}; only a run that has ended can be retried.`,
      {
        hint:
          run.status === 'paused'
            ? `Let it go on with gleaner run resume ${run.number}, or end it with gleaner run cancel ${run.number}.`
            : `It asks again by itself while it goes on. See gleaner run show ${run.number}.`,
      },
    )
  }
  if (run.heldCalls > 0) {
    throw new AppError('run.wrong_state', `Run ${run.number} still has ${run.heldCalls} calls in flight.`, {
      hint: 'They are booked within moments while a worker is up. Then try again.',
    })
  }
}

function nothingToRetry(run: RunSnapshot): AppError {
  const rejected = run.rejectedItems > 0 ? ' Rejected products are only taken up with --all.' : ''
  return new AppError('run.nothing_to_retry', `There is nothing of run ${run.number} left to retry.`, {
    hint: `Everything asked for was answered, in this run or in one that retried it.${rejected}`,
  })
}

function retryOpen(open: Readonly<{ number: number; name: string; status: string }>): AppError {
  return new AppError(
    'run.retry_open',
    `Run ${open.number}, ${open.name}, retries these products and is ${open.status}.`,
    {
      hint: `Let it end first, or cancel it: gleaner run cancel ${open.number}.`,
    },
  )
}
