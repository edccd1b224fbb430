/**
 * Tickets: an organisation with running runs has one, and whoever takes it gives one of those runs a lane and passes the
 * ticket on. So organisations take turns, and a fleet asks "is there work?" as often as there are organisations, not as
 * often as there are workers times runs. A ticket says nothing that our own tables do not say: losing it loses nothing.
 */
import type { PgBoss } from 'pg-boss'
import type { Queryable, Tx } from '../db/client.ts'
import { asTrouble, bossOn, QUEUE_SCHEMA, QueueTrouble, TICKETS } from './boss.ts'

export type Ticket = Readonly<{ id: string; orgId: string }>

/**
 * Makes a ticket of this organisation wait to be taken now, with the commit of `tx`. Trouble with the queue is no reason
 * to refuse what the transaction does: then nothing is sent, and workers find the run by themselves.
 */
export async function sendTicket(tx: Tx, orgId: string): Promise<void> {
  const boss = await bossOn(tx)
  await tx.query('savepoint ticket')
  try {
    // A ticket that waits for its time is pulled forward.
    await boss.upsert(TICKETS, {}, { singletonKey: orgId, startAfter: 0, priority: 0 })
    await tx.query('release savepoint ticket')
  } catch (error) {
    const trouble = asTrouble(error)
    if (!(trouble instanceof QueueTrouble)) throw error
    await tx.query('rollback to savepoint ticket')
  }
}

/**
 * Takes the ticket whose turn it is, or null when none is due: the organisation with the fewest lanes first, then the
 * one that waited longest. It is gone for others, and back again when `tx` is rolled back. Throws QueueTrouble.
 */
export async function takeTicket(tx: Tx): Promise<Ticket | null> {
  return queueWork(tx, async (boss) => {
    const [job] = await boss.fetch(TICKETS, { includeMetadata: true })
    if (!job) return null
    // Nothing is kept of tickets that were taken: the table stays as small as the number of organisations.
    await boss.deleteJob(TICKETS, job.id)
    return job.singletonKey ? { id: job.id, orgId: job.singletonKey } : null
  })
}

/**
 * Passes a taken ticket on: it may be taken again after `delayMs`. `lanes` is how many lanes the organisation has.
 * Throws QueueTrouble.
 */
export async function passOn(tx: Tx, ticket: Ticket, delayMs: number, lanes: number): Promise<void> {
  await queueWork(tx, (boss) =>
    boss.send(TICKETS, {}, { singletonKey: ticket.orgId, startAfter: delayMs / 1000, priority: -lanes }),
  )
}

/**
 * True when a ticket is due. One statement, where taking one is a transaction of four: a worker looks four times a second,
 * and mostly there is none. Throws QueueTrouble.
 */
export async function ticketWaits(db: Queryable): Promise<boolean> {
  const look = `select exists (
    select from ${QUEUE_SCHEMA}.job where name = $1 and state < 'active' and start_after <= now()) as waits`
  const { rows } = await db.query<{ waits: boolean }>(look, [TICKETS]).catch(rethrowTrouble)
  return rows[0]?.waits ?? false
}

/** The organisations that have running runs and no ticket: what lost tickets leave. Throws QueueTrouble. */
export async function missingTickets(db: Queryable): Promise<string[]> {
  const look = `
    select org_id as "orgId" from (select distinct org_id from collection_runs where status = 'running') running
    where not exists (
      select from ${QUEUE_SCHEMA}.job t where t.name = $1 and t.singleton_key = org_id::text and t.state < 'active')
    order by org_id`
  const { rows } = await db.query<{ orgId: string }>(look, [TICKETS]).catch(rethrowTrouble)
  return rows.map(({ orgId }) => orgId)
}

/** Sends each of these organisations a ticket, unless it has one that waits. Throws QueueTrouble. */
export async function sendTickets(tx: Tx, orgIds: readonly string[]): Promise<void> {
  await queueWork(tx, async (boss) => {
    for (const orgId of orgIds) await boss.send(TICKETS, {}, { singletonKey: orgId })
  })
}

function rethrowTrouble(error: unknown): never {
  throw asTrouble(error)
}

async function queueWork<T>(target: Queryable, work: (boss: PgBoss) => Promise<T>): Promise<T> {
  try {
    return await work(await bossOn(target))
  } catch (error) {
    throw asTrouble(error)
  }
}
