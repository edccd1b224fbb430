/** The migrations as files: what they are called, in which order, and what they held when they were applied. */
import { createHash } from 'node:crypto'
import { readdir, readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { AppError } from '../base/errors.ts'

export type Migration = Readonly<{
  number: number
  /** The file's name, e.g. `037_collection_infrastructure.sql`. */
  name: string
  sql: string
  /** SHA-256 of the text with line endings normalised, as hex. */
  checksum: string
  /** False when the file carries the marker `-- gleaner: no transaction`. */
  transactional: boolean
  /** True when the file carries the marker `-- gleaner: stops workers`: running workers must leave before it is applied. */
  stopsWorkers: boolean
}>

/** apps/api/migrations of this checkout. */
export const MIGRATIONS_DIR = join(import.meta.dirname, '..', '..', 'migrations')

/** From this number on no number may be missing; those before belong to the platform beneath and need not all exist. */
const FIRST_WITHOUT_GAPS = 37
const NAME = /^(\d{3})_[a-z0-9]+(?:_[a-z0-9]+)*\.sql$/
const NO_TRANSACTION = /^-- gleaner: no transaction\s*$/m
const STOPS_WORKERS = /^-- gleaner: stops workers\s*$/m

/**
 * All migrations in `dir`, in order. Throws AppError db.migration_failed for a name that does not fit, a number used
 * twice, or a number missing from 037 on.
 */
export async function readMigrations(dir: string = MIGRATIONS_DIR): Promise<Migration[]> {
  const names = (await readdir(dir)).filter((name) => name.endsWith('.sql')).sort()
  const migrations = await Promise.all(names.map((name) => readMigration(dir, name)))
  checkNumbers(migrations)
  return migrations
}

async function readMigration(dir: string, name: string): Promise<Migration> {
  const match = NAME.exec(name)
  if (!match) throw refused(`${name} is not named like 038_short_name.sql`)
  const sql = (await readFile(join(dir, name), 'utf8')).replace(/^\uFEFF/, '').replace(/\r\n?/g, '\n')
  const checksum = createHash('sha256').update(sql).digest('hex')
  const [transactional, stopsWorkers] = [!NO_TRANSACTION.test(sql), STOPS_WORKERS.test(sql)]
  return { number: Number(match[1]), name, sql, checksum, transactional, stopsWorkers }
}

function checkNumbers(migrations: readonly Migration[]): void {
  for (const [index, { number, name }] of migrations.entries()) {
    const before = migrations[index - 1]
    if (before?.number === number) throw refused(`${before.name} and ${name} have the same number`)
    if (number <= FIRST_WITHOUT_GAPS || before?.number === number - 1) continue
    throw refused(`${name} follows ${before?.name ?? 'nothing'}: a number in between is missing`)
  }
}

function refused(message: string): AppError {
  return new AppError('db.migration_failed', message, { hint: 'See apps/api/migrations/README.md for the rules.' })
}

/** The statements of a migration that runs outside a transaction: each ends with a semicolon at the end of a line. */
export function splitStatements(sql: string): string[] {
  return sql
    .replace(/^\s*--.*$/gm, '')
    .split(/;[ \t]*$/m)
    .map((statement) => statement.trim())
    .filter((statement) => statement !== '')
}
