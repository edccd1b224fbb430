/**
 * Vitest's global setup: a directory for one embedded PostgreSQL with the settings of production. The server starts when
 * the first test asks for a database (db.ts), so a run without any does not pay for it, and is stopped at the end.
 */
import { chmodSync, existsSync, mkdtempSync, readdirSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import type { TestProject } from 'vitest/node'
import { tryExclusive } from '../../src/db/embedded-lock.ts'
import { preparePlace } from '../../src/db/embedded-place.ts'
import { stopServer } from '../../src/db/embedded-server.ts'

declare module 'vitest' {
  interface ProvidedContext {
    /** For openEmbedded. */
    postgresDir: string
  }
}

const PREFIX = 'gleaner-test-'
const OWNER = 'owner.lock'

export default async function setup(project: TestProject): Promise<() => Promise<void>> {
  const { dir, remove: removeIt } = await makePostgresDir()
  project.provide('postgresDir', dir)
  return removeIt
}

/** A directory for a test server (`openEmbedded`); `remove` stops the server and removes it. */
export async function makePostgresDir(): Promise<{ dir: string; remove: () => Promise<void> }> {
  await removeAbandoned()
  const dir = mkdtempSync(`/tmp/${PREFIX}`)
  chmodSync(dir, 0o755) // as root, the server runs as another user
  const owner = tryExclusive(join(dir, OWNER))
  return {
    dir,
    remove: async () => {
      await remove(dir)
      owner?.release()
    },
  }
}

/** Stops and removes what a killed test run left behind. */
async function removeAbandoned(): Promise<void> {
  for (const name of readdirSync('/tmp').filter((entry) => entry.startsWith(PREFIX))) {
    const dir = join('/tmp', name)
    if (!existsSync(join(dir, OWNER))) continue
    try {
      const owner = tryExclusive(join(dir, OWNER))
      if (!owner) continue // a run that is going on
      await remove(dir)
      owner.release()
    } catch {
      // another user's
    }
  }
}

async function remove(dir: string): Promise<void> {
  if (existsSync(join(dir, 'data'))) await stopServer(preparePlace({ dataDir: dir, ...packageFromEnvironment() }))
  rmSync(dir, { recursive: true, force: true })
}

/** `npm run test:pg15` runs the database tests on another PostgreSQL: the directory of its npm package. */
export function packageFromEnvironment(): { packageDir?: string } {
  const packageDir = process.env['GLEANER_TEST_POSTGRES_PACKAGE']
  return packageDir ? { packageDir } : {}
}
