/**
 * A real PostgreSQL of our own, shared by all processes of one checkout. The first to come starts it, the last to go
 * stops it; one that is killed leaves it running for the next.
 *
 * Two locks, both ended by the kernel with their process: `gate` is held while anybody starts or stops the server,
 * `users` is shared by everybody who uses it. Whoever can have `users` for itself alone is the last one.
 */
import { join } from 'node:path'
import { AppError } from '../base/errors.ts'
import { type FileLock, tryExclusive, tryShared, waitExclusive } from './embedded-lock.ts'
import { type Place, type PlaceOptions, preparePlace } from './embedded-place.ts'
import { createData, ping, socketUrl, startServer, stopServer } from './embedded-server.ts'
import { spaceError } from './embedded-space.ts'

export type EmbeddedOptions = PlaceOptions &
  Readonly<{
    /** Refuse to make a database with less free space than this, bytes. */
    spaceNeeded?: number
  }>

export type Embedded = Readonly<{
  /** For `connect`. Holds no password: the socket's directory decides who gets in. */
  url: string
  /** Where the data are: not always the directory asked for, see embedded-place.ts. */
  dataDir: string
  /** True when this call made the database. */
  created: boolean
  /** Starts the server again when it is gone, e.g. killed. */
  ensureRunning(): Promise<void>
  /** Done with it: stops the server unless another process uses it. Connections must be closed before. */
  close(): Promise<void>
}>

/** Starting may include recovery from a crash; stopping writes a checkpoint. Neither takes minutes. */
const GATE_WAIT_MS = 120_000

/**
 * Makes the database in `dataDir` if there is none, starts its server if it is not running, and registers this process
 * as a user of it. Throws AppError db.embedded_failed, db.disk_full, db.version_unsupported.
 */
export async function openEmbedded(options: EmbeddedOptions): Promise<Embedded> {
  const place = attempt(options.dataDir, () => preparePlace(options))
  const gate = await takeGate(place)
  let users: FileLock | null = null
  try {
    users = attempt(place.base, () => tryShared(usersLock(place)))
    if (!users) throw new Error('the users lock was taken outside the gate')
    const created = await createData(place, options.spaceNeeded)
    await ensure(place)
    return handle(place, users, created)
  } catch (error) {
    users?.release()
    throw error
  } finally {
    gate.release()
  }
}

function handle(place: Place, users: FileLock, created: boolean): Embedded {
  let closing: Promise<void> | undefined
  return {
    url: socketUrl(place),
    dataDir: place.base,
    created,
    ensureRunning: () => withGate(place, () => ensure(place)),
    close: () => {
      closing ??= withGate(place, () => leave(place, users))
      return closing
    },
  }
}

async function ensure(place: Place): Promise<void> {
  if (!(await ping(place))) await startServer(place)
}

/** Gives up our share and, when nobody else has one, stops the server. Called inside the gate, so nobody comes meanwhile. */
async function leave(place: Place, users: FileLock): Promise<void> {
  users.release()
  const alone = tryExclusive(usersLock(place))
  if (!alone) return
  try {
    await stopServer(place)
  } finally {
    alone.release()
  }
}

async function withGate<T>(place: Place, work: () => Promise<T>): Promise<T> {
  const gate = await takeGate(place)
  try {
    return await work()
  } finally {
    gate.release()
  }
}

async function takeGate(place: Place): Promise<FileLock> {
  let gate: FileLock | null
  try {
    gate = await waitExclusive(join(place.base, 'gate.lock'), GATE_WAIT_MS)
  } catch (error) {
    throw refusal(place.base, error)
  }
  if (gate) return gate
  throw new AppError('db.embedded_failed', 'another process has been starting or stopping the database for too long', {
    hint: `See ${place.log}.`,
  })
}

function usersLock(place: Place): string {
  return join(place.base, 'users.lock')
}

function attempt<T>(path: string, work: () => T): T {
  try {
    return work()
  } catch (error) {
    throw refusal(path, error)
  }
}

function refusal(path: string, error: unknown): AppError {
  if (error instanceof AppError) return error
  const { code, message } = error as NodeJS.ErrnoException
  if (code === 'ENOSPC' || /disk is full/.test(message)) return spaceError(path, error)
  return new AppError('db.embedded_failed', `cannot use ${path} for the database: ${message}`, {
    hint: 'It must be a directory this user can write to; set GLEANER_DATA_DIR to another one.',
    cause: error,
  })
}
