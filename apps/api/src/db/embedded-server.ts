/** Making, starting and stopping the embedded server's processes. Called by one process at a time (embedded.ts). */
import { type ChildProcess, execFile, spawn } from 'node:child_process'
import { once } from 'node:events'
import {
  appendFileSync,
  chmodSync,
  chownSync,
  closeSync,
  existsSync,
  fchownSync,
  fsyncSync,
  mkdirSync,
  openSync,
  readdirSync,
  readFileSync,
  readSync,
  realpathSync,
  renameSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { promisify } from 'node:util'
import pg from 'pg'
import { AppError } from '../base/errors.ts'
import type { Place } from './embedded-place.ts'
import { settingsFile } from './embedded-settings.ts'
import { freeSpace, SPACE_NEEDED, spaceError } from './embedded-space.ts'
import { hasState, SQLSTATE } from './errors.ts'

const run = promisify(execFile)

const SUPERUSER = 'postgres'
const DATABASE = 'postgres'
/** Recovery of 2 GB of log takes well under a minute; a server silent for longer than this is not coming. */
const START_WAIT_MS = 300_000
const POLL_MS = 10
/** How long processes of a killed server may take to notice and leave. */
const LEAVING_WAIT_MS = 20_000
const LOG_LIMIT_BYTES = 10 * 1024 * 1024

/** The URL of the server's socket. */
export function socketUrl(place: Place, database: string = DATABASE): string {
  return `postgresql://${SUPERUSER}@localhost/${database}?host=${encodeURIComponent(place.run)}`
}

/**
 * Makes the database unless there is one; returns whether it did. It is made under another name and renamed when it is
 * complete and on disk, so that an interrupted attempt is never taken for a database.
 */
export async function createData(place: Place, spaceNeeded: number = SPACE_NEEDED): Promise<boolean> {
  if (existsSync(place.data)) {
    checkMajor(place)
    return false
  }
  for (const name of readdirSync(place.base)) {
    if (name.startsWith('data.new-')) rmSync(join(place.base, name), { recursive: true, force: true })
  }
  if (freeSpace(place.base) < spaceNeeded) throw spaceError(place.base)
  const unfinished = join(place.base, `data.new-${process.pid}`)
  try {
    mkdirSync(unfinished, { mode: 0o700 })
    chmodSync(unfinished, 0o700)
    if (place.user) chownSync(unfinished, place.user.uid, place.user.gid)
    await initdb(place, unfinished)
    appendFileSync(join(unfinished, 'postgresql.conf'), `\ninclude = 'gleaner.conf'\ninclude = 'extra.conf'\n`)
    writeOwned(
      place,
      join(unfinished, 'extra.conf'),
      '# Settings of your own; they come after those of gleaner.conf.\n',
    )
    renameSync(unfinished, place.data)
    syncDir(place.base)
    return true
  } catch (error) {
    rmSync(unfinished, { recursive: true, force: true })
    throw error instanceof AppError ? error : failed('initdb', place, error)
  }
}

function checkMajor(place: Place): void {
  const path = join(place.data, 'PG_VERSION')
  const found = existsSync(path) ? Number.parseInt(readFileSync(path, 'utf8'), 10) : 0
  if (found === place.binaries.major) return
  const what = found === 0 ? 'is no database' : `was written by PostgreSQL ${found}`
  throw new AppError('db.version_unsupported', `${place.data} ${what}; this Gleaner brings ${place.binaries.major}`, {
    hint: 'Set GLEANER_DATA_DIR to another directory, or start the version of Gleaner that wrote this one.',
    details: { found, wanted: place.binaries.major },
  })
}

/** C.UTF-8 of the builtin provider (from 17 on) sorts the same on every machine, for ever; libc's order changes with it. */
async function initdb(place: Place, target: string): Promise<void> {
  const locale =
    place.binaries.major >= 17
      ? ['--locale-provider=builtin', '--builtin-locale=C.UTF-8', '--locale=C']
      : ['--locale=C']
  await run(
    join(place.binaries.bin, 'initdb'),
    [
      `--pgdata=${target}`,
      `--username=${SUPERUSER}`,
      '--encoding=UTF8',
      ...locale,
      '--data-checksums',
      '--auth-local=trust',
      '--auth-host=reject',
      '--no-instructions',
    ],
    childOptions(place),
  )
}

/** An environment of its own: PGPORT and the like of whoever starts us must not reach the server. */
function childOptions(place: Place) {
  return {
    cwd: '/',
    env: { PATH: process.env['PATH'], LC_ALL: 'C', TZ: 'UTC' },
    ...(place.user ? { uid: place.user.uid, gid: place.user.gid } : {}),
  }
}

/** True when the server answers; waits while it is starting up or shutting down. False when nobody listens. */
export async function ping(place: Place): Promise<boolean> {
  const deadline = performance.now() + START_WAIT_MS
  for (;;) {
    const client = new pg.Client({ connectionString: socketUrl(place), connectionTimeoutMillis: 5_000 })
    client.on('error', () => {})
    try {
      await client.connect()
      await client.end()
      return true
    } catch (error) {
      if (!hasState(error, SQLSTATE.cannotConnectNow) || performance.now() > deadline) return false
      await sleep(POLL_MS)
    }
  }
}

/**
 * Starts the server and returns when it lets clients in. Runs detached in a session of its own: a Ctrl-C in our terminal
 * does not reach it. Tries again while processes of a killed predecessor are still leaving.
 */
export async function startServer(place: Place): Promise<void> {
  writeSettings(place)
  if (existsSync(place.log) && statSync(place.log).size > LOG_LIMIT_BYTES) renameSync(place.log, `${place.log}.1`)
  const deadline = performance.now() + LEAVING_WAIT_MS
  for (;;) {
    const reason = await startOnce(place)
    if (reason === null) return
    if (/lock file "postmaster.pid" already exists/.test(reason)) {
      // Started by a process that was killed before it saw it ready: it is ours all the same.
      if (!serverUses(place)) removePidFile(place)
      else if (await ping(place)) return
    }
    const leaving = /pre-existing shared memory block|still in use|could not bind|already exists/.test(reason)
    if (!leaving || performance.now() > deadline) throw failed('the server', place, new Error(reason))
    await sleep(50)
  }
}

function writeSettings(place: Place): void {
  const path = join(place.data, 'gleaner.conf')
  const text = settingsFile(place.run)
  if (existsSync(path) && readFileSync(path, 'utf8') === text) return
  writeOwned(place, `${path}.new`, text)
  renameSync(`${path}.new`, path)
}

function writeOwned(place: Place, path: string, text: string): void {
  writeFileSync(path, text, { mode: 0o600 })
  if (place.user) chownSync(path, place.user.uid, place.user.gid)
}

/** Null when the server is ready, else what it logged before it gave up. */
async function startOnce(place: Place): Promise<string | null> {
  const log = openSync(place.log, 'a', 0o600)
  if (place.user) fchownSync(log, place.user.uid, place.user.gid) // an ordinary user may start it next
  const from = statSync(place.log).size
  let child: ChildProcess
  try {
    child = spawn(join(place.binaries.bin, 'postgres'), ['-D', place.data], {
      ...childOptions(place),
      detached: true,
      stdio: ['ignore', log, log],
    })
  } finally {
    closeSync(log)
  }
  const ended = Promise.race([
    once(child, 'exit').then(() => readFrom(place.log, from)),
    once(child, 'error').then(([error]) => String((error as Error).message)),
  ])
  ended.catch(() => {})
  const deadline = performance.now() + START_WAIT_MS
  while (performance.now() < deadline) {
    const reason = await Promise.race([ended, sleep(POLL_MS, null)])
    if (reason !== null) return reason
    if (isReady(place, child.pid)) {
      child.unref()
      return null
    }
  }
  child.kill('SIGINT')
  return `not ready after ${START_WAIT_MS / 1000} s`
}

/** The server writes its state to the eighth line of its pid file; pg_ctl waits for the same. */
function isReady(place: Place, pid: number | undefined): boolean {
  const lines = readPidFile(place)
  return Number(lines[0]) === pid && lines[7]?.trim() === 'ready'
}

function readPidFile(place: Place): string[] {
  try {
    return readFileSync(join(place.data, 'postmaster.pid'), 'utf8').split('\n')
  } catch {
    return []
  }
}

/**
 * After a crash of the machine the pid in the file may be that of another process, and PostgreSQL then believes that it
 * is a server of these data. A server's working directory is its data directory. (One that is really using the data
 * would still be noticed without the file: its shared memory is in use.)
 */
function serverUses(place: Place): boolean {
  const pid = Number(readPidFile(place)[0])
  try {
    return realpathSync(`/proc/${pid}/cwd`) === realpathSync(place.data)
  } catch {
    return process.platform !== 'linux' // no /proc: believe the file
  }
}

function removePidFile(place: Place): void {
  rmSync(join(place.data, 'postmaster.pid'), { force: true })
}

/** Stops the server if it runs and returns when it is gone; clients still connected are sent away. */
export async function stopServer(place: Place): Promise<void> {
  const pid = Number(readPidFile(place)[0])
  if (!pid) return
  try {
    await run(
      join(place.binaries.bin, 'pg_ctl'),
      ['stop', '-D', place.data, '-m', 'fast', '-w', '-t', '120'],
      childOptions(place),
    )
  } catch (error) {
    if (await ping(place)) throw failed('stopping the server', place, error)
  }
}

function readFrom(path: string, from: number): string {
  const length = Math.max(0, Math.min(statSync(path).size - from, 64 * 1024))
  const buffer = Buffer.alloc(length)
  const file = openSync(path, 'r')
  readSync(file, buffer, 0, length, from)
  closeSync(file)
  return buffer.toString('utf8').trim()
}

function failed(what: string, place: Place, cause: unknown): AppError {
  const { message, stderr = '' } = cause as Error & { stderr?: string }
  const text = `${stderr}\n${message}`
  if (/No space left on device|ENOSPC|Disk quota exceeded/.test(text)) return spaceError(place.base, cause)
  return new AppError('db.embedded_failed', `the embedded PostgreSQL failed (${what}): ${lastWords(text)}`, {
    hint: `The whole story is in ${place.log}. A PostgreSQL of your own works too: set DATABASE_URL.`,
    cause,
  })
}

/** The last three lines that say something, without time stamps. */
function lastWords(text: string): string {
  const lines = text.split('\n').map((line) => line.replace(/^\d{4}-\S+ \S+ \S+ \[\d+\]\s+/, '').trim())
  const telling = lines.filter((line) => line !== '' && !/starting PostgreSQL|listening on|is shut down/.test(line))
  return telling.slice(-3).join('; ')
}

function syncDir(path: string): void {
  const dir = openSync(path, 'r')
  fsyncSync(dir)
  closeSync(dir)
}
