/** Workers as the database knows them. */
import { setTimeout as sleep } from 'node:timers/promises'
import { AppError } from '../base/errors.ts'
import type { Queryable } from '../db/client.ts'

export type WorkerRow = Readonly<{
  id: string
  name: string
  version: string
  /** silent: no heartbeat for `deadAfterMs`, and it did not say that it leaves. */
  state: 'alive' | 'silent' | 'stopped'
  startedAt: Date
  heartbeatAt: Date
  stoppedAt: Date | null
  /** Since its last heartbeat, by the database's clock. */
  silentMs: number
  /** From its start to its last sign of life. */
  upMs: number
  /** Runs it has lanes on, oldest run first. */
  runs: readonly Readonly<{ id: string; number: number; name: string }>[]
  callsInFlight: number
}>

/** Workers that are alive, and those that fell silent or left within the last hour, by name. */
export async function listWorkers(db: Queryable, deadAfterMs: number): Promise<WorkerRow[]> {
  const { rows } = await db.query<WorkerRow>(
    `
    select w.id, w.name, w.version, w.started_at as "startedAt", w.heartbeat_at as "heartbeatAt",
      w.stopped_at as "stoppedAt",
      case when w.stopped_at is not null then 'stopped'
        when w.heartbeat_at >= now() - $1 * interval '1 ms' then 'alive' else 'silent' end as state,
      greatest(0, extract(epoch from now() - w.heartbeat_at) * 1000)::float8 as "silentMs",
      extract(epoch from coalesce(w.stopped_at, w.heartbeat_at) - w.started_at)::float8 * 1000 as "upMs",
      coalesce((select jsonb_agg(jsonb_build_object('id', r.id, 'number', r.number, 'name', r.name) order by r.number)
        from collection_lanes l join collection_runs r on r.id = l.run_id
        where l.worker_id = w.id and l.closed_at is null and w.stopped_at is null), '[]') as runs,
      (select count(*)::int from collection_calls c where c.worker_id = w.id and c.state = 'held') as "callsInFlight"
    from collection_workers w
    where w.heartbeat_at >= now() - greatest(interval '1 hour', $1 * interval '1 ms')
    order by w.name, w.started_at, w.id`,
    [deadAfterMs],
  )
  return rows
}

const ASK_EVERY_MS = 500
/** Long enough for a worker's own time to leave (30 s unless told otherwise), and for those told to take longer. */
const LEAVE_WITHIN_MS = 90_000
/** A worker that was silent for longer is not waited for. Generous: one that was only stuck would come back to a new schema. */
const GONE_AFTER_MS = 60_000

/**
 * Asks every worker to leave because of the migration `name`, and resolves when none is left: what is in flight is booked,
 * runs stay running. Throws AppError db.migration_locked naming those that stay.
 */
export async function askWorkersToLeave(target: Queryable, name: string): Promise<void> {
  // On a database that is being made there are none.
  const known = await target.query(
    `select from pg_attribute where attrelid = to_regclass('public.collection_workers') and attname = 'stop_because'`,
  )
  if (known.rowCount === 0) return
  const end = performance.now() + LEAVE_WITHIN_MS
  for (;;) {
    const { rows } = await target.query<{ name: string }>(
      `update collection_workers set stop_because = $1
       where stopped_at is null and heartbeat_at >= now() - $2 * interval '1 ms' returning name`,
      [`the schema is changed by ${name}`, GONE_AFTER_MS],
    )
    if (rows.length === 0) return
    if (performance.now() > end) throw stillThere(rows.map((worker) => worker.name))
    await sleep(ASK_EVERY_MS)
  }
}

function stillThere(names: readonly string[]): AppError {
  return new AppError('db.migration_locked', `workers are still at work: ${names.join(', ')}`, {
    hint: 'This migration changes what running workers rely on. Stop them, then try again.',
  })
}
