/** Probing: finds out, free of charge, whether a stopped account is well again, and lets its runs go on. */
import { type Db, withTxRetry } from '../db/client.ts'
import { nextProbeMs } from '../governor/next-state.ts'
import { beginTesting, postponeProbe, readGovernor, takeDueProbe } from '../governor/store.ts'
import { probe } from '../providers/registry.ts'
import { openAccount } from './account-credentials.ts'
import { accountById } from './accounts.ts'

/**
 * Probes those of these accounts, which this process has credentials for, that are stopped, due and waited for by runs; of
 * the whole fleet one worker probes an account at a time. After a success the account is tested with one call at a time,
 * and the runs that wait for it go on as soon as there are places; after a failure the next probe is set. Returns the names
 * of accounts that succeeded.
 */
export async function probeStopped(db: Db, env: NodeJS.ProcessEnv, accountIds: readonly string[]): Promise<string[]> {
  const well: string[] = []
  for (let id = await takeDueProbe(db, accountIds); id !== null; id = await takeDueProbe(db, accountIds)) {
    const accountId = id
    const account = await accountById(db, accountId)
    const outcome = await probe(await openAccount(db, account, env))
    await withTxRetry(db, async (tx) => {
      if (outcome.ok) await beginTesting(tx, accountId, outcome.note)
      else {
        const stops = (await readGovernor(tx, accountId))?.stopsInRow ?? 1
        await postponeProbe(tx, accountId, outcome.message, nextProbeMs(stops + 1, Math.random()))
      }
      await moveResume(tx, accountId)
    })
    if (outcome.ok) well.push(account.name)
  }
  return well
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
