/**
 * `npm run generate` writes what follows from the migrations and the routes: apps/api/schema.sql, apps/api/src/db/rows.gen.ts
 * and apps/api/openapi.json.
 * `npm run generate -- --check` writes nothing and exits 1 when a file is not what it should be.
 */
import { chmodSync, existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join, relative } from 'node:path'
import { ROOT_DIR } from '../apps/api/src/base/config.ts'
import { connect, withTx } from '../apps/api/src/db/client.ts'
import { openEmbedded } from '../apps/api/src/db/embedded.ts'
import { migrate } from '../apps/api/src/db/migrate.ts'
import { openApiDocument } from '../apps/api/src/http/openapi.ts'
import { allRoutes } from '../apps/api/src/http/routes.ts'
import { rowTypes } from './row-types.ts'
import { dumpSchema } from './schema-dump.ts'

const SCHEMA_FILE = join(ROOT_DIR, 'apps', 'api', 'schema.sql')
const OPENAPI_FILE = join(ROOT_DIR, 'apps', 'api', 'openapi.json')
const ROWS_FILE = join(ROOT_DIR, 'apps', 'api', 'src', 'db', 'rows.gen.ts')

/** The generated files and their text, from a database made for the purpose. */
async function generate(): Promise<Map<string, string>> {
  const dir = mkdtempSync(join(tmpdir(), 'gleaner-generate-'))
  chmodSync(dir, 0o755) // as root, the server runs as another user
  const server = await openEmbedded({ dataDir: join(dir, 'pg') })
  const db = await connect(server.url, { max: 1 })
  try {
    await migrate(db)
    return await withTx(db, async (tx) => {
      const schema = await dumpSchema(tx)
      return new Map([
        [SCHEMA_FILE, schema],
        [ROWS_FILE, await rowTypes(tx)],
        [OPENAPI_FILE, openApiText()],
      ])
    })
  } finally {
    await db.close()
    await server.close()
    rmSync(server.dataDir, { recursive: true, force: true })
    rmSync(dir, { recursive: true, force: true })
  }
}

/** The contract, as this version has it. */
function openApiText(): string {
  const { version } = JSON.parse(readFileSync(join(ROOT_DIR, 'package.json'), 'utf8')) as { version: string }
  return `${JSON.stringify(openApiDocument(allRoutes, version), null, 2)}\n`
}

/** The first line in which two texts differ, for people. */
function firstDifference(before: string, after: string): string {
  const [old, now] = [before.split('\n'), after.split('\n')]
  const at = now.findIndex((line, index) => line !== old[index])
  const line = at < 0 ? now.length : at
  return `line ${line + 1}:\n  - ${old[line] ?? '(end)'}\n  + ${now[line] ?? '(end)'}`
}

const check = process.argv.includes('--check')
for (const [path, text] of await generate()) {
  const name = relative(ROOT_DIR, path)
  const before = existsSync(path) ? readFileSync(path, 'utf8') : ''
  if (before === text) {
    console.log(`${name} is up to date`)
  } else if (check) {
    console.log(`${name} is not what the migrations and routes give, from ${firstDifference(before, text)}`)
    console.log('Run `npm run generate` and commit the result.')
    process.exitCode = 1
  } else {
    writeFileSync(path, text)
    console.log(`${name} written`)
  }
}
