/** The last steps before a plan becomes a run: credentials, the question, what the sandbox has to know. */
import type { Db } from '../db/client.ts'
import { openAccount } from '../engine/account-credentials.ts'
import { askYes } from './ask.ts'
import type { Context } from './context.ts'
import { count, counted, moneyUp } from './format.ts'
import type { Plan, PlanOptions } from './plan-run.ts'
import { sampleWords } from './plan-run.ts'
import { Exit } from './print-error.ts'
import { uploadToSandbox } from './product-file.ts'

/** Makes sure the plan can start and is meant to. Ends the command when the person says no. */
export async function prepareToStart(context: Context, db: Db, plan: Plan, options: PlanOptions): Promise<void> {
  const { wanted, list } = plan
  const { accounts } = wanted
  // A run whose first call is refused would be a run for nothing.
  for (const account of [accounts.list, accounts.search]) if (account) await openAccount(db, account, context.env)
  await askToStart(context, plan, options)
  if (list && accounts.search.sandbox) await uploadToSandbox(accounts.search, list.rows)
}

async function askToStart(context: Context, plan: Plan, options: PlanOptions): Promise<void> {
  if (!context.canAsk || options.yes) return
  const { list, wanted, capMicros } = plan
  const rows =
    list && list.errors.length > 0 ? ` with ${count(list.rows.length)} of ${counted(list.rowCount, 'row')}` : ''
  const money = wanted.accounts.search.sandbox ? ' of play money' : ''
  const question = options.sample
    ? `Start the sample: ${sampleWords(plan)}?`
    : `Start${rows}, spending at most ${moneyUp(capMicros)}${money}?`
  if (await askYes(question)) return
  context.say('Nothing was started.')
  throw new Exit(0)
}
