/** What a receiver gets: the body of a notification and the headers that name and sign it. Pure. */
import { createHmac } from 'node:crypto'
import { formatDollars, type Micros } from '../base/money.ts'
import type { Notification } from '../events/outbox.ts'

/** The body, as sent. Amounts are micro-dollars, and the same as text. */
export function notificationBody(notification: Notification): string {
  const { facts, type } = notification
  const left = Math.max(0, facts.cap_micros - facts.spent_micros - facts.held_micros - facts.suspect_micros)
  return JSON.stringify({
    id: notificationId(notification),
    type,
    at: new Date(facts.at).toISOString(),
    text: notificationText(notification),
    run: { id: notification.runId, number: facts.number, name: facts.name, status: facts.status },
    money: {
      ...amount('cap', facts.cap_micros),
      ...amount('spent', facts.spent_micros),
      ...amount('held', facts.held_micros),
      ...amount('suspect', facts.suspect_micros),
      ...amount('left', left),
    },
    data: facts.data,
  })
}

function amount(name: string, micros: number): Record<string, unknown> {
  return { [`${name}Micros`]: micros, [name]: formatDollars(micros as Micros) }
}

/** The same for every attempt: a receiver that has seen it need not act again. */
export function notificationId({ runId, seq }: Pick<Notification, 'runId' | 'seq'>): string {
  return `${runId}:${seq}`
}

function notificationText({ type, facts }: Notification): string {
  const run = `Run ${facts.number}, ${facts.name}`
  const fact = (key: string) => {
    const value = facts.data[key]
    return typeof value === 'string' || typeof value === 'number' ? String(value) : ''
  }
  const spent = formatDollars(facts.spent_micros as Micros)
  switch (type) {
    case 'run.soft_warning':
      return `${run}: ${fact('percent')} % of the cap is used. Nothing stops.`
    case 'run.paused':
      return `${run}, is paused (${fact('reason')}). ${fact('note')}`.trim()
    case 'run.completed':
      return `${run}, is completed: ${fact('sellers')} sellers, ${spent} spent.`
    case 'run.failed':
      return `${run}, has failed: ${fact('reason')} ${spent} spent.`
    default:
      return `${run}: ${type}.`
  }
}

/**
 * The headers of one attempt. `x-gleaner-signature` is `t=<seconds since 1970>,v1=<hex>`: HMAC-SHA256 with the
 * organisation's secret over the time, a full stop and the body, so an old message cannot be sent again as a new one.
 */
export function notificationHeaders(notification: Notification, body: string, at: Date): Record<string, string> {
  const seconds = Math.floor(at.getTime() / 1000)
  const signature = createHmac('sha256', notification.secret).update(`${seconds}.${body}`).digest('hex')
  return {
    'content-type': 'application/json',
    'user-agent': 'gleaner',
    'idempotency-key': notificationId(notification),
    'x-gleaner-event': notification.type,
    'x-gleaner-attempt': String(notification.attempt),
    'x-gleaner-signature': `t=${seconds},v1=${signature}`,
  }
}
