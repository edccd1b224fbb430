import { createServer as createTcpServer, type Server, type Socket } from 'node:net'
import { brotliCompressSync, deflateRawSync, deflateSync, gzipSync } from 'node:zlib'
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest'
import { closeHttp, exchange } from '../../src/providers/http.ts'
import { type ScriptedServer, startScriptedServer } from './scripted-server.ts'

let server: ScriptedServer
let tcp: Server | null = null
const sockets = new Set<Socket>()

beforeAll(async () => {
  server = await startScriptedServer()
})
afterEach(async () => {
  await closeHttp()
  for (const socket of sockets) socket.destroy()
  sockets.clear()
  await new Promise<void>((resolve) => (tcp ? tcp.close(() => resolve()) : resolve()))
  tcp = null
})
afterAll(() => server.close())

async function listenTcp(onSocket: (socket: Socket) => void): Promise<number> {
  const listening = createTcpServer((socket) => {
    socket.on('error', () => undefined)
    sockets.add(socket)
    onSocket(socket)
  })
  tcp = listening
  await new Promise<void>((resolve) => listening.listen(0, '127.0.0.1', resolve))
  return (listening.address() as { port: number }).port
}

/** The next turn of the event loop: by then undici has put the connection back. */
const idle = () => new Promise((resolve) => setImmediate(resolve))

const get = (url: string, timeoutMs = 5000) => exchange({ method: 'GET', url, timeoutMs })

describe('a body', () => {
  const text = JSON.stringify({ title: 'Käse & Brot' })

  it.each([
    ['gzip', gzipSync(text)],
    ['br', brotliCompressSync(text)],
    ['deflate', deflateSync(text)],
    ['deflate', deflateRawSync(text)],
    ['identity', Buffer.from(text)],
    ['gzip', Buffer.from(text)],
  ])('sent as %s is read', async (encoding, body) => {
    server.answer(() => ({ status: 200, headers: { 'content-encoding': encoding }, body }))
    expect(await get(server.url)).toMatchObject({ kind: 'answered', status: 200, text })
  })

  it('that unpacks to more than 32 MiB is not held in memory', async () => {
    const body = gzipSync(Buffer.alloc(33 * 1024 * 1024))
    server.answer(() => ({ status: 200, headers: { 'content-encoding': 'gzip' }, body }))
    expect(await get(server.url)).toMatchObject({ kind: 'lost', code: 'too_large' })
  })

  it('that is longer than 32 MiB is cut off', async () => {
    server.answer(() => ({ status: 200, body: Buffer.alloc(33 * 1024 * 1024) }))
    expect(await get(server.url, 20_000)).toMatchObject({ kind: 'lost', code: 'too_large' })
  })
})

describe('a kept-alive connection', () => {
  it('is used again', async () => {
    let opened = 0
    const port = await listenTcp((socket) => {
      opened++
      socket.on('data', () => socket.write('HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok'))
    })
    for (let n = 0; n < 5; n++) {
      expect(await get(`http://127.0.0.1:${port}`)).toMatchObject({ kind: 'answered' })
      await idle()
    }
    expect(opened).toBe(1)
  })

  it('that the server closes as the next request comes makes that request lost, and never sent twice', async () => {
    const requests: string[] = []
    const port = await listenTcp((socket) => {
      let answered = 0
      socket.on('data', (chunk) => {
        requests.push(/x-request-id: (\S+)/.exec(chunk.toString())?.[1] ?? '')
        if (answered++ === 0) socket.write('HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok')
        else socket.destroy()
      })
    })
    const url = `http://127.0.0.1:${port}`
    await exchange({ method: 'GET', url, requestId: 'one', timeoutMs: 5000 })
    await idle()
    const second = await exchange({ method: 'GET', url, requestId: 'two', timeoutMs: 5000 })
    expect(second).toMatchObject({ kind: 'lost', code: 'reset' })
    expect(requests).toEqual(['one', 'two'])
  })

  it('that was closed while idle is replaced: what was unsent is sent once', async () => {
    const requests: string[] = []
    let closeFirst = () => undefined as unknown
    const port = await listenTcp((socket) => {
      closeFirst = () => socket.end()
      socket.on('data', (chunk) => {
        requests.push(/x-request-id: (\S+)/.exec(chunk.toString())?.[1] ?? '')
        socket.write('HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok')
      })
    })
    const url = `http://127.0.0.1:${port}`
    await exchange({ method: 'GET', url, requestId: 'one', timeoutMs: 5000 })
    await idle()
    closeFirst()
    // Whether undici saw the end in time or not, the outcome is honest: an answer, or lost; and at most one sending.
    const second = await exchange({ method: 'GET', url, requestId: 'two', timeoutMs: 5000 })
    expect(['answered', 'lost']).toContain(second.kind)
    expect(requests.filter((id) => id === 'two').length).toBeLessThanOrEqual(1)
    if (second.kind === 'answered') expect(requests).toEqual(['one', 'two'])
  })
})

