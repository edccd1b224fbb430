/** A PostgreSQL that belongs to one test alone, because it is going to be broken. */
import { execFile } from 'node:child_process'
import { appendFileSync } from 'node:fs'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { connect, type Db } from '../../src/db/client.ts'
import { openEmbedded } from '../../src/db/embedded.ts'
import { preparePlace } from '../../src/db/embedded-place.ts'
import { applySchema } from '../../src/deps.ts'
import type { FreshDb } from '../support/db.ts'
import { makePostgresDir, packageFromEnvironment } from '../support/postgres.ts'

export type OwnServer = Readonly<{
  fresh: FreshDb
  /** Stops the server as a crash would, without a checkpoint and whoever is connected, and starts it again. */
  crash: () => Promise<void>
}>

/** Made, migrated and running, with `settings` of its own beside ours. Closing `fresh` removes it. */
export async function ownServer(settings = ''): Promise<OwnServer> {
  const { dir, remove } = await makePostgresDir()
  const options = { dataDir: dir, ...packageFromEnvironment() }
  const embedded = await openEmbedded(options)
  const { binaries, data, user } = preparePlace(options)
  const crash = async (): Promise<void> => {
    await promisify(execFile)(join(binaries.bin, 'pg_ctl'), ['stop', '-D', data, '-m', 'immediate', '-w'], {
      cwd: '/',
      env: { PATH: process.env['PATH'], LC_ALL: 'C' },
      ...user,
    })
    await embedded.ensureRunning()
  }
  if (settings) {
    appendFileSync(join(data, 'extra.conf'), settings)
    await crash()
  }
  const pools: Db[] = [await connect(embedded.url)]
  await applySchema(pools[0] as Db)
  return {
    fresh: {
      url: embedded.url,
      db: pools[0] as Db,
      connect: async (more) => {
        const pool = await connect(embedded.url, more)
        pools.push(pool)
        return pool
      },
      close: async () => {
        await Promise.all(pools.map((pool) => pool.close()))
        await embedded.close()
        await remove()
      },
    },
    crash,
  }
}
