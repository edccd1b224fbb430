/**
 * What an exchange cost, by the providers' price models. An amount the answer itself proves goes before the price list, so
 * that a charge above the list is booked and not hidden.
 */
import { type Micros, timesMicros, toMicros } from '../base/money.ts'
import type { HttpHeaders } from './http.ts'
import type { Charge } from './types.ts'

export const NOT_CHARGED: Charge = { kind: 'not_charged' }
export const UNKNOWN_CHARGE: Charge = { kind: 'unknown' }

/** The amount in micro-dollars a provider names in `x-charged-micros`; null when it names none. */
export function provenMicros(headers: HttpHeaders): Micros | null {
  const text = headers['x-charged-micros']?.trim() ?? ''
  return /^\d{1,15}$/.test(text) ? toMicros(Number(text)) : null
}

/** `listed` unless the answer proves another amount. A proven zero for something the list calls charged is a charge of zero. */
export function withProof(headers: HttpHeaders, listed: Charge): Charge {
  const proven = provenMicros(headers)
  if (proven === null) return listed
  return proven === 0 && listed.kind !== 'charged' ? NOT_CHARGED : { kind: 'charged', micros: proven }
}

/** `units` at `price`; no unit is no charge, and a free unit is a charge of zero. */
export function chargedUnits(price: Micros, units: number): Charge {
  return units === 0 ? NOT_CHARGED : { kind: 'charged', micros: timesMicros(price, units) }
}

/** eBay: a search is charged when it is answered with 200, whatever the body; every other status is free. */
export function ebayCharge(status: number, price: Micros, headers: HttpHeaders): Charge {
  return withProof(headers, chargedUnits(price, status === 200 ? 1 : 0))
}

/**
 * Oxylabs: every delivered page whose target status is 2xx or 4xx, also a missing one, a captcha and one the parser could
 * not read; no page with 5xx or 6xx. More pages than asked for are charged as delivered. Source: price list 2026.
 */
export function oxylabsCharge(targetStatuses: readonly number[], price: Micros, headers: HttpHeaders): Charge {
  const pages = targetStatuses.filter((status) => (status >= 200 && status < 300) || (status >= 400 && status < 500))
  return withProof(headers, chargedUnits(price, pages.length))
}

/** Keepa: the tokens the envelope says were consumed, also when it carries an error. */
export function keepaCharge(tokensConsumed: number, price: Micros, headers: HttpHeaders): Charge {
  return withProof(headers, chargedUnits(price, tokensConsumed))
}
