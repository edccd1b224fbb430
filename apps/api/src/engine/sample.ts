/**
 * A sample first: a run that searches ten of its products, then pauses, so that its estimate can stand on its own figures.
 * It is the run itself, not another one: what the sample paid for is not paid for again. docs/adr/0013.
 */
import { addMicros, type Micros, timesMicros, ZERO } from '../base/money.ts'
import { type Db, withTxRetry } from '../db/client.ts'
import { type Estimate, type EstimateInput, PRODUCTS_PER_CATEGORY } from '../runs/estimate.ts'
import { categoryFigures, ownProducts, runFigures } from '../runs/figures.ts'
import { freeHeldCategories, freeHeldProducts, hasOpenSample } from '../runs/held-back.ts'
import { keepFigures } from '../runs/keep-figures.ts'
import { learnedEstimate } from '../runs/learned-estimate.ts'
import { lockRun, type RunSnapshot } from '../runs/snapshot.ts'
import { accountById } from './accounts.ts'
import { type Amount, inputOf } from './estimate-run.ts'

/** Products of a sample. */
export const SAMPLE_PRODUCTS = 10
/** Rows freed by one transaction: it holds the run's row meanwhile. */
const FREED_AT_ONCE = 5_000

export type Sample = Readonly<{
  products: number
  /** Products to sample of each category, in order; zero = its list waits too. Empty for a product list. */
  perCategory: readonly number[]
  /** Every query of every product and every list once: the most the sample costs unless something is asked again. */
  worstMicros: Micros
}>

/** The sample of what `input` is for: drawn evenly over categories, or over the rows of a list. */
export function sampleOf(input: EstimateInput): Sample {
  const { source, search } = input
  const most = source.kind === 'list' ? source.rows : source.count * PRODUCTS_PER_CATEGORY
  const products = Math.min(SAMPLE_PRODUCTS, most)
  const perCategory = source.kind === 'list' ? [] : shares(products, source.count)
  const lists = perCategory.filter((share) => share > 0).length
  const steps = source.kind === 'list' ? [] : source.stepPrices
  const perList = steps.reduce<Micros>((sum, price) => addMicros(sum, price ?? ZERO), ZERO)
  const searches = timesMicros(search.price ?? ZERO, products * search.rungs)
  return { products, perCategory, worstMicros: addMicros(timesMicros(perList, lists), searches) }
}

/** `total` in whole parts over `count` places, as evenly as can be. */
export function shares(total: number, count: number): number[] {
  return Array.from({ length: count }, (_, at) => upTo(at + 1, total, count) - upTo(at, total, count))
}

function upTo(place: number, total: number, count: number): number {
  return Math.floor((place * total) / count)
}

/** True while the run searches its sample and nothing else. */
export function isSampling(run: Pick<RunSnapshot, 'sampleProducts' | 'sampledAt'>): boolean {
  return run.sampleProducts !== null && run.sampledAt === null
}

/** True when a sampling run has nothing of its sample left to do. */
export async function isSampleThrough(db: Db, run: RunSnapshot): Promise<boolean> {
  return isSampling(run) && run.processingItems === 0 && !(await hasOpenSample(db, run.id))
}

/**
 * Lets everything the sample held back take part. Done in steps, once the run goes on: in one transaction a large list
 * would keep its organisation from starting anything meanwhile. Should it break off, the run's lanes go on with it.
 */
export async function freeHeldBack(db: Db, runId: string): Promise<void> {
  for (let after: string | null = '00000000-0000-0000-0000-000000000000'; after !== null; ) {
    const from: string = after
    after = await withTxRetry(db, async (tx) => {
      // The run's row before those of its items, as everywhere.
      await lockRun(tx, runId)
      return freeHeldProducts(tx, runId, from, FREED_AT_ONCE)
    })
  }
  await withTxRetry(db, async (tx) => {
    await lockRun(tx, runId)
    await freeHeldCategories(tx, runId)
  })
}

/** The estimate of the whole run, what was sampled included, from the figures of its own sample. */
export async function estimateFromSample(db: Db, run: RunSnapshot): Promise<Estimate> {
  await withTxRetry(db, (tx) => keepFigures(tx, run.id))
  const { rows } = await db.query<{ id: string; key: string; name: string; complete: boolean }>(
    `select id, category_key as key, name, status = 'completed' as complete
     from collection_run_categories where run_id = $1 order by position`,
    [run.id],
  )
  const amount: Amount =
    run.source === 'categories'
      ? { categories: rows.map(({ key, name }) => ({ key, name })) }
      : { products: run.totalItems }
  const accounts = {
    list: run.listAccountId ? await accountById(db, run.listAccountId) : null,
    search: await accountById(db, run.searchAccountId ?? ''),
  }
  const listed = rows.filter(({ complete }) => complete)
  const named = await ownProducts(
    db,
    listed.map(({ id }) => id),
  )
  const own = new Map(listed.flatMap(({ id, key }) => (named.has(id) ? [[key, named.get(id) as never]] : [])))
  const keys = rows.map(({ key }) => key)
  const history = {
    runs: await runFigures(db, [run.id]),
    categories: await categoryFigures(db, [run.id], keys, 1),
    own,
    sample: true,
  }
  return learnedEstimate(inputOf(amount, accounts), 'categories' in amount ? amount.categories : null, history)
}
