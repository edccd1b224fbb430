/** gleaner run …: one run, looked at and acted on. */
import type { Command } from 'commander'
import { checkCap } from '../../engine/create.ts'
import { cancelRun, changeCap, pauseRun, resumeRun } from '../../engine/run-acts.ts'
import { startRun } from '../../engine/start.ts'
import { findRun } from '../../runs/find-run.ts'
import { leftMicros, type RunSnapshot } from '../../runs/snapshot.ts'
import { addCommand } from '../add-command.ts'
import { askYes } from '../ask.ts'
import { type Context, type Session, withSession } from '../context.ts'
import { factsOf } from '../facts.ts'
import { counted, exactMoney, moneyUp, readDollars } from '../format.ts'
import { actLine, joinRun, runJson } from '../join-run.ts'
import { Exit } from '../print-error.ts'
import { likelyRest, noticesOf, stateWords } from '../words.ts'
import { addRunCalls } from './calls.ts'
import { addRunEvents } from './run-events.ts'
import { addRunRetry } from './run-retry.ts'
import { addRunShow } from './run-show.ts'

/** Adds the group. */
export function addRun(program: Command): void {
  const run = program
    .command('run')
    .description('one run: show, pause, resume, cancel, change its cap, retry, read its events and calls')
    .addHelpText(
      'after',
      '\nREF is the number of a run, its id, or "last".\n\nExamples:\n  gleaner run show last\n  gleaner run cap 3 10 --resume',
    )
  addRunShow(run)
  addPause(run)
  addResume(run)
  addCancel(run)
  addCap(run)
  addRunRetry(run)
  addRunEvents(run)
  addRunCalls(run)
}

function addPause(group: Command): void {
  const command = group
    .command('pause')
    .description('take no new calls; those in flight are finished and booked')
    .argument('<ref>', 'the run')
  addCommand(command, (context, [ref]) =>
    withSession(context, async (session) => {
      const { db, actor } = session
      const before = await findRun(db, actor.orgId, String(ref))
      const run = await pauseRun(db, before.id, { reason: 'operator', actorId: actor.userId })
      if (context.json) return context.sayJson(runJson(run))
      if (run.status !== 'paused') {
        context.say(`Run ${run.number} is ${stateWords(run).toLowerCase()}; there is nothing to pause.`)
        return 4
      }
      if (run.heldCalls > 0) {
        const { decimals } = await factsOf(db, run)
        const most = exactMoney(run.heldMicros, decimals)
        context.say(`Pausing. ${counted(run.heldCalls, 'call')} in flight are being finished, at most ${most}.`)
      }
      await sayNotices(context, session, run)
      return 0
    }),
  )
}

function addResume(group: Command): void {
  const command = group
    .command('resume')
    .description('let a paused run go on, take part in it and show it')
    .argument('<ref>', 'the run')
    .option('--detach', 'leave it to the workers that are up')
    .addHelpText('after', '\nExamples:\n  gleaner run resume last\n  gleaner run resume 3 --detach')
  addCommand(command, (context, [ref, options]) =>
    withSession(context, async (session) => {
      const run = await findRun(session.db, session.actor.orgId, String(ref))
      return goOn(context, session, run, (options as { detach?: boolean }).detach === true)
    }),
  )
}

/** Resumes (or starts, or only joins) the run and takes part in it unless `detach`. Returns the exit status. */
async function goOn(context: Context, session: Session, found: RunSnapshot, detach: boolean): Promise<number> {
  const { db, actor } = session
  const { callPrice } = await factsOf(db, found)
  const price = callPrice === null ? {} : { callPriceMicros: callPrice }
  const run =
    found.status === 'pending'
      ? await startRun(db, found.id, actor.userId)
      : await resumeRun(db, found.id, { actorId: actor.userId, ...price })
  if (!detach) return joinRun(context, session, run)
  if (context.json) context.sayJson(runJson(run))
  else context.say(`Run ${run.number} is ${run.status}. It goes on while a worker is up.`)
  return 0
}

function addCancel(group: Command): void {
  const command = group
    .command('cancel')
    .description('end a run for good; what was collected is kept')
    .argument('<ref>', 'the run')
    .option('-y, --yes', 'without asking')
  addCommand(command, (context, [ref, options]) =>
    withSession(context, async (session) => {
      const { db, actor } = session
      const found = await findRun(db, actor.orgId, String(ref))
      if (context.canAsk && !(options as { yes?: boolean }).yes && !found.completedAt)
        await confirmCancel(context, found)
      const run = await cancelRun(db, found.id, actor.userId)
      if (context.json) return context.sayJson(runJson(run))
      await sayNotices(context, session, run)
      return 0
    }),
  )
}

async function confirmCancel(context: Context, run: RunSnapshot): Promise<void> {
  const left = counted(run.pendingItems + run.processingItems, 'product stays', 'products stay')
  const kept = counted(run.foundItems + run.noneItems, 'result is', 'results are')
  const flying = run.heldCalls > 0 ? ` ${counted(run.heldCalls, 'call')} in flight are finished and booked.` : ''
  context.say(`Cancel ${run.name}? ${left} unsearched, ${kept} kept.${flying}`)
  context.say('A cancelled run cannot go on; a new run can collect the rest.')
  if (await askYes('Cancel the run?')) return
  context.say('Nothing was changed.')
  throw new Exit(0)
}

function addCap(group: Command): void {
  const command = group
    .command('cap')
    .description('raise or lower the cap of a run')
    .argument('<ref>', 'the run')
    .argument('<dollars>', 'the new cap, in all')
    .option('--resume', 'and let it go on, taking part in it')
    .option('--detach', 'with --resume: leave it to the workers that are up')
    .addHelpText('after', '\nExamples:\n  gleaner run cap 3 10\n  gleaner run cap last 10 --resume')
  addCommand(command, (context, [ref, dollars, given]) => {
    const cap = readDollars(String(dollars))
    checkCap(cap)
    const options = given as { resume?: boolean; detach?: boolean }
    return withSession(context, async (session) => {
      const { db, actor } = session
      const before = await findRun(db, actor.orgId, String(ref))
      const run = await changeCap(db, before.id, cap, actor.userId)
      if (!context.json) sayCapChange(context, before, run)
      if (options.resume) return goOn(context, session, run, options.detach === true)
      if (context.json) context.sayJson(runJson(run))
      else if (run.status === 'paused')
        context.say(actLine(context, `gleaner run resume ${run.number}`, 'let it go on'))
      return 0
    })
  })
}

function sayCapChange(context: Context, before: RunSnapshot, run: RunSnapshot): void {
  const [from, to] = [moneyUp(before.capMicros), moneyUp(run.capMicros)]
  if (run.capMicros === before.capMicros) return context.say(`The cap of run ${run.number} is ${to} already.`)
  const raised = run.capMicros > before.capMicros
  const rest = likelyRest(run)
  const needs = rest > 0 ? `; the rest likely needs ${moneyUp(rest)}` : ''
  context.say(
    `${raised ? 'Raised' : 'Lowered'} the cap of run ${run.number} from ${from} to ${to}. ` +
      `Up to ${moneyUp(leftMicros(run))} more can be spent${needs}.`,
  )
}

/** How the run stands, in words and with the commands that come next. */
export async function sayNotices(context: Context, session: Session, run: RunSnapshot): Promise<void> {
  for (const notice of noticesOf(run, await factsOf(session.db, run))) {
    context.tell(notice.text)
    for (const act of notice.acts) context.say(actLine(context, act))
  }
}
