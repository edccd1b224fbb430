/**
 * The one place that speaks HTTP to providers: one request, one exchange. It follows no redirect and repeats nothing,
 * because a repeated request may be charged twice.
 *
 * The line between `unreachable` and `lost` is undici's `onRequestStart`: it is called synchronously right before the
 * first byte is handed to a socket that is already connected (and, for https, already secured). Whatever ends before it was
 * surely never sent; whatever ends after it may have been read by the provider, also when a kept-alive socket turns out
 * to have been closed by the other side at that very moment.
 */
import { promisify } from 'node:util'
import { brotliDecompress, gunzip, inflate, inflateRaw } from 'node:zlib'
import { Agent, type Dispatcher } from 'undici'
import { type Watch, watchStandstill } from '../base/standstill.ts'
import { GIVEN_UP, OWN_DOING, STOOD_STILL, TOO_LATE } from './types.ts'

/** Largest body accepted, in bytes, before and after decompression. A 240-row eBay page is about 2.5 MB. */
const BODY_LIMIT = 32 * 1024 * 1024
/** Longest wait for a connection (DNS, TCP and TLS together), ms. */
const CONNECT_TIMEOUT_MS = 10_000
/** Longest silence inside an exchange when the caller gave no shorter limit, ms. Oxylabs keeps a request open for up to 180 s. */
const SILENCE_TIMEOUT_MS = 200_000
/** What arrived while this process stood still is read within this, when the time is up as it wakes, ms. */
const READ_AFTER_STANDSTILL_MS = 2_000

/** One request. `url` is absolute; `requestId` goes out as `x-request-id`. */
export type HttpRequest = Readonly<{
  method: 'GET' | 'POST'
  url: string
  headers?: Readonly<Record<string, string>>
  body?: string
  requestId?: string
  /** The whole exchange, connection and body included, ms. */
  timeoutMs: number
  signal?: AbortSignal | undefined
  /** Asked before anything else is done, and once more right before the first byte leaves. */
  maySend?: (() => boolean) | undefined
}>

/** Header names are lower case. */
export type HttpHeaders = Readonly<Record<string, string>>

/** What became of it. `code` is short and stable; `message` is one sentence without credentials. */
export type Exchange =
  | Readonly<{ kind: 'answered'; status: number; headers: HttpHeaders; text: string }>
  /** Surely never sent. */
  | Readonly<{ kind: 'unreachable'; code: string; message: string }>
  /** Sent, at least in part, and no complete answer came. */
  | Readonly<{ kind: 'lost'; code: string; message: string }>

let agent: Agent | null = null

function sharedAgent(): Agent {
  agent ??= new Agent({
    connections: 1024,
    pipelining: 1,
    allowH2: false,
    keepAliveTimeout: 4_000,
    keepAliveMaxTimeout: 30_000,
    headersTimeout: SILENCE_TIMEOUT_MS,
    bodyTimeout: SILENCE_TIMEOUT_MS,
    maxHeaderSize: 64 * 1024,
    connect: { timeout: CONNECT_TIMEOUT_MS },
  })
  return agent
}

/** Closes every kept-alive connection. Exchanges under way end as `lost` or `unreachable`. The next exchange opens anew. */
export async function closeHttp(): Promise<void> {
  const closing = agent
  agent = null
  await closing?.destroy()
}

type Received = { status: number; headers: HttpHeaders; chunks: Buffer[]; size: number }
type Raw = { kind: 'received'; received: Received } | Exclude<Exchange, { kind: 'answered' }>

/**
 * Performs one exchange. Never rejects: whatever happens is one of the three kinds. When it returns `unreachable` or `lost`
 * nothing more is sent for this request later.
 */
export async function exchange(request: HttpRequest): Promise<Exchange> {
  const raw = await perform(request)
  if (raw.kind !== 'received') return raw
  const { status, headers, chunks } = raw.received
  const body = await decompress(Buffer.concat(chunks), headers['content-encoding'])
  if (body === null) return lost('too_large', `the answer is larger than ${BODY_LIMIT} bytes`)
  return { kind: 'answered', status, headers, text: new TextDecoder().decode(body) }
}

