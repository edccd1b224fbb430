/** Create: a run with everything it will do, validated and priced, in one transaction. It starts as pending. */
import { AppError } from '../base/errors.ts'
import { newId } from '../base/ids.ts'
import { toJson } from '../base/json.ts'
import { centsUp, formatDollars, MICROS_PER_CENT, type Micros, toMicros } from '../base/money.ts'
import { type Db, type Tx, withTxRetry } from '../db/client.ts'
import { type Month, monthOf } from '../ledger/month.ts'
import { checkFilterSettings, type FilterSettings } from '../matching/filters.ts'
import { listAdapter } from '../providers/registry.ts'
import type { ListedProduct } from '../providers/types.ts'
import { type Category, toCategoryRef } from '../runs/categories.ts'
import { addCategories } from '../runs/categories-of-run.ts'
import type { Estimate } from '../runs/estimate.ts'
import { addProducts } from '../runs/items.ts'
import { readSettings } from '../runs/settings.ts'
import { type RunSnapshot, runSnapshot } from '../runs/snapshot.ts'
import type { ChosenAccounts } from './accounts.ts'
import { tellCreated } from './audit-run.ts'
import { holdBack, toNewProduct } from './book-list.ts'
import type { Actor } from './bootstrap.ts'
import { cheapestCall } from './call-price.ts'
import { checkCapCovers, checkMonthLeaves } from './cap-covers.ts'
import { type Amount, estimateRun, inputOf, priced } from './estimate-run.ts'
import { type Sample, sampleOf } from './sample.ts'

export type CreateInput = Readonly<{
  actor: Actor
  /** Generated from what is collected when left out. */
  name?: string
  collect:
    | Readonly<{ kind: 'categories'; categories: readonly Category[] }>
    /** Rows are distinct by ASIN. */
    | Readonly<{ kind: 'list'; products: readonly ListedProduct[]; label: string }>
  /** The organisation's setting when left out. */
  capMicros?: Micros
  filters?: Partial<FilterSettings>
  /** Collect as far as the cap goes: without it a cap below the low end of the estimate is refused. */
  upToCap?: boolean
  /** Search ten products first and pause then; the cap is that of the sample until somebody raises it. */
  sample?: boolean
  accounts: ChosenAccounts
}>

export type Created = Readonly<{ run: RunSnapshot; estimate: Estimate }>

/** The highest cap there is: a million dollars. More is a slip of the finger. */
export const CAP_MOST = toMicros(1_000_000_000_000)

/**
 * Creates a pending run: its cap and filters are snapshots of the organisation's settings, overridden by `input`; its
 * categories, or its products, are rows; its estimate is kept beside it. Throws AppError for an empty collection, a bad
 * cap or filter, a missing price; `run.cap_below_estimate` or `month.cap_below_estimate` when even the low end of the
 * estimate is above the nearer of its cap and what the month cap leaves, `month.cap_reached` when that is less than a call.
 */
export async function createRun(db: Db, input: CreateInput): Promise<Created> {
  checkCollect(input)
  if (input.capMicros !== undefined) checkCap(input.capMicros)
  const plan = await planRun(db, input)
  checkMonthLeaves(plan.month, firstCallPrice(input))
  const sample = input.sample ? sampleFor(input) : null
  if (!sample) checkCapCovers(plan)
  const id = newId()
  const { collect } = input
  const amount =
    collect.kind === 'categories'
      ? { categories: distinct(collect.categories).length }
      : { products: collect.products.length }
  const data = { ...amount, estimate: plan.estimate }
  await withTxRetry(db, async (tx) => {
    await insertRun(tx, id, input, plan, sample)
    await insertWork(tx, id, input, sample)
    await tellCreated(tx, id, { type: 'run.created', actorId: input.actor.userId, data })
  })
  const { estimate } = plan
  const run = await runSnapshot(db, id)
  if (!run) throw new Error(`run ${id} was created and is not found`)
  return { run, estimate }
}

/** What a run will be like before it is one: its cap, what the month leaves beside it, filters and estimate. */
export type RunPlan = Readonly<{
  capMicros: Micros
  month: Month
  filters: FilterSettings
  estimate: Estimate
  upToCap: boolean
}>

/** The plan of a run from the organisation's settings and `input`. Throws AppError for a bad filter, a missing price. */
export async function planRun(
  db: Db,
  input: Pick<CreateInput, 'actor' | 'collect' | 'capMicros' | 'filters' | 'accounts' | 'upToCap'>,
): Promise<RunPlan> {
  const { actor, collect, accounts } = input
  const settings = await readSettings(db, actor.orgId)
  const filters = checkFilterSettings({ ...settings.filters, ...input.filters })
  const amount = amountOf(collect)
  return {
    capMicros: input.capMicros ?? toMicros(settings.budgetCapCents * MICROS_PER_CENT),
    month: await monthOf(db, actor.orgId),
    filters,
    estimate: await estimateRun(db, { orgId: actor.orgId, amount, accounts, filters }),
    upToCap: input.upToCap ?? false,
  }
}

