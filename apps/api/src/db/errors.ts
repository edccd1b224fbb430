/**
 * From what the driver and PostgreSQL report to something a caller can decide on or a person can act on. No message or
 * hint ever holds a password or a whole connection URL.
 */
import { AppError } from '../base/errors.ts'

/** The parts of a driver's error that decisions rest on. PostgreSQL fills all but `code`, sockets only `code`. */
export type PgError = Error & {
  /** A five-character SQLSTATE, or a system code such as ECONNREFUSED. */
  code?: string
  severity?: string
  constraint?: string
  table?: string
  detail?: string
  position?: string
}

/**
 * COMMIT was sent and its answer never came: the transaction may be durable or not. The caller must look (by an id it
 * wrote) before it does anything again.
 */
export class CommitUnknown extends Error {
  constructor(cause: unknown) {
    super('the connection broke during COMMIT: the transaction may or may not have been committed', { cause })
    this.name = 'CommitUnknown'
  }
}

/** SQLSTATEs (docs: Appendix A) this code decides on. */
export const SQLSTATE = {
  uniqueViolation: '23505',
  foreignKeyViolation: '23503',
  checkViolation: '23514',
  serializationFailure: '40001',
  deadlock: '40P01',
  lockNotAvailable: '55P03',
  queryCanceled: '57014',
  diskFull: '53100',
  tooManyConnections: '53300',
  adminShutdown: '57P01',
  cannotConnectNow: '57P03',
  invalidPassword: '28P01',
  invalidAuthorization: '28000',
  unknownDatabase: '3D000',
  insufficientPrivilege: '42501',
  /** Raised by this schema (migration 045): as many runs of the organisation are running as may. */
  placesTaken: 'GL005',
  /** Ours (047): not enough left under the month cap. */
  monthCapReached: 'GL006',
  /** Ours: an organisation would be left without an owner. */
  ownerNeeded: 'GL007',
} as const

/** True for an error of the driver or of a socket, i.e. one with a code. */
export function isPgError(error: unknown): error is PgError {
  return error instanceof Error && typeof (error as PgError).code === 'string'
}

/** True when PostgreSQL itself answered with this SQLSTATE. */
export function hasState(error: unknown, state: string): boolean {
  return isPgError(error) && error.code === state
}

/**
 * True for a serialization failure or a deadlock: the transaction was rolled back and may simply be run again. So it is
 * with a claim for which the month turned, or got its first cap, between its look and its hold: it looks anew.
 */
export function isRetryable(error: unknown): boolean {
  const states = [SQLSTATE.serializationFailure, SQLSTATE.deadlock, SQLSTATE.monthCapReached]
  return states.some((state) => hasState(error, state))
}

/** True when the connection itself is gone, so that nothing is known about a statement in flight. */
export function isConnectionError(error: unknown): boolean {
  if (!(error instanceof Error)) return false
  const { code, severity, message } = error as PgError
  if (severity === 'FATAL' || severity === 'PANIC') return true
  if (code === undefined) return /connection terminated|connection ended|timeout/i.test(message)
  return /^(08|57P0[1-5])/.test(code) || /^E[A-Z_]+$/.test(code)
}

/**
 * What a broken constraint means: the tag a room answers with (`{ constraint: 'cap_reached' }`), or the refusal shown.
 * Rooms add theirs with `describeConstraint` when they are loaded.
 */
const constraintReasons = new Map<string, string>([
  ['orgs_name_length', 'org_name_length'],
  ['org_members_role', 'org_member_role'],
  ['org_members_pkey', 'already_member'],
  ['sellers_unique_normalized', 'seller_exists'],
  ['collection_months_within_cap', 'month_cap_too_low'],
])

/** Gives the constraint `name` a reason. Throws when it has another already: names are unique in the schema. */
export function describeConstraint(name: string, reason: string): void {
  const known = constraintReasons.get(name)
  if (known !== undefined && known !== reason) throw new Error(`constraint ${name} means ${known} already`)
  constraintReasons.set(name, reason)
}

