/**
 * Brings a database's schema up to the code's. Forward only; each file in a transaction of its own together with its row
 * in gleaner.migrations. docs/adr/0001-own-migration-runner.md says why this is not a library.
 */
import { setTimeout as sleep } from 'node:timers/promises'
import type pg from 'pg'
import { AppError } from '../base/errors.ts'
import type { Db, Queryable } from './client.ts'
import { diskFull, hasState, isPgError, isRetryable, type PgError, SQLSTATE } from './errors.ts'
import { type Migration, readMigrations, splitStatements } from './migration-files.ts'

export type MigrateOptions = Readonly<{
  /** Where the files are; apps/api/migrations unless told. */
  dir?: string
  /** How long to wait for another process that is migrating, ms. */
  waitMs?: number
  /** How long a statement may wait for a lock before the file is tried again, ms. */
  lockTimeoutMs?: number
  /**
   * Called before a file that running workers could not bear; resolves when none is left. It may throw to leave the file, and
   * those after it, unapplied.
   */
  stopWorkers?: (target: Queryable, name: string) => Promise<void>
  /** Called after each file, e.g. to log it. */
  onApplied?: (name: string, durationMs: number) => void
}>

type Applied = Readonly<{ number: number; name: string; checksum: string }>

/** Any constant, so long as nothing else uses it: the first digits of the SHA-256 of "gleaner migrations". */
const LOCK_KEY = 4_702_911_530_117
const WAIT_MS = 120_000
const LOCK_POLL_MS = 50
/** Long enough for a busy table, short enough that the statements queueing behind ours are not held up for long. */
const LOCK_TIMEOUT_MS = 5_000
const STATEMENT_TIMEOUT_MS = 30 * 60_000
const MAX_ATTEMPTS = 4

/**
 * Applies what is pending and returns the names of the files applied. Any number of processes may call it at once: one
 * works, the others wait and then find nothing to do. Throws AppError db.migration_changed, db.schema_ahead,
 * db.migration_locked, db.migration_failed (the file is rolled back, the ones before it stay), db.disk_full.
 */
export async function migrate(db: Db, options: MigrateOptions = {}): Promise<string[]> {
  const files = await readMigrations(options.dir)
  if (compare(files, await readApplied(db)).length === 0) return []

  return locked(db, options.waitMs ?? WAIT_MS, async (client) => {
    await client.query(`
      set lock_timeout = ${Math.trunc(options.lockTimeoutMs ?? LOCK_TIMEOUT_MS)};
      set statement_timeout = ${STATEMENT_TIMEOUT_MS};
      set idle_in_transaction_session_timeout = 0;
      set search_path = public`)
    await createHistory(client)
    const pendingFiles = compare(files, await readApplied(client as unknown as Queryable))
    for (const file of pendingFiles) {
      if (file.stopsWorkers) await options.stopWorkers?.(client as unknown as Queryable, file.name)
      const started = performance.now()
      await applyWithRetry(client, file)
      options.onApplied?.(file.name, performance.now() - started)
    }
    return pendingFiles.map((file) => file.name)
  })
}

/**
 * Runs `work` on a connection of its own while no other process migrates this database; the connection is closed after.
 * Throws AppError db.migration_locked when another takes too long.
 */
export function underMigrationLock<T>(db: Db, work: (target: Queryable) => Promise<T>): Promise<T> {
  return locked(db, WAIT_MS, (client) => work(client as unknown as Queryable))
}

async function locked<T>(db: Db, waitMs: number, work: (client: pg.PoolClient) => Promise<T>): Promise<T> {
  const client = await db.pool.connect()
  try {
    await takeLock(client, waitMs)
    return await work(client)
  } finally {
    // The connection is closed because of its settings; that alone would give the lock back too, but a moment later.
    await client.query('select pg_advisory_unlock_all()').catch(() => {})
    client.release(true)
  }
}

/** The files a database still lacks, in order. Changes nothing. Throws as `migrate` does when the two do not fit. */
export async function pending(db: Queryable, dir?: string): Promise<Migration[]> {
  return compare(await readMigrations(dir), await readApplied(db))
}

/** Returns when the schema is exactly the code's; throws AppError db.schema_behind, db.schema_ahead otherwise. */
export async function assertCurrent(db: Queryable, dir?: string): Promise<void> {
  const missing = await pending(db, dir)
  const first = missing[0]
  if (!first) return
  throw new AppError('db.schema_behind', `the database lacks ${missing.length} migrations, from ${first.name} on`, {
    hint: 'Run `gleaner migrate`.',
    details: { pending: missing.map((file) => file.name) },
  })
}

/** The files not applied yet. Throws when what was applied is not what the files say. */
function compare(files: readonly Migration[], applied: readonly Applied[]): Migration[] {
  const last = applied.at(-1)
  const lastFile = files.at(-1)
  if (last && last.number > (lastFile?.number ?? 0)) {
    throw new AppError('db.schema_ahead', `the database is newer than this version: it has ${last.name}`, {
      hint: 'Start the version of Gleaner that was used with this database last, or a newer one.',
    })
  }
  const byNumber = new Map(files.map((file) => [file.number, file]))
  for (const row of applied) {
    const file = byNumber.get(row.number)
    if (!file || file.name !== row.name) throw changed(row.name, 'is gone')
    if (file.checksum !== row.checksum) throw changed(row.name, 'was changed')
    byNumber.delete(row.number)
  }
  const missing = [...byNumber.values()]
  const late = missing.find((file) => last && file.number < last.number)
  if (late) throw changed(late.name, `was added before ${last?.name}, which is applied already`)
  return missing
}

