/** The environment, read and checked once. Everything else is handed what it needs. */
import { join, resolve } from 'node:path'
import { z } from 'zod'
import { AppError } from './errors.ts'

/** The checkout this program runs from. */
export const ROOT_DIR = resolve(import.meta.dirname, '..', '..', '..', '..')

const LOG_LEVELS = ['trace', 'debug', 'info', 'warn', 'error', 'silent'] as const

export type Config = Readonly<{
  /** A PostgreSQL of one's own; null = the embedded one. */
  databaseUrl: string | null
  /** Where the embedded PostgreSQL keeps its data. Absolute. */
  dataDir: string
  logLevel: (typeof LOG_LEVELS)[number]
}>

/** An empty variable counts as one that is not set: that is how `.env` files switch things off. */
const optional = <T extends z.ZodType>(schema: T) => z.preprocess((value) => (value === '' ? undefined : value), schema)

const environment = z.object({
  DATABASE_URL: optional(
    z
      .string()
      .regex(/^postgres(ql)?:\/\//, 'must begin with postgres:// or postgresql://')
      .optional(),
  ),
  GLEANER_DATA_DIR: optional(z.string().optional()),
  GLEANER_LOG_LEVEL: optional(z.enum(LOG_LEVELS).default('info')),
})

/**
 * The configuration in `env`. Relative paths are relative to `cwd`. Throws AppError input.invalid (db.url_invalid for
 * DATABASE_URL) naming every variable that is wrong, never its value: it may hold a password.
 */
export function readConfig(env: NodeJS.ProcessEnv = process.env, cwd: string = process.cwd()): Config {
  const parsed = environment.safeParse(env)
  if (!parsed.success) throw refusal(parsed.error.issues)
  const { DATABASE_URL, GLEANER_DATA_DIR, GLEANER_LOG_LEVEL } = parsed.data
  return {
    databaseUrl: DATABASE_URL ?? null,
    dataDir: GLEANER_DATA_DIR ? resolve(cwd, GLEANER_DATA_DIR) : join(ROOT_DIR, '.gleaner', 'pg18'),
    logLevel: GLEANER_LOG_LEVEL,
  }
}

function refusal(issues: readonly z.core.$ZodIssue[]): AppError {
  const wrong = issues.map((issue) => `${issue.path.join('.')}: ${issue.message}`)
  const code = issues[0]?.path[0] === 'DATABASE_URL' ? 'db.url_invalid' : 'input.invalid'
  return new AppError(code, `the environment is not valid: ${wrong.join('; ')}`, {
    hint: 'Correct these variables, or unset them to use the defaults.',
    details: { variables: issues.map((issue) => String(issue.path[0])) },
  })
}
