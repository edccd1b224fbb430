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
  /** GLEANER_KEY as it was given: the installation's key, base64. Null = the key file. Never print it. */
  key: string | null
  /** What eBay is told about account deletions, as it stands in its developer portal; null = no such endpoint. */
  ebayDeletion: EbayDeletionConfig | null
}>

export type EbayDeletionConfig = Readonly<{
  /** The address as registered, exactly: it goes into the answer to eBay's challenge. */
  endpoint: string
  verificationToken: string
  /** The account whose credentials fetch eBay's public keys; null = the one eBay account there is. */
  account: string | null
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
  GLEANER_KEY: optional(z.string().optional()),
  GLEANER_EBAY_DELETION_URL: optional(
    z
      .string()
      .regex(/^https:\/\/[^/?#\s]+[^?#\s]*$/, 'must be the https address registered with eBay, without a query')
      .optional(),
  ),
  GLEANER_EBAY_VERIFICATION_TOKEN: optional(
    z
      .string()
      .regex(/^[A-Za-z0-9_-]{32,80}$/, 'must be 32 to 80 letters, digits, _ or -')
      .optional(),
  ),
  GLEANER_EBAY_DELETION_ACCOUNT: optional(z.string().optional()),
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
    key: parsed.data.GLEANER_KEY ?? null,
    ebayDeletion: ebayDeletionOf(parsed.data),
  }
}

function ebayDeletionOf(data: z.infer<typeof environment>): EbayDeletionConfig | null {
  const endpoint = data.GLEANER_EBAY_DELETION_URL
  const verificationToken = data.GLEANER_EBAY_VERIFICATION_TOKEN
  if (endpoint === undefined && verificationToken === undefined) return null
  if (endpoint !== undefined && verificationToken !== undefined) {
    return { endpoint, verificationToken, account: data.GLEANER_EBAY_DELETION_ACCOUNT ?? null }
  }
  const missing = endpoint === undefined ? 'GLEANER_EBAY_DELETION_URL' : 'GLEANER_EBAY_VERIFICATION_TOKEN'
  throw refusal([
    { path: [missing], message: 'is missing: both are set, or neither', code: 'custom', input: undefined },
  ])
}

function refusal(issues: readonly z.core.$ZodIssue[]): AppError {
  const wrong = issues.map((issue) => `${issue.path.join('.')}: ${issue.message}`)
  const code = issues[0]?.path[0] === 'DATABASE_URL' ? 'db.url_invalid' : 'input.invalid'
  return new AppError(code, `the environment is not valid: ${wrong.join('; ')}`, {
    hint: 'Correct these variables, or unset them to use the defaults.',
    details: { variables: issues.map((issue) => String(issue.path[0])) },
  })
}
