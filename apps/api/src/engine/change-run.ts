/** What a person changes about a run that is no act of the engine: its name, and that it is there at all. */
import { appendAudit } from '../audit/append.ts'
import { AppError } from '../base/errors.ts'
import type { Tx } from '../db/client.ts'
import { hasState } from '../db/errors.ts'
import { type RunSnapshot, runSnapshot } from '../runs/snapshot.ts'

type Who = Readonly<{ userId: string }>

/** Renames the run, audited. Returns it as it stands. Throws AppError `run.not_found`, also where `tx` may not change it. */
export async function renameRun(tx: Tx, runId: string, name: string, { userId }: Who): Promise<RunSnapshot> {
  const before = await runSnapshot(tx, runId)
  if (!before) throw new AppError('run.not_found', `There is no run ${runId}.`)
  if (before.name === name) return before
  const { rowCount } = await tx.query('update collection_runs set name = $2 where id = $1', [runId, name])
  if (rowCount === 0) throw new AppError('run.not_found', `There is no run ${runId}.`)
  await appendAudit(tx, {
    orgId: before.orgId,
    actorId: userId,
    action: 'run.renamed',
    target: `run:${runId}`,
    before: { name: before.name },
    after: { name },
  })
  return { ...before, name }
}

/** GL002: what the database says of a run whose money is not known yet (migration 045). */
const ILLEGAL = 'GL002'

/**
 * Deletes the run with everything that hangs on it, audited; sellers stay. What it cost still counts for its month. Throws
 * AppError `run.not_found`, `run.wrong_state` while it goes on or the fate of a call is not known.
 */
export async function deleteRun(tx: Tx, runId: string, { userId }: Who): Promise<void> {
  const run = await runSnapshot(tx, runId)
  if (!run) throw new AppError('run.not_found', `There is no run ${runId}.`)
  await appendAudit(tx, {
    orgId: run.orgId,
    actorId: userId,
    action: 'run.deleted',
    target: `run:${runId}`,
    before: { number: run.number, name: run.name, status: run.status, spentMicros: run.spentMicros },
  })
  try {
    const { rowCount } = await tx.query('delete from collection_runs where id = $1', [runId])
    if (rowCount === 0) throw new AppError('run.not_found', `There is no run ${runId}.`)
  } catch (error) {
    if (!hasState(error, ILLEGAL)) throw error
    throw new AppError('run.wrong_state', `Run ${run.number} is ${run.status} and cannot be deleted yet.`, {
      hint: 'Let it end, or cancel it; calls held or suspect have to be settled first.',
      cause: error,
    })
  }
}
