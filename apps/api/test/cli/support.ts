/** The program as people run it: the launcher, real processes, a data directory of their own. */
import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { chmodSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { vi } from 'vitest'
import { preparePlace } from '../../src/db/embedded-place.ts'
import { stopServer } from '../../src/db/embedded-server.ts'
import { WAIT_MS } from '../engine/worker-process.ts'

// A test runs a dozen commands, each of which takes seconds on a busy machine. What hangs ends after WAIT_MS.
vi.setConfig({ testTimeout: 300_000 })

export const ROOT = join(import.meta.dirname, '..', '..', '..', '..')
export const LAUNCHER = join(ROOT, 'gleaner')

export type Ended = Readonly<{ status: number | null; out: string; err: string }>

export type CliOptions = Readonly<{ env?: NodeJS.ProcessEnv; cwd?: string; program?: string }>

/** Without anything of the machine the tests run on. */
function environment(env: NodeJS.ProcessEnv = {}): NodeJS.ProcessEnv {
  const { PATH, HOME, LANG } = process.env
  return { PATH, HOME, LANG, TZ: 'UTC', ...env }
}

/** Runs one command to its end. */
export async function gleaner(args: readonly string[], options: CliOptions = {}): Promise<Ended> {
  return endIn(launch(args, options), args)
}

function launch(args: readonly string[], { env, cwd, program }: CliOptions): ChildProcess {
  return spawn(program ?? LAUNCHER, args, { env: environment(env), cwd: cwd ?? '/', stdio: ['ignore', 'pipe', 'pipe'] })
}

async function collectOutput(child: ChildProcess): Promise<Ended> {
  let out = ''
  let err = ''
  child.stdout?.on('data', (chunk: Buffer) => (out += chunk.toString()))
  child.stderr?.on('data', (chunk: Buffer) => (err += chunk.toString()))
  const [status] = (await once(child, 'close')) as [number | null]
  return { status, out, err }
}

/** A command that does not end is ended, and what it has said is told. */
async function endIn(child: ChildProcess, args: readonly string[]): Promise<Ended> {
  let late = false
  const timer = setTimeout(() => {
    late = true
    child.kill('SIGKILL')
  }, WAIT_MS)
  const ended = await collectOutput(child)
  clearTimeout(timer)
  if (late) throw new Error(`${args.join(' ')} did not end in ${WAIT_MS} ms:\n${ended.out}${ended.err}`)
  return ended
}

/** A data directory, and commands that use it. */
export type Installation = Readonly<{
  dir: string
  run: (...args: string[]) => Promise<Ended>
  /** The result of a command with --json. Fails unless it ends with `status`. */
  json: <T = Record<string, unknown>>(args: readonly string[], status?: number) => Promise<T>
  /** A file in the directory. */
  file: (name: string, text: string) => string
  start: (...args: string[]) => Running
  remove: () => Promise<void>
}>

export type Up = Readonly<{ place: Installation; up: Running /** Of its sandbox. */; origin: string }>

/** An installation of its own that is up, with its sandbox and a worker. */
export async function installationUp(): Promise<Up> {
  const place = installation()
  const up = place.start('start', '--no-first-run', '--json')
  const line = await up.line((text) => text.includes('listening'))
  return { place, up, origin: (JSON.parse(line) as { listening: string }).listening }
}

/** Ends it as Ctrl-C does, and removes it. */
export async function takeDown({ place, up }: Up): Promise<void> {
  up.child.kill('SIGINT')
  await up.ended
  await place.remove()
}

export type Running = Readonly<{
  child: ChildProcess
  /** Resolves with the first line of output that `wanted` likes. Throws when it ends, or long passes, without one. */
  line: (wanted: (line: string) => boolean) => Promise<string>
  ended: Promise<Ended>
}>

/** An empty installation. Remove it when done. */
export function installation(env: NodeJS.ProcessEnv = {}): Installation {
  const dir = mkdtempSync('/tmp/gleaner-cli-')
  chmodSync(dir, 0o755) // as root, the server runs as another user
  const run = (...args: string[]) => gleaner(['--data-dir', dir, ...args], { env })
  return {
    dir,
    run,
    json: async <T>(args: readonly string[], status = 0) => {
      const ended = await run('--json', ...args)
      if (ended.status !== status)
        throw new Error(`${args.join(' ')}: status ${ended.status}\n${ended.out}${ended.err}`)
      return JSON.parse(ended.out || ended.err) as T
    },
    file: (name, text) => {
      writeFileSync(join(dir, name), text)
      return join(dir, name)
    },
    start: (...args) => watch(launch(['--data-dir', dir, ...args], { env })),
    remove: async () => {
      // Nothing should be left to stop; a failed test may have left something.
      await stopServer(preparePlace({ dataDir: join(dir, 'pg18') })).catch(() => {})
      rmSync(dir, { recursive: true, force: true })
    },
  }
}

function watch(child: ChildProcess): Running {
  const lines: string[] = []
  const waiting = new Set<() => void>()
  const wake = () => {
    for (const one of waiting) one()
  }
  if (!child.stdout) throw new Error('no output to watch')
  createInterface({ input: child.stdout }).on('line', (line) => {
    lines.push(line)
    wake()
  })
  let over = false
  const ended = collectOutput(child).then((result) => {
    over = true
    wake()
    return result
  })
  return {
    child,
    ended,
    line: async (wanted) => {
      const end = Date.now() + WAIT_MS
      const timer = setTimeout(wake, WAIT_MS)
      try {
        for (;;) {
          const found = lines.find(wanted)
          if (found !== undefined) return found
          if (over) throw new Error(`it ended without such a line:\n${lines.join('\n')}\n${(await ended).err}`)
          if (Date.now() >= end) throw new Error(`no such line in ${WAIT_MS} ms:\n${lines.join('\n')}`)
          await new Promise<void>((resolve) => {
            const done = () => {
              waiting.delete(done)
              resolve()
            }
            waiting.add(done)
          })
        }
      } finally {
        clearTimeout(timer)
      }
    },
  }
}

/** Sends JSON to a control route of the sandbox. */
export async function sandbox<T>(origin: string, path: string, body?: unknown): Promise<T> {
  const init = body === undefined ? {} : { method: 'POST', body: JSON.stringify(body) }
  const response = await fetch(`${origin}/sandbox/${path}`, init)
  return (await response.json()) as T
}
