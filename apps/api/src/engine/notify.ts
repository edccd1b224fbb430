/**
 * Notifications on their way: a loop of its own in every worker takes what is due from the outbox and POSTs it. No
 * transaction is open while it is sent, and nothing of the engine waits for it. At least once: a receiver may see one twice,
 * under the same idempotency key.
 */
import { Agent, request } from 'undici'
import { makeWake } from '../base/wake.ts'
import type { Db } from '../db/client.ts'
import {
  bookDelivered,
  bookMissed,
  giveBack,
  type Miss,
  type Notification,
  takeNotifications,
} from '../events/outbox.ts'
import { notificationBody, notificationHeaders } from './notification-body.ts'

export type NotifyOptions = Readonly<{
  db: Db
  log: (message: string, facts?: Record<string, unknown>) => void
  /** How long one attempt may take in all, ms; 10 s unless told. */
  timeoutMs?: number
  /** The pause after the first miss, ms; 5 s unless told. It doubles with each, up to an hour. */
  backoffMs?: number
  /** How often it looks for what is due, ms; a second unless told. */
  lookMs?: number
}>

/** Notifications one worker sends at a time. */
const AT_ONCE = 16
const TIMEOUT_MS = 10_000
const BACKOFF_MS = 5_000
const BACKOFF_MOST_MS = 3_600_000
/** A lease outlives its attempt by this much: the time the booking may take. */
const LEASE_MARGIN_MS = 20_000
const LOOK_MS = 1_000

/** Sends what is due until `signal` is aborted; then what is in flight is given back. Resolves when all is booked. */
export async function notifyLoop(options: NotifyOptions, signal: AbortSignal): Promise<void> {
  const timeoutMs = options.timeoutMs ?? TIMEOUT_MS
  // One limit for the whole attempt stands in `post`; the client's own would hide it.
  const agent = new Agent({ connect: { timeout: timeoutMs }, headersTimeout: 0, bodyTimeout: 0 })
  const wake = makeWake()
  const onAbort = (): void => wake.notify()
  signal.addEventListener('abort', onAbort, { once: true })
  const inFlight = new Set<Promise<void>>()
  while (!signal.aborted) {
    const free = AT_ONCE - inFlight.size
    const taken = free > 0 ? await take(options, free, timeoutMs) : []
    for (const notification of taken) {
      const sending = deliver(options, agent, notification, signal).finally(() => {
        inFlight.delete(sending)
        wake.notify()
      })
      inFlight.add(sending)
    }
    if (!signal.aborted) await wake.wait(options.lookMs ?? LOOK_MS)
  }
  await Promise.all(inFlight)
  signal.removeEventListener('abort', onAbort)
  await agent.destroy()
}

/** A database that is away is asked again at the next look. */
async function take({ db, log }: NotifyOptions, most: number, timeoutMs: number): Promise<Notification[]> {
  return takeNotifications(db, most, timeoutMs + LEASE_MARGIN_MS).catch((error: unknown) => {
    log('notifications could not be looked at', { error: String(error) })
    return []
  })
}

/** One attempt, and what came of it. Never throws: what cannot be booked is tried again when its lease is over. */
async function deliver(
  options: NotifyOptions,
  agent: Agent,
  notification: Notification,
  signal: AbortSignal,
): Promise<void> {
  const { db, log } = options
  const result = await post(agent, notification, options.timeoutMs ?? TIMEOUT_MS, signal)
  try {
    if (result.kind === 'stopped') await giveBack(db, notification)
    else if (result.kind === 'delivered') await bookDelivered(db, notification, result.statusCode)
    else await bookMissed(db, notification, result, delayAfter(notification.attempt, options.backoffMs ?? BACKOFF_MS))
  } catch (error) {
    log('what came of a notification could not be booked', { error: String(error), type: notification.type })
  }
}

/** Exponential, between half and the whole of each step: receivers that were down together are not all asked together. */
function delayAfter(attempt: number, backoffMs: number): number {
  const step = Math.min(BACKOFF_MOST_MS, backoffMs * 2 ** (attempt - 1))
  return Math.round(step * (0.5 + Math.random() / 2))
}

type Posted =
  | Readonly<{ kind: 'delivered'; statusCode: number }>
  | (Miss & Readonly<{ kind: 'missed' }>)
  /** The worker leaves. */
  | Readonly<{ kind: 'stopped' }>

/** One POST: no redirect is followed, and of the answer only the status is read. 2xx means taken. */
async function post(
  agent: Agent,
  notification: Notification,
  timeoutMs: number,
  stopping: AbortSignal,
): Promise<Posted> {
  const body = notificationBody(notification)
  try {
    const answer = await request(notification.url, {
      method: 'POST',
      body,
      headers: notificationHeaders(notification, body, new Date()),
      dispatcher: agent,
      signal: AbortSignal.any([stopping, AbortSignal.timeout(timeoutMs)]),
    })
    answer.body.on('error', () => {})
    answer.body.destroy()
    const { statusCode } = answer
    if (statusCode >= 200 && statusCode < 300) return { kind: 'delivered', statusCode }
    return { kind: 'missed', statusCode, message: `The receiver answered ${statusCode}.` }
  } catch (error) {
    if (stopping.aborted) return { kind: 'stopped' }
    const { name, code } = error as Error & { code?: string }
    const slow = name === 'TimeoutError' || code?.endsWith('_TIMEOUT')
    const message = slow ? `No answer within ${timeoutMs / 1000} s.` : `The receiver was not reached (${code ?? name}).`
    return { kind: 'missed', statusCode: null, message }
  }
}
