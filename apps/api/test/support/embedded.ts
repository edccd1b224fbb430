/** Checkouts with a database of their own, and processes that use it. */
import { type ChildProcess, execFileSync, spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { chmodSync, mkdirSync, mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { setTimeout as sleep } from 'node:timers/promises'
import { afterAll, afterEach, beforeAll, expect } from 'vitest'
import { connect } from '../../src/db/client.ts'
import { type EmbeddedOptions, openEmbedded } from '../../src/db/embedded.ts'
import { preparePlace } from '../../src/db/embedded-place.ts'
import { stopServer } from '../../src/db/embedded-server.ts'
import { packageFromEnvironment } from './postgres.ts'

export const isRoot = process.getuid?.() === 0
/** An unprivileged user that exists everywhere. */
export const NOBODY = { uid: 65534, gid: 65534 }
export const USER_PROGRAM = join(import.meta.dirname, 'embedded-user.ts')

/** A database made once and copied, for tests that are not about making one. */
const seed = mkdtempSync('/tmp/gleaner-seed-')
beforeAll(async () => {
  chmodSync(seed, 0o755)
  await (await openEmbedded(optionsIn(seed))).close()
})
afterAll(() => rmSync(seed, { recursive: true, force: true }))

/** Run after each test, last first. */
export const cleanUps: (() => unknown)[] = []
afterEach(async () => {
  for (const cleanUp of cleanUps.splice(0).reverse()) await cleanUp()
})

/** An empty directory that everybody may enter, removed after the test together with the server in it. */
export function checkout(under = '/tmp', prefix = 'gleaner-embedded-'): string {
  const dir = mkdtempSync(join(under, prefix))
  chmodSync(dir, 0o755)
  const options = optionsIn(dir)
  cleanUps.push(async () => {
    const place = preparePlace(options)
    await stopServer(place).catch(() => {})
    for (const path of [place.base, place.run, dir]) rmSync(path, { recursive: true, force: true })
  })
  return dir
}

/** Options of the database in a checkout. */
export const optionsIn = (dir: string): EmbeddedOptions => ({
  dataDir: join(dir, '.gleaner', 'pg'),
  ...packageFromEnvironment(),
})

/** A checkout in which the database was made before. */
export function usedCheckout(...where: Parameters<typeof checkout>): string {
  const dir = checkout(...where)
  mkdirSync(optionsIn(dir).dataDir, { recursive: true })
  execFileSync('cp', ['-a', join(optionsIn(seed).dataDir, 'data'), optionsIn(dir).dataDir])
  return dir
}

type User = Readonly<{
  child: ChildProcess
  /** Its first line. */
  said: Record<string, unknown> & { url: string }
  close(): Promise<void>
  kill(): Promise<void>
}>

/** Starts a process that uses the database in `dir` and waits until it is in, or refused. */
export async function user(options: EmbeddedOptions, as?: { uid: number; gid: number }): Promise<User> {
  const child = spawn(process.execPath, [USER_PROGRAM, JSON.stringify(options)], {
    stdio: ['pipe', 'pipe', 'inherit'],
    ...as,
  })
  const gone = once(child, 'exit')
  cleanUps.push(async () => {
    child.kill('SIGKILL')
    await gone
  })
  const lines = createInterface({ input: child.stdout })
  const [line] = (await once(lines, 'line')) as [string]
  return {
    child,
    said: JSON.parse(line),
    close: async () => {
      child.stdin.end()
      await gone
      expect(child.exitCode).toBe(0)
    },
    kill: async () => {
      child.kill('SIGKILL')
      await gone
    },
  }
}

/** The server's process, read from its pid file. */
export const serverPid = (dir: string) =>
  Number(readFileSync(join(optionsIn(dir).dataDir, 'data', 'postmaster.pid'), 'utf8').split('\n')[0])

/** An ended process that nobody has collected yet (a zombie) is not alive. */
export function isAlive(pid: number): boolean {
  const { stdout } = spawnSync('ps', ['-o', 'stat=', '-p', String(pid)])
  return /^\s*[^Z\s]/.test(stdout.toString())
}

/** Returns when the process has ended. */
export async function gone(pid: number): Promise<void> {
  for (let i = 0; isAlive(pid); i++) {
    if (i > 1000) throw new Error(`process ${pid} does not end`)
    await sleep(10)
  }
}

/** The rows of one statement on a connection of its own. */
export async function run(url: string, sql: string): Promise<Record<string, unknown>[]> {
  const db = await connect(url, { max: 1 })
  try {
    return (await db.query(sql)).rows
  } finally {
    await db.close()
  }
}
