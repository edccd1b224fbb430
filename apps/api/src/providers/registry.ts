/** Which adapter an account is reached by, and whether it can be reached at all. */

import { ZERO } from '../base/money.ts'
import { NOT_CHARGED } from './charges.ts'
import { ebayBrowse } from './ebay-browse.ts'
import { tokenSource } from './ebay-token.ts'
import { failedStatus, scrub, unanswered } from './failures.ts'
import { exchange, type HttpRequest } from './http.ts'
import { keepaList, readEnvelope } from './keepa.ts'
import { oxylabsList } from './oxylabs.ts'
import { oxylabsEbay } from './oxylabs-ebay.ts'
import { basicAuthorization } from './oxylabs-query.ts'
import type { Failure, ListAdapter, ProviderAccount, SearchAdapter } from './types.ts'

export { closeHttp } from './http.ts'

/** The adapter that reads best-seller lists with this account. Throws when the provider has none: ask `canList` first. */
export function listAdapter(account: ProviderAccount): ListAdapter {
  if (account.adapter === 'oxylabs') return oxylabsList(account)
  if (account.adapter === 'keepa') return keepaList(account)
  throw new Error(`a ${account.adapter} account reads no best-seller lists`)
}

/** The adapter that searches eBay with this account. Throws when the provider has none: ask `canSearch` first. */
export function searchAdapter(account: ProviderAccount): SearchAdapter {
  if (account.adapter === 'ebay_browse') return ebayBrowse(account)
  if (account.adapter === 'oxylabs') return oxylabsEbay(account)
  throw new Error(`a ${account.adapter} account does not search eBay`)
}

/** Whether an account of this kind reads best-seller lists. */
export function canList(adapter: ProviderAccount['adapter']): boolean {
  return adapter === 'oxylabs' || adapter === 'keepa'
}

/** Whether an account of this kind searches eBay. */
export function canSearch(adapter: ProviderAccount['adapter']): boolean {
  return adapter === 'ebay_browse' || adapter === 'oxylabs'
}

const PROBE_TIMEOUT_MS = 10_000

export type Probe = Readonly<{ ok: true; note: string }> | Failure

/**
 * Finds out, free of charge, whether the account's host answers and takes its credentials: eBay by its access token, Keepa
 * by its token balance, Oxylabs by its usage report. `note` is one sentence about the account. Never throws.
 */
export async function probe(account: ProviderAccount): Promise<Probe> {
  if (account.adapter === 'ebay_browse') {
    const token = await tokenSource(account.baseUrl, account.credentials).get(PROBE_TIMEOUT_MS)
    return token.ok ? { ok: true, note: 'eBay gave an access token' } : token
  }
  return account.adapter === 'keepa' ? probeKeepa(account) : probeOxylabs(account)
}

async function probeKeepa(account: ProviderAccount): Promise<Probe> {
  const url = `${account.baseUrl}/token?key=${encodeURIComponent(account.credentials.secret)}`
  const outcome = await exchange({ method: 'GET', url, timeoutMs: PROBE_TIMEOUT_MS })
  if (outcome.kind !== 'answered') return free(unanswered(outcome))
  const answer = readEnvelope(outcome, account, ZERO)
  if (!answer.ok) return free(answer)
  return { ok: true, note: `Keepa holds ${answer.tokensLeft ?? 'an unknown number of'} tokens for this key` }
}

/** The usage report is on another host than realtime queries. A host that does not know it still answered and took no offence. */
async function probeOxylabs(account: ProviderAccount): Promise<Probe> {
  const host = account.baseUrl.replace('//realtime.oxylabs.io', '//data.oxylabs.io')
  const request: HttpRequest = {
    method: 'GET',
    url: `${host}/v2/stats`,
    headers: { authorization: basicAuthorization(account) },
    timeoutMs: PROBE_TIMEOUT_MS,
  }
  const outcome = await exchange(request)
  if (outcome.kind !== 'answered') return free(unanswered(outcome))
  const { status, headers, text } = outcome
  if (status === 200) return { ok: true, note: 'Oxylabs gave its usage report' }
  if (status === 404)
    return { ok: true, note: 'the host answers; it has no usage report, so the credentials are not proved' }
  return free(failedStatus(status, headers, NOT_CHARGED, scrub(text, account.credentials)))
}

/** Nothing a probe asks for is ever charged, whatever became of the question. */
function free(failed: Failure): Failure {
  return { ...failed, charge: NOT_CHARGED }
}
