/** gleaner collect: choose, see what it will cost, start, watch. */
import type { Command } from 'commander'
import { AppError } from '../../base/errors.ts'
import { MICROS_PER_CENT, type Micros, toMicros } from '../../base/money.ts'
import { listAccounts, withCredentials } from '../../engine/accounts.ts'
import { type CreateInput, checkCap } from '../../engine/create.ts'
import { estimateRun } from '../../engine/estimate-run.ts'
import { checkFilterSettings, type FilterSettings } from '../../matching/filters.ts'
import { loadCategories } from '../../runs/categories.ts'
import { collectable, type Estimate } from '../../runs/estimate.ts'
import { requireCategory } from '../../runs/find-category.ts'
import { type ProductList, readProductList } from '../../runs/product-list.ts'
import { readSettings } from '../../runs/settings.ts'
import { addCommand } from '../add-command.ts'
import { askYes } from '../ask.ts'
import { chooseRunAccounts, meansSandbox } from '../choose-accounts.ts'
import { badInput, type Context, type Session, withSession } from '../context.ts'
import { count, counted, duration, moneyUp, readDollars, readWhole } from '../format.ts'
import { actLines, joinRun, runJson } from '../join-run.ts'
import { createAndStart, type NewRun } from '../new-run.ts'
import { Exit } from '../print-error.ts'
import { listNotes, readColumns, uploadToSandbox } from '../product-file.ts'
import { openSandbox } from '../sandbox-for-run.ts'
import { capWords, estimateWords } from '../words.ts'

type CollectOptions = Readonly<{
  products?: string
  columns?: string
  sheet?: string
  cap?: string
  name?: string
  provider?: string
  lists?: string
  search?: string
  minPercent?: string
  maxPercent?: string
  anywhere?: boolean
  paidShipping?: boolean
  yes?: boolean
  estimate?: boolean
  detach?: boolean
}>

const EXAMPLES = `
Examples:
  gleaner collect "Kitchen & Dining" --cap 5
  gleaner collect kitchen/289742 toys-and-games --cap 12.50 --name "Week 47"
  gleaner collect https://www.amazon.com/Best-Sellers/zgbs/kitchen/289742
  gleaner collect "Home & Kitchen > Bath" --estimate
  gleaner collect --products list.csv --columns asin=Code,title=Name,price=Cost

The run never spends more than its cap: at the cap it pauses and keeps everything. Ctrl-C pauses it too.
Without an account of your own it collects from the sandbox: a generated marketplace, play money.
Exit status: 0 completed, 7 paused before its end, 8 failed or cancelled, 130 interrupted.`

/** Adds the command. */
export function addCollect(program: Command): void {
  const command = program
    .command('collect')
    .description('collect the eBay sellers of best-seller categories, or of a product list, under a hard cap')
    .argument('[categories...]', 'names, paths, ids, keys or best-seller addresses; see gleaner categories')
    .option('--products <file>', 'a CSV, XLSX or JSON file with asin, title and price, instead of categories')
    .option('--columns <list>', 'which column of the file is which, such as asin=Code,title=Name,price=Cost')
    .option('--sheet <name>', 'the sheet of an XLSX file, by name or number')
    .option('--cap <dollars>', 'the most this run may spend; the setting of the organisation when left out')
    .option('--name <text>', 'what to call the run')
    .option('--provider <name>', 'sandbox, or the name of an account')
    .option('--lists <account>', 'the account that reads best-seller lists')
    .option('--search <account>', 'the account that searches eBay')
    .option('--min-percent <n>', 'lowest eBay price in per cent of the Amazon price')
    .option('--max-percent <n>', 'highest eBay price in per cent of the Amazon price')
    .option('--anywhere', 'listings from any country, not only the US')
    .option('--paid-shipping', 'listings with paid shipping too')
    .option('--estimate', 'say what it will cost, and stop')
    .option('-y, --yes', 'start without asking')
    .option('--detach', 'start the run and leave it to the workers that are up')
    .addHelpText('after', EXAMPLES)
  addCommand(command, (context, [categories, options]) =>
    collect(context, categories as readonly string[], options as CollectOptions),
  )
}

type Plan = NewRun & Readonly<{ list: ProductList | null }>

