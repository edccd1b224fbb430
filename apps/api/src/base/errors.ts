/**
 * A refusal to a person: something they can act on. The code is stable and the same in the CLI, the API and the docs
 * (docs/errors.md lists them all); the message says what happened, `hint` says what to do.
 */
export class AppError extends Error {
  readonly code: ErrorCode
  readonly hint: string | undefined
  readonly details: Readonly<Record<string, unknown>>

  constructor(
    code: ErrorCode,
    message: string,
    options: { hint?: string; details?: Record<string, unknown>; cause?: unknown } = {},
  ) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause })
    this.name = 'AppError'
    this.code = code
    this.hint = options.hint
    this.details = options.details ?? {}
  }
}

/**
 * The catalogue: every refusal there is, with the exit status the CLI ends with.
 * 2 = the input is wrong, 3 = not found, 4 = not possible in this state, 5 = the database or a provider is not usable.
 */
export const ERRORS = {
  'input.invalid': { exit: 2 },
  'input.category_unknown': { exit: 2 },
  'input.category_ambiguous': { exit: 2 },
  'input.list_empty': { exit: 2 },
  'input.list_invalid': { exit: 2 },
  'input.list_too_large': { exit: 2 },
  'input.file_unreadable': { exit: 2 },
  'input.file_unwritable': { exit: 2 },
  'input.cap_invalid': { exit: 2 },
  'provider.unknown': { exit: 2 },
  'provider.no_price': { exit: 4 },
  'provider.no_credentials': { exit: 5 },
  'provider.unreachable': { exit: 5 },
  'org.unknown': { exit: 3 },
  'seller.unknown': { exit: 3 },
  'run.not_found': { exit: 3 },
  'run.wrong_state': { exit: 4 },
  'run.cap_too_low': { exit: 4 },
  'run.cap_reached': { exit: 4 },
  'run.cap_below_estimate': { exit: 4 },
  'month.cap_too_low': { exit: 4 },
  'month.cap_reached': { exit: 4 },
  'run.nothing_to_retry': { exit: 4 },
  'run.retry_open': { exit: 4 },
  'call.unknown': { exit: 3 },
  'call.wrong_state': { exit: 4 },
  'call.resolved': { exit: 4 },
  'call.may_answer': { exit: 4 },
  'call.none_suspect': { exit: 4 },
  'db.unreachable': { exit: 5 },
  'db.password_wrong': { exit: 5 },
  'db.url_invalid': { exit: 2 },
  'db.version_unsupported': { exit: 5 },
  'db.disk_full': { exit: 5 },
  'db.embedded_failed': { exit: 5 },
  'db.migration_changed': { exit: 5 },
  'db.migration_locked': { exit: 5 },
  'db.migration_failed': { exit: 5 },
  'db.schema_behind': { exit: 5 },
  'db.schema_ahead': { exit: 5 },
} as const satisfies Record<string, { exit: number }>

export type ErrorCode = keyof typeof ERRORS