describe('a server that never finishes a connection', () => {
  it('over TLS: nothing was sent, so it is unreachable, also after the time is up', async () => {
    const heard: Buffer[] = []
    const port = await listenTcp((socket) => socket.on('data', (chunk) => heard.push(chunk)))
    const outcome = await exchange({
      method: 'GET',
      url: `https://127.0.0.1:${port}`,
      headers: { authorization: 'Bearer x' },
      timeoutMs: 80,
    })
    expect(outcome).toMatchObject({ kind: 'unreachable', code: 'timeout' })
    expect(Buffer.concat(heard).includes('Bearer')).toBe(false)
  })

  it('that speaks no TLS: unreachable', async () => {
    const port = await listenTcp((socket) => socket.end('HTTP/1.1 400 Bad Request\r\n\r\n'))
    expect(await get(`https://127.0.0.1:${port}`)).toMatchObject({ kind: 'unreachable' })
  })
})

describe('a request given up while it waits for its connection', () => {
  it('is never sent, and the next one is', async () => {
    server.answer(() => ({ status: 200, body: '{}' }))
    const controller = new AbortController()
    const { signal } = controller
    const given = exchange({ method: 'GET', url: server.url, requestId: 'one', timeoutMs: 5000, signal })
    controller.abort()
    expect(await given).toMatchObject({ kind: 'unreachable', code: 'aborted' })
    const next = await exchange({ method: 'GET', url: server.url, requestId: 'two', timeoutMs: 5000 })
    expect(next).toMatchObject({ kind: 'answered' })
    expect(server.received.map(({ headers }) => headers['x-request-id'])).toEqual(['two'])
  })
})

describe('a request that may not leave any more', () => {
  it('when its connection is there is never sent, and the next one is', async () => {
    server.answer(() => ({ status: 200, body: '{}' }))
    let asked = 0
    // The first question comes before anything is done, the second right before the first byte.
    const maySend = () => ++asked === 1
    const late = await exchange({ method: 'GET', url: server.url, requestId: 'one', timeoutMs: 5000, maySend })
    expect(late).toMatchObject({ kind: 'unreachable', code: 'too_late' })
    expect(asked).toBe(2)
    const next = await exchange({
      method: 'GET',
      url: server.url,
      requestId: 'two',
      timeoutMs: 5000,
      maySend: () => true,
    })
    expect(next).toMatchObject({ kind: 'answered' })
    expect(server.received.map(({ headers }) => headers['x-request-id'])).toEqual(['two'])
  })
})

describe('a server that does not speak HTTP', () => {
  it('makes the request lost', async () => {
    const port = await listenTcp((socket) => socket.on('data', () => socket.end('SSH-2.0-OpenSSH\r\n')))
    expect(await get(`http://127.0.0.1:${port}`)).toMatchObject({ kind: 'lost' })
  })

  it('or closes without a word makes it lost too', async () => {
    const port = await listenTcp((socket) => socket.on('data', () => socket.end()))
    expect(await get(`http://127.0.0.1:${port}`)).toMatchObject({ kind: 'lost', code: 'reset' })
  })
})

describe('a header that no request can carry', () => {
  it('is told as unreachable, because nothing was sent', async () => {
    server.answer(() => ({ status: 200 }))
    const outcome = await exchange({
      method: 'GET',
      url: server.url,
      headers: { authorization: 'a\nb' },
      timeoutMs: 1000,
    })
    expect(outcome).toMatchObject({ kind: 'unreachable' })
    expect(server.received).toEqual([])
  })
})