function changed(name: string, what: string): AppError {
  return new AppError('db.migration_changed', `migration ${name} ${what}`, {
    hint: 'A migration that was applied is never edited: restore the file and put the change into a new one.',
    details: { file: name },
  })
}

async function readApplied(db: Queryable): Promise<Applied[]> {
  const { rows } = await db.query<{ known: boolean }>(`select to_regclass('gleaner.migrations') is not null as known`)
  if (!rows[0]?.known) return []
  return (await db.query<Applied>('select number, name, checksum from gleaner.migrations order by number')).rows
}

/**
 * A session lock, polled for: a statement that waits inside PostgreSQL holds a snapshot, and CREATE INDEX CONCURRENTLY of
 * the process we wait for would wait for that snapshot in turn.
 */
async function takeLock(client: pg.PoolClient, waitMs: number): Promise<void> {
  const deadline = performance.now() + waitMs
  for (;;) {
    const { rows } = await client.query<{ taken: boolean }>('select pg_try_advisory_lock($1) as taken', [LOCK_KEY])
    if (rows[0]?.taken) return
    if (performance.now() > deadline) {
      throw new AppError('db.migration_locked', 'another process has been migrating this database for too long', {
        hint: 'Wait until it has finished, or end it, then start again.',
      })
    }
    await sleep(LOCK_POLL_MS)
  }
}

/** A schema of its own: not part of what a Supabase project publishes over HTTP. 006 lets workers read it. */
async function createHistory(client: pg.PoolClient): Promise<void> {
  await client.query(`
    create schema if not exists gleaner;
    create table if not exists gleaner.migrations (
      number int primary key,
      name text not null,
      checksum text not null,
      duration_ms int not null,
      applied_at timestamptz not null default now()
    );
    alter table gleaner.migrations enable row level security`)
}

/** Tries again what lost against other work in the database: a lock not had in time, a deadlock. */
async function applyWithRetry(client: pg.PoolClient, file: Migration): Promise<void> {
  for (let attempt = 1; ; attempt++) {
    try {
      return await (file.transactional ? applyInTransaction(client, file) : applyBare(client, file))
    } catch (error) {
      const busy = hasState(error, SQLSTATE.lockNotAvailable) || isRetryable(error)
      if (busy && attempt < MAX_ATTEMPTS) await sleep(100 * 2 ** attempt * Math.random())
      else throw failure(error, file, busy)
    }
  }
}

async function applyInTransaction(client: pg.PoolClient, file: Migration): Promise<void> {
  const started = performance.now()
  const transactionId = async () =>
    (await client.query<{ id: string }>('select pg_current_xact_id()::text as id')).rows[0]?.id
  await client.query('begin')
  try {
    const before = await transactionId()
    await client.query(file.sql)
    if ((await transactionId()) !== before) throw new Error('the file ends its transaction itself')
    await record(client, file, started)
    await client.query('commit')
  } catch (error) {
    await client.query('rollback').catch(() => {}) // the first error says what happened
    throw error
  }
}

/** Outside a transaction, e.g. for CREATE INDEX CONCURRENTLY. Statements must bear being run again after a failure. */
async function applyBare(client: pg.PoolClient, file: Migration): Promise<void> {
  const started = performance.now()
  for (const statement of splitStatements(file.sql)) await client.query(statement)
  await record(client, file, started)
}

async function record(client: pg.PoolClient, file: Migration, started: number): Promise<void> {
  await client.query('insert into gleaner.migrations (number, name, checksum, duration_ms) values ($1, $2, $3, $4)', [
    file.number,
    file.name,
    file.checksum,
    Math.round(performance.now() - started),
  ])
}

function failure(error: unknown, file: Migration, busy: boolean): AppError {
  if (hasState(error, SQLSTATE.diskFull)) return diskFull(error)
  const { message, position } = error as PgError
  const line = isPgError(error) && position && file.transactional ? lineAt(file.sql, Number(position)) : undefined
  const where = line === undefined ? file.name : `${file.name}:${line}`
  if (busy) {
    return new AppError('db.migration_locked', `migration ${where} could not get its locks: ${message}`, {
      hint: 'Something else holds the tables, e.g. a running worker or a backup. Stop it and start again.',
      cause: error,
    })
  }
  return new AppError('db.migration_failed', `migration ${where} failed: ${message}`, {
    hint: 'Nothing of this file was kept, the ones before it were. Correct the cause and start again.',
    cause: error,
    details: { file: file.name, ...(line === undefined ? {} : { line }) },
  })
}

function lineAt(sql: string, position: number): number {
  return sql.slice(0, position).split('\n').length
}
