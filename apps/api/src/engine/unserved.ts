/**
 * Runs whose accounts no worker can use. They pause and say which credentials are missing, so that they take no room from
 * runs that can go on; `resumeDue` lets them go on when a worker has them.
 */
import type { Db, Queryable } from '../db/client.ts'
import { aliveWorkers, canUse, NEEDS, servedBy } from '../queue/credentials.ts'
import { type Account, credentialVariables } from './accounts.ts'
import { pauseRun } from './run-acts.ts'

/** Workers that showed themselves not long ago, also those that have left: one that is restarted is not missed. */
const seenWorkers = (silentMs: string): string => `(
  select * from collection_workers where heartbeat_at >= now() - ${silentMs} * interval '1 ms')`

/**
 * True for a run `r` that no worker could work on for `silentMs`. While none is at work for so long there is nothing to
 * say: the run waits for workers, and its own may be about to start.
 */
const unserved = (silentMs: string): string => `
  not ${servedBy(seenWorkers(silentMs))} and exists (
    select from ${aliveWorkers(silentMs)} w where w.started_at <= now() - ${silentMs} * interval '1 ms')`

/** SQL: true when some running run is one nobody can work on. Many runs share few accounts, so they are looked at once. */
export function someUnserved(silentMs: string): string {
  return `exists (select from (
    select distinct search_account_id, list_account_id, least(open_categories, 1) as open_categories
    from collection_runs where status = 'running') r where ${unserved(silentMs)})`
}

type Needed = Pick<Account, 'name' | 'adapter'> & Readonly<{ missing: boolean }>

/** Pauses the running runs that no worker could work on for `silentMs`, up to 20 of them. Returns their ids. */
export async function pauseUnserved(db: Db, silentMs: number): Promise<string[]> {
  const found = await unservedRuns(db, silentMs)
  for (const { id, needed } of found)
    await pauseRun(db, id, { reason: 'provider', unserved: true, note: noteOf(needed) })
  return found.map(({ id }) => id)
}

async function unservedRuns(
  db: Queryable,
  silentMs: number,
): Promise<Readonly<{ id: string; needed: readonly Needed[] }>[]> {
  const { rows } = await db.query<{ id: string; needed: Needed[] }>(
    `select r.id, (
       select jsonb_agg(jsonb_build_object('name', a.name, 'adapter', a.adapter, 'missing', not exists (
         select from ${seenWorkers('$1')} w where ${canUse('w.credentials')})) order by a.name)
       from provider_accounts a where ${NEEDS}) as needed
     from collection_runs r where r.status = 'running' and ${unserved('$1')} order by r.number limit 20`,
    [silentMs],
  )
  return rows
}

function noteOf(needed: readonly Needed[]): string {
  const missing = needed.filter((account) => account.missing)
  const variables = (accounts: readonly Needed[]): string => accounts.map(credentialVariables).join(' and ')
  if (missing.length === 0) {
    const both = needed.map(({ name }) => name).join(' and ')
    return `No worker has credentials for both ${both}. Set ${variables(needed)} in the environment of one.`
  }
  const names = missing.map(({ name }) => name).join(' and ')
  return `No worker has credentials for ${names}. Set ${variables(missing)} in the environment of a worker.`
}
