/** pg-boss on a connection of ours: it neither opens connections nor sets timers, every statement runs where we say. */
import type { Db as BossDb, PgBoss } from 'pg-boss'
import type { Queryable } from '../db/client.ts'
import { isConnectionError, isRetryable } from '../db/errors.ts'

/** The library's own schema. Nothing of value is in it: docs/adr/0008. */
export const QUEUE_SCHEMA = 'gleaner_queue'
/** One ticket for each organisation with running runs, its id the key. */
export const TICKETS = 'tickets'

/** The queue cannot be used: its tables are gone, of another version, or may not be touched. Runs go on without it. */
export class QueueTrouble extends Error {
  constructor(cause: unknown) {
    super(`the queue cannot be used: ${cause instanceof Error ? cause.message : String(cause)}`, { cause })
    this.name = 'QueueTrouble'
  }
}

/** The error itself when it is about the connection or may be tried again, else QueueTrouble. */
export function asTrouble(error: unknown): unknown {
  return isConnectionError(error) || isRetryable(error) ? error : new QueueTrouble(error)
}

/** pg-boss whose statements run on `target`, which may be a transaction. Never started, so there is nothing to stop. */
export async function bossOn(target: Queryable): Promise<PgBoss> {
  // Loaded when first needed: it takes 120 ms, a third of what a command takes to start.
  const library = await import('pg-boss')
  const boss = new library.PgBoss({
    db: adapter(target),
    schema: QUEUE_SCHEMA,
    migrate: false,
    createSchema: false,
    supervise: false,
    schedule: false,
    registerInstance: false,
    openTelemetry: { enabled: false },
  })
  // Without a listener an error event would end the process. What matters is thrown by the call itself.
  boss.on('error', () => {})
  return boss
}

function adapter(target: Queryable): BossDb {
  return { executeSql: (text, values) => target.query(text, values) }
}
