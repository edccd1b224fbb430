/** gleaner runs: the table of runs. */
import { type Command, Option } from 'commander'
import { listRuns } from '../../runs/find-run.ts'
import type { RunStatus } from '../../runs/snapshot.ts'
import { addCommand } from '../add-command.ts'
import { withSession } from '../context.ts'
import { readWhole } from '../format.ts'
import { actLine, runJson } from '../join-run.ts'
import { runTable } from '../run-table.ts'

const STATES: readonly RunStatus[] = ['pending', 'running', 'paused', 'completed', 'failed', 'cancelled']

/** Adds the command. */
export function addRuns(program: Command): void {
  const command = program
    .command('runs')
    .description('list runs, newest first: state, money, searches, sellers')
    .addOption(new Option('--state <state>', 'only runs in this state').choices(STATES))
    .option('--limit <n>', 'at most so many', '20')
    .addHelpText('after', '\nExamples:\n  gleaner runs\n  gleaner runs --state paused --json')
  addCommand(command, (context, [given]) => {
    const options = given as { state?: RunStatus; limit: string }
    const limit = readWhole(options.limit, '--limit', 1, 10_000)
    return withSession(context, async ({ db, actor }) => {
      const runs = await listRuns(db, actor.orgId, { limit, ...(options.state ? { statuses: [options.state] } : {}) })
      if (context.json) context.sayJson(runs.map(runJson))
      else if (runs.length > 0) context.say(await runTable(context, db, runs))
      else if (options.state) context.say(`No run is ${options.state}.`)
      else {
        context.say('No run yet. A run collects the sellers of categories, under a cap:')
        context.say(actLine(context, 'gleaner collect "Kitchen & Dining" --cap 5'))
      }
    })
  })
}
