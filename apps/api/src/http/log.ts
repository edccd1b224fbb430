/** The log of the HTTP door: one JSON line per request and per fault, with nothing in it that opens anything. */
import { type DestinationStream, type Logger, pino, stdSerializers } from 'pino'
import type { Config } from '../base/config.ts'

/** Fields that may hold a secret, wherever something with such a field is logged. */
const SECRET = [
  'authorization',
  'cookie',
  '"set-cookie"',
  'password',
  'secret',
  'token',
  'key',
  'apiKey',
  'credentials',
]
const paths = SECRET.flatMap((name) => {
  const field = name.startsWith('"') ? `[${name}]` : `.${name}`
  return [name.startsWith('"') ? `[${name}]` : name, `*${field}`, `*.*${field}`]
})

/** A log at `level`; to stdout unless told. Secrets are written as [hidden], errors without the values of their statements. */
export function makeLog(level: Config['logLevel'], to?: DestinationStream): Logger {
  const options = {
    level,
    base: { pid: process.pid },
    redact: { paths, censor: '[hidden]' },
    serializers: { err: serializeError, req: serializeRequest },
    timestamp: () => `,"at":"${new Date().toISOString()}"`,
  }
  return to ? pino(options, to) : pino(options)
}

/** An error with its stack; of the driver's fields those that never hold a row's values. */
function serializeError(error: Error): Record<string, unknown> {
  const { type, message, stack } = stdSerializers.err(error)
  const { code, constraint, table } = error as Error & { code?: string; constraint?: string; table?: string }
  return { type, message, stack, code, constraint, table }
}

/** A query string may hold what somebody searched for: the path says enough. */
function serializeRequest(request: { method?: string; url?: string; ip?: string }): Record<string, unknown> {
  return { method: request.method, path: request.url?.split('?')[0], from: request.ip }
}
