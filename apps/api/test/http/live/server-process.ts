/** A server of event streams as a process of its own (server-main.ts). */
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'
import { type Reader, readStream } from './sse.ts'

const MAIN = fileURLToPath(new URL('./server-main.ts', import.meta.url))

export type Facts = Readonly<{ heapUsed: number; external: number; viewers: number; asked: number }>

export type Where = Readonly<{ orgId: string; runId?: string; after?: string }>

export type ServerProcess = Readonly<{
  url: string
  /** The address of a stream. */
  address: (where: Where) => string
  /** Connects as this person. */
  read: (token: string, where: Where, lastEventId?: string) => Promise<Reader>
  facts: () => Promise<Facts>
  /** Ends the sessions of this person. */
  revoke: (token: string) => void
  /** SIGKILL; resolves when it is gone. */
  kill: () => Promise<void>
  /** SIGTERM; resolves with its exit code. */
  stop: () => Promise<number | null>
}>

/** Starts one on the database at `url`; resolves when it listens. */
export async function startServer(url: string): Promise<ServerProcess> {
  const child = spawn(process.execPath, ['--expose-gc', MAIN], {
    env: { ...process.env, DATABASE_URL: url },
    stdio: ['pipe', 'pipe', 'inherit'],
  })
  const gone = once(child, 'exit') as Promise<[number | null]>
  const lines = createInterface({ input: child.stdout })
  const first = await Promise.race([once(lines, 'line'), gone.then(() => null)])
  if (!first) throw new Error('the server did not start')
  const origin = String(first[0])
  const address: ServerProcess['address'] = ({ orgId, runId, after }) =>
    `${origin}/api/v1/orgs/${orgId}/${runId === undefined ? '' : `runs/${runId}/`}stream${after === undefined ? '' : `?after=${after}`}`
  const end = async (signal: NodeJS.Signals): Promise<number | null> => {
    child.kill(signal)
    return (await gone)[0]
  }
  return {
    url: origin,
    address,
    read: (token, where, lastEventId) =>
      readStream(address(where), { token, ...(lastEventId === undefined ? {} : { lastEventId }) }),
    facts: async () => {
      const told = once(lines, 'line')
      child.stdin.write('facts\n')
      return JSON.parse(String((await told)[0])) as Facts
    },
    revoke: (token) => void child.stdin.write(`revoke ${token}\n`),
    kill: async () => void (await end('SIGKILL')),
    stop: () => end('SIGTERM'),
  }
}
