/** gleaner estimate: what a collection would cost, take and bring, and where each figure comes from. */
import type { Command } from 'commander'
import { addCommand } from '../add-command.ts'
import type { Context, Session } from '../context.ts'
import { addPlanOptions, type Plan, type PlanOptions, planJson, sampleWords, sayPlan, withPlan } from '../plan-run.ts'
import { EXIT } from '../print-error.ts'
import { sampleFirst } from '../sample-run.ts'
import { prepareToStart } from '../start-plan.ts'

const EXAMPLES = `
Examples:
  gleaner estimate "Kitchen & Dining" toys-and-games
  gleaner estimate kitchen/289742 --cap 5 --json
  gleaner estimate --products list.csv --sample

It spends nothing, unless --sample lets it search ten products first, under a cap of their own: that run is then paused, and
goes on with gleaner run cap REF DOLLARS --resume. The figures come from your last runs at the same provider, and from its price list before the first.
Each category stands as if it were collected alone; the sum searches a product of several categories once.`

/** Adds the command. */
export function addEstimate(program: Command): void {
  const command = addPlanOptions(
    program
      .command('estimate')
      .description('say what a collection would cost, take and bring; spends nothing without --sample'),
  ).addHelpText('after', EXAMPLES)
  addCommand(command, (context, [categories, options]) =>
    withPlan(context, categories as readonly string[], options as PlanOptions, (session, plan) =>
      tell(context, session, plan, options as PlanOptions),
    ),
  )
}

async function tell(context: Context, session: Session, plan: Plan, options: PlanOptions): Promise<number> {
  sayPlan(context, plan, { categories: true })
  if (!options.sample) {
    if (context.json) context.sayJson(planJson(plan))
    else if (!context.quiet) context.say(`\n${sampleHint(context, plan)}`)
    return 0
  }
  await prepareToStart(context, session.db, plan, options)
  const status = await sampleFirst(context, session, plan, { goOn: false, ask: false })
  // The sample was all that was asked for.
  return status === EXIT.paused ? 0 : status
}

function sampleHint({ paint }: Context, plan: Plan): string {
  return paint.dim(`A sample narrows it: --sample searches ${sampleWords(plan)}, and they are not paid again.`)
}
