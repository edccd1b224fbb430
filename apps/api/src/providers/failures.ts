/** Failures all adapters share: how an exchange that brought no answer, or an answer with an error status, is told. */
import { cleanLine, cutText } from '../base/text.ts'
import { NOT_CHARGED, UNKNOWN_CHARGE } from './charges.ts'
import type { Exchange, HttpHeaders } from './http.ts'
import type { Charge, Credentials, Failure, FailureKind } from './types.ts'

const MESSAGE_LIMIT = 300

/** Builds a failure. The message becomes one clean line of at most 300 characters. */
export function failure(
  kind: FailureKind,
  charge: Charge,
  code: string,
  message: string,
  wait: { retryAfterMs?: number | undefined; resetAt?: Date | undefined } = {},
): Failure {
  return {
    ok: false,
    kind,
    charge,
    code,
    message: cutText(cleanLine(message), MESSAGE_LIMIT),
    ...(wait.retryAfterMs === undefined ? {} : { retryAfterMs: wait.retryAfterMs }),
    ...(wait.resetAt === undefined ? {} : { resetAt: wait.resetAt }),
  }
}

/** An exchange that brought no answer: surely free when it never left, else its charge is unknown. */
export function unanswered(outcome: Exclude<Exchange, { kind: 'answered' }>): Failure {
  const charge = outcome.kind === 'unreachable' ? NOT_CHARGED : UNKNOWN_CHARGE
  return failure(outcome.kind, charge, outcome.code, outcome.message)
}

/** An answer whose status says it all: 3xx and odd 2xx are drift, 429 is throttled, 401 to 403 credentials, 5xx a fault. */
export function failedStatus(status: number, headers: HttpHeaders, charge: Charge, message: string): Failure {
  return failure(
    statusKind(status),
    charge,
    `http.${status}`,
    message || `the provider answered with status ${status}`,
    {
      retryAfterMs: retryAfterMs(headers),
    },
  )
}

function statusKind(status: number): FailureKind {
  if (status >= 500) return 'fault'
  if (status === 429) return 'throttled'
  if (status === 401 || status === 402 || status === 403) return 'credentials'
  return status >= 400 ? 'rejected' : 'drift'
}

/**
 * When the provider answered, by its own clock (the header Date); by ours where it does not tell. The clock of a worker may be
 * wrong by hours, and moments told to others (when a quota is back) must not be.
 */
export function answeredAt(headers: HttpHeaders): Date {
  const told = Date.parse(headers['date'] ?? '')
  return Number.isFinite(told) ? new Date(told) : new Date()
}

/**
 * `Retry-After` as milliseconds from now: seconds or an HTTP date (RFC 9110, 10.2.3), at most a day. Undefined when it is
 * absent or unreadable.
 */
export function retryAfterMs(headers: HttpHeaders, now = answeredAt(headers).getTime()): number | undefined {
  const text = headers['retry-after']?.trim()
  if (!text) return undefined
  const seconds = /^\d{1,9}(\.\d{1,3})?$/.test(text) ? Number(text) : (Date.parse(text) - now) / 1000
  if (!Number.isFinite(seconds)) return undefined
  return Math.min(Math.max(Math.ceil(seconds * 1000), 0), 86_400_000)
}

/** Takes credentials out of a provider's own words before they are shown or stored. */
export function scrub(text: string, { user, secret }: Credentials): string {
  const basic = Buffer.from(`${user}:${secret}`).toString('base64')
  return [secret, encodeURIComponent(secret), basic].reduce(
    (clean, word) => (word.length < 4 ? clean : clean.replaceAll(word, '***')),
    text,
  )
}
