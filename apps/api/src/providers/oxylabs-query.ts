/** Oxylabs Web Scraper API, realtime: one query, one page, one result. Shared by the list and the search adapter. */
import type { Micros } from '../base/money.ts'
import { oxylabsCharge, UNKNOWN_CHARGE, withProof } from './charges.ts'
import { failedStatus, failure, scrub, unanswered } from './failures.ts'
import { type Exchange, exchange } from './http.ts'
import { parseJson } from './json.ts'
import { oxylabsEnvelope, oxylabsMessage } from './schemas.ts'
import type { CallContext, Charge, Failure, FailureKind, ProviderAccount } from './types.ts'

/** Oxylabs keeps the request open until the page is there; its own client waits up to 165 s. */
export const OXYLABS_TIMEOUT_MS = 180_000

/** Numbers that are money, kept as text. */
const DECIMALS: ReadonlySet<string> = new Set(['price', 'price_upper'])

/** The content of the one page that was asked for, and what it cost. */
export type OxylabsPage = Readonly<{ ok: true; charge: Charge; content: unknown; url: string | null }>

/** Basic authorisation of an account. */
export function basicAuthorization({ credentials }: ProviderAccount): string {
  return `Basic ${Buffer.from(`${credentials.user}:${credentials.secret}`).toString('base64')}`
}

/**
 * Sends one query for one page at `price` and returns the page's content, whose target status was 2xx. Everything else is
 * a failure with its charge.
 */
export async function queryPage(
  account: ProviderAccount,
  query: Readonly<Record<string, unknown>>,
  price: Micros,
  context: CallContext,
): Promise<OxylabsPage | Failure> {
  const outcome = await exchange({
    method: 'POST',
    url: `${account.baseUrl}/v1/queries`,
    headers: { authorization: basicAuthorization(account), 'content-type': 'application/json' },
    body: JSON.stringify(query),
    requestId: context.callId,
    timeoutMs: context.timeoutMs,
    signal: context.signal,
    maySend: context.maySend,
  })
  if (outcome.kind !== 'answered') return unanswered(outcome)
  return outcome.status === 200 ? readEnvelope(outcome, price) : readError(outcome, account)
}

type Answered = Extract<Exchange, { kind: 'answered' }>

function readEnvelope({ text, headers }: Answered, price: Micros): OxylabsPage | Failure {
  const envelope = oxylabsEnvelope.safeParse(parseJson(text, DECIMALS))
  if (!envelope.success) {
    // Charged is what was delivered, and that cannot be read here: the amount is open until the usage report tells.
    const charge = withProof(headers, UNKNOWN_CHARGE)
    return failure('drift', charge, 'schema', 'the answer does not have the expected envelope')
  }
  const { results } = envelope.data
  const charge = oxylabsCharge(
    results.map((result) => result.status_code),
    price,
    headers,
  )
  const [page] = results
  if (!page) return failure('drift', charge, 'schema', 'the answer holds no result')
  const kind = targetFailure(page.status_code)
  if (kind)
    return failure(kind, charge, `oxylabs.${page.status_code}`, `the target page ended with status ${page.status_code}`)
  return { ok: true, charge, content: page.content, url: page.url ?? null }
}

/** What the status of the target page means; 612 and 613 are Oxylabs' own: given up after retries. Null for a delivered page. */
function targetFailure(status: number): FailureKind | null {
  if (status >= 200 && status < 300) return null
  if (status >= 500) return 'fault'
  if (status === 400 || status === 404 || status === 410) return 'rejected'
  return status >= 400 ? 'blocked' : 'drift'
}

function readError({ status, headers, text }: Answered, account: ProviderAccount): Failure {
  const body = oxylabsMessage.safeParse(parseJson(text))
  const told = body.success ? scrub(body.data.message, account.credentials) : ''
  // 202 is an accepted job whose result may yet be delivered, and charged, without us.
  const charge = status === 202 ? withProof(headers, UNKNOWN_CHARGE) : oxylabsCharge([], 0 as Micros, headers)
  const failed = failedStatus(status, headers, charge, told)
  // The plan's results are used up, which waiting a moment does not cure.
  if (status === 429 && /month|plan|subscription|quota/i.test(told)) return { ...failed, kind: 'quota' }
  // A job or its result that is gone: the same query can be sent again.
  return status === 404 ? { ...failed, kind: 'fault' } : failed
}
