/** gleaner estimate: what a collection would cost, take and bring, and where each figure comes from. */
import type { Command } from 'commander'
import { addCommand } from '../add-command.ts'
import { addPlanOptions, type PlanOptions, planJson, sayPlan, withPlan } from '../plan-run.ts'

const EXAMPLES = `
Examples:
  gleaner estimate "Kitchen & Dining" toys-and-games
  gleaner estimate kitchen/289742 --cap 5 --json
  gleaner estimate --products list.csv

It spends nothing. The figures come from your last runs at the same provider, and from its price list before the first.
Each category stands as if it were collected alone; the sum searches a product of several categories once.`

/** Adds the command. */
export function addEstimate(program: Command): void {
  const command = addPlanOptions(
    program.command('estimate').description('say what a collection would cost, take and bring; spends nothing'),
  ).addHelpText('after', EXAMPLES)
  addCommand(command, (context, [categories, options]) =>
    withPlan(context, categories as readonly string[], options as PlanOptions, async (_session, plan) => {
      sayPlan(context, plan, { categories: true })
      if (context.json) context.sayJson(planJson(plan))
      return 0
    }),
  )
}
