/** Housekeeping, every second in every worker: what dead workers left, stopped accounts, pauses that end, who waits in line. */
import { withTxRetry } from '../db/client.ts'
import { dueChores } from '../engine/chores.ts'
import { probeStopped } from '../engine/probe-accounts.ts'
import { rescueRuns } from '../engine/rescue.ts'
import { resumeDue, startWaiting } from '../engine/start.ts'
import { pauseUnserved } from '../engine/unserved.ts'
import { QueueTrouble } from '../queue/boss.ts'
import { missingTickets, sendTickets } from '../queue/tickets.ts'
import { type Lanes, queueBroke, setRest } from './lanes.ts'

/** Does what is due, whichever worker comes first. Where nothing is, it takes one statement, and one more while runs run. */
export async function keepHouse(lanes: Lanes): Promise<void> {
  const { db, env, deadAfterMs, log } = lanes
  const due = await dueChores(db, lanes)
  if (due.rescue)
    for (const rescued of await rescueRuns(db, deadAfterMs)) log('rescued calls of a lost worker', rescued)
  if (due.pause) await pauseUnserved(db, deadAfterMs)
  const well = due.probe ? await probeStopped(db, env, due.usable) : []
  if (due.resume || well.length > 0) await resumeDue(db, deadAfterMs)
  if (due.start) await startWaiting(db)
  setRest(lanes, due.organisations)
  if (due.organisations > 0) await keepTickets(lanes)
}

/** What lost tickets need: they are sent again. Without a queue this is not needed, turns are taken without. */
async function keepTickets(lanes: Lanes): Promise<void> {
  try {
    const missing = await missingTickets(lanes.db)
    if (missing.length > 0) await withTxRetry(lanes.db, (tx) => sendTickets(tx, missing))
  } catch (error) {
    if (!(error instanceof QueueTrouble)) throw error
    queueBroke(lanes, error)
  }
}
