/** A process that was frozen over its own time limit: what came meanwhile is read, and what did not is nobody else's fault. */
import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import type { AddressInfo } from 'node:net'
import { createServer, type Server, type Socket } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { afterEach, describe, expect, it } from 'vitest'
import { STILL_MS } from '../../src/base/standstill.ts'
import type { Exchange } from '../../src/providers/http.ts'
import { frozen } from '../engine/worker-process.ts'

const MAIN = fileURLToPath(new URL('./exchange-main.ts', import.meta.url))
const TIMEOUT_MS = 1_000
/** Longer than the time limit, and long enough to be told from a busy machine. */
const FREEZE_MS = STILL_MS + TIMEOUT_MS
const ANSWER = 'HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok'

let server: Server | undefined
let child: ChildProcess | undefined
afterEach(() => {
  child?.kill('SIGCONT')
  child?.kill('SIGKILL')
  server?.close()
})

/** Asks, is frozen as soon as its request is read, and is woken after its time limit; `meanwhile` is what the server does. */
async function frozenExchange(meanwhile: (socket: Socket) => void, freezeMs = FREEZE_MS): Promise<Exchange> {
  const asked = Promise.withResolvers<Socket>()
  server = createServer((socket) => {
    socket.on('error', () => undefined)
    socket.once('data', () => asked.resolve(socket))
  })
  await new Promise<void>((resolve) => server?.listen(0, '127.0.0.1', resolve))
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`
  const process_ = spawn(process.execPath, [MAIN, url, String(TIMEOUT_MS)], { stdio: ['ignore', 'pipe', 'inherit'] })
  child = process_
  let said = ''
  process_.stdout.on('data', (chunk: Buffer) => {
    said += chunk.toString()
  })
  const socket = await asked.promise
  if (freezeMs > 0) {
    process_.kill('SIGSTOP')
    await frozen(process_.pid ?? 0)
  }
  meanwhile(socket)
  await sleep(freezeMs)
  process_.kill('SIGCONT')
  await once(process_, 'close')
  socket.destroy()
  return JSON.parse(said) as Exchange
}

describe('an exchange whose process was frozen over its time limit', { timeout: 30_000 }, () => {
  it('reads the answer that came meanwhile', async () => {
    expect(await frozenExchange((socket) => socket.write(ANSWER))).toMatchObject({ kind: 'answered', text: 'ok' })
  })

  it('is lost when none came, by its own doing', async () => {
    expect(await frozenExchange(() => undefined)).toMatchObject({ kind: 'lost', code: 'stood_still' })
  })

  it('is lost when the other side gave the connection up, by its own doing', async () => {
    expect(await frozenExchange((socket) => socket.destroy())).toMatchObject({ kind: 'lost', code: 'stood_still' })
  })

  it('is lost by the doing of the provider when the process was not frozen', async () => {
    expect(await frozenExchange(() => undefined, 0)).toMatchObject({ kind: 'lost', code: 'timeout' })
  })
})
