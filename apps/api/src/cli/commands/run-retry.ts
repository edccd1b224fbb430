/** gleaner run retry: a new run for what an ended one left unanswered. */
import type { Command } from 'commander'
import type { Micros } from '../../base/money.ts'
import { openAccount } from '../../engine/account-credentials.ts'
import { checkCap } from '../../engine/create.ts'
import { rescueRuns } from '../../engine/rescue.ts'
import {
  checkRetryCovered,
  planRetry,
  RETRIED_BY_DEFAULT,
  type RetryInput,
  type RetryPlan,
  retryRun,
} from '../../engine/retry.ts'
import { startRun } from '../../engine/start.ts'
import { leftOfMonth } from '../../ledger/month.ts'
import { findRun } from '../../runs/find-run.ts'
import { RETRY_REASONS, type RetryReason } from '../../runs/retries.ts'
import { addCommand } from '../add-command.ts'
import { askYes } from '../ask.ts'
import { badInput, type Context, type Session, withSession } from '../context.ts'
import { counted, moneyDown, moneyUp, readDollars } from '../format.ts'
import { actLine, joinRun, runJson } from '../join-run.ts'
import { Exit } from '../print-error.ts'

type RetryOptions = Readonly<{
  only?: string
  all?: boolean
  cap?: string
  upToCap?: boolean
  name?: string
  estimate?: boolean
  yes?: boolean
  detach?: boolean
}>

const ABOUT = `
A new run, linked to this one, searches only what this one has no answer to. It takes over accounts, filters and queries.

  blocked    products the provider's page refused
  drift      products whose answer no longer had the expected shape
  rest       products and lists a failed or cancelled run had not come to
  lists      best-seller lists that could not be read
  rejected   products whose request was refused as invalid: only with --all or --only rejected

Products that another run of the same family has answered since are left out.

Examples:
  gleaner run retry last
  gleaner run retry 3 --only blocked --cap 1
  gleaner run retry 3 --estimate`

/** Adds the command. */
export function addRunRetry(group: Command): void {
  const command = group
    .command('retry')
    .description('search again, as a new run, what an ended run left unanswered')
    .argument('<ref>', 'the run')
    .option('--only <reasons>', `only these, with commas: ${RETRY_REASONS.join(', ')}`)
    .option('--all', 'rejected products too')
    .option('--cap <dollars>', 'the most the new run may spend; left out, the most it is estimated to cost')
    .option('--up-to-cap', 'start also when the cap will not do for all of it')
    .option('--name <text>', 'what to call it')
    .option('--estimate', 'say what would be taken up and what it will cost, and stop')
    .option('-y, --yes', 'start without asking')
    .option('--detach', 'start the run and leave it to the workers that are up')
    .addHelpText('after', ABOUT)
  addCommand(command, (context, [ref, given]) => {
    const options = given as RetryOptions
    const capMicros = options.cap === undefined ? undefined : readDollars(options.cap)
    if (capMicros !== undefined) checkCap(capMicros)
    const reasons = readReasons(options)
    return withSession(context, async (session) => {
      const { db, actor } = session
      const found = await findRun(db, actor.orgId, String(ref))
      // What a dead worker left in flight would stand in the way.
      if (found.heldCalls > 0) await rescueRuns(db)
      const input: RetryInput = {
        actor,
        runId: found.id,
        reasons,
        ...(capMicros === undefined ? {} : { capMicros }),
        upToCap: options.upToCap === true,
        ...(options.name === undefined ? {} : { name: options.name }),
      }
      return retry(context, session, input, options)
    })
  })
}

async function retry(context: Context, session: Session, input: RetryInput, options: RetryOptions): Promise<number> {
  const { db, actor } = session
  const planned = await planRetry(db, input)
  if (options.estimate) {
    const { counts, estimate, capMicros, parent } = planned
    if (context.json) context.sayJson({ retryOf: parent.number, counts, estimate, capMicros })
    else sayPlan(context, planned)
    return 0
  }
  sayPlan(context, planned)
  checkRetryCovered(planned, input.upToCap ?? false)
  for (const account of [planned.accounts.list, planned.accounts.search])
    if (account) await openAccount(db, account, context.env)
  await askToStart(context, planned, options)
  const { run: created } = await retryRun(db, input)
  const run = await startRun(db, created.id, actor.userId)
  if (!options.detach) return joinRun(context, session, run)
  if (context.json) context.sayJson(runJson(run))
  else {
    context.say(`Run ${run.number}, ${run.name}, is ${run.status}. A worker that is up works on it:`)
    context.say(actLine(context, `gleaner run show ${run.number}`, 'how it stands'))
  }
  return 0
}

function readReasons({ only, all }: RetryOptions): readonly RetryReason[] {
  if (only !== undefined && all) throw badInput('--only and --all exclude each other.', 'Leave one of them out.')
  if (all) return RETRY_REASONS
  if (only === undefined) return RETRIED_BY_DEFAULT
  const wanted = only.split(',').map((reason) => reason.trim().toLowerCase())
  const unknown = wanted.find((reason) => !RETRY_REASONS.some((known) => known === reason))
  if (unknown !== undefined) {
    throw badInput(`"${unknown}" is nothing that can be retried.`, `Give some of: ${RETRY_REASONS.join(', ')}.`)
  }
  return RETRY_REASONS.filter((reason) => wanted.includes(reason))
}

function sayPlan(context: Context, plan: RetryPlan): void {
  if (context.json || context.quiet) return
  const { paint, say } = context
  const { parent, estimate, accounts, capMicros, month } = plan
  const label = (text: string) => paint.dim(text.padEnd(10))
  say(`${label('Retry')}${takenUp(plan)} of run ${parent.number}, ${parent.name}`)
  say(`${label('From')}${[accounts.list?.name, accounts.search.name].filter(Boolean).join(' and ')}`)
  say(`${label('Estimate')}${costWords(estimate)}${accounts.search.sandbox ? ` ${paint.dim('SANDBOX')}` : ''}`)
  say(`${label('Cap')}${moneyUp(capMicros)}`)
  const left = leftOfMonth(month)
  if (left !== null && left < capMicros) say(`${label('Month')}${paint.warn(`${moneyDown(left)} left`)}`)
}

function costWords({ cost: { low, likely, high } }: RetryPlan['estimate']): string {
  if (high === 0) return 'Every call of this run is free.'
  return `${moneyUp(low)} to ${moneyUp(high)}, likely ${moneyUp(likely)}. From list prices.`
}

/** "31 blocked and 12 drift products, 1 list". */
function takenUp({ products, categories }: RetryPlan): string {
  const reasons = RETRY_REASONS.flatMap((reason) => {
    const number = products.filter(({ why }) => why === reason).length
    return number === 0 ? [] : [`${number} ${reason === 'rest' ? 'unsearched' : reason}`]
  })
  const searched =
    products.length === 0 ? '' : `${reasons.join(' and ')} ${products.length === 1 ? 'product' : 'products'}`
  const lists = categories.length === 0 ? '' : counted(categories.length, 'list')
  return [searched, lists].filter((part) => part !== '').join(', ')
}

async function askToStart(context: Context, plan: RetryPlan, options: RetryOptions): Promise<void> {
  if (!context.canAsk || options.yes) return
  const money = plan.accounts.search.sandbox ? ' of play money' : ''
  if (await askYes(`Retry ${atMost(plan)}, at most ${moneyUp(plan.capMicros as Micros)}${money}?`)) return
  context.say('Nothing was started.')
  throw new Exit(0)
}

function atMost({ products, categories }: RetryPlan): string {
  return String(products.length > 0 ? products.length : counted(categories.length, 'list'))
}
