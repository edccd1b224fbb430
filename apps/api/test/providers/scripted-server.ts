/** A real HTTP server that answers with given bytes, or breaks off where it is told to. */
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import type { AddressInfo, Socket } from 'node:net'

export type Received = Readonly<{
  method: string
  url: string
  headers: Readonly<Record<string, string | string[] | undefined>>
  body: string
}>

export type Wire =
  | Readonly<{ status: number; headers?: Readonly<Record<string, string>>; body?: string | Buffer }>
  /** Breaks the connection after the request was read. */
  | 'reset'
  /** Never answers. */
  | 'hang'
  /** Sends a head and half a body, then breaks the connection. */
  | 'cut'
  /** Sends a head and half a body, then nothing more. */
  | 'stall'

export type ScriptedServer = Readonly<{
  url: string
  /** Requests in the order they were read to their end. */
  received: Received[]
  /** Decides every answer from now on. */
  answer: (script: (request: Received) => Wire) => void
  /** Resolves when that many requests have been read since the last `answer`. */
  seen: (count: number) => Promise<void>
  close: () => Promise<void>
}>

export async function startScriptedServer(): Promise<ScriptedServer> {
  const received: Received[] = []
  const sockets = new Set<Socket>()
  let waiting: { count: number; resolve: () => void }[] = []
  let script: (request: Received) => Wire = () => ({ status: 500 })

  const server = createServer((message, response) => {
    void readRequest(message).then((request) => {
      received.push(request)
      perform(script(request), response)
      waiting = waiting.filter(({ count, resolve }) => {
        if (received.length >= count) resolve()
        return received.length < count
      })
    })
  })
  server.on('connection', (socket) => {
    sockets.add(socket)
    socket.on('close', () => sockets.delete(socket))
    socket.on('error', () => undefined)
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    received,
    answer: (next) => {
      received.length = 0
      script = next
    },
    seen: (count) =>
      new Promise((resolve) => {
        if (received.length >= count) resolve()
        else waiting.push({ count, resolve })
      }),
    close: () =>
      new Promise((resolve) => {
        for (const socket of sockets) socket.destroy()
        server.close(() => resolve())
      }),
  }
}

async function readRequest(message: IncomingMessage): Promise<Received> {
  const chunks: Buffer[] = []
  for await (const chunk of message) chunks.push(chunk as Buffer)
  const { method = '', url = '', headers } = message
  return { method, url, headers, body: Buffer.concat(chunks).toString('utf8') }
}

function perform(wire: Wire, response: ServerResponse): void {
  if (wire === 'hang') return
  if (wire === 'reset') {
    response.socket?.resetAndDestroy()
  } else if (wire === 'cut' || wire === 'stall') {
    response.writeHead(200, { 'content-type': 'application/json', 'content-length': '1000' })
    response.write('{"half":', () => {
      if (wire === 'cut') response.socket?.destroy()
    })
  } else {
    response.writeHead(wire.status, { 'content-type': 'application/json', ...wire.headers })
    response.end(wire.body ?? '')
  }
}
