/** Taking part in a run from the command line: a worker in this process, the live display, and what is said at the end. */
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { ROOT_DIR } from '../base/config.ts'
import type { Micros } from '../base/money.ts'
import type { Db } from '../db/client.ts'
import { keySource } from '../deps.ts'
import { pauseRun } from '../engine/run-acts.ts'
import { listRuns } from '../runs/find-run.ts'
import { leftMicros, type RunSnapshot } from '../runs/snapshot.ts'
import { loadSecrets } from '../secrets/installation.ts'
import { STOP_TIMEOUT_MS, startWorker, type Worker } from '../worker/worker.ts'
import type { Context, Session } from './context.ts'
import { againstEstimate } from './estimate-words.ts'
import { count, counted, exactMoney, moneyUp, perNewSeller } from './format.ts'
import { listenForInterrupt } from './interrupt.ts'
import { EXIT } from './print-error.ts'
import { makeDisplay, tookWords, type View } from './progress.ts'
import { sandboxForRun } from './sandbox-for-run.ts'
import { stopSaying, throwIfAsked } from './stop.ts'
import { drawLast, watchRun } from './watch.ts'
import { noticesOf, unanswered } from './words.ts'

/** The version in package.json. */
export const VERSION: string = (JSON.parse(readFileSync(join(ROOT_DIR, 'package.json'), 'utf8')) as { version: string })
  .version

/**
 * A worker of this process, which writes to the log of this installation. It has the installation's key: without it, it
 * could not tell who must not be collected again. Throws AppError `key.missing` or `key.wrong`.
 */
export async function startCliWorker(context: Context, db: Db): Promise<Worker> {
  const secrets = db.secrets ?? (await loadSecrets(db, keySource(context.config), true))
  return startWorker({ db: { ...db, secrets }, env: context.env, version: VERSION, log: context.log })
}

/**
 * Works on the run and shows it until it ends or pauses, then says how it stands. On Ctrl-C the run is paused, what is in
 * flight is booked, and it says how to go on: nothing is spent unseen. Returns the exit status.
 */
export async function joinRun(context: Context, session: Session, run: RunSnapshot): Promise<number> {
  const { status, view } = await workOn(context, session, run)
  if (context.json) context.sayJson(runJson(view.run))
  else sayHowItStands(context, view)
  return status
}

/** As `joinRun`, and says nothing of how it stands then. Returns that with the exit status. */
export async function workOn(
  context: Context,
  session: Session,
  run: RunSnapshot,
): Promise<Readonly<{ status: number; view: View }>> {
  const { db, actor } = session
  const display = makeDisplay(context)
  const interrupt = listenForInterrupt(() => {
    display.print('Pausing. Calls in flight are being finished. Ctrl-C again stops at once.')
  })
  const sandbox = await sandboxForRun(context, session, run)
  const worker = await startCliWorker(context, db)
  try {
    await sayOthers(context, db, run)
    await watchRun(db, run.id, display, AbortSignal.any([interrupt.signal, worker.asked]))
    if (interrupt.signal.aborted) await pauseRun(db, run.id, { reason: 'operator', actorId: actor.userId })
    await stopSaying(context, worker, STOP_TIMEOUT_MS)
    throwIfAsked(worker)
    const view = await drawLast(db, run.id, display)
    const cut = interrupt.signal.aborted && view.run.status !== 'completed'
    return { status: cut ? EXIT.interrupted : exitOf(view.run), view }
  } finally {
    await worker.stop()
    interrupt.dispose()
    sandbox?.leave()
  }
}

/** A worker takes part in every running run, also in those another command left behind: that costs, so it is said. */
async function sayOthers(context: Context, db: Db, run: RunSnapshot): Promise<void> {
  const others = (await listRuns(db, run.orgId, { statuses: ['running'] })).filter((other) => other.id !== run.id)
  for (const other of others) context.note(`This worker also takes part in run ${other.number}, ${other.name}.`)
}

/** The exit status for a run that is left in this state. */
export function exitOf(run: RunSnapshot): number {
  if (run.status === 'completed') return EXIT.done
  if (run.status === 'failed' || run.status === 'cancelled') return EXIT.ended
  return EXIT.paused
}

/** The run with what follows from its figures, for --json. Amounts are micro-dollars. */
export function runJson(run: RunSnapshot): Record<string, unknown> {
  return { ...run, leftMicros: leftMicros(run), unansweredItems: unanswered(run) }
}

/** The summary of a run that ended, the notices of one that stopped, and the commands that come next. */
export function sayHowItStands(context: Context, view: View): void {
  const { run, facts } = view
  context.say()
  if (run.status === 'completed') context.tell(summary(view))
  for (const notice of noticesOf(run, facts)) {
    context.tell(notice.text)
    for (const act of notice.acts) context.say(actLine(context, act))
  }
  if (run.status === 'running') context.say(`The run is still running. It goes on while a worker is up.`)
}

function summary({ run, facts }: View): string {
  const cost = perNewSeller(run.spentMicros, run.newSellers)
  const each = cost.startsWith('$') || cost.startsWith('<') ? `, ${cost} for each new seller` : ''
  const left = exactMoney(leftMicros(run), facts.decimals)
  const open = unanswered(run) > 0 ? ` ${counted(unanswered(run), 'search', 'searches')} without an answer.` : ''
  return (
    `Completed in ${tookWords(run)}: ${counted(run.sellerItems, 'seller')}, ${newWords(run)}, ` +
    `for ${exactMoney(run.spentMicros, facts.decimals)}${facts.sandbox ? ' of play money' : ''}${each}. ` +
    `${left} of the cap of ${moneyUp(run.capMicros)} is unspent${estimated(run, facts)}.${open}`
  )
}

/** ", inside the estimate" or by how much it was missed. */
function estimated(run: RunSnapshot, { estimate }: View['facts']): string {
  if (!estimate || estimate.high === 0) return ''
  return `; the cost is ${againstEstimate((run.spentMicros + run.suspectMicros) as Micros, estimate)}`
}

function newWords({ newSellers, sellerItems }: RunSnapshot): string {
  if (newSellers === sellerItems && newSellers > 1) return 'all of them new'
  return newSellers === 0 ? 'none of them new' : `${count(newSellers)} of them new`
}

/** A command to copy, as it is called from here. */
export function actLine(context: Context, act: string, why = ''): string {
  return actLines(context, [[act, why]]).join('')
}

/** Commands to copy with what each is for, as far as that fits beside them. */
export function actLines(context: Context, acts: readonly (readonly [act: string, why: string])[]): string[] {
  const { paint } = context
  const called = acts.map(([act, why]) => ({ command: act.replace(/^gleaner(?= |$)/, context.command), why }))
  const widest = Math.max(...called.map(({ command }) => command.length))
  return called.map(({ command, why }) => {
    const room = context.width() - widest - 5
    const gap = ' '.repeat(widest - command.length + 3)
    return `  ${paint.bold(command)}${why && why.length <= room ? `${gap}${paint.dim(why)}` : ''}`
  })
}
