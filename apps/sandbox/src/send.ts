/** Sends a reply, whole or spoilt. */
import type { IncomingMessage, ServerResponse } from 'node:http'
import type { Reply } from './exchange.ts'
import type { Hits } from './faults.ts'

const BODY_LIMIT = 64 * 1024 * 1024

export class BodyTooLarge extends Error {}

export function readBody(request: IncomingMessage): Promise<string> {
  if (request.method === 'GET' || request.method === 'HEAD') {
    request.resume()
    return Promise.resolve('')
  }
  return new Promise((resolve, reject) => {
    const chunks: Buffer[] = []
    let size = 0
    request.on('data', (chunk: Buffer) => {
      size += chunk.length
      if (size > BODY_LIMIT) reject(new BodyTooLarge('the body is larger than 64 MiB'))
      else chunks.push(chunk)
    })
    request.on('end', () => resolve(Buffer.concat(chunks).toString('utf8')))
    request.on('error', reject)
    request.on('close', () => reject(new Error('the request was cut off')))
  })
}

export function send(response: ServerResponse, reply: Reply): void {
  if (response.destroyed || response.headersSent) return
  response.writeHead(reply.status, { ...reply.headers, 'content-length': Buffer.byteLength(reply.body) })
  response.end(reply.body)
}

/** Closes the connection with a reset: the client cannot know what happened. */
export function reset(response: ServerResponse): void {
  const { socket } = response
  if (socket && !socket.destroyed) socket.resetAndDestroy()
}

/** Sends a reply as the faults that hit it demand. `wait` ends early when the connection closes. */
export async function sendSpoilt(
  response: ServerResponse,
  reply: Reply,
  hits: Hits,
  wait: (ms: number) => Promise<void>,
): Promise<void> {
  if (hits.has('reset_after')) return reset(response)
  if (hits.has('empty_body')) return send(response, { ...reply, body: '' })
  if (hits.has('garbage')) return send(response, { ...reply, body: '\u0000<<%PDF-1.4 {"oops": [}}}' })
  if (hits.has('truncated')) return sendHalf(response, reply)
  if (hits.has('drip')) return drip(response, reply, hits.get('drip')?.ms ?? 200, wait)
  send(response, reply)
}

/** Promises the whole length, sends half, and closes. */
function sendHalf(response: ServerResponse, reply: Reply): void {
  const whole = Buffer.from(reply.body)
  response.writeHead(reply.status, { ...reply.headers, 'content-length': whole.length })
  response.write(whole.subarray(0, Math.floor(whole.length / 2)), () => response.socket?.destroy())
}

/** Ten pieces, `ms` apart. */
async function drip(
  response: ServerResponse,
  reply: Reply,
  ms: number,
  wait: (ms: number) => Promise<void>,
): Promise<void> {
  const whole = Buffer.from(reply.body)
  const step = Math.max(1, Math.ceil(whole.length / 10))
  response.writeHead(reply.status, { ...reply.headers, 'content-length': whole.length })
  for (let at = 0; at < whole.length && !response.destroyed; at += step) {
    response.write(whole.subarray(at, at + step))
    await wait(ms)
  }
  response.end()
}
