/**
 * The sandbox as a process of its own, started when a command needs it and none is up. Everybody who uses it is its guest:
 * a request that stays open and ends with the process that made it. With its last guest the sandbox ends.
 */
import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import { get } from 'node:http'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { setTimeout as sleep } from 'node:timers/promises'
import { ROOT_DIR } from '../base/config.ts'
import { AppError } from '../base/errors.ts'
import type { Db } from '../db/client.ts'
import { listAccounts, saveSandboxAccounts } from '../engine/accounts.ts'

const PROGRAM = join(ROOT_DIR, 'apps', 'sandbox', 'src', 'main.ts')
/** The status with which a sandbox ends when another one uses its directory (apps/sandbox/README.md). */
const DIRECTORY_IN_USE = 5
const HEALTH_TIMEOUT_MS = 1_000
/** How long another process may take from locking the sandbox's directory to registering it. */
const OTHERS_WAIT_MS = 15_000
const POLL_MS = 50

export type SandboxOptions = Readonly<{
  db: Db
  /** Where its world and its bill are. */
  dir: string
  /** Any sandbox the accounts point at will do: the database is shared with other installations. */
  shared: boolean
}>

export type Sandbox = Readonly<{
  origin: string
  /** True when this process started it. */
  ours: boolean
  /** Leaves it. It ends when nobody else uses it. */
  leave: () => void
}>

/**
 * A sandbox that answers, with the sandbox accounts pointing at it and at its prices. Several processes may ask at once:
 * one starts it, the others use that one. Throws AppError `provider.unreachable` when none can be had.
 */
export async function ensureSandbox(options: SandboxOptions): Promise<Sandbox> {
  const deadline = performance.now() + OTHERS_WAIT_MS
  for (;;) {
    const known = await knownSandbox(options)
    const leave = known === null ? null : await beGuest(known)
    if (known !== null && leave !== null) return { origin: known, ours: false, leave }
    const started = await startProcess(options.dir)
    if (started !== null) return adopt(options.db, started)
    if (performance.now() > deadline) throw unreachable('another process has been starting it for too long')
    await sleep(POLL_MS)
  }
}

/** Becomes a guest of the sandbox at `origin`; returns how to leave, or null when it is not there any more. */
function beGuest(origin: string): Promise<(() => void) | null> {
  return new Promise((resolve) => {
    const asking = get(`${origin}/sandbox/guest`, { agent: false }, (response) => {
      response.resume()
      // It lasts as long as this process does, and is no reason for it to last.
      response.socket.unref()
      if (response.statusCode === 200) return resolve(() => asking.destroy())
      // A sandbox somebody runs by hand takes no guests, and does not end with them.
      asking.destroy()
      resolve(() => {})
    })
    asking.on('error', () => resolve(null))
  })
}

/** Where the sandbox of this installation listens, by the accounts that point at it; null when it is not up. */
export async function knownSandbox({ db, dir, shared }: SandboxOptions): Promise<string | null> {
  const account = (await listAccounts(db)).find((one) => one.sandbox)
  if (!account) return null
  const { origin } = new URL(account.baseUrl)
  const pid = await healthOf(origin)
  if (pid === null) return null
  return shared || pid === lockedBy(dir) ? origin : null
}

/** The process id of the sandbox at `origin`, or null when none answers. */
async function healthOf(origin: string): Promise<number | null> {
  try {
    const response = await fetch(`${origin}/sandbox/health`, { signal: AbortSignal.timeout(HEALTH_TIMEOUT_MS) })
    const { pid } = (await response.json()) as { pid?: unknown }
    return response.ok && typeof pid === 'number' ? pid : null
  } catch {
    return null
  }
}

/** Ports are used again: what listens at a remembered one may be a sandbox with another world. */
function lockedBy(dir: string): number | null {
  try {
    return Number(readFileSync(join(dir, 'sandbox.lock'), 'utf8').split(' ')[0])
  } catch {
    return null
  }
}

type Started = Readonly<{ child: ChildProcess; origin: string }>

/** Starts the sandbox; null when another process runs it in this directory. */
async function startProcess(dir: string): Promise<Started | null> {
  const child = spawn(process.execPath, [PROGRAM, '--data', dir, '--port', '0', '--end-when-unused'], {
    stdio: ['ignore', 'pipe', 'pipe'],
    // In a group of its own: Ctrl-C is for us, and calls in flight still need their answers.
    detached: true,
  })
  let told = ''
  child.stderr.on('data', (chunk: Buffer) => {
    told += chunk.toString()
  })
  const line = await Promise.race([
    once(createInterface({ input: child.stdout }), 'line').then(([text]) => String(text)),
    once(child, 'exit').then(() => null),
  ])
  if (line !== null) return { child, origin: (JSON.parse(line) as { listening: string }).listening }
  if (child.exitCode === DIRECTORY_IN_USE) return null
  throw unreachable(told.trim() || `it ended with status ${child.exitCode}`)
}

async function adopt(db: Db, { child, origin }: Started): Promise<Sandbox> {
  const leave = await beGuest(origin)
  try {
    if (!leave) throw unreachable('it ended at once')
    const response = await fetch(`${origin}/sandbox/prices`)
    await saveSandboxAccounts(db, origin, (await response.json()) as Record<string, number>)
    // Nothing of it keeps us alive, and it lives on while others use it.
    child.unref()
    for (const stream of child.stdio) (stream as unknown as { unref?: () => void } | null)?.unref?.()
    return { origin, ours: true, leave }
  } catch (error) {
    child.kill('SIGTERM')
    throw error
  }
}

/** Lets the sandbox answer this much later, ms, give or take `jitterMs`. What it refuses is no matter. */
export async function paceSandbox(origin: string, latency: Readonly<{ ms: number; jitterMs: number }>): Promise<void> {
  await fetch(`${origin}/sandbox/latency`, { method: 'POST', body: JSON.stringify(latency) }).catch(() => {})
}

function unreachable(reason: string): AppError {
  return new AppError('provider.unreachable', `The sandbox does not start: ${reason}`, {
    hint: 'gleaner doctor says more. The sandbox keeps its data in .gleaner/sandbox.',
  })
}
