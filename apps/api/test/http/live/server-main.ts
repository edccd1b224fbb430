/**
 * The live part as a process of its own on DATABASE_URL, to be killed and stopped. Says its port first. Whoever sends
 * `Bearer <person>` is that person; `revoke <person>` on stdin ends their sessions, `memory` asks how much it uses.
 */
import { once } from 'node:events'
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { createInterface } from 'node:readline'
import { pipeline } from 'node:stream/promises'
import { AppError } from '../../../src/base/errors.ts'
import { connect, type Tx, withTx } from '../../../src/db/client.ts'
import { asMember } from '../../../src/db/session.ts'
import { makeLive } from '../../../src/http/live/live.ts'
import { openStream } from '../../../src/http/live/open.ts'

const db = await connect(process.env['DATABASE_URL'] ?? '', { name: 'gleaner live', role: 'service_role' })
const live = makeLive(db, (message, error) => console.error(message, error))
const revoked = new Set<string>()

async function answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
  const url = new URL(request.url ?? '/', 'http://here')
  const match = /^\/api\/v1\/orgs\/([0-9a-f-]{36})\/(?:runs\/([0-9a-f-]{36})\/)?stream$/.exec(url.pathname)
  const userId = request.headers.authorization?.replace('Bearer ', '') ?? ''
  const [, orgId = '', runId] = match ?? []
  const gone = new AbortController()
  response.once('close', () => gone.abort())
  const checkIdentity = async (): Promise<void> => {
    if (revoked.has(userId)) throw new AppError('org.unknown', 'Nobody is signed in.')
  }
  await checkIdentity()
  const read = <T>(work: (tx: Tx) => Promise<T>): Promise<T> =>
    withTx(db, async (tx) => {
      await asMember(tx, { userId, orgId })
      const { rows } = await tx.query<{ role: string | null }>('select member_role($1) as role', [orgId])
      if (!rows[0]?.role) throw new AppError('org.unknown', 'There is no such organisation.')
      return work(tx)
    })
  const stream = await openStream(live, {
    orgId,
    ...(runId === undefined ? {} : { runId }),
    after: (request.headers['last-event-id'] as string | undefined) ?? url.searchParams.get('after') ?? undefined,
    principal: `person:${userId}`,
    read,
    checkIdentity,
    gone: gone.signal,
  })
  if (!stream) {
    response.writeHead(204).end()
    return
  }
  response.writeHead(200, { 'content-type': 'text/event-stream; charset=utf-8' })
  await pipeline(stream, response).catch(() => {})
}

const server = createServer((request, response) => {
  answer(request, response).catch((error: unknown) => {
    const code = error instanceof AppError ? error.code : 'server.fault'
    if (!(error instanceof AppError)) console.error(error)
    if (!response.headersSent) response.writeHead(404).end(JSON.stringify({ code }))
  })
})
server.listen(0, '127.0.0.1')
await once(server, 'listening')
console.log((server.address() as AddressInfo).port)

createInterface({ input: process.stdin }).on('line', (line) => {
  const [word = '', who = ''] = line.split(' ')
  if (word === 'revoke') revoked.add(who)
  if (word !== 'memory') return
  globalThis.gc?.()
  const { rss, heapUsed, external } = process.memoryUsage()
  console.log(JSON.stringify({ rss, heapUsed, external, viewers: live.count(), asked: live.tail.asked() }))
})

process.once('SIGTERM', () => {
  server.close()
  void live.close().then(async () => {
    await db.close()
    process.exit(0)
  })
})
