/** What a request has to be like before any route sees it: readable, bounded, and from this site. */
import type { FastifyInstance, FastifyRequest } from 'fastify'
import { AppError } from '../base/errors.ts'

/** Deeper than anything the API takes by a factor of four. */
const DEPTH_MOST = 20
/** A bulk of 10,000 ids fits. */
const VALUES_MOST = 20_000

const malformed = (why: string, cause?: unknown): AppError =>
  new AppError('request.malformed', why, cause === undefined ? {} : { cause })

/**
 * The value of a JSON text, undefined for an empty one. Throws AppError `request.malformed` for bytes that are no UTF-8, for
 * what is no JSON, for NUL characters (PostgreSQL stores none), and for more than 20 levels or 20,000 values.
 */
export function readJson(bytes: Buffer): unknown {
  let text: string
  try {
    text = new TextDecoder('utf-8', { fatal: true }).decode(bytes)
  } catch (cause) {
    throw malformed('The body is not UTF-8.', cause)
  }
  if (text.trim() === '') return undefined
  // Before parsing: what is refused here costs one look at each character.
  checkShape(text)
  try {
    return JSON.parse(text, (key, value: unknown) => {
      if (key === '__proto__') throw malformed('"__proto__" is not possible as a name.')
      return value
    })
  } catch (cause) {
    throw cause instanceof AppError ? cause : malformed('The body is not JSON.', cause)
  }
}

function checkShape(text: string): void {
  let depth = 0
  let values = 0
  let quoted = false
  for (let at = 0; at < text.length; at++) {
    const char = text[at]
    if (quoted) {
      if (char === '\\') {
        if (text.startsWith('u0000', at + 1)) throw malformed('NUL characters are not possible.')
        at++
      } else if (char === '"') quoted = false
      continue
    }
    if (char === '"') quoted = true
    else if (char === '{' || char === '[') depth++
    else if (char === '}' || char === ']') depth--
    else if (char === ',') values++
    if (depth > DEPTH_MOST) throw malformed(`The body is nested deeper than ${DEPTH_MOST} levels.`)
    if (values > VALUES_MOST) throw malformed(`The body has more than ${VALUES_MOST} values.`)
  }
}

/** Marks a query string that cannot be read: the router would end the process if its parser threw. */
const UNREADABLE = Symbol('unreadable')

/** The parameters of a query string: repeated names as arrays. Never throws; `checkQuery` refuses what could not be read. */
export function readQuery(text: string): Record<string | symbol, unknown> {
  const query: Record<string | symbol, unknown> = Object.create(null)
  for (const pair of text.split('&')) {
    if (pair === '') continue
    const at = pair.indexOf('=')
    const name = decode(at < 0 ? pair : pair.slice(0, at))
    const value = decode(at < 0 ? '' : pair.slice(at + 1))
    if (name === null || value === null || name === '__proto__') return { [UNREADABLE]: true }
    const known = query[name]
    query[name] = known === undefined ? value : [...(Array.isArray(known) ? known : [known]), value]
  }
  return query
}

function decode(text: string): string | null {
  try {
    const plain = decodeURIComponent(text.replaceAll('+', ' '))
    return plain.includes('\0') ? null : plain
  } catch {
    return null
  }
}

/** Throws AppError `request.malformed` when the query string is no UTF-8 or holds NUL characters. */
export function checkQuery(request: FastifyRequest): void {
  if ((request.query as Record<symbol, unknown>)[UNREADABLE]) throw malformed('The query string cannot be read.')
  if (/%00/.test(request.url)) throw malformed('NUL characters are not possible.')
}

/** Bodies are JSON; whatever else a route takes, it says itself. */
export function takeJson(app: FastifyInstance): void {
  app.removeAllContentTypeParsers()
  app.addContentTypeParser(
    ['application/json', 'application/merge-patch+json'],
    { parseAs: 'buffer' },
    async (_request: FastifyRequest, body: Buffer) => readJson(body),
  )
}

const SAFE: ReadonlySet<string> = new Set(['GET', 'HEAD', 'OPTIONS'])

/**
 * Throws AppError `request.cross_site` for a request that changes something, came by cookie, and is not proved to come from a
 * page of this site. A browser says so in `sec-fetch-site` or `origin`, and a page cannot make it lie. What carries an
 * `authorization` header was not sent by a browser on its own.
 */
export function checkSameSite(request: FastifyRequest, publicOrigin?: string): void {
  if (SAFE.has(request.method) || request.headers.authorization !== undefined) return
  const { origin, cookie, 'sec-fetch-site': site } = request.headers
  const isOurs = origin !== undefined && (origin === publicOrigin || isAt(origin, request.host))
  const fetched = site === 'same-origin' || site === 'none'
  const told = origin !== undefined || site !== undefined
  if (told ? (site === undefined ? isOurs : fetched) : cookie === undefined) return
  throw new AppError('request.cross_site', 'This request does not come from a page of this site.', {
    hint: 'Use the page of this installation, or an API key.',
  })
}

/** True for an origin at this host; the port of its scheme may be said or not. */
function isAt(origin: string, host: string): boolean {
  if (!URL.canParse(origin)) return false
  const { protocol, host: said } = new URL(origin)
  const here = `${protocol}//${host}`
  return said !== '' && URL.canParse(here) && new URL(here).host === said
}
