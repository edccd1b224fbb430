/** A sample first: ten products, then the estimate from what they took, then the rest if that is wanted. */
import { addMicros, type Micros } from '../base/money.ts'
import { type Limit, nearestLimit } from '../engine/cap-covers.ts'
import { changeCap, resumeRun } from '../engine/run-acts.ts'
import { estimateFromSample } from '../engine/sample.ts'
import { monthOf } from '../ledger/month.ts'
import { collectable, type Estimate } from '../runs/estimate.ts'
import { type RunSnapshot, runSnapshot } from '../runs/snapshot.ts'
import { askYes } from './ask.ts'
import type { Context, Session } from './context.ts'
import { capWords, estimateWords, figureLines } from './estimate-words.ts'
import { counted, moneyUp } from './format.ts'
import { actLines, joinRun, runJson, sayHowItStands, workOn } from './join-run.ts'
import { createAndStart } from './new-run.ts'
import type { Plan } from './plan-run.ts'
import { EXIT } from './print-error.ts'

/**
 * Starts the plan with its sample, shows what the whole run will cost by it, and goes on with the same run under the plan's
 * cap: when `goOn` says so, or the person at the terminal does. Otherwise the run stays paused and keeps everything.
 * Returns the exit status.
 */
export async function sampleFirst(
  context: Context,
  session: Session,
  plan: Plan,
  options: Readonly<{ goOn: boolean; ask: boolean }>,
): Promise<number> {
  const started = await createAndStart(session, { ...plan.wanted, sample: true })
  const { status, view } = await workOn(context, session, started)
  const { run } = view
  if (run.sampledAt === null || run.status !== 'paused') {
    if (context.json) context.sayJson({ run: runJson(run), estimate: null })
    else sayHowItStands(context, view)
    return status
  }
  const estimate = await estimateFromSample(session.db, run)
  // What the sample took is part of the estimate, and the month has counted it.
  const used = addMicros(run.spentMicros, run.heldMicros, run.suspectMicros)
  const limit = nearestLimit(plan.capMicros, await monthOf(session.db, run.orgId), used)
  sayEstimate(context, run, { limit, upToCap: plan.upToCap }, estimate)
  const covered = limit.micros >= estimate.cost.low || plan.upToCap
  const on = covered && (options.goOn || (options.ask && context.canAsk && (await askOn(plan, run))))
  if (on) return goOn(context, session, run, plan.capMicros)
  if (context.json) context.sayJson({ run: runJson(run), estimate })
  else sayActs(context, run, estimate)
  return EXIT.paused
}

type Bounds = Readonly<{ limit: Limit; upToCap: boolean }>

function sayEstimate(context: Context, run: RunSnapshot, { limit, upToCap }: Bounds, estimate: Estimate): void {
  if (context.json || context.quiet) return
  const { paint, say } = context
  const label = (text: string) => paint.dim(text.padEnd(10))
  say()
  say(`${label('Sample')}${counted(run.processedItems, 'product')} searched for ${moneyUp(run.spentMicros)}.`)
  say(`${label('Estimate')}${estimateWords(estimate)}`)
  for (const line of figureLines(estimate)) say(`${label('')}${line}`)
  say(`${label('')}Of the whole run; what the sample has paid for is not paid again.`)
  const partly = capWords(limit, estimate, collectable(limit.micros, estimate), upToCap)
  if (partly) say(`${label('')}${paint.warn(partly)}`)
}

function askOn({ capMicros }: Plan, run: RunSnapshot): Promise<boolean> {
  return askYes(`Go on with run ${run.number}, spending at most ${moneyUp(capMicros)} in all?`)
}

function sayActs(context: Context, run: RunSnapshot, estimate: Estimate): void {
  const cap = Math.ceil(estimate.cost.high / 1_000_000)
  context.say(`Run ${run.number} is paused and keeps everything.`)
  const acts = actLines(context, [
    [`gleaner run cap ${run.number} ${cap} --resume`, 'go on with the rest'],
    [`gleaner run cancel ${run.number}`, 'leave it at that'],
  ])
  for (const act of acts) context.say(act)
}

async function goOn(context: Context, session: Session, run: RunSnapshot, cap: Micros): Promise<number> {
  const { db, actor } = session
  if (cap > run.capMicros) await changeCap(db, run.id, cap, actor.userId)
  await resumeRun(db, run.id, { actorId: actor.userId })
  return joinRun(context, session, (await runSnapshot(db, run.id)) ?? run)
}