function amountOf(collect: CreateInput['collect']): Amount {
  return collect.kind === 'categories'
    ? { categories: distinct(collect.categories).map(({ key, name }) => ({ key, name })) }
    : { products: collect.products.length }
}

/** What the first call of such a run costs at most; null when nobody knows. */
export function firstCallPrice({ collect, accounts }: Pick<CreateInput, 'collect' | 'accounts'>): Micros | null {
  if (collect.kind === 'list' || !accounts.list) return cheapestCall(accounts, { products: true, steps: [] })
  const adapter = listAdapter(priced(accounts.list))
  const steps = distinct(collect.categories).map((category) => adapter.firstStep(toCategoryRef(category)))
  return cheapestCall(accounts, { products: false, steps })
}

/** The sample such a run would begin with. */
export function sampleFor({ collect, accounts }: Pick<CreateInput, 'collect' | 'accounts'>): Sample {
  return sampleOf(inputOf(amountOf(collect), accounts))
}

/** Throws AppError `input.cap_invalid` unless `cap` is between zero and a million dollars. */
export function checkCap(cap: Micros): void {
  if (cap >= 0 && cap <= CAP_MOST) return
  throw new AppError('input.cap_invalid', `A cap of ${formatDollars(cap)} is not possible.`, {
    hint: `Give dollars from 0 to ${formatDollars(CAP_MOST)}, such as 25 or 12.50.`,
  })
}

function checkCollect({ collect, accounts }: CreateInput): void {
  const count = collect.kind === 'categories' ? collect.categories.length : collect.products.length
  if (count === 0) {
    throw new AppError('input.list_empty', 'There is nothing to collect.', {
      hint: 'Name at least one category, or give a product list with at least one row.',
    })
  }
  if (collect.kind === 'categories' && !accounts.list) {
    throw new AppError('provider.unknown', 'Best-seller categories need an account that reads lists.', {
      hint: 'Choose one with --lists, see gleaner accounts.',
    })
  }
}

async function insertRun(tx: Tx, id: string, input: CreateInput, plan: RunPlan, sample: Sample | null): Promise<void> {
  const { actor, collect, accounts } = input
  const { filters, estimate } = plan
  const cap = sample ? toMicros(Math.min(sample.worstMicros, plan.capMicros)) : plan.capMicros
  const settings = await readSettings(tx, actor.orgId)
  await tx.query(
    `insert into collection_runs (id, org_id, name, estimated_cost_cents, budget_cap_cents, cap_micros, category_ids,
       created_by, source, phase, list_account_id, search_account_id, filters, estimate, soft_warning_percent, up_to_cap, sample_products)
     values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17)`,
    [
      id,
      actor.orgId,
      input.name?.trim() || (await generatedName(tx, collect)),
      centsUp(estimate.cost.likely),
      centsUp(cap),
      cap,
      collect.kind === 'categories' ? distinct(collect.categories).map((category) => category.key) : [],
      actor.userId,
      collect.kind === 'categories' ? 'categories' : 'product_list',
      collect.kind === 'categories' ? 'products' : 'sellers',
      collect.kind === 'categories' ? (accounts.list?.id ?? null) : null,
      accounts.search.id,
      toJson(filters),
      toJson(estimate),
      settings.softWarningPercent,
      plan.upToCap,
      sample?.products ?? null,
    ],
  )
}

/** Rows of a product list inserted by one statement. */
const PRODUCTS_AT_ONCE = 2_000

async function insertWork(
  tx: Tx,
  id: string,
  { collect, accounts }: CreateInput,
  sample: Sample | null,
): Promise<void> {
  if (collect.kind === 'categories') {
    if (!accounts.list) throw new Error('checked before: categories have a list account')
    const adapter = listAdapter(priced(accounts.list))
    const refs = distinct(collect.categories).map(toCategoryRef)
    await addCategories(
      tx,
      id,
      refs.map((category, at) => ({
        category,
        firstStep: adapter.firstStep(category),
        ...(sample ? { sample: sample.perCategory[at] ?? 0 } : {}),
      })),
    )
    return
  }
  const products = holdBack(collect.products.map(toNewProduct), sample?.products ?? null)
  for (let from = 0; from < products.length; from += PRODUCTS_AT_ONCE) {
    await addProducts(tx, id, products.slice(from, from + PRODUCTS_AT_ONCE), null)
  }
}

/** A category chosen twice is collected once. */
function distinct(categories: readonly Category[]): Category[] {
  return [...new Map(categories.map((category) => [category.key, category])).values()]
}

/** "Kitchen & Dining and 2 more, 22 Nov 14:02": what, and when by the database's clock. */
async function generatedName(tx: Tx, collect: CreateInput['collect']): Promise<string> {
  const { rows } = await tx.query<{ at: string }>(`select to_char(now(), 'FMDD Mon HH24:MI') as at`)
  const at = rows[0]?.at ?? ''
  if (collect.kind === 'list') return `${collect.label.slice(0, 150)}, ${at}`
  const [first, ...rest] = distinct(collect.categories)
  return `${first?.name.slice(0, 150)}${rest.length > 0 ? ` and ${rest.length} more` : ''}, ${at}`
}
