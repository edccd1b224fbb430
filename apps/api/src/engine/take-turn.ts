/**
 * A turn: a worker with a place free gives one run a lane. The ticket is taken, the run chosen, the lane written down and
 * the ticket passed on in one transaction, so a worker that dies in between has taken nothing.
 */
import { type Db, type Tx, withTxRetry } from '../db/client.ts'
import { type Asking, type Choice, chooseRun, openedLane } from '../queue/lanes.ts'
import { passOn, takeTicket, ticketWaits } from '../queue/tickets.ts'
import { type RunSnapshot, runSnapshot } from '../runs/snapshot.ts'

export type Turn =
  /** The run has a lane of this worker now. */
  | Readonly<{ kind: 'lane'; run: RunSnapshot }>
  /** A ticket was taken, and no run of that organisation needs a lane of this worker. */
  | Readonly<{ kind: 'nothing' }>
  /** No ticket is due. */
  | Readonly<{ kind: 'none' }>

/**
 * Takes the next ticket and what it gives. A ticket that gave nothing may be taken again after `restMs`. Throws
 * QueueTrouble when there is no queue to take one from.
 */
export async function takeTurn(db: Db, asking: Asking, restMs: number): Promise<Turn> {
  if (!(await ticketWaits(db))) return { kind: 'none' }
  return withTxRetry(db, async (tx) => {
    const ticket = await takeTicket(tx)
    if (!ticket) return { kind: 'none' }
    const choice = await chooseRun(tx, ticket.orgId, asking)
    // Nothing of this organisation runs: the ticket ends, and the next start sends another.
    if (choice.running === 0) return { kind: 'nothing' }
    const run = await openFor(tx, asking, choice)
    await passOn(tx, ticket, run ? 0 : restMs, choice.orgLanes + (run ? 1 : 0))
    return run ? { kind: 'lane', run } : { kind: 'nothing' }
  })
}

/** The same without a queue: asks over the running runs of all organisations. */
export function takeTurnWithoutTicket(db: Db, asking: Asking): Promise<Turn> {
  return withTxRetry(db, async (tx) => {
    const choice = await chooseRun(tx, null, asking)
    const run = await openFor(tx, asking, choice)
    return run ? { kind: 'lane', run } : { kind: 'none' }
  })
}

async function openFor(tx: Tx, asking: Asking, { runId }: Choice): Promise<RunSnapshot | null> {
  if (runId === null) return null
  const run = await runSnapshot(tx, runId)
  if (run) await openedLane(tx, asking.workerId, runId)
  return run
}
