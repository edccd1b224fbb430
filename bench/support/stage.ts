/** The stage of a benchmark: an embedded PostgreSQL in a directory of its own, gone when the benchmark is over. */
import { appendFile, chmod, mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { connect, type Db } from '../../apps/api/src/db/client.ts'
import { type Embedded, openEmbedded } from '../../apps/api/src/db/embedded.ts'
import { migrate } from '../../apps/api/src/db/migrate.ts'

export type Place = Readonly<{
  /** Of the database, for `fresh`. */
  name: string
  url: string
  /** Connected as the superuser; its statements have no time limit. */
  db: Db
  /** Drops the database. */
  close: () => Promise<void>
}>

export type Stage = Readonly<{
  /** Connected as the superuser to the maintenance database. */
  admin: Db
  /**
   * A migrated database of its own, empty, so that nothing measured before is in its tables; or a copy of the one named,
   * to which nobody may be connected.
   */
  fresh: (from?: string) => Promise<Place>
  /** To be called with whatever must end before the server is stopped; called also when the benchmark is interrupted. */
  atEnd: (end: () => Promise<void>) => void
}>

export type StageOptions = Readonly<{
  /** Lines of postgresql.conf beside those of the embedded server. */
  settings?: string
}>

const TEMPLATE = 'bench_template'

/**
 * Runs `work` on a stage. Ends the process with 1 when `work` throws, with 130 on Ctrl-C; the server is stopped and its
 * directory removed in every case but SIGKILL.
 */
export async function onStage(work: (stage: Stage) => Promise<void>, options: StageOptions = {}): Promise<void> {
  const dataDir = await mkdtemp(join(tmpdir(), 'gleaner-bench-'))
  // As root the server runs as somebody else, who has to reach it.
  await chmod(dataDir, 0o755)
  const ends: (() => Promise<void>)[] = []
  let embedded: Embedded | undefined
  let closing: Promise<void> | undefined
  const close = (): Promise<void> => (closing ??= clear(dataDir, ends, () => embedded))
  const interrupted = (): void => void close().finally(() => process.exit(130))
  process.once('SIGINT', interrupted)
  process.once('SIGTERM', interrupted)
  try {
    embedded = await openEmbedded({ dataDir })
    if (options.settings) embedded = await withSettings(embedded, dataDir, options.settings)
    await work(await makeStage(embedded, ends))
  } catch (error) {
    // After Ctrl-C everything fails that is under way: that is not news.
    if (!closing) console.error(error)
    process.exitCode = 1
  } finally {
    await close()
  }
}

async function clear(dataDir: string, ends: readonly (() => Promise<void>)[], embedded: () => Embedded | undefined) {
  for (const end of ends.toReversed()) await end().catch((error: unknown) => console.error(error))
  const server = embedded()
  await server?.close()
  for (const dir of [dataDir, server?.dataDir]) if (dir) await rm(dir, { recursive: true, force: true })
}

/** Settings such as preloaded libraries count from the next start on. */
async function withSettings(embedded: Embedded, dataDir: string, settings: string): Promise<Embedded> {
  const db = await connect(embedded.url)
  const { rows } = await db.query<{ dir: string }>(`select current_setting('data_directory') as dir`)
  await db.close()
  await embedded.close()
  await appendFile(join(rows[0]?.dir ?? '', 'extra.conf'), `${settings}\n`)
  return openEmbedded({ dataDir })
}

async function makeStage(embedded: Embedded, ends: (() => Promise<void>)[]): Promise<Stage> {
  const admin = await connect(embedded.url, { statementTimeoutMs: 0 })
  ends.push(() => admin.close())
  await admin.query(`create database ${TEMPLATE}`)
  const template = await connect(urlOf(embedded, TEMPLATE))
  await migrate(template)
  await template.close()
  let made = 0
  const fresh = async (from: string = TEMPLATE): Promise<Place> => {
    const name = `bench_${++made}`
    await admin.query(`create database ${name} template ${from} strategy file_copy`)
    const url = urlOf(embedded, name)
    const db = await connect(url, { statementTimeoutMs: 0, name: 'gleaner bench' })
    const close = async (): Promise<void> => {
      await db.close()
      await admin.query(`drop database if exists ${name} with (force)`)
    }
    return { name, url, db, close }
  }
  return { admin, fresh, atEnd: (end) => void ends.push(end) }
}

function urlOf(embedded: Embedded, database: string): string {
  const url = new URL(embedded.url)
  url.pathname = `/${database}`
  return url.href
}