function perform(request: HttpRequest): Promise<Raw> {
  return new Promise((resolve) => {
    let url: URL
    try {
      url = new URL(request.url)
    } catch {
      resolve(unreachable('bad_url', 'the base URL of this account is not a URL'))
      return
    }
    let controller: Dispatcher.DispatchController | null = null
    let received: Received | null = null
    let settled = false
    const watch = watchStandstill()

    const settle = (outcome: Raw) => {
      if (settled) return
      settled = true
      clearTimeout(timer)
      request.signal?.removeEventListener('abort', onAbort)
      resolve(outcome.kind === 'received' ? outcome : whoseDoing(outcome, watch))
      watch.end()
    }
    const giveUp = (code: string, message: string) => {
      settle(controller ? lost(code, message) : unreachable(code, `${message}; the request was not sent`))
      controller?.abort(new Error(code))
    }
    const onAbort = () => giveUp(GIVEN_UP, 'the call was given up from our side')
    let extended = false
    const onTime = () => {
      // Timers come before the sockets are read: the answer may be here, and only this process was late.
      if (extended || !watch.stoodStill()) return giveUp('timeout', `no complete answer within ${request.timeoutMs} ms`)
      extended = true
      timer = setTimeout(onTime, READ_AFTER_STANDSTILL_MS)
    }
    let timer = setTimeout(onTime, request.timeoutMs)
    if (request.signal?.aborted) return onAbort()
    if (!maySend(request)) return settle(tooLate())
    request.signal?.addEventListener('abort', onAbort, { once: true })

    sharedAgent().dispatch(dispatchOptions(url, request), {
      onRequestStart(started) {
        if (!settled && !controller && !maySend(request)) settle(tooLate())
        // A request that was given up while it waited for a connection, or that undici would send a second time, dies here:
        // aborting inside onRequestStart keeps every byte of it off the wire.
        if (settled || controller) started.abort(new Error('given up'))
        else controller = started
      },
      onResponseStart(_, status, headers) {
        received = { status, headers: flatten(headers), chunks: [], size: 0 }
      },
      onResponseData(_, chunk) {
        if (!received || settled) return
        received.chunks.push(chunk)
        received.size += chunk.length
        if (received.size > BODY_LIMIT) giveUp('too_large', `the answer is larger than ${BODY_LIMIT} bytes`)
      },
      onResponseEnd() {
        settle(received ? { kind: 'received', received } : lost('reset', 'the answer had no head'))
      },
      onResponseError(_, error) {
        settle(controller ? lostBy(error, received !== null) : unreachableBy(error))
      },
    })
  })
}

function maySend(request: HttpRequest): boolean {
  return request.maySend === undefined || request.maySend()
}

function tooLate() {
  return unreachable(TOO_LATE, 'the call was not sent: when its turn came, its lease was nearly over')
}

/** A failure while this process stood still says nothing about the provider. What is known of the money stays as it is. */
function whoseDoing<Failed extends Exclude<Exchange, { kind: 'answered' }>>(failed: Failed, watch: Watch): Failed {
  if (OWN_DOING.has(failed.code) || !watch.stoodStill()) return failed
  return { ...failed, code: STOOD_STILL, message: `${failed.message}; this worker stood still meanwhile` }
}

function dispatchOptions(url: URL, request: HttpRequest): Dispatcher.DispatchOptions {
  return {
    origin: url.origin,
    path: url.pathname + url.search,
    method: request.method,
    headers: {
      accept: 'application/json',
      'accept-encoding': 'gzip, deflate, br',
      'user-agent': 'gleaner',
      ...(request.requestId === undefined ? {} : { 'x-request-id': request.requestId }),
      ...request.headers,
    },
    body: request.body ?? null,
    // Never let the client treat a request as safe to repeat.
    idempotent: false,
  }
}

function flatten(headers: Record<string, string | string[] | undefined>): HttpHeaders {
  const flat: Record<string, string> = {}
  for (const [name, value] of Object.entries(headers)) {
    if (value !== undefined) flat[name.toLowerCase()] = Array.isArray(value) ? value.join(', ') : value
  }
  return flat
}

const gunzipAsync = promisify<Buffer, { maxOutputLength: number }, Buffer>(gunzip)
const inflateAsync = promisify<Buffer, { maxOutputLength: number }, Buffer>(inflate)
const inflateRawAsync = promisify<Buffer, { maxOutputLength: number }, Buffer>(inflateRaw)
const brotliAsync = promisify<Buffer, { maxOutputLength: number }, Buffer>(brotliDecompress)

/**
 * The decoded body; null when it grows past the limit. A body that is not what its content-encoding says comes back as
 * it is: the exchange was complete, so it is for the adapter to find that it does not parse.
 */
async function decompress(body: Buffer, encoding: string | undefined): Promise<Buffer | null> {
  const options = { maxOutputLength: BODY_LIMIT }
  const decoders = {
    gzip: [gunzipAsync],
    'x-gzip': [gunzipAsync],
    deflate: [inflateAsync, inflateRawAsync],
    br: [brotliAsync],
  }[(encoding ?? '').trim().toLowerCase()]
  for (const decode of body.length === 0 ? [] : (decoders ?? [])) {
    try {
      return await decode(body, options)
    } catch (error) {
      if ((error as { code?: unknown }).code === 'ERR_BUFFER_TOO_LARGE') return null
    }
  }
  return body
}

function lost(code: string, message: string) {
  return { kind: 'lost', code, message } as const
}

function unreachable(code: string, message: string) {
  return { kind: 'unreachable', code, message } as const
}

function lostBy(error: Error, headArrived: boolean) {
  const code = errorCode(error)
  if (code === 'UND_ERR_HEADERS_TIMEOUT' || code === 'UND_ERR_BODY_TIMEOUT') {
    return lost('timeout', 'the provider fell silent')
  }
  if (headArrived) return lost('cut_off', 'the connection broke in the middle of the answer')
  return lost('reset', `the connection broke before an answer came (${code})`)
}

function unreachableBy(error: Error) {
  const code = errorCode(error)
  if (code === 'UND_ERR_CONNECT_TIMEOUT')
    return unreachable('connect_timeout', 'the provider could not be reached in time')
  return unreachable(`connect.${code}`, `the provider could not be reached (${code})`)
}

/** System and library error codes are fixed words, safe to show; messages are not (they can hold the URL, and so a key). */
function errorCode(error: Error): string {
  const { code } = error as { code?: unknown }
  if (typeof code === 'string') return code
  const inner = error instanceof AggregateError ? (error.errors[0] as { code?: unknown } | undefined)?.code : undefined
  return typeof inner === 'string' ? inner : error.name
}
