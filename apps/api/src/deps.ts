/** Wiring: from the configuration to an open database, for every door. */
import { createHash } from 'node:crypto'
import { basename, dirname, join } from 'node:path'
import type { Config } from './base/config.ts'
import { connect, type Db } from './db/client.ts'
import { type Embedded, openEmbedded } from './db/embedded.ts'
import { describeTarget } from './db/errors.ts'
import { assertCurrent, type MigrateOptions, migrate } from './db/migrate.ts'
import { installQueue } from './queue/install.ts'
import { askWorkersToLeave } from './queue/workers.ts'
import { loadSecrets } from './secrets/installation.ts'
import type { KeySource } from './secrets/key-source.ts'

/**
 * What to do about a schema that is behind. The embedded database is nobody else's and is always brought up to date;
 * a database of one's own is changed only where that is asked for.
 */
export type SchemaPolicy = 'apply' | 'require' | 'ignore'

export type DepsOptions = Readonly<{
  config: Config
  schema: SchemaPolicy
  /** Shown in pg_stat_activity, e.g. `gleaner worker`. */
  name: string
  /** Most connections at a time. */
  max?: number
  /** The installation's key is needed: it is made when there is none yet. Without, it is used where it is there. */
  needsKey?: boolean
}>

export type Deps = Readonly<{
  /** Every connection works as service_role. */
  db: Db
  /** Null when DATABASE_URL is used. */
  embedded: Embedded | null
  /** Names of the migrations this call applied. */
  applied: readonly string[]
  /** How long the two steps took, ms. */
  took: Readonly<{ databaseMs: number; migrationsMs: number }>
  /** Ends the connections, and the embedded server when nobody else uses it. */
  close: () => Promise<void>
}>

/**
 * Opens the database of the configuration: the one at DATABASE_URL, or the embedded one, which is made and started when
 * needed. Its schema is current when this returns, unless `schema` is `ignore`. Throws the AppErrors of `openEmbedded`,
 * `connect`, `migrate` and `loadSecrets`; nothing stays open then.
 */
export async function openDeps(options: DepsOptions): Promise<Deps> {
  const started = performance.now()
  const { config } = options
  const embedded = config.databaseUrl === null ? await openEmbedded({ dataDir: config.dataDir }) : null
  try {
    const url = embedded?.url ?? config.databaseUrl ?? ''
    const databaseMs = performance.now() - started
    const applied = await bringUp(url, options, embedded !== null)
    const migrationsMs = performance.now() - started - databaseMs
    // With a schema that may be missing there may be no such role yet.
    const role = options.schema === 'ignore' ? {} : ({ role: 'service_role' } as const)
    const plain = await connect(url, { name: options.name, max: options.max ?? 10, ...role })
    const close = async (): Promise<void> => {
      await plain.close()
      await embedded?.close()
    }
    const db = options.schema === 'ignore' ? plain : await withSecrets(plain, options).catch(closing(plain))
    return { db, embedded, applied, took: { databaseMs, migrationsMs }, close }
  } catch (error) {
    await embedded?.close()
    throw error
  }
}

/**
 * Applies pending migrations and makes what the queue needs, as the owner of the database. Returns the migrations applied.
 * Throws as `migrate` does.
 */
export async function applySchema(owner: Db, options: MigrateOptions = {}): Promise<readonly string[]> {
  const applied = await migrate(owner, { stopWorkers: askWorkersToLeave, ...options })
  await installQueue(owner)
  return applied
}

/** Brings the schema up to date, or makes sure it is, as the owner of the database. Returns what was applied. */
async function bringUp(url: string, { schema, name }: DepsOptions, isEmbedded: boolean): Promise<readonly string[]> {
  if (schema === 'ignore') return []
  const owner = await connect(url, { name, max: 2 })
  try {
    if (isEmbedded || schema === 'apply') return await applySchema(owner)
    await assertCurrent(owner)
    return []
  } finally {
    await owner.close()
  }
}

/** The same database, for a process that has the installation's key. */
async function withSecrets(db: Db, { config, needsKey }: DepsOptions): Promise<Db> {
  return { ...db, secrets: await loadSecrets(db, keySource(config), needsKey === true) }
}

function closing(db: Db): (error: unknown) => Promise<never> {
  return async (error) => {
    await db.close()
    throw error
  }
}

/** Where the key of this installation comes from on this machine. */
export function keySource(config: Config): KeySource {
  return { variable: config.key, file: join(stateDir(config), 'installation.key') }
}

/** The directory of everything this installation keeps beside its database: the sandbox's data and the log. */
export function stateDir(config: Config): string {
  return basename(config.dataDir) === 'pg18' ? dirname(config.dataDir) : config.dataDir
}

/** Where the sandbox keeps its world and its bill: one for each database, or bills would mix. */
export function sandboxDir(config: Config): string {
  const target = config.databaseUrl === null ? '' : describeTarget(config.databaseUrl)
  const suffix = target && `-${createHash('sha256').update(target).digest('hex').slice(0, 8)}`
  return join(stateDir(config), `sandbox${suffix}`)
}

/** The log of the commands of this installation. */
export function logFile(config: Config): string {
  return join(stateDir(config), 'gleaner.log')
}