async function collect(context: Context, texts: readonly string[], options: CollectOptions): Promise<number> {
  // Everything that can be refused without the database is refused before it is opened.
  const capMicros = options.cap === undefined ? undefined : readDollars(options.cap)
  if (capMicros !== undefined) checkCap(capMicros)
  const filters = readFilters(options)
  const { collect, list } = await readWork(texts, options)
  return withSession(context, async (session) => {
    const sandbox = meansSandbox(await listAccounts(session.db), options) ? await openSandbox(context, session) : null
    try {
      const accounts = await chooseRunAccounts(session.db, options, collect.kind === 'categories')
      const given = {
        ...(options.name === undefined ? {} : { name: options.name }),
        ...(capMicros === undefined ? {} : { capMicros }),
      }
      return await carryOut(context, session, { collect, accounts, filters, list, ...given }, options)
    } finally {
      sandbox?.leave()
    }
  })
}

async function carryOut(context: Context, session: Session, plan: Plan, options: CollectOptions): Promise<number> {
  const settings = await readSettings(session.db, session.actor.orgId)
  const cap = plan.capMicros ?? toMicros(settings.budgetCapCents * MICROS_PER_CENT)
  // What cannot be collected is refused here, by the same check that the start makes.
  checkFilterSettings({ ...(settings.filters as Partial<FilterSettings>), ...plan.filters })
  const estimate = estimateRun(amountOf(plan.collect), plan.accounts)
  sayPlan(context, plan, estimate, cap)
  if (options.estimate) {
    if (context.json) context.sayJson({ estimate, capMicros: cap, sandbox: plan.accounts.search.sandbox })
    return 0
  }
  // A run whose first call is refused would be a run for nothing.
  for (const account of [plan.accounts.list, plan.accounts.search]) if (account) withCredentials(account, context.env)
  await askToStart(context, plan, cap, options)
  if (plan.list && plan.accounts.search.sandbox) await uploadToSandbox(plan.accounts.search, plan.list.rows)
  const run = await createAndStart(context, session, plan)
  if (!options.detach) return joinRun(context, session, run)
  if (context.json) context.sayJson(runJson(run))
  else {
    context.say(`Run ${run.number}, ${run.name}, is ${run.status}. A worker that is up works on it:`)
    const acts = actLines(context, [
      ['gleaner start', 'everything, with live progress'],
      [`gleaner run show ${run.number}`, 'how it stands'],
    ])
    for (const act of acts) context.say(act)
  }
  return 0
}

async function readWork(
  texts: readonly string[],
  options: CollectOptions,
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

function amountOf(collect: CreateInput['collect']) {
  return collect.kind === 'categories'
    ? { categories: collect.categories.length }
    : { products: collect.products.length }
}

function readFilters(options: CollectOptions): Partial<FilterSettings> {
  const percent = (text: string, what: string) => readWhole(text.replace(/\s*%$/, ''), what, 1, 1000)
  return {
    ...(options.minPercent === undefined ? {} : { minPercent: percent(options.minPercent, '--min-percent') }),
    ...(options.maxPercent === undefined ? {} : { maxPercent: percent(options.maxPercent, '--max-percent') }),
    ...(options.anywhere ? { locatedIn: null } : {}),
    ...(options.paidShipping ? { freeShipping: false } : {}),
  }
}

function sayPlan(context: Context, plan: Plan, estimate: Estimate, cap: Micros): void {
  const { collect, accounts, list } = plan
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
  const { low, high } = estimate.durationSeconds
  const time = low === high ? duration(low * 1000) : `${duration(low * 1000)} to ${duration(high * 1000)}`
  say(
    `${label('')}About ${counted(estimate.products.likely, 'product')}, up to ${count(estimate.calls.high)} calls, ${time}.`,
  )
  say(`${label('Cap')}${moneyUp(cap)}`)
  const partly = capWords(cap, estimate, collectable(cap, estimate))
  if (partly) say(`${label('')}${paint.warn(partly)}`)
  for (const { name } of soft) {
    say(`${label('')}${paint.warn(`${name} holds no physical goods: hardly anybody will be found.`)}`)
  }
}

async function askToStart(context: Context, plan: Plan, cap: Micros, options: CollectOptions): Promise<void> {
  if (!context.canAsk || options.yes) return
  const { list } = plan
  const rows =
    list && list.errors.length > 0 ? ` with ${count(list.rows.length)} of ${counted(list.rowCount, 'row')}` : ''
  const money = plan.accounts.search.sandbox ? ' of play money' : ''
  if (await askYes(`Start${rows}, spending at most ${moneyUp(cap)}${money}?`)) return
  context.say('Nothing was started.')
  throw new Exit(0)
}
