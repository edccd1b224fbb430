/** What a person wants collected, as options of a command, and what is said of it before anything is spent. */
import type { Command } from 'commander'
import { AppError } from '../base/errors.ts'
import { formatDollars, type Micros } from '../base/money.ts'
import { listAccounts } from '../engine/accounts.ts'
import { coverOf } from '../engine/cap-covers.ts'
import { chooseRunAccounts, meansSandbox } from '../engine/choose-run-accounts.ts'
import { type CreateInput, checkCap, firstCallPrice, planRun, type RunPlan, sampleFor } from '../engine/create.ts'
import { leftOfMonth } from '../ledger/month.ts'
import type { FilterSettings } from '../matching/filters.ts'
import { loadCategories } from '../runs/categories.ts'
import { requireCategory } from '../runs/find-category.ts'
import { type ProductList, readProductList } from '../runs/product-list.ts'
import { badInput, type Context, type Session, withSession } from './context.ts'
import { capWords, categoryTable, doubleWords, estimateWords, figureLines } from './estimate-words.ts'
import { monthJson } from './facts.ts'
import { counted, moneyDown, moneyUp, readDollars, readWhole } from './format.ts'
import type { NewRun } from './new-run.ts'
import { listNotes, readColumns } from './product-file.ts'
import { openSandbox } from './sandbox-for-run.ts'

export type PlanOptions = Readonly<{
  products?: string
  columns?: string
  sheet?: string
  cap?: string
  upToCap?: boolean
  sample?: boolean
  yes?: boolean
  name?: string
  provider?: string
  lists?: string
  search?: string
  minPercent?: string
  maxPercent?: string
  anywhere?: boolean
  paidShipping?: boolean
}>

/** A run as it would be: what to create it from, its plan, and the product list it comes from. */
export type Plan = RunPlan & Readonly<{ wanted: NewRun; list: ProductList | null }>

/** The options that say what is collected, where, and for how much at most. */
export function addPlanOptions(command: Command): Command {
  return command
    .argument('[categories...]', 'names, paths, ids, keys or best-seller addresses; see gleaner categories')
    .option('--products <file>', 'a CSV, XLSX or JSON file with asin, title and price, instead of categories')
    .option('--columns <list>', 'which column of the file is which, such as asin=Code,title=Name,price=Cost')
    .option('--sheet <name>', 'the sheet of an XLSX file, by name or number')
    .option('--cap <dollars>', 'the most this run may spend; the setting of the organisation when left out')
    .option('--up-to-cap', 'collect as far as the cap goes, also when it is below the estimate')
    .option('--sample', 'search ten products first, for an estimate from what they take; they are not paid again')
    .option('-y, --yes', 'start without asking')
    .option('--provider <name>', 'sandbox, or the name of an account')
    .option('--lists <account>', 'the account that reads best-seller lists')
    .option('--search <account>', 'the account that searches eBay')
    .option('--min-percent <n>', 'lowest eBay price in per cent of the Amazon price')
    .option('--max-percent <n>', 'highest eBay price in per cent of the Amazon price')
    .option('--anywhere', 'listings from any country, not only the US')
    .option('--paid-shipping', 'listings with paid shipping too')
}

/**
 * Makes a plan of what was asked for and works with it, the sandbox up meanwhile when it is the provider. Throws AppError
 * for whatever cannot be collected, before the database is opened where that is possible.
 */
export async function withPlan(
  context: Context,
  texts: readonly string[],
  options: PlanOptions,
  work: (session: Session, plan: Plan) => Promise<number>,
): Promise<number> {
  const capMicros = options.cap === undefined ? undefined : readDollars(options.cap)
  if (capMicros !== undefined) checkCap(capMicros)
  const filters = readFilters(options)
  const { collect, list } = await readWork(texts, options)
  return withSession(context, async (session) => {
    const sandbox = meansSandbox(await listAccounts(session.db), options) ? await openSandbox(context, session) : null
    try {
      const accounts = await chooseRunAccounts(session.db, options, collect.kind === 'categories')
      const wanted: NewRun = {
        collect,
        accounts,
        filters,
        upToCap: options.upToCap ?? false,
        ...(options.name === undefined ? {} : { name: options.name }),
        ...(capMicros === undefined ? {} : { capMicros }),
      }
      const plan = await planRun(session.db, { actor: session.actor, ...wanted })
      return await work(session, { ...plan, wanted, list })
    } finally {
      sandbox?.leave()
    }
  })
}

