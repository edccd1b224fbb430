/**
 * Connections and transactions. `db.query` is one statement on any connection; everything that must happen together goes
 * through `withTx`, whose `tx` is one connection inside one transaction.
 */
import { Socket } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'
import { Kysely, PostgresDialect } from 'kysely'
import pg from 'pg'
import { AppError } from '../base/errors.ts'
import type { Secrets } from '../base/seal.ts'
import { CommitUnknown, connectError, isConnectionError, isRetryable, parseUrl } from './errors.ts'
import type { Tables } from './rows.gen.ts'
import { parsers } from './values.ts'

export type Statement = Readonly<{
  name?: string
  text: string
  values?: readonly unknown[]
  /** Rows as arrays, and how their values are read: for what is only passed on. */
  rowMode?: 'array'
  types?: pg.CustomTypesConfig
}>

/** Something a statement can be sent to. A statement with a `name` is prepared once per connection. */
export type Queryable = Readonly<{
  query<R extends pg.QueryResultRow = pg.QueryResultRow>(
    statement: string | Statement,
    values?: readonly unknown[],
  ): Promise<pg.QueryResult<R>>
  /** For ordinary statements; the hot ones are plain SQL. */
  kysely: Kysely<Tables>
}>

declare const inTransaction: unique symbol
/** One open transaction. Functions that write take it first, so a reader sees where the transaction begins. */
export type Tx = Queryable & { readonly [inTransaction]: true }

export type Db = Queryable &
  Readonly<{
    /** As given to `connect`; holds the password, so never print it (`describeTarget` in errors.ts). */
    url: string
    /** E.g. 180004 for 18.4. */
    serverVersion: number
    pool: pg.Pool
    /** What the installation's key can do, in a process that has it (deps.ts). */
    secrets?: Secrets | null
    /** Set where this is a part of a transaction that is open already (acting.ts): `withTx` works in it instead of in one of its own. */
    join?: <T>(work: (tx: Tx) => Promise<T>) => Promise<T>
    /** Ends all connections once their statements are done. */
    close(): Promise<void>
  }>

export type ConnectOptions = Readonly<{
  /** Shown in pg_stat_activity, e.g. `gleaner worker`. */
  name?: string
  /** The role every connection takes on, for as long as it lives. */
  role?: 'service_role' | 'gleaner_auth'
  /** Most connections at a time. */
  max?: number
  /** A statement is cancelled after this long, ms. 30 s unless told; 0 = never. */
  statementTimeoutMs?: number
  /** A connection the server closed while it was idle; the pool replaces it. */
  onIdleError?: (error: Error) => void
}>

/** The oldest PostgreSQL that works. */
export const OLDEST_SERVER = 150_000

const APPLICATION = 'gleaner'
/** A transaction left open this long lost its owner: the server ends it, so that its locks are not held for ever. */
const IDLE_IN_TRANSACTION_MS = 30_000
const CONNECT_TIMEOUT_MS = 10_000

/**
 * A pool of connections to the database at `url`, of which one was tried: it is reachable, lets us in and is new enough.
 * Throws an AppError (db.url_invalid, db.unreachable, db.password_wrong, db.version_unsupported) otherwise.
 */
export async function connect(url: string, options: ConnectOptions = {}): Promise<Db> {
  const sockets = new Set<Socket>()
  const pool = makePool(withLibpqSslModes(url), options, sockets)
  try {
    const serverVersion = await readVersion(pool)
    return {
      url,
      serverVersion,
      pool,
      kysely: new Kysely<Tables>({ dialect: new PostgresDialect({ pool }) }),
      query: queryOn(pool),
      close: () => (pool.ended || pool.ending ? Promise.resolve() : pool.end()),
    }
  } catch (error) {
    await pool.end()
    // The driver leaves the socket open when it has no password to answer with.
    for (const socket of sockets) socket.destroy()
    throw connectError(error, url)
  }
}

/** A pool whose open sockets are in `sockets`. */
function makePool(connectionString: string, options: ConnectOptions, sockets: Set<Socket>): pg.Pool {
  const pool = new pg.Pool({
    connectionString,
    application_name: options.name ?? APPLICATION,
    max: options.max ?? 10,
    connectionTimeoutMillis: CONNECT_TIMEOUT_MS,
    idleTimeoutMillis: 60_000,
    keepAlive: true,
    types: parsers,
    stream: () => {
      const socket = new Socket()
      sockets.add(socket)
      return socket.once('close', () => sockets.delete(socket))
    },
    // oxlint-disable-next-line typescript/no-misused-promises -- the pool awaits it, its type does not say so
    onConnect: (client) => prepare(client as pg.Client, options),
  })
  pool.on('error', (error) => options.onIdleError?.(error))
  return pool
}

/** Settings of a new connection, sent as a statement because connection poolers drop startup parameters. */
async function prepare(client: pg.Client, options: ConnectOptions): Promise<void> {
  // Without a listener, a connection lost while it is checked out and idle would end the process.
  client.on('error', () => {})
  const settings = [
    `set statement_timeout = ${Math.trunc(options.statementTimeoutMs ?? 30_000)}`,
    `set idle_in_transaction_session_timeout = ${IDLE_IN_TRANSACTION_MS}`,
    `set timezone = 'UTC'`,
  ]
  if (options.role) settings.push(`set role ${options.role}`)
  await client.query(settings.join(';'))
}

async function readVersion(pool: pg.Pool): Promise<number> {
  const { rows } = await pool.query<{ version: number }>(`select current_setting('server_version_num')::int as version`)
  const version = rows[0]?.version ?? 0
  if (version >= OLDEST_SERVER) return version
  throw new AppError('db.version_unsupported', `the database server is PostgreSQL ${Math.trunc(version / 10_000)}`, {
    hint: 'Gleaner needs PostgreSQL 15 to 18. Upgrade the server, or leave DATABASE_URL empty to use the embedded one.',
    details: { version },
  })
}

