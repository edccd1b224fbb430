/** Free space, for refusals that say how much is missing. */
import { existsSync, statfsSync } from 'node:fs'
import { dirname } from 'node:path'
import { AppError } from '../base/errors.ts'

const MB = 1024 * 1024

/** A new database takes 39 MB (measured with 18.4), its log grows to 80 MB before it is reused, the rest is data. */
export const SPACE_NEEDED = 200 * MB

/** Bytes an ordinary user can still write on the disk of `path` (or of the nearest directory above that exists). */
export function freeSpace(path: string): number {
  let existing = path
  while (!existsSync(existing) && existing !== dirname(existing)) existing = dirname(existing)
  const { bavail, bsize } = statfsSync(existing)
  return bavail * bsize
}

/** The refusal for a disk too full for the database at `path`. */
export function spaceError(path: string, cause?: unknown): AppError {
  const free = freeSpace(path)
  const megabytes = (bytes: number) => `${Math.floor(bytes / MB)} MB`
  return new AppError('db.disk_full', `the disk of ${path} is full: ${megabytes(free)} free`, {
    hint: `The database needs at least ${megabytes(SPACE_NEEDED)}. Free some, or set GLEANER_DATA_DIR to another disk.`,
    details: { free, needed: SPACE_NEEDED },
    cause,
  })
}
