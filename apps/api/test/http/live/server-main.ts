/**
 * The API as a process of its own on DATABASE_URL, to be killed and stopped. Says its port first. Whoever sends
 * `Bearer <person>` is that person; `revoke <person>` on stdin ends their sessions, `facts` asks how it is.
 */
import { createInterface } from 'node:readline'
import { pino } from 'pino'
import { AppError } from '../../../src/base/errors.ts'
import { connect } from '../../../src/db/client.ts'
import { makeApp } from '../../../src/http/app.ts'
import { type Live, makeLive } from '../../../src/http/live/live.ts'
import { listen } from '../../../src/http/server.ts'

const db = await connect(process.env['DATABASE_URL'] ?? '', { name: 'gleaner serve', role: 'service_role' })
const revoked = new Set<string>()
const log = pino({ level: 'error' }, pino.destination(2))
const live: Live = makeLive(db, (message, err) => log.error({ err }, message))
const app = await makeApp({
  deps: { db, env: {}, version: '0.0.0-test', log },
  live,
  authenticate: async ({ headers }) => {
    const userId = headers.authorization?.replace('Bearer ', '') ?? ''
    if (revoked.has(userId)) throw new AppError('auth.required', 'The session has ended.')
    return { kind: 'person', userId, name: 'Ana' }
  },
})
const { origin, stop } = await listen(app, '127.0.0.1', 0)
console.log(origin)

createInterface({ input: process.stdin }).on('line', (line) => {
  const [word = '', who = ''] = line.split(' ')
  if (word === 'revoke') revoked.add(who)
  if (word !== 'facts') return
  globalThis.gc?.()
  const { heapUsed, external } = process.memoryUsage()
  console.log(JSON.stringify({ heapUsed, external, viewers: live.count(), asked: live.tail.asked() }))
})

process.once('SIGTERM', () => {
  void stop().then(async () => {
    await db.close()
    process.exit(0)
  })
})
