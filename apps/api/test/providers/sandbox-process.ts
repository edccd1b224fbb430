/** The sandbox as a process of its own on a free port, as the tests use it. */
import { spawn } from 'node:child_process'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'

const MAIN = fileURLToPath(new URL('../../../sandbox/src/main.ts', import.meta.url))

export type SandboxProcess = Readonly<{
  url: string
  get: (path: string) => Promise<unknown>
  post: (path: string, body?: unknown) => Promise<unknown>
  /** What the sandbox has on its bill under a call id, in micro-dollars. */
  billed: (callId: string) => Promise<number>
  stop: () => Promise<void>
}>

export async function startSandboxProcess(): Promise<SandboxProcess> {
  const data = mkdtempSync(join(tmpdir(), 'gleaner-sandbox-'))
  const child = spawn(process.execPath, [MAIN, '--port', '0', '--data', data], { stdio: ['ignore', 'pipe', 'pipe'] })
  const ended = new Promise<void>((resolve) => child.once('exit', () => resolve()))
  let told = ''
  child.stderr.on('data', (chunk: Buffer) => {
    told += chunk.toString()
  })
  const url = await new Promise<string>((resolve, reject) => {
    createInterface({ input: child.stdout }).once('line', (line) =>
      resolve((JSON.parse(line) as { listening: string }).listening),
    )
    child.once('exit', () => reject(new Error(`the sandbox did not start: ${told}`)))
  })
  const get = async (path: string): Promise<unknown> => (await fetch(url + path)).json()
  const post = async (path: string, body: unknown = {}): Promise<unknown> => {
    const response = await fetch(url + path, { method: 'POST', body: JSON.stringify(body) })
    const answer: unknown = await response.json()
    if (!response.ok) throw new Error(`${path}: ${response.status} ${JSON.stringify(answer)}`)
    return answer
  }
  return {
    url,
    get,
    post,
    billed: async (callId) => {
      const { entries } = (await post('/sandbox/billing/lookup', { requestIds: [callId] })) as {
        entries: readonly { micros: number }[]
      }
      return entries.reduce((sum, { micros }) => sum + micros, 0)
    },
    stop: async () => {
      child.kill('SIGTERM')
      await ended
      rmSync(data, { recursive: true, force: true })
    },
  }
}
