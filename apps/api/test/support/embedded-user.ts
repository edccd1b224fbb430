/**
 * A process that uses the embedded database, for tests: `node embedded-user.ts '<options as JSON>'`. Prints one line of
 * JSON when it is in, closes when its stdin ends, prints `closed`.
 */
import { once } from 'node:events'
import { AppError } from '../../src/base/errors.ts'
import { openEmbedded } from '../../src/db/embedded.ts'

try {
  const server = await openEmbedded(JSON.parse(process.argv[2] ?? '{}'))
  console.log(JSON.stringify({ url: server.url, dataDir: server.dataDir, created: server.created }))
  process.stdin.resume()
  await once(process.stdin, 'end')
  await server.close()
  console.log('closed')
} catch (error) {
  const known =
    error instanceof AppError ? { code: error.code, message: error.message, hint: error.hint } : String(error)
  console.log(JSON.stringify({ error: known }))
  process.exitCode = 1
}
