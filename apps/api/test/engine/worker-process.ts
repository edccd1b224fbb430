/** A worker as a process of its own, to be killed and stopped; and `worker-main.ts`, what runs in it. */
import { type ChildProcess, spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'
import type { Db } from '../../src/db/client.ts'
import type { Fate } from './fate.ts'

const MAIN = fileURLToPath(new URL('./worker-main.ts', import.meta.url))

/** How long a worker of these tests may be silent before it counts as dead, ms. */
export const DEAD_AFTER_MS = 1_000

export type WorkerProcess = Readonly<{
  /** Its id in collection_workers. */
  id: string
  pid: number
  /** SIGKILL; resolves when it is gone. */
  kill: () => Promise<void>
  /** Resolves when it has ended, whatever ended it; with the signal that did. */
  ended: Promise<NodeJS.Signals | null>
  /** SIGSTOP and SIGCONT. */
  freeze: () => void
  thaw: () => void
  /** SIGTERM; resolves when everything is booked and it has left. */
  stop: () => Promise<void>
  /** Everything it said. */
  said: () => string
}>

/**
 * Starts a worker on the database at `url`; resolves when it is registered. With a `fate` it ends or freezes by itself at
 * that point. `deadAfterMs` is after how long it takes itself and others for dead.
 */
export async function startWorkerProcess(
  url: string,
  fate?: Fate,
  deadAfterMs: number = DEAD_AFTER_MS,
): Promise<WorkerProcess> {
  const child: ChildProcess = spawn(process.execPath, [MAIN], {
    env: {
      ...process.env,
      DATABASE_URL: url,
      DEAD_AFTER_MS: String(deadAfterMs),
      ...(fate ? { GLEANER_FATE: JSON.stringify(fate) } : {}),
    },
    stdio: ['ignore', 'pipe', 'pipe'],
  })
  let said = ''
  child.stderr?.on('data', (chunk: Buffer) => {
    said += chunk.toString()
  })
  const gone = once(child, 'exit')
  const lines = createInterface({ input: child.stdout as NodeJS.ReadableStream })
  const first = await Promise.race([once(lines, 'line'), gone.then(() => null)])
  if (!first) throw new Error(`the worker did not start: ${said}`)
  lines.on('line', (line: string) => {
    said += `${line}\n`
  })
  const send = (signal: NodeJS.Signals): void => {
    child.kill(signal)
  }
  const end = async (signal: NodeJS.Signals): Promise<void> => {
    send(signal)
    await gone
  }
  return {
    id: String(first[0]),
    pid: child.pid ?? 0,
    ended: gone.then(([, signal]) => signal as NodeJS.Signals | null),
    kill: () => end('SIGKILL'),
    freeze: () => send('SIGSTOP'),
    thaw: () => send('SIGCONT'),
    stop: () => end('SIGTERM'),
    said: () => said,
  }
}

/** How long tests wait for a signal, ms: longer than anything takes on a busy machine, shorter than a test may last. */
export const WAIT_MS = 75_000

/** Resolves when the process is stopped (SIGSTOP). */
export async function frozen(pid: number, withinMs = WAIT_MS): Promise<void> {
  const end = Date.now() + withinMs
  while (!/^\s*T/.test(spawnSync('ps', ['-o', 'stat=', '-p', String(pid)]).stdout.toString())) {
    if (Date.now() > end) throw new Error(`process ${pid} was not frozen`)
    await new Promise((resolve) => setTimeout(resolve, 20))
  }
}

export type Waiting = Readonly<{
  withinMs?: number
  /** What has happened that makes waiting vain, e.g. the end of a process; null = nothing. */
  vain?: () => string | null
}>

/** Resolves once the query has a row; looks every 20 ms. */
export async function until(
  db: Db,
  sql: string,
  values: readonly unknown[] = [],
  waiting: Waiting = {},
): Promise<void> {
  const { withinMs = WAIT_MS, vain = () => null } = waiting
  const end = Date.now() + withinMs
  while ((await db.query(sql, values)).rowCount === 0) {
    const why = vain()
    if (why !== null) throw new Error(`${why}; waited for: ${sql}`)
    if (Date.now() > end) throw new Error(`in vain for ${withinMs} ms: ${sql}`)
    await new Promise((resolve) => setTimeout(resolve, 20))
  }
}
