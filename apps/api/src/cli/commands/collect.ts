/** gleaner collect: choose, see what it will cost, start, watch. */
import type { Command } from 'commander'
import { checkCapCovers, checkMonthLeaves } from '../../engine/cap-covers.ts'
import { firstCallPrice } from '../../engine/create.ts'
import { addCommand } from '../add-command.ts'
import { badInput, type Context, type Session } from '../context.ts'
import { actLines, joinRun, runJson } from '../join-run.ts'
import { createAndStart } from '../new-run.ts'
import { addPlanOptions, type Plan, type PlanOptions, planJson, sayPlan, withPlan } from '../plan-run.ts'
import { sampleFirst } from '../sample-run.ts'
import { prepareToStart } from '../start-plan.ts'

type CollectOptions = PlanOptions & Readonly<{ estimate?: boolean; detach?: boolean }>

const EXAMPLES = `
Examples:
  gleaner collect "Kitchen & Dining" --cap 5
  gleaner collect kitchen/289742 toys-and-games --cap 12.50 --name "Week 47"
  gleaner collect https://www.amazon.com/Best-Sellers/zgbs/kitchen/289742
  gleaner collect "Home & Kitchen > Bath" --estimate
  gleaner collect toys-and-games --cap 0.25 --up-to-cap
  gleaner collect toys-and-games beauty --sample --cap 5
  gleaner collect --products list.csv --columns asin=Code,title=Name,price=Cost

The run never spends more than its cap: at the cap it pauses and keeps everything. Ctrl-C pauses it too.
A cap, or a rest of the month cap, that even the low end of the estimate is above is refused, unless --up-to-cap says that
this is meant.
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
  if (options.sample && options.detach)
    throw badInput('A sample is watched to its end.', 'Leave --sample or --detach out.')
  checkMonthLeaves(plan.month, firstCallPrice(plan.wanted))
  if (!options.sample) checkCapCovers(plan)
  await prepareToStart(context, session.db, plan, options)
  if (options.sample) return sampleFirst(context, session, plan, { goOn: options.yes === true, ask: true })
  const run = await createAndStart(session, plan.wanted)
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
