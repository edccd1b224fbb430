/** Databases for tests: real ones, one for whoever asks, migrated. */
import { randomBytes } from 'node:crypto'
import { inject } from 'vitest'
import { type ConnectOptions, connect, type Db } from '../../src/db/client.ts'
import { type Embedded, openEmbedded } from '../../src/db/embedded.ts'
import { applySchema } from '../../src/deps.ts'
import { packageFromEnvironment } from './postgres.ts'

export type FreshDb = Readonly<{
  url: string
  /** Connected as the superuser, as the embedded database is. */
  db: Db
  /** Another pool on the same database, e.g. `{ role: 'service_role' }`; closed with it. */
  connect(options?: ConnectOptions): Promise<Db>
  close(): Promise<void>
}>

const TEMPLATE = 'gleaner_template'
const BUILD_LOCK = 1

let server: Promise<Embedded> | undefined
let template: Promise<string> | undefined

/** The server of this test run, started by the first caller. It is stopped when the run ends (postgres.ts). */
export function testServer(): Promise<Embedded> {
  // A proof that runs as a command of its own has no Vitest to ask.
  const dataDir = process.env['GLEANER_TEST_POSTGRES_DIR'] || inject('postgresDir')
  server ??= openEmbedded({ dataDir, ...packageFromEnvironment() })
  return server
}

/** A migrated database of your own. Close it when done. */
export async function freshDb(options: ConnectOptions = {}): Promise<FreshDb> {
  template ??= prepareTemplate()
  return makeDb(await template, options)
}

/** An empty database, nothing migrated. */
export function emptyDb(options: ConnectOptions = {}): Promise<FreshDb> {
  return makeDb('template0', options)
}

async function makeDb(from: string, options: ConnectOptions): Promise<FreshDb> {
  const name = `test_${randomBytes(6).toString('hex')}`
  // Measured with this schema: 150 ms by copying files, 240 through the log (the default).
  await administer((admin) => admin.query(`create database ${name} template ${from} strategy file_copy`))
  const url = databaseUrl((await testServer()).url, name)
  const pools = [await connect(url, options)]
  return {
    url,
    db: pools[0] as Db,
    connect: async (more) => {
      const pool = await connect(url, more)
      pools.push(pool)
      return pool
    },
    close: async () => {
      await Promise.all(pools.map((pool) => pool.close()))
      await administer((admin) => admin.query(`drop database if exists ${name} with (force)`))
    },
  }
}

/** Makes the migrated template unless it exists; its name. It gets that name when complete. */
async function prepareTemplate(): Promise<string> {
  await administer(async (admin) => {
    await admin.query('select pg_advisory_lock($1)', [BUILD_LOCK])
    try {
      const { rowCount } = await admin.query('select from pg_database where datname = $1', [TEMPLATE])
      if (rowCount) return
      await admin.query(`drop database if exists ${TEMPLATE}_new with (force)`)
      await admin.query(`create database ${TEMPLATE}_new template template0`)
      const db = await connect(databaseUrl((await testServer()).url, `${TEMPLATE}_new`), { max: 2 })
      await applySchema(db)
      await db.close()
      await admin.query(`alter database ${TEMPLATE}_new rename to ${TEMPLATE}`)
    } finally {
      await admin.query('select pg_advisory_unlock($1)', [BUILD_LOCK])
    }
  })
  return TEMPLATE
}

async function administer(work: (admin: Db) => Promise<unknown>): Promise<void> {
  const admin = await connect((await testServer()).url, { max: 1, name: 'gleaner tests' })
  try {
    await work(admin)
  } finally {
    await admin.close()
  }
}

/** `url` with another database. */
export function databaseUrl(url: string, name: string): string {
  const parsed = new URL(url)
  parsed.pathname = `/${name}`
  return parsed.href
}
