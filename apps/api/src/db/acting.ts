/**
 * Acts of the engine on behalf of a member. A request has one transaction, opened as the member; inside it the engine works
 * with a `Db` whose reads are the member's and whose transactions are parts of that one: each begins by passing the gate as
 * the member, and only then takes on the role of a worker for the engine's bookkeeping (ADR 0015).
 */
import { AppError } from '../base/errors.ts'
import type { Db, Tx } from './client.ts'
import { isConnectionError } from './errors.ts'
import { type Role, setRole } from './session.ts'

/** What the database is asked, as the member, before the engine may write. */
export type Gate = Readonly<{
  orgId: string
  /** The least role that may. */
  role: Role
  /** The run that is acted on: its row is locked as the member, so row level security says whether it may be changed. */
  runId?: string
}>

/**
 * A `Db` inside `tx`, which was opened on `db` as a member. `query` asks as the member. `withTx` on it passes `gate`, works
 * as service_role inside a savepoint, and gives the role back: what it writes is committed with `tx` and not before, and when
 * it throws it has written nothing. It never runs anything twice: whoever opened `tx` repeats the whole of it.
 */
export function actingFor(db: Db, tx: Tx, gate: Gate): Db {
  return inside(db, tx, async (work) => {
    await passGate(tx, gate)
    await setRole(tx, 'service_role')
    const result = await work()
    await setRole(tx, 'authenticated')
    return result
  })
}

/** `tx` as a `Db` for functions that open transactions of their own: theirs are parts of it, with the same role. */
export function joined(db: Db, tx: Tx): Db {
  return inside(db, tx, (work) => work())
}

function inside(db: Db, tx: Tx, around: <T>(work: () => Promise<T>) => Promise<T>): Db {
  return {
    url: db.url,
    serverVersion: db.serverVersion,
    secrets: db.secrets ?? null,
    get pool(): Db['pool'] {
      throw new Error('a transaction has one connection')
    },
    kysely: tx.kysely,
    query: tx.query,
    close: () => Promise.reject(new Error('a transaction is not closed by who works in it')),
    join: async (work) => {
      await tx.query('savepoint act')
      try {
        const result = await around(() => work(tx))
        await tx.query('release savepoint act')
        return result
      } catch (error) {
        // The role is that of the savepoint again: settings are undone with what was written.
        if (!isConnectionError(error)) await tx.query('rollback to savepoint act; release savepoint act')
        throw error
      }
    },
  }
}

/**
 * Asks the database, as the member whose claims `tx` has, whether the act may be done. Afterwards the run, when there is
 * one, is locked against deletion. Throws AppError `auth.role_too_low`, and `run.not_found` for a run that is none of the
 * member's.
 */
export async function passGate(tx: Tx, { orgId, role, runId }: Gate): Promise<void> {
  const { rows } = await tx.query<{ may: boolean; sees: boolean }>(
    `select gleaner_has_role($1, $2) as may,
       $3::uuid is null or exists (select from collection_runs where id = $3 and org_id = $1) as sees`,
    [orgId, role, runId ?? null],
  )
  if (!rows[0]?.sees) throw new AppError('run.not_found', 'There is no such run.')
  if (!rows[0].may) throw roleTooLow(role)
  if (runId === undefined) return
  const { rowCount } = await tx.query('select from collection_runs where id = $1 and org_id = $2 for key share', [
    runId,
    orgId,
  ])
  if (rowCount === 0) throw roleTooLow(role)
}

/** The refusal of an act that takes more than the member's role. */
export function roleTooLow(role: Role): AppError {
  return new AppError('auth.role_too_low', `This needs the role ${role} in the organisation.`, {
    hint: 'Ask an owner of the organisation. A key does no more than the role it was made for.',
  })
}
