/** A question about an account that no provider charges for. */
import { NOT_CHARGED } from './charges.ts'
import { failedStatus, scrub, unanswered } from './failures.ts'
import { exchange } from './http.ts'
import { parseJson } from './json.ts'
import type { Failure, ProviderAccount } from './types.ts'

/** GETs `url` as JSON; `value` is unchecked. Never throws; a failure has cost nothing. */
export async function askFree(
  account: ProviderAccount,
  url: string,
  authorization: string,
  timeoutMs: number,
): Promise<Readonly<{ ok: true; value: unknown }> | Failure> {
  const outcome = await exchange({ method: 'GET', url, headers: { authorization }, timeoutMs })
  if (outcome.kind !== 'answered') return { ...unanswered(outcome), charge: NOT_CHARGED }
  const { status, headers, text } = outcome
  if (status === 200) return { ok: true, value: parseJson(text) }
  return failedStatus(status, headers, NOT_CHARGED, scrub(text, account.credentials))
}
