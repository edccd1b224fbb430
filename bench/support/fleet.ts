/** Real workers, `gleaner worker` as processes of their own, and a real sandbox for them to ask. */
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'
import { saveSandboxAccounts } from '../../apps/api/src/engine/accounts.ts'
import { type SandboxProcess, startSandboxProcess } from '../../apps/api/test/providers/sandbox-process.ts'
import type { Place, Stage } from './stage.ts'

const MAIN = fileURLToPath(new URL('../../apps/api/src/cli/main.ts', import.meta.url))

export type BenchWorker = Readonly<{
  /** Its id in collection_workers. */
  id: string
  /** Resolves when it has ended, however. */
  gone: Promise<unknown>
  /** SIGKILL; resolves when it is gone. */
  kill: () => Promise<void>
  /** SIGTERM; resolves when everything is booked and it has left. Throws when it ended in any other way. */
  stop: () => Promise<void>
  /** The most memory it ever had, MB; null where the kernel does not tell (not Linux). */
  mostMemoryMb: () => number | null
}>

export type Fleet = Readonly<{
  sandbox: SandboxProcess
  /** The sandbox's eBay account. */
  accountId: string
  /** Starts one more worker; resolves when it is registered. */
  startWorker: () => Promise<BenchWorker>
  /** Stops every worker that is up; what is in flight is booked. */
  stopWorkers: () => Promise<void>
}>

/** A sandbox with its accounts in the database of `place`, and no workers yet. All of it ends with the stage. */
export async function makeFleet(stage: Stage, place: Place): Promise<Fleet> {
  const sandbox = await startSandboxProcess()
  stage.atEnd(() => sandbox.stop())
  const accounts = await saveSandboxAccounts(place.db, sandbox.url, (await sandbox.get('/sandbox/prices')) as never)
  const account = accounts.find(({ adapter }) => adapter === 'ebay_browse')
  if (!account) throw new Error('the sandbox has no eBay account')
  const workers = new Set<BenchWorker>()
  const startWorker = async (): Promise<BenchWorker> => {
    const worker = await spawnWorker(stage, place.url)
    workers.add(worker)
    void worker.gone.then(() => workers.delete(worker))
    return worker
  }
  const stopWorkers = async (): Promise<void> => {
    await Promise.all([...workers].map((worker) => worker.stop()))
  }
  return { sandbox, accountId: account.id, startWorker, stopWorkers }
}

/** Starts `gleaner worker` on the database at `url`; resolves when it is registered. It ends with the stage at the latest. */
export async function spawnWorker(stage: Stage, url: string): Promise<BenchWorker> {
  const child = spawn(process.execPath, [MAIN, 'worker', '--json'], {
    env: { ...process.env, DATABASE_URL: url },
    stdio: ['ignore', 'pipe', 'pipe'],
  })
  let said = ''
  child.stderr.on('data', (chunk: Buffer) => {
    said += chunk.toString()
  })
  const gone = once(child, 'exit') as Promise<[number | null]>
  stage.atEnd(async () => {
    child.kill('SIGKILL')
    await gone
  })
  const lines = createInterface({ input: child.stdout })
  const first = await Promise.race([once(lines, 'line'), gone.then(() => null)])
  if (!first) throw new Error(`the worker did not start: ${said}`)
  const { worker: id } = JSON.parse(String(first[0])) as { worker: string }
  return {
    id,
    gone,
    kill: async () => {
      child.kill('SIGKILL')
      await gone
    },
    stop: async () => {
      child.kill('SIGTERM')
      const [code] = await gone
      if (code !== 0) throw new Error(`a worker ended with ${code}: ${said}`)
    },
    mostMemoryMb: () => memoryOf(child.pid),
  }
}

function memoryOf(pid: number | undefined): number | null {
  try {
    const kilobytes = /^VmHWM:\s+(\d+) kB$/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1]
    return kilobytes === undefined ? null : Number(kilobytes) / 1024
  } catch {
    return null
  }
}
