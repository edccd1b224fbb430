/** Making the queue's schema, as the owner of the database. Workers only use it. */
import about from 'pg-boss/package.json' with { type: 'json' }
import type { Db, Queryable } from '../db/client.ts'
import { underMigrationLock } from '../db/migrate.ts'
import { bossOn, QUEUE_SCHEMA, TICKETS } from './boss.ts'

/**
 * Makes the queue's schema, or makes it anew when it is of an older version of the library: nothing of value is in it,
 * tickets are sent again within a second. One of a newer version is left to the newer program. True when something was
 * changed. Any number of processes may call it at once. Throws AppError db.migration_locked.
 */
export async function installQueue(db: Db): Promise<boolean> {
  if (await isReady(db)) return false
  return underMigrationLock(db, async (target) => {
    if (await isReady(target)) return false
    const version = await installedVersion(target)
    if (version === null || version < about.pgboss.schema) {
      const { getConstructionPlans } = await import('pg-boss')
      await target.query(`drop schema if exists ${QUEUE_SCHEMA} cascade`)
      await target.query(getConstructionPlans(QUEUE_SCHEMA))
    }
    // Short: one ticket waits for each key, whatever is being done with another.
    await (await bossOn(target)).createQueue(TICKETS, { policy: 'short' })
    await target.query(GRANTS)
    return true
  })
}

const GRANTS = `
  revoke all on schema ${QUEUE_SCHEMA} from public;
  revoke all on all tables in schema ${QUEUE_SCHEMA} from public, anon, authenticated;
  revoke all on all functions in schema ${QUEUE_SCHEMA} from public, anon, authenticated;
  revoke all on schema ${QUEUE_SCHEMA} from anon, authenticated;
  grant usage on schema ${QUEUE_SCHEMA} to service_role;
  grant select, insert, update, delete on all tables in schema ${QUEUE_SCHEMA} to service_role;
  grant execute on all functions in schema ${QUEUE_SCHEMA} to service_role`

async function isReady(target: Queryable): Promise<boolean> {
  const version = await installedVersion(target)
  if (version === null || version < about.pgboss.schema) return false
  const { rows } = await target.query<{ ready: boolean }>(
    `select has_schema_privilege('service_role', $1, 'usage')
       and has_table_privilege('service_role', $1 || '.job', 'select, insert, update, delete')
       and exists (select from ${QUEUE_SCHEMA}.queue where name = $2) as ready`,
    [QUEUE_SCHEMA, TICKETS],
  )
  return rows[0]?.ready ?? false
}

/** The version of the library's schema, or null when it is not there, or not whole. */
async function installedVersion(target: Queryable): Promise<number | null> {
  const { rows } = await target.query<{ whole: boolean }>(
    `select count(to_regclass($1 || '.' || name)) = 3 as whole from unnest(array['version', 'queue', 'job']) as name`,
    [QUEUE_SCHEMA],
  )
  if (!rows[0]?.whole) return null
  const versions = await target.query<{ version: number }>(
    `select version::int as version from ${QUEUE_SCHEMA}.version`,
  )
  return versions.rows[0]?.version ?? null
}
