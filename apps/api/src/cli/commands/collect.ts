/** gleaner collect: choose, see what it will cost, start, watch. */
import type { Command } from 'commander'
import { withCredentials } from '../../engine/accounts.ts'
import { checkCapCovers } from '../../engine/cap-covers.ts'
import { addCommand } from '../add-command.ts'
import { askYes } from '../ask.ts'
import { type Context, type Session } from '../context.ts'
import { count, counted, moneyUp } from '../format.ts'
import { actLines, joinRun, runJson } from '../join-run.ts'
import { createAndStart } from '../new-run.ts'
import { addPlanOptions, type Plan, type PlanOptions, planJson, sayPlan, withPlan } from '../plan-run.ts'
import { Exit } from '../print-error.ts'
import { uploadToSandbox } from '../product-file.ts'

type CollectOptions = PlanOptions & Readonly<{ yes?: boolean; estimate?: boolean; detach?: boolean }>

const EXAMPLES = `
Examples:
  gleaner collect "Kitchen & Dining" --cap 5
  gleaner collect kitchen/289742 toys-and-games --cap 12.50 --name "Week 47"
  gleaner collect https://www.amazon.com/Best-Sellers/zgbs/kitchen/289742
  gleaner collect "Home & Kitchen > Bath" --estimate
  gleaner collect toys-and-games --cap 0.25 --up-to-cap
  gleaner collect --products list.csv --columns asin=Code,title=Name,price=Cost

The run never spends more than its cap: at the cap it pauses and keeps everything. Ctrl-C pauses it too.
A cap that even the low end of the estimate is above is refused, unless --up-to-cap says that this is meant.
Without an account of your own it collects from the sandbox: a generated marketplace, play money.
Exit status: 0 completed, 4 refused, 7 paused before its end, 8 failed or cancelled, 130 interrupted.`

/** Adds the command. */
export function addCollect(program: Command): void {
  const command = addPlanOptions(
    program
      .command('collect')
      .description('collect the eBay sellers of best-seller categories, or of a product list, under a hard cap'),
  )
    .option('--name <text>', 'what to call the run')
    .option('--estimate', 'say what it will cost, and stop; as gleaner estimate')
    .option('-y, --yes', 'start without asking')
    .option('--detach', 'start the run and leave it to the workers that are up')
    .addHelpText('after', EXAMPLES)
  addCommand(command, (context, [categories, given]) => {
    const options = given as CollectOptions
    return withPlan(context, categories as readonly string[], options, (session, plan) =>
      carryOut(context, session, plan, options),
    )
  })
}

async function carryOut(context: Context, session: Session, plan: Plan, options: CollectOptions): Promise<number> {
  sayPlan(context, plan, { categories: options.estimate === true })
  if (options.estimate) {
    if (context.json) context.sayJson(planJson(plan))
    return 0
  }
  checkCapCovers(plan)
  const { wanted, list } = plan
  const { accounts } = wanted
  // A run whose first call is refused would be a run for nothing.
  for (const account of [accounts.list, accounts.search]) if (account) withCredentials(account, context.env)
  await askToStart(context, plan, options)
  if (list && accounts.search.sandbox) await uploadToSandbox(accounts.search, list.rows)
  const run = await createAndStart(context, session, wanted)
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

async function askToStart(context: Context, plan: Plan, options: CollectOptions): Promise<void> {
  if (!context.canAsk || options.yes) return
  const { list, wanted, capMicros } = plan
  const rows =
    list && list.errors.length > 0 ? ` with ${count(list.rows.length)} of ${counted(list.rowCount, 'row')}` : ''
  const money = wanted.accounts.search.sandbox ? ' of play money' : ''
  if (await askYes(`Start${rows}, spending at most ${moneyUp(capMicros)}${money}?`)) return
  context.say('Nothing was started.')
  throw new Exit(0)
}
