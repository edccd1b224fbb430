/** Problem documents (RFC 9457): every error a client sees, whoever threw it, comes from here. */
import type { FastifyError, FastifyReply, FastifyRequest } from 'fastify'
import { hasZodFastifySchemaValidationErrors } from 'fastify-type-provider-zod'
import { z } from 'zod'
import { AppError, ERRORS, type ErrorCode } from '../base/errors.ts'
import { CommitUnknown, hasState, isConnectionError, isRetryable, runtimeError, SQLSTATE } from '../db/errors.ts'

export const PROBLEM_TYPE = 'application/problem+json; charset=utf-8'

export const fieldError = z
  .object({
    path: z.string().describe('Where: `body.capMicros`, `query.limit`, `params.runId`.'),
    message: z.string().describe('What is wrong with it.'),
  })
  .meta({ id: 'FieldError', description: 'One field of a request that is wrong.' })

export const problem = z
  .object({
    type: z.string().describe('Address of the page that explains the code.'),
    title: z.string().describe('The code in words, always the same.'),
    status: z.int().min(400).max(599),
    code: z.string().describe('Stable; docs/errors.md lists all of them.'),
    detail: z.string().describe('What happened in this case.'),
    hint: z.string().optional().describe('What to do about it.'),
    instance: z.string().describe('Id of the request, as in `x-request-id`.'),
    errors: z.array(fieldError).optional().describe('Of wrong input: each field that is wrong.'),
  })
  .meta({ id: 'Problem', description: 'Why a request was refused or failed (RFC 9457).' })

export type Problem = z.infer<typeof problem>
export type FieldError = z.infer<typeof fieldError>

/** A refusal of input that names the fields. */
export function wrongInput(errors: readonly FieldError[]): AppError {
  const [first] = errors
  const more = errors.length > 1 ? ` (and ${errors.length - 1} more)` : ''
  return new AppError('input.invalid', `${first?.path ?? 'The request'}: ${first?.message ?? 'is not valid'}${more}`, {
    details: { errors },
  })
}

/** Refused by Fastify or by Node before a route saw it, by its own codes. */
const FASTIFY: Readonly<Record<string, readonly [ErrorCode, string]>> = {
  FST_ERR_CTP_BODY_TOO_LARGE: ['request.too_large', 'The body is larger than this route takes.'],
  FST_ERR_CTP_INVALID_MEDIA_TYPE: ['request.media_type', 'The body is of a kind this route does not take.'],
  FST_ERR_CTP_INVALID_CONTENT_LENGTH: ['request.malformed', 'The body is not as long as the request says.'],
  FST_ERR_BAD_URL: ['request.malformed', 'The address is not valid.'],
  FST_ERR_MAX_PARAM_LENGTH: ['request.malformed', 'A part of the address is too long.'],
}

/** The refusal behind any error; null when it is a fault of ours. */
export function refusalOf(error: unknown): AppError | null {
  if (hasZodFastifySchemaValidationErrors(error)) return wrongInput(fieldsOf(error))
  const { code, statusCode } = error as FastifyError
  const known = typeof code === 'string' ? FASTIFY[code] : undefined
  if (known) return new AppError(known[0], known[1], { cause: error })
  if (statusCode === 429) return new AppError('request.too_many', 'Too many requests.', { cause: error })
  if (statusCode === 400 || statusCode === 413)
    return new AppError('request.malformed', 'The request cannot be read.', { cause: error })
  // A file that is missing is no database that is away.
  if ((error as NodeJS.ErrnoException).path !== undefined) return null
  const met = runtimeError(error, '')
  if (met instanceof AppError) return hideTarget(met)
  if (error instanceof CommitUnknown || isConnectionError(error)) return busy(error)
  if (isRetryable(error) || hasState(error, SQLSTATE.queryCanceled) || hasState(error, SQLSTATE.lockNotAvailable))
    return busy(error)
  if (hasState(error, SQLSTATE.insufficientPrivilege)) return notYours(error)
  return null
}

/** Where the database is, is nothing a client needs to know. */
function hideTarget(error: AppError): AppError {
  if (!error.code.startsWith('db.')) return error
  const text = error.code === 'db.disk_full' ? 'The disk of the database is full.' : 'The database cannot be used now.'
  return new AppError(error.code, text, { hint: 'The operator finds the reason in the log.', cause: error })
}

function busy(cause: unknown): AppError {
  return new AppError('server.busy', 'The database did not answer in time.', {
    hint: 'Try again in a moment, a write with the same Idempotency-Key.',
    cause,
  })
}

/** Row level security said no where the route had not asked. */
function notYours(cause: unknown): AppError {
  return new AppError('auth.role_too_low', 'The role of this person or key does not allow it.', { cause })
}

function fieldsOf(error: unknown): FieldError[] {
  const { validation = [], validationContext = '' } = error as FastifyError
  const where = validationContext === 'querystring' ? 'query' : validationContext
  return validation.map(({ instancePath, message }) => ({
    path: [where, ...instancePath.split('/').filter(Boolean).map(unescapePointer)].join('.'),
    message: message ?? 'is not valid',
  }))
}

/** JSON pointer (RFC 6901). */
function unescapePointer(part: string): string {
  return part.replaceAll('~1', '/').replaceAll('~0', '~')
}

/** The problem document of a refusal. */
export function problemOf(error: AppError, requestId: string): Problem {
  const { code, message, hint, details } = error
  const errors = details['errors'] as readonly FieldError[] | undefined
  return {
    type: `/docs/problems#${code}`,
    title: titleOf(code),
    status: ERRORS[code].status,
    code,
    detail: sentence(message),
    ...(hint === undefined ? {} : { hint }),
    instance: requestId,
    ...(errors === undefined ? {} : { errors: [...errors] }),
  }
}

/** `run.cap_too_low` as words: "Run cap too low". */
function titleOf(code: ErrorCode): string {
  const words = code.replaceAll(/[._]/g, ' ')
  return words.charAt(0).toUpperCase() + words.slice(1)
}

/** Messages of the ground floor begin in lower case and have no full stop. */
function sentence(message: string): string {
  const first = /^[a-z]+ /.test(message) ? message.charAt(0).toUpperCase() + message.slice(1) : message
  return /[.!?…]$/.test(first) ? first : `${first}.`
}

/** Answers with the problem document of `error`. A fault is logged here, once, and says nothing of its cause. */
export function sendProblem(error: unknown, request: FastifyRequest, reply: FastifyReply): FastifyReply {
  const refusal = refusalOf(error)
  if (!refusal || ERRORS[refusal.code].status >= 500) {
    request.log.error({ err: error, route: request.routeOptions.url }, refusal ? refusal.message : 'a fault')
  }
  const told = refusal ?? new AppError('server.fault', 'This is a fault in Gleaner.', { hint: FAULT_HINT })
  const body = problemOf(told, request.id)
  if (body.status === 401) reply.header('www-authenticate', 'Bearer realm="gleaner"')
  if (body.status === 503) reply.header('retry-after', '2')
  const wait = told.details['retryAfterSeconds']
  if (typeof wait === 'number') reply.header('retry-after', String(wait))
  return reply.code(body.status).header('cache-control', 'no-store').type(PROBLEM_TYPE).send(JSON.stringify(body))
}

const FAULT_HINT = 'The log has the details under the id of this request.'
