/** Where the server's time goes: the statements of the measured part, by pg_stat_statements, functions and triggers included. */
import type { Db } from '../../apps/api/src/db/client.ts'
import { markdownTable, rounded } from './report.ts'

/** For `onStage`. Counting costs a few per cent: figures of a profiled run are not for the table. */
export const PROFILE_SETTINGS = `shared_preload_libraries = 'pg_stat_statements'
pg_stat_statements.track = all
pg_stat_statements.track_planning = on`

/** Begins to count in the database of `db`. */
export async function beginProfile(db: Db): Promise<void> {
  await db.query('create extension if not exists pg_stat_statements')
  await db.query('select pg_stat_statements_reset()')
}

/** The fifteen statements that took the longest, as a table; what triggers run counts in the statement that fired them, too. */
export async function readProfile(db: Db): Promise<string> {
  const { rows } = await db.query<Record<string, number | string>>(
    `select case when toplevel then 'client' else 'trigger' end as by, calls, total_exec_time as ms,
       mean_exec_time as mean, total_plan_time as plan, rows, shared_blks_dirtied as dirtied, wal_bytes::float8 as wal,
       left(regexp_replace(query, '\\s+', ' ', 'g'), 90) as text
     from pg_stat_statements s join pg_database d on d.oid = s.dbid
     where d.datname = current_database() order by total_exec_time desc limit 15`,
  )
  return markdownTable(
    ['by', 'calls', 'ms', 'ms each', 'planning ms', 'rows', 'pages dirtied', 'log MB', 'statement'],
    rows.map((row) => [
      String(row['by']),
      Number(row['calls']),
      rounded(Number(row['ms'])),
      rounded(Number(row['mean']), 2),
      rounded(Number(row['plan'])),
      Number(row['rows']),
      Number(row['dirtied']),
      rounded(Number(row['wal']) / 1e6, 1),
      `\`${String(row['text'])}\``,
    ]),
  )
}
