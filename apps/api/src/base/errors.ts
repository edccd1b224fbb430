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
 * The catalogue: every refusal there is, with the exit status the CLI ends with and the status the API answers with.
 * Exit 1 = a fault of ours, 2 = the input is wrong, 3 = not found, 4 = not possible in this state, 5 = the database or a
 * provider is not usable. Codes that only the API can say have the exit status of their kind.
 */
export const ERRORS = {
  'input.invalid': { exit: 2, status: 400 },
  'input.category_unknown': { exit: 2, status: 400 },
  'input.category_ambiguous': { exit: 2, status: 400 },
  'input.list_empty': { exit: 2, status: 400 },
  'input.list_invalid': { exit: 2, status: 400 },
  'input.list_too_large': { exit: 2, status: 413 },
  'input.file_unreadable': { exit: 2, status: 400 },
  'input.file_unwritable': { exit: 2, status: 500 },
  'input.cap_invalid': { exit: 2, status: 400 },
  'provider.unknown': { exit: 2, status: 400 },
  'provider.no_price': { exit: 4, status: 409 },
  'provider.no_credentials': { exit: 5, status: 409 },
  'provider.unreachable': { exit: 5, status: 503 },
  'provider.not_found': { exit: 3, status: 404 },
  'provider.not_yours': { exit: 4, status: 403 },
  'key.invalid': { exit: 5, status: 503 },
  'key.missing': { exit: 5, status: 503 },
  'key.wrong': { exit: 5, status: 503 },
  'compliance.not_configured': { exit: 4, status: 503 },
  'compliance.listed': { exit: 4, status: 409 },
  'compliance.not_listed': { exit: 3, status: 404 },
  'org.unknown': { exit: 3, status: 404 },
  'seller.unknown': { exit: 3, status: 404 },
  'seller.view_unknown': { exit: 3, status: 404 },
  'seller.name_taken': { exit: 4, status: 409 },
  'export.unknown': { exit: 3, status: 404 },
  'export.profile_unknown': { exit: 3, status: 404 },
  'export.not_ready': { exit: 4, status: 409 },
  'seller.undo_unknown': { exit: 3, status: 404 },
  'seller.undo_used': { exit: 4, status: 409 },
  'seller.undo_expired': { exit: 4, status: 409 },
  'run.not_found': { exit: 3, status: 404 },
  'run.wrong_state': { exit: 4, status: 409 },
  'run.cap_too_low': { exit: 4, status: 409 },
  'run.cap_reached': { exit: 4, status: 409 },
  'run.cap_below_estimate': { exit: 4, status: 409 },
  'month.cap_too_low': { exit: 4, status: 409 },
  'month.cap_reached': { exit: 4, status: 409 },
  'month.cap_below_estimate': { exit: 4, status: 409 },
  'run.nothing_to_retry': { exit: 4, status: 409 },
  'run.retry_open': { exit: 4, status: 409 },
  'call.unknown': { exit: 3, status: 404 },
  'call.wrong_state': { exit: 4, status: 409 },
  'call.resolved': { exit: 4, status: 409 },
  'call.may_answer': { exit: 4, status: 409 },
  'call.none_suspect': { exit: 4, status: 409 },
  'db.unreachable': { exit: 5, status: 503 },
  'db.password_wrong': { exit: 5, status: 503 },
  'db.url_invalid': { exit: 2, status: 500 },
  'db.version_unsupported': { exit: 5, status: 503 },
  'db.disk_full': { exit: 5, status: 503 },
  'db.embedded_failed': { exit: 5, status: 503 },
  'db.migration_changed': { exit: 5, status: 503 },
  'db.migration_locked': { exit: 5, status: 503 },
  'db.migration_failed': { exit: 5, status: 503 },
  'db.schema_behind': { exit: 5, status: 503 },
  'db.schema_ahead': { exit: 5, status: 503 },
  'auth.required': { exit: 4, status: 401 },
  'auth.role_too_low': { exit: 4, status: 403 },
  'auth.credentials_wrong': { exit: 4, status: 401 },
  'auth.current_password_wrong': { exit: 4, status: 403 },
  'auth.code_wrong': { exit: 4, status: 401 },
  'auth.sign_in_again': { exit: 4, status: 401 },
  'auth.too_many_tries': { exit: 4, status: 429 },
  'auth.link_invalid': { exit: 4, status: 410 },
  'auth.key_invalid': { exit: 4, status: 401 },
  'auth.token_invalid': { exit: 4, status: 401 },
  'auth.scope_missing': { exit: 4, status: 403 },
  'auth.session_needed': { exit: 4, status: 403 },
  'auth.not_local': { exit: 4, status: 409 },
  'auth.no_identity_provider': { exit: 4, status: 409 },
  'auth.provider_down': { exit: 5, status: 503 },
  'auth.sign_in_first': { exit: 4, status: 409 },
  'auth.other_address': { exit: 4, status: 409 },
  'auth.address_taken': { exit: 4, status: 409 },
  'auth.second_factor_on': { exit: 4, status: 409 },
  'auth.second_factor_off': { exit: 4, status: 409 },
  'auth.session_unknown': { exit: 3, status: 404 },
  'auth.key_unknown': { exit: 3, status: 404 },
  'org.member_unknown': { exit: 3, status: 404 },
  'org.last_owner': { exit: 4, status: 409 },
  'org.already_member': { exit: 4, status: 409 },
  'org.invited_already': { exit: 4, status: 409 },
  'org.invitation_unknown': { exit: 3, status: 404 },
  'org.made_elsewhere': { exit: 4, status: 409 },
  'request.cross_site': { exit: 4, status: 403 },
  'request.malformed': { exit: 2, status: 400 },
  'request.media_type': { exit: 2, status: 415 },
  'request.too_large': { exit: 2, status: 413 },
  'request.too_slow': { exit: 4, status: 408 },
  'request.too_many': { exit: 4, status: 429 },
  'request.route_unknown': { exit: 3, status: 404 },
  'request.method': { exit: 2, status: 405 },
  'request.precondition_missing': { exit: 2, status: 428 },
  'request.precondition_failed': { exit: 4, status: 412 },
  'request.key_reused': { exit: 2, status: 422 },
  'request.key_done': { exit: 4, status: 409 },
  'server.busy': { exit: 5, status: 503 },
  'server.fault': { exit: 1, status: 500 },
} as const satisfies Record<string, { exit: number; status: number }>

export type ErrorCode = keyof typeof ERRORS