/** The reason of the constraint this error broke, its name when none was given, or null when it broke none. */
export function brokenConstraint(error: unknown): string | null {
  if (!isPgError(error) || error.constraint === undefined) return null
  return constraintReasons.get(error.constraint) ?? error.constraint
}

/** `url` parsed; as in libpq, the host may be left out (`postgresql://user@/database?host=/socket/directory`). */
export function parseUrl(url: string): URL {
  return new URL(url.replace(/^(postgres(?:ql)?:\/\/)([^/?#]*@)?(?=[/?#]|$)/, '$1$2localhost'))
}

/** Where a connection goes, for messages: host and database, never user or password. */
export function describeTarget(url: string): string {
  try {
    const parsed = parseUrl(url)
    const host = parsed.searchParams.get('host') ?? (parsed.hostname || 'localhost')
    const port = host.startsWith('/') ? '' : `:${parsed.port || '5432'}`
    return `${host}${port}${parsed.pathname}`
  } catch {
    return 'the given URL'
  }
}

const DISK_HINT = 'Free space on the disk that holds the database, then try again. Nothing committed is lost.'

/** The refusal for an error met while connecting to `url`. An AppError is returned as it is. */
export function connectError(error: unknown, url: string): AppError {
  if (error instanceof AppError) return error
  const target = describeTarget(url)
  const { code = '', message } = error as PgError
  const refuse = (kind: AppError['code'], text: string, hint: string) =>
    new AppError(kind, text, { hint, cause: error, details: { target, reason: code } })

  if (code === SQLSTATE.invalidPassword || /password must be a string|no password supplied/i.test(message))
    return refuse('db.password_wrong', `the database at ${target} did not accept the password`, PASSWORD_HINT)
  if (code === SQLSTATE.invalidAuthorization)
    return refuse('db.password_wrong', `the database at ${target} does not let this user in`, PASSWORD_HINT)
  if (code === SQLSTATE.unknownDatabase)
    return refuse('db.unreachable', `there is no database ${target}`, 'Create it, or correct the name in DATABASE_URL.')
  if (code === SQLSTATE.tooManyConnections)
    return refuse('db.unreachable', `the database at ${target} has no connection left`, 'Stop other clients.')
  if (code === SQLSTATE.cannotConnectNow)
    return refuse('db.unreachable', `the database at ${target} is starting or stopping`, 'Try again in a moment.')
  if (code === SQLSTATE.diskFull) return diskFull(error)
  if (/SSL|certificate/i.test(message) || code.includes('CERT'))
    return refuse('db.unreachable', `no secure connection to ${target}`, TLS_HINT)
  return refuse('db.unreachable', `cannot reach the database at ${target}${code ? ` (${code})` : ''}`, REACH_HINT)
}

const PASSWORD_HINT = 'Check user and password in DATABASE_URL; special characters must be percent-encoded.'
const TLS_HINT =
  'Check sslmode in DATABASE_URL: require, verify-full (with sslrootcert), or disable on a trusted network.'
const REACH_HINT = 'Check host and port in DATABASE_URL, and that the server is running and reachable from here.'

/** The refusal for a full disk (SQLSTATE 53100, ENOSPC). */
export function diskFull(cause: unknown): AppError {
  return new AppError('db.disk_full', 'the disk of the database is full', { hint: DISK_HINT, cause })
}

/**
 * What a door shows for an error met at run time: a refusal where the database is the reason (full disk, unreachable, no
 * place for one more run), else the error itself, unchanged.
 */
export function runtimeError(error: unknown, url: string): unknown {
  if (error instanceof AppError || error instanceof CommitUnknown) return error
  if (hasState(error, SQLSTATE.diskFull) || hasState(error, 'ENOSPC')) return diskFull(error)
  if (hasState(error, SQLSTATE.placesTaken)) {
    return new AppError('run.wrong_state', 'The run cannot go on: all places of its organisation are taken.', {
      hint: PLACES_HINT,
      cause: error,
    })
  }
  return isConnectionError(error) ? connectError(error, url) : error
}

const PLACES_HINT = 'Wait for another run to end, or raise the number of runs with gleaner settings set runs=N.'
