/** What passes between the server and a provider: one request, one reply. */
import type { IncomingHttpHeaders } from 'node:http'
import type { BillingKind } from './billing.ts'
import type { FaultKind, FaultRule, Hits } from './faults.ts'

export type Ask = Readonly<{
  method: string
  /** After the provider's prefix, percent-decoding not applied. */
  path: string
  query: URLSearchParams
  headers: IncomingHttpHeaders
  body: string
  /** `http://127.0.0.1:4400/ebay`: what links in answers start with. */
  origin: string
  hits: Hits
}>

export type Charge = Readonly<{ kind: BillingKind; units: number; micros: number; account: string; what: string }>

export type Reply = Readonly<{
  status: number
  headers?: Readonly<Record<string, string>>
  body: string | Buffer
  charge?: Charge
}>

export type Provider = Readonly<{
  name: 'ebay' | 'oxylabs' | 'keepa'
  /** Counts an arrival at `atMs` (performance.now); false when the provider's rate refuses it. */
  arrive?: (operation: string, atMs: number) => boolean
  operationOf: (ask: Pick<Ask, 'method' | 'path' | 'body'>) => string
  answer: (ask: Ask, operation: string) => Reply
  /** The answer to a request that is refused by a fault. */
  refuse: (kind: FaultKind, rule: FaultRule, ask: Ask, operation: string) => Reply
}>

export function json(status: number, body: unknown, headers: Readonly<Record<string, string>> = {}): Reply {
  return { status, headers: { 'content-type': 'application/json', ...headers }, body: JSON.stringify(body) }
}

/** Integer cents as eBay and pages write them: `1999` is `19.99`. */
export function decimal(cents: number): string {
  const text = String(cents).padStart(3, '0')
  return `${text.slice(0, -2)}.${text.slice(-2)}`
}

/** User and secret of a Basic header, or null. */
export function basicCredentials(header: string | undefined): { user: string; secret: string } | null {
  const encoded = /^Basic (.+)$/i.exec(header ?? '')?.[1]
  if (encoded === undefined) return null
  const text = Buffer.from(encoded, 'base64').toString('utf8')
  const colon = text.indexOf(':')
  return colon < 0 ? null : { user: text.slice(0, colon), secret: text.slice(colon + 1) }
}

export function retryAfter(rule: FaultRule): Readonly<Record<string, string>> {
  return rule.retryAfterS === undefined ? {} : { 'retry-after': String(rule.retryAfterS) }
}
