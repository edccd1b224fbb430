/** What every command is handed: where to write, for whom to work, and how to say it. */
import { appendFileSync, mkdirSync } from 'node:fs'
import { dirname, join, resolve } from 'node:path'
import { type Config, readConfig } from '../base/config.ts'
import { AppError } from '../base/errors.ts'
import { type Deps, logFile, openDeps, type SchemaPolicy } from '../deps.ts'
import { type Actor, actorFor } from '../engine/bootstrap.ts'
import { makePaint, type Paint, wrap } from './paint.ts'

/** The options every command takes, as commander hands them over. */
export type GlobalOptions = Readonly<{
  json?: boolean
  org?: string
  quiet?: boolean
  /** False with --no-color. */
  color?: boolean
  dataDir?: string
  debug?: boolean
}>

export type Context = Readonly<{
  config: Config
  env: NodeJS.ProcessEnv
  /** The organisation asked for; the first one when left out. */
  org: string | undefined
  json: boolean
  quiet: boolean
  debug: boolean
  /** How this program is called from here, with the options that say which installation: for commands to copy. */
  command: string
  paint: Paint
  /** stdout is a terminal, and nobody asked for JSON: things may be redrawn in place. */
  live: boolean
  /** A person can be asked. */
  canAsk: boolean
  /** Columns of the terminal; 100 where there is none. */
  width: () => number
  /** One line of the result, on stdout. */
  say: (line?: string) => void
  /** A sentence or more of the result, broken between words on a terminal. */
  tell: (text: string) => void
  /** A remark beside the result, on stderr; nothing with --quiet or --json. */
  note: (line: string) => void
  /** The result with --json. */
  sayJson: (value: unknown) => void
  /** A line in the log of this installation. */
  log: (message: string, facts?: Record<string, unknown>) => void
}>

const WIDTH_WITHOUT_TERMINAL = 100

/** The context of one invocation. Throws AppError for an environment that is not valid. */
export function makeContext(options: GlobalOptions, env: NodeJS.ProcessEnv = process.env): Context {
  const read = readConfig(env)
  const config = options.dataDir ? { ...read, dataDir: join(resolve(options.dataDir), 'pg18') } : read
  const json = options.json === true
  const quiet = options.quiet === true
  const isTerminal = process.stdout.isTTY === true
  const colors = isTerminal && options.color !== false && !env['NO_COLOR'] && env['TERM'] !== 'dumb'
  return {
    config,
    env,
    org: options.org,
    json,
    quiet,
    debug: options.debug === true,
    command: commandOf(options, env),
    paint: makePaint(colors),
    live: isTerminal && !json && !quiet && env['TERM'] !== 'dumb',
    canAsk: isTerminal && process.stdin.isTTY === true && !json,
    width: () => process.stdout.columns || WIDTH_WITHOUT_TERMINAL,
    say: (line = '') => void process.stdout.write(`${line}\n`),
    tell: (text) => void process.stdout.write(`${isTerminal ? wrap(text, process.stdout.columns || 80) : text}\n`),
    note: (line) => {
      if (!quiet && !json) process.stderr.write(`${line}\n`)
    },
    sayJson: (value) => void process.stdout.write(`${JSON.stringify(value, null, 2)}\n`),
    log: (message, facts) => writeLog(config, message, facts),
  }
}

/** The launcher says how it was called; without it we were started by npm, in the checkout. */
function commandOf(options: GlobalOptions, env: NodeJS.ProcessEnv): string {
  const called = env['GLEANER_CALLED_AS'] || './gleaner'
  const quote = (text: string) => (/^[\w./@:+-]+$/.test(text) ? text : `'${text.replaceAll("'", `'\\''`)}'`)
  const dataDir = options.dataDir ? ` --data-dir ${quote(options.dataDir)}` : ''
  return `${quote(called)}${dataDir}${options.org ? ` --org ${quote(options.org)}` : ''}`
}

/** Appends one JSON line; a log that cannot be written is no reason to stop. */
export function writeLog(config: Config, message: string, facts: Record<string, unknown> = {}): void {
  try {
    const file = logFile(config)
    mkdirSync(dirname(file), { recursive: true })
    appendFileSync(file, `${JSON.stringify({ at: new Date().toISOString(), pid: process.pid, message, ...facts })}\n`)
  } catch {
    // a full disk, a directory of somebody else
  }
}

export type Session = Deps & Readonly<{ actor: Actor }>

/**
 * Opens the database, runs `work` for the organisation asked for, and closes the database whatever happens.
 * `schema` as in deps.ts; commands that do not say refuse a database of one's own that is behind.
 */
export async function withSession<T>(
  context: Context,
  work: (session: Session) => Promise<T>,
  options: Readonly<{ schema?: Exclude<SchemaPolicy, 'ignore'>; name?: string; needsKey?: boolean }> = {},
): Promise<T> {
  const deps = await openDeps({
    config: context.config,
    schema: options.schema ?? 'require',
    name: options.name ?? 'gleaner cli',
    needsKey: options.needsKey === true,
  })
  try {
    return await work({ ...deps, actor: await actorFor(deps.db, context.org) })
  } finally {
    await deps.close()
  }
}

/** A refusal for input that is wrong in a way no other code names. */
export function badInput(message: string, hint?: string): AppError {
  return new AppError('input.invalid', message, hint === undefined ? {} : { hint })
}
