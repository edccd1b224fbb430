/** Probing: finds out, free of charge, whether a stopped account is well again, and lets its runs go on. */
import { AppError } from '../base/errors.ts'
import { type Db, withTxRetry } from '../db/client.ts'
import { nextProbeMs } from '../governor/next-state.ts'
import { beginTesting, postponeProbe, readGovernor, takeDueProbe } from '../governor/store.ts'
import { probe } from '../providers/registry.ts'
import { accountById, withCredentials } from './accounts.ts'

/** A process without the credentials of an account leaves its probe to others, ms. */
const LEAVE_TO_OTHERS_MS = 2_000

/**
 * Probes the stopped accounts that are due and that runs wait for; of the whole fleet one worker probes an account at a
 * time. After a success the account is tested with one call at a time, and the runs that wait for it go on as soon as there
 * are places; after a failure the next probe is set. Returns the names of accounts that succeeded.
 */
export async function probeStopped(db: Db, env: NodeJS.ProcessEnv): Promise<string[]> {
  const well: string[] = []
  for (let id = await takeDueProbe(db); id !== null; id = await takeDueProbe(db)) {
    const accountId = id
    const account = await accountById(db, accountId)
    const outcome = await probeWith(account, env)
    await withTxRetry(db, async (tx) => {
      if (outcome.kind === 'well') await beginTesting(tx, accountId, outcome.note)
      else {
        const stops = (await readGovernor(tx, accountId))?.stopsInRow ?? 1
        const waitMs = outcome.kind === 'unable' ? LEAVE_TO_OTHERS_MS : nextProbeMs(stops + 1, Math.random())
        await postponeProbe(tx, accountId, outcome.note, waitMs)
      }
      await moveResume(tx, accountId)
    })
    if (outcome.kind === 'well') well.push(account.name)
  }
  return well
}

type Probed = Readonly<{ kind: 'well' | 'unwell' | 'unable'; note: string }>

async function probeWith(account: Awaited<ReturnType<typeof accountById>>, env: NodeJS.ProcessEnv): Promise<Probed> {
  try {
    const outcome = await probe(withCredentials(account, env))
    return outcome.ok ? { kind: 'well', note: outcome.note } : { kind: 'unwell', note: outcome.message }
  } catch (error) {
    if (error instanceof AppError) return { kind: 'unable', note: error.message }
    throw error
  }
}

/** Runs that wait for the account wait for its next probe, or not at all when it is tested. */
async function moveResume(tx: Parameters<typeof beginTesting>[0], accountId: string): Promise<void> {
  await tx.query(
    `update collection_runs r set resume_at = case when g.health = 'stopped' then g.probe_at else now() end
     from provider_governors g
     where g.account_id = $1 and r.status = 'paused' and r.pause_reason = 'provider' and r.resume_at is not null
       and (r.search_account_id = g.account_id or (r.list_account_id = g.account_id and r.open_categories > 0))`,
    [accountId],
  )
}
