/** gleaner calls: the ledger of a run, and settling those of its calls nobody knows the fate of. */
import { type Command, Option } from 'commander'
import type { Micros } from '../../base/money.ts'
import type { Queryable } from '../../db/client.ts'
import { type Account, accountById, accountByName } from '../../engine/accounts.ts'
import { type Reconciled, reconcileAccount } from '../../engine/reconcile.ts'
import { type Resolved, type ResolveInput, resolveCalls } from '../../engine/resolve-calls.ts'
import { type CallRow, listCalls } from '../../ledger/list-calls.ts'
import { findRun } from '../../runs/find-run.ts'
import { leftMicros, type RunSnapshot } from '../../runs/snapshot.ts'
import { addCommand } from '../add-command.ts'
import { askYes } from '../ask.ts'
import { badInput, type Context, withSession } from '../context.ts'
import { factsOf } from '../facts.ts'
import { counted, duration, exactMoney, fullMoment, readDollars, readWhole } from '../format.ts'
import { actLine, runJson } from '../join-run.ts'
import { Exit } from '../print-error.ts'
import { table } from '../table.ts'

const ABOUT = `
A suspect call was sent and no answer came: it may have been charged, so it counts against the cap. Resolve settles it on
your word, once and for good, with your name and note in the audit log. It works on ended runs too.

Examples:
  gleaner calls last --state suspect
  gleaner calls resolve 3 --all --charged --note "on the November invoice"
  gleaner calls resolve 3 --call 0197... --not-charged --note "provider support, case 1234"`

const RECONCILE_ABOUT = `
A provider's count is never less than what it charged. When it equals what answers have settled, none of the suspect calls was
charged, and they are released. Anything else proves nothing: the command says by how much the count differs, and you decide.
The account has to rest: nothing in flight, nothing sent for 15 minutes. Reports of live accounts are told and settle
nothing, because nobody documents how soon they count. A worker does the same for the sandbox once a minute.`

/** Adds the group. */
export function addCalls(program: Command): void {
  const group = program
    .command('calls')
    .description('the calls of a run: what was held and charged; settle suspect ones')
  group.argument('[ref]', 'number or id of the run, or "last"', 'last').addHelpText('after', ABOUT)
  addList(group)
  addResolve(group)
  addReconcile(group)
}

/** Adds `run calls`, which is `calls` under another name. */
export function addRunCalls(group: Command): void {
  const command = group
    .command('calls')
    .description('the ledger of a run: every request, what was held and charged for it')
    .argument('<ref>', 'the run')
    .addHelpText(
      'after',
      '\nExamples:\n  gleaner run calls last --state suspect\n  gleaner run calls 3 --limit 1000 --json',
    )
  addList(command)
}

function addList(command: Command): void {
  command
    .addOption(
      new Option('--state <state>', 'only calls in this state').choices(['held', 'settled', 'released', 'suspect']),
    )
    .option('--limit <n>', 'at most so many, newest first', '50')
  addCommand(command, (context, [ref, given]) => {
    const options = given as { state?: string; limit: string }
    const limit = readWhole(options.limit, '--limit', 1, 1_000_000)
    return withSession(context, async ({ db, actor }) => {
      const run = await findRun(db, actor.orgId, String(ref))
      const calls = await listCalls(db, run.id, { limit, ...(options.state ? { state: options.state } : {}) })
      if (context.json) return context.sayJson(calls)
      if (calls.length === 0) {
        return context.say(
          options.state ? `No call of run ${run.number} is ${options.state}.` : 'No call was made yet.',
        )
      }
      const { decimals } = await factsOf(db, run)
      context.say(callTable(context, calls, decimals))
    })
  })
}

function callTable(context: Context, calls: readonly CallRow[], decimals: number): string {
  const money = (amount: number | null) => (amount === null ? '—' : exactMoney(amount as Micros, decimals))
  return table<CallRow>(
    context,
    [
      { head: 'Call', spare: 5, cell: (call) => call.id },
      { head: 'State', cell: (call) => (call.state === 'suspect' ? context.paint.warn(call.state) : call.state) },
      { head: 'For', cell: (call) => call.target },
      { head: 'Rung', spare: 2, right: true, cell: (call) => String(call.rung ?? '') },
      { head: 'Try', spare: 3, right: true, cell: (call) => String(call.attempt) },
      { head: 'Outcome', cell: (call) => call.outcome ?? '' },
      { head: 'Held', right: true, cell: (call) => money(call.holdMicros) },
      { head: 'Charged', right: true, cell: (call) => money(call.chargeMicros) },
      { head: 'Sent', cell: (call) => fullMoment(call.heldAt) },
      {
        head: 'Took',
        spare: 4,
        right: true,
        cell: (call) => (call.durationMs === null ? '—' : duration(call.durationMs)),
      },
      { head: 'Error', spare: 1, gives: 16, cell: (call) => resolvedWords(call) ?? call.errorMessage ?? '' },
    ],
    calls,
  )
}

/** What was settled without an answer, and on whose word. */
function resolvedWords({ resolution }: CallRow): string | null {
  if (!resolution) return null
  const { verdict, note, overruled } = resolution
  const said = `settled as ${verdict === 'charged' ? 'charged' : 'not charged'}: ${note}`
  return overruled ? `its answer came after all; was ${said}` : said
}

type ResolveOptions = Readonly<{
  call?: readonly string[]
  all?: boolean
  charged?: boolean
  notCharged?: boolean
  amount?: string
  note: string
  yes?: boolean
}>