async function readWork(
  texts: readonly string[],
  options: PlanOptions,
): Promise<Readonly<{ collect: CreateInput['collect']; list: ProductList | null }>> {
  if (options.products !== undefined) {
    if (texts.length > 0)
      throw badInput('A run collects either categories or a product list.', 'Leave one of them out.')
    const list = await readProductList(options.products, {
      ...(options.columns === undefined ? {} : { columns: readColumns(options.columns) }),
      ...(options.sheet === undefined
        ? {}
        : { sheet: /^\d+$/.test(options.sheet) ? Number(options.sheet) : options.sheet }),
    })
    const label = options.products.split('/').at(-1) ?? options.products
    return { collect: { kind: 'list', products: list.rows, label }, list }
  }
  if (texts.length === 0) {
    throw new AppError('input.list_empty', 'Nothing was named to collect.', {
      hint: 'Name categories (gleaner categories kitchen finds them), or give --products list.csv.',
    })
  }
  const tree = await loadCategories()
  const found = texts.map((text) => requireCategory(tree, text))
  return { collect: { kind: 'categories', categories: [...new Set(found)] }, list: null }
}

function readFilters(options: PlanOptions): Partial<FilterSettings> {
  const percent = (text: string, what: string) => readWhole(text.replace(/\s*%$/, ''), what, 1, 1000)
  return {
    ...(options.minPercent === undefined ? {} : { minPercent: percent(options.minPercent, '--min-percent') }),
    ...(options.maxPercent === undefined ? {} : { maxPercent: percent(options.maxPercent, '--max-percent') }),
    ...(options.anywhere ? { locatedIn: null } : {}),
    ...(options.paidShipping ? { freeShipping: false } : {}),
  }
}

/** Says what would be collected, from where, the estimate with its source, and what the cap means for it. */
export function sayPlan(context: Context, plan: Plan, more: Readonly<{ categories: boolean }>): void {
  const { list, wanted, estimate, capMicros, month } = plan
  const { collect, accounts } = wanted
  if (list) for (const line of listNotes(list, context.paint)) context.note(line)
  if (context.json || context.quiet) return
  const { paint, say } = context
  const label = (text: string) => paint.dim(text.padEnd(10))
  const what =
    collect.kind === 'categories'
      ? collect.categories.map((category) => category.name).join(', ')
      : `${counted(collect.products.length, 'product')} of ${collect.label}`
  const soft = collect.kind === 'categories' ? collect.categories.filter((category) => !category.physical) : []
  say(`${label('Collect')}${what}`)
  say(`${label('From')}${[accounts.list?.name, accounts.search.name].filter(Boolean).join(' and ')}`)
  say(`${label('Estimate')}${estimateWords(estimate)}${accounts.search.sandbox ? ` ${paint.dim('SANDBOX')}` : ''}`)
  for (const line of figureLines(estimate)) say(`${label('')}${line}`)
  const double = doubleWords(estimate)
  if (double) say(`${label('')}${double}`)
  say(`${label('Cap')}${moneyUp(capMicros)}`)
  const partly = partlyWords(plan)
  if (partly) say(`${label('')}${paint.warn(partly)}`)
  const monthLeft = leftOfMonth(month)
  if (monthLeft !== null && month.capMicros !== null) {
    const words = `${moneyDown(monthLeft)} left of ${moneyUp(month.capMicros)}`
    say(`${label('Month')}${monthLeft < capMicros ? paint.warn(words) : words}`)
  }
  for (const { name } of soft) {
    say(`${label('')}${paint.warn(`${name} holds no physical goods: hardly anybody will be found.`)}`)
  }
  if (more.categories && estimate.categories.length > 0) say(`\n${categoryTable(context, estimate.categories)}`)
}

function partlyWords(plan: Plan): string | null {
  const { limit, products } = coverOf(plan, null)
  return capWords(limit, plan.estimate, products, plan.upToCap)
}

/** "10 products, at most $0.150". */
export function sampleWords({ wanted }: Plan): string {
  const { products, worstMicros } = sampleFor(wanted)
  return `${counted(products, 'product')}, at most ${formatDollars(worstMicros, 3)}`
}

/** The plan for --json: the estimate, the cap, and what the nearer of cap and month covers. */
export function planJson(plan: Plan): Record<string, unknown> {
  const { capMicros, estimate, upToCap, wanted, month } = plan
  const { limit, startable, products } = coverOf(plan, firstCallPrice(wanted))
  return {
    estimate,
    capMicros: capMicros satisfies Micros,
    upToCap,
    startable,
    nearestLimit: limit,
    collectableProducts: products,
    sampleAtMostMicros: sampleFor(wanted).worstMicros,
    sandbox: wanted.accounts.search.sandbox,
    month: monthJson(month),
  }
}
