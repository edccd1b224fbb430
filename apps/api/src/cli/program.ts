/** All commands, and the options every one of them takes. */
import { Command } from 'commander'
import { addAccounts } from './commands/accounts.ts'
import { addCalls } from './commands/calls.ts'
import { addCategories } from './commands/categories.ts'
import { addCollect } from './commands/collect.ts'
import { addDoctor } from './commands/doctor.ts'
import { addEstimate } from './commands/estimate.ts'
import { addKey } from './commands/key.ts'
import { addMigrate } from './commands/migrate.ts'
import { addNotifications } from './commands/notifications.ts'
import { addOwnerLink } from './commands/owner-link.ts'
import { addRun } from './commands/run.ts'
import { addRuns } from './commands/runs.ts'
import { addSellers } from './commands/sellers.ts'
import { addServe } from './commands/serve.ts'
import { addSettings } from './commands/settings.ts'
import { addStart } from './commands/start.ts'
import { addVerify } from './commands/verify.ts'
import { addWorker } from './commands/worker.ts'
import { addWorkers } from './commands/workers.ts'
import { VERSION } from './join-run.ts'
import { wantsJson } from './print-error.ts'

const ABOUT = `Collects eBay sellers for Amazon best sellers under a hard cap.`

const AFTER = `
First steps:
  gleaner start                             everything up, with a first collection from the sandbox
  gleaner categories coffee                 find a category
  gleaner collect kitchen/289742 --cap 5    collect from it
  gleaner sellers list                      who was found

Exit status: 0 done, 1 fault, 2 wrong input, 3 not found, 4 not possible in this state, 5 database or provider not
usable, 6 verify found something, 7 the run paused, 8 the run failed or was cancelled, 9 stopped with calls given up,
130 interrupted.
gleaner <command> --help says more. docs/cli.md has all of it.`

/** The program. It throws CommanderError instead of ending the process. */
export function makeProgram(): Command {
  const program = new Command('gleaner')
    .description(ABOUT)
    .version(VERSION, '-V, --version', 'print the version')
    .option('--json', 'print the result as JSON, errors as JSON on stderr')
    .option('--org <name>', 'the organisation to work for; the first one when left out')
    .option('-q, --quiet', 'print results and errors only')
    .option('--no-color', 'no colours (NO_COLOR does the same)')
    .option('--data-dir <dir>', 'where the embedded database, the sandbox and the log are; .gleaner when left out')
    .option('--debug', 'print the details of an unexpected error')
    .addHelpText('after', AFTER)
    .configureHelp({ showGlobalOptions: false })
    .addHelpText('afterAll', ({ command }) =>
      command.parent ? '\nOptions of every command (--json, --org, --quiet, --data-dir, …): gleaner --help' : '',
    )
    .configureOutput({
      outputError: (text, write) => {
        if (!wantsJson()) write(text.replace(/^error: (.)/, (_, first: string) => first.toUpperCase()))
      },
    })
    .helpCommand(false)
    .showSuggestionAfterError(true)
    .exitOverride()
  program.commandsGroup('Collect:')
  addStart(program)
  addCollect(program)
  addEstimate(program)
  addCategories(program)
  program.commandsGroup('Look and act:')
  addRuns(program)
  addRun(program)
  addCalls(program)
  addSellers(program)
  program.commandsGroup('Set up:')
  addSettings(program)
  addAccounts(program)
  addNotifications(program)
  addOwnerLink(program)
  program.commandsGroup('Operate:')
  addServe(program)
  addWorker(program)
  addWorkers(program)
  addDoctor(program)
  addKey(program)
  addVerify(program)
  addMigrate(program)
  return program
}