function addResolve(group: Command): void {
  const command = group
    .command('resolve')
    .description('settle suspect calls as charged or not charged, on your word')
    .argument('<ref>', 'the run')
    .option('--call <id...>', 'these calls')
    .option('--all', 'every suspect call of the run whose answer cannot come any more')
    .option('--charged', 'they were charged: what was held, or --amount')
    .option('--not-charged', 'they were not charged: the money is free again')
    .option('--amount <dollars>', 'with --charged: what each of them cost')
    .requiredOption('--note <text>', 'how you know; kept in the audit log')
    .option('-y, --yes', 'without asking')
    .addHelpText('after', ABOUT)
  addCommand(command, (context, [ref, given]) => {
    const options = given as ResolveOptions
    const chosen = readChoice(options)
    return withSession(context, async ({ db, actor }) => {
      const run = await findRun(db, actor.orgId, String(ref))
      const { decimals } = await factsOf(db, run)
      await confirm(context, run, chosen, decimals, options.yes === true)
      const resolved = await resolveCalls(db, { runId: run.id, actorId: actor.userId, ...chosen })
      if (context.json) {
        const { run: now, ...figures } = resolved
        return context.sayJson({ ...figures, run: runJson(now) })
      }
      sayResolved(context, chosen, resolved, decimals)
    })
  })
}

type Chosen = Pick<ResolveInput, 'calls' | 'verdict' | 'note'>

const CALL_ID = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/i

function readChoice(options: ResolveOptions): Chosen {
  const { call: ids, all, charged, notCharged, amount, note } = options
  if ((ids !== undefined) === (all === true)) throw badInput('Which calls?', 'Name them with --call, or take --all.')
  if ((charged === true) === (notCharged === true)) {
    throw badInput(
      'Were they charged or not?',
      'Give --charged or --not-charged. When you do not know, leave them suspect.',
    )
  }
  if (amount !== undefined && !charged) throw badInput('--amount belongs to --charged.')
  const unreadable = ids?.find((id) => !CALL_ID.test(id))
  if (unreadable !== undefined) {
    throw badInput(`"${unreadable}" is not the id of a call.`, 'gleaner calls --state suspect --json shows them.')
  }
  const amountMicros = amount === undefined ? {} : { amountMicros: readAmount(amount) }
  return {
    calls: ids ?? 'all',
    note,
    verdict: charged ? { kind: 'charged', ...amountMicros } : { kind: 'not_charged' },
  }
}

function readAmount(text: string): Micros {
  const amount = readDollars(text)
  if (amount >= 0) return amount
  throw badInput(`"${text}" cannot be charged.`, 'Give dollars from 0 on, such as 0.005.')
}

async function confirm(
  context: Context,
  run: RunSnapshot,
  chosen: Chosen,
  decimals: number,
  yes: boolean,
): Promise<void> {
  if (!context.canAsk || yes || run.suspectCalls === 0) return
  const number = chosen.calls === 'all' ? run.suspectCalls : chosen.calls.length
  const as = chosen.verdict.kind === 'charged' ? 'charged' : 'not charged'
  const money = chosen.calls === 'all' ? `, ${exactMoney(run.suspectMicros, decimals)}` : ''
  if (await askYes(`Settle ${counted(number, 'suspect call')}${money} as ${as}? This is final.`)) return
  context.say('Nothing was changed.')
  throw new Exit(0)
}

function sayResolved(context: Context, { verdict }: Chosen, resolved: Resolved, decimals: number): void {
  const { run, calls, chargedMicros, breachMicros, left } = resolved
  const money = (amount: Micros) => exactMoney(amount, decimals)
  const were = `${counted(calls, 'suspect call')} of run ${run.number} ${calls === 1 ? 'is' : 'are'} settled as`
  const free = `${money(leftMicros(run))} of the cap is ${run.completedAt ? 'unspent' : 'left'}.`
  context.tell(
    verdict.kind === 'charged' ? `${were} charged, ${money(chargedMicros)}. ${free}` : `${were} not charged. ${free}`,
  )
  if (breachMicros > 0) {
    context.tell(`${money(breachMicros)} of it is above what was held: the provider charged more than its list price.`)
  }
  if (left > 0) {
    context.tell(`${counted(left, 'call')} may still be answered and ${left === 1 ? 'stays' : 'stay'} suspect.`)
  }
  if (run.status === 'paused' && run.pauseReason === 'budget' && leftMicros(run) > 0)
    context.say(actLine(context, `gleaner run resume ${run.number}`, 'let it go on'))
}

function addReconcile(group: Command): void {
  const command = group
    .command('reconcile')
    .description('hold suspect calls against the usage report of their provider')
    .argument('[ref]', 'number or id of the run, or "last"', 'last')
    .option('--account <name>', 'every run at this account, instead of the accounts of one run')
    .addHelpText('after', RECONCILE_ABOUT)
  addCommand(command, (context, [ref, given]) => {
    const { account } = given as { account?: string }
    return withSession(context, async ({ db, actor }) => {
      const accounts =
        account === undefined ? await accountsOf(db, actor.orgId, String(ref)) : [await accountByName(db, account)]
      const options = { actorId: actor.userId, env: context.env }
      const results: Reconciled[] = []
      for (const one of accounts) results.push(...(await reconcileAccount(db, one, options)))
      if (context.json) return context.sayJson(results)
      if (results.length === 0) context.say('No suspect call to hold against a report.')
      for (const { account: name, kind, suspect, why } of results) {
        context.tell(`${name}, ${kind}: ${counted(suspect, 'suspect call')}. ${why}`)
      }
    })
  })
}

async function accountsOf(db: Queryable, orgId: string, ref: string): Promise<Account[]> {
  const { listAccountId, searchAccountId } = await findRun(db, orgId, ref)
  const ids = [...new Set([searchAccountId, listAccountId])].filter((id) => id !== null)
  return Promise.all(ids.map((id) => accountById(db, id)))
}
