/**
 * Locks between processes of one machine that end with the process, however it ends. Node has no flock; SQLite, which is
 * part of Node, takes exactly such locks on its files (fcntl), shared or exclusive, on Linux and macOS alike. The files
 * stay empty. A pid file in their place would have to guess whether its pid is still the same process.
 */
import { DatabaseSync } from 'node:sqlite'
import { setTimeout as sleep } from 'node:timers/promises'

export type FileLock = Readonly<{ release(): void }>

const SQLITE_BUSY = 5

/** Takes the exclusive lock on `path` if nobody holds any lock on it; null otherwise. Throws when the file is not ours. */
export function tryExclusive(path: string): FileLock | null {
  return take(path, 'begin exclusive')
}

/** Takes a shared lock on `path`: others may share it, nobody can have it exclusively. Null while somebody has. */
export function tryShared(path: string): FileLock | null {
  return take(path, 'begin; select count(*) from sqlite_schema')
}

/** Waits for the exclusive lock on `path`. Returns null when it was not free within `waitMs`. */
export async function waitExclusive(path: string, waitMs: number): Promise<FileLock | null> {
  const deadline = performance.now() + waitMs
  for (;;) {
    const lock = tryExclusive(path)
    if (lock || performance.now() > deadline) return lock
    await sleep(10)
  }
}

function take(path: string, sql: string): FileLock | null {
  const file = new DatabaseSync(path, { timeout: 0 })
  try {
    // Without a journal file nothing at all is written: the lock can be had on a full disk.
    file.exec(`pragma journal_mode = memory; ${sql}`)
    return { release: () => file.isOpen && file.close() }
  } catch (error) {
    file.close()
    if ((error as { errcode?: number }).errcode === SQLITE_BUSY) return null
    throw error
  }
}
