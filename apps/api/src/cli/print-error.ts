/** The one place where an error becomes lines on stderr and an exit status. */
import { CommanderError } from 'commander'
import { readConfig } from '../base/config.ts'
import { AppError, ERRORS } from '../base/errors.ts'
import { runtimeError } from '../db/errors.ts'
import { logFile } from '../deps.ts'
import { type GlobalOptions, makeContext, writeLog } from './context.ts'
import { makePaint } from './paint.ts'

/** Exit statuses that are no error of the catalogue (docs/cli.md). */
export const EXIT = {
  done: 0,
  unexpected: 1,
  input: 2,
  broken: 6,
  paused: 7,
  ended: 8,
  gaveUp: 9,
  interrupted: 130,
} as const

/** A command that has said everything itself and ends with this status. */
export class Exit extends Error {
  readonly status: number

  constructor(status: number) {
    super(`exit ${status}`)
    this.name = 'Exit'
    this.status = status
  }
}

/**
 * Says what went wrong: a refusal as message, hint and code; a bug in one line, with its details in the log (or on
 * stderr with --debug). Returns the exit status.
 */
export function printError(thrown: unknown, options: GlobalOptions): number {
  if (thrown instanceof Exit) return thrown.status
  // Commander has said it already: help and version are no errors, anything else was wrong input.
  if (thrown instanceof CommanderError) return printUsageError(thrown)
  const error = runtimeError(thrown, process.env['DATABASE_URL'] ?? '')
  const colors = process.stderr.isTTY === true && options.color !== false && !process.env['NO_COLOR']
  const paint = makePaint(colors)
  if (error instanceof AppError) {
    const { code, message, hint } = error
    if (options.json) writeLines(JSON.stringify({ error: { code, message, hint: hint ?? null } }))
    else writeLines(`${paint.bad(sentence(message))}`, ...(hint ? [hint] : []), paint.dim(`(${code})`))
    if (options.debug && error.cause) writeLines(String((error.cause as Error).stack ?? error.cause))
    return ERRORS[code].exit
  }
  return printUnexpected(error, options)
}

/** True when --json stands on the command line, also on one that could not be read. */
export function wantsJson(): boolean {
  return process.argv.includes('--json')
}

function printUsageError({ exitCode, code, message }: CommanderError): number {
  if (exitCode === 0) return EXIT.done
  const hint = 'gleaner <command> --help shows what can be given.'
  if (wantsJson())
    writeLines(JSON.stringify({ error: { code: 'input.invalid', message: message.replace(/^error: /, ''), hint } }))
  else if (code !== 'commander.help') writeLines(hint, '(input.invalid)')
  return EXIT.input
}

function printUnexpected(error: unknown, options: GlobalOptions): number {
  const message = error instanceof Error ? error.message : String(error)
  const stack = error instanceof Error ? (error.stack ?? message) : message
  const config = configOf(options)
  if (config) writeLog(config, 'unexpected error', { error: stack, cause: String((error as Error)?.cause ?? '') })
  const where = options.debug ? stack : config ? `Details in ${logFile(config)}` : 'Run again with --debug for details.'
  if (options.json) writeLines(JSON.stringify({ error: { code: 'unexpected', message, hint: where } }))
  else writeLines(`This is a fault in Gleaner: ${message}`, where)
  return EXIT.unexpected
}

function configOf(options: GlobalOptions) {
  try {
    return options.dataDir ? makeContext(options).config : readConfig()
  } catch {
    return null
  }
}

function writeLines(...lines: readonly string[]): void {
  for (const line of lines) process.stderr.write(`${line}\n`)
}

/** Messages of the ground floor begin in lower case and have no full stop: here they stand alone. */
function sentence(message: string): string {
  // A file name keeps its own first letter.
  const first = /^[a-z]+ /.test(message) ? message.charAt(0).toUpperCase() + message.slice(1) : message
  return /[.!?…]$/.test(first) ? first : `${first}.`
}
