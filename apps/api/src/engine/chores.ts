/** What there is to do for the fleet beside its calls: one question, asked by every worker every second. */
import type { Queryable } from '../db/client.ts'
import { SOME_PROBE_DUE } from '../governor/store.ts'
import { someOrphans } from '../ledger/rescue.ts'
import { canUse } from '../queue/credentials.ts'
import { SOME_MAY_START, someMayResume } from './start.ts'
import { someUnserved } from './unserved.ts'

export type Chores = Readonly<{
  /** Calls are held by workers that are gone. */
  rescue: boolean
  /** A stopped account is to be probed. */
  probe: boolean
  /** A running run is one nobody can work on. */
  pause: boolean
  /** The pause of a run may end by itself. */
  resume: boolean
  /** A run that waits in line may be started. */
  start: boolean
  /** Organisations with running runs. */
  organisations: number
  /** Accounts this worker can use, by id. */
  usable: readonly string[]
}>

/**
 * What is to be done now, in one statement: most seconds that is nothing. Whether it really is to be done is decided again
 * by whoever does it, under its locks. A worker is dead after `deadAfterMs` without a heartbeat; `credentials` are this one's.
 */
export async function dueChores(
  db: Queryable,
  asking: Readonly<{ deadAfterMs: number; credentials: readonly string[] }>,
): Promise<Chores> {
  const { rows } = await db.query<Chores>({
    name: 'engine.chores',
    text: `
      select ${someOrphans('$1::float8')} as rescue, ${SOME_PROBE_DUE} as probe, ${someUnserved('$1::float8')} as pause,
        ${someMayResume('$1::float8')} as resume, ${SOME_MAY_START} as start,
        (select count(distinct org_id)::int from collection_runs where status = 'running') as organisations,
        array(select a.id from provider_accounts a where ${canUse('$2::text[]')}) as usable`,
    values: [asking.deadAfterMs, asking.credentials],
  })
  if (!rows[0]) throw new Error('a select without from has one row')
  return rows[0]
}