/**
 * `url` with `sslmode` read as libpq documents it: `require` encrypts without checking the certificate. The driver would
 * take it for verify-full, which hosted databases with a certificate of their own (Supabase) fail.
 * Throws AppError db.url_invalid.
 */
export function withLibpqSslModes(url: string): string {
  let parsed: URL
  try {
    parsed = parseUrl(url)
    for (const part of [parsed.username, parsed.password, parsed.pathname]) decodeURIComponent(part)
  } catch {
    // The error holds the whole input, password included: it is not passed on.
    throw invalidUrl('it cannot be read as a URL')
  }
  if (!/^postgres(ql)?:$/.test(parsed.protocol)) throw invalidUrl('it must begin with postgres:// or postgresql://')
  if (parsed.searchParams.has('sslmode')) parsed.searchParams.set('uselibpqcompat', 'true')
  return parsed.href
}

function invalidUrl(reason: string): AppError {
  return new AppError('db.url_invalid', `DATABASE_URL is not valid: ${reason}`, {
    hint: 'Use postgresql://user:password@host:5432/database, special characters percent-encoded.',
  })
}

function queryOn(target: pg.Pool | pg.PoolClient): Queryable['query'] {
  return (statement, values) =>
    typeof statement === 'string'
      ? target.query(statement, values as unknown[] | undefined)
      : target.query({ ...statement, values: [...(statement.values ?? values ?? [])] })
}

export type TxOptions = Readonly<{
  isolation?: 'read committed' | 'repeatable read' | 'serializable'
  /** Refuses every write. */
  readOnly?: boolean
}>

/**
 * Runs `work` in one transaction on one connection. Committed when it returns; rolled back when it throws, and then the
 * first error is what the caller gets. Throws CommitUnknown when the connection broke during COMMIT. No network call
 * belongs inside. Read committed unless told, whatever the server's default: what counts under a lock must see what others
 * committed before the lock was free.
 */
export async function withTx<T>(db: Db, work: (tx: Tx) => Promise<T>, options: TxOptions = {}): Promise<T> {
  if (db.join) return joinTx(db.join, work, options)
  const client = await db.pool.connect()
  let broken: Error | undefined
  const tx = openTx(client)
  try {
    await client.query(
      `begin isolation level ${options.isolation ?? 'read committed'}${options.readOnly ? ' read only' : ''}`,
    )
    const result = await work(tx)
    tx.end()
    await commit(client)
    return result
  } catch (error) {
    tx.end()
    broken = error instanceof CommitUnknown ? error : await rollback(client, error)
    throw error
  } finally {
    client.release(broken)
  }
}

function joinTx<T>(
  join: NonNullable<Db['join']>,
  work: (tx: Tx) => Promise<T>,
  { isolation = 'read committed' }: TxOptions,
): Promise<T> {
  if (isolation !== 'read committed') throw new Error(`this is a part of a transaction that is not ${isolation}`)
  return join(work)
}

/** Commits. Throws CommitUnknown when no answer came, the server's own error when it refused. */
async function commit(client: pg.PoolClient): Promise<void> {
  let command: string
  try {
    command = (await client.query('commit')).command
  } catch (error) {
    if (isConnectionError(error)) throw new CommitUnknown(error)
    throw error
  }
  // PostgreSQL answers COMMIT of a failed transaction with ROLLBACK and no error: somebody swallowed the first one.
  if (command === 'ROLLBACK') throw new Error('the transaction had failed: an error inside it was swallowed')
}

/** Rolls back. Returns the reason to throw the connection away, or undefined when it is clean again. */
async function rollback(client: pg.PoolClient, first: unknown): Promise<Error | undefined> {
  if (isConnectionError(first)) return first as Error
  try {
    await client.query('rollback')
    return undefined
  } catch (error) {
    return error as Error
  }
}

/** `tx` for `client`, refusing statements after its end: a forgotten await must not write outside the transaction. */
function openTx(client: pg.PoolClient): Tx & { end(): void } {
  let open = true
  let kysely: Kysely<Tables> | undefined
  const send = queryOn(client)
  const query: Queryable['query'] = (statement, values) =>
    open ? send(statement, values) : Promise.reject(new Error('this transaction is over'))
  const connection = { query, release: () => {} } as unknown as pg.PoolClient
  return {
    query,
    get kysely() {
      kysely ??= new Kysely<Tables>({
        dialect: new PostgresDialect({ pool: { connect: async () => connection, end: async () => {} } as never }),
      })
      return kysely
    },
    end: () => {
      open = false
    },
  } as Tx & { end(): void }
}

const MAX_ATTEMPTS = 6
const BACKOFF_MS = 10

/**
 * `withTx`, run again after a serialization failure or a deadlock: up to five times more, each after a random pause of up
 * to 10, 20, 40, 80, 160 ms. `work` must have no effect outside the transaction.
 */
export async function withTxRetry<T>(db: Db, work: (tx: Tx) => Promise<T>, options: TxOptions = {}): Promise<T> {
  // A part of a transaction is not repeated alone: what came before it rests on what is undone with the whole.
  if (db.join) return withTx(db, work, options)
  for (let attempt = 1; ; attempt++) {
    try {
      return await withTx(db, work, options)
    } catch (error) {
      if (attempt >= MAX_ATTEMPTS || !isRetryable(error)) throw error
      await sleep(Math.random() * BACKOFF_MS * 2 ** (attempt - 1))
    }
  }
}
