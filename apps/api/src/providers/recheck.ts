/**
 * Every row of every search answer is checked here against what was asked, whatever the provider was told: providers
 * ignore filters they dislike. Pure.
 */
import { parsePriceCents } from '../base/money.ts'
import type { LeftOut, Listing, SearchFilters, SellerRef } from './types.ts'

/** Why a row is left out: exactly one reason a row, the first that holds in the order of `reasonAgainst`. */
export type LeftOutReason = keyof LeftOut

/** A row as an adapter read it, before the check. A field the provider did not send, or that cannot be read, is null. */
export type Row = Readonly<{
  listingId: string | null
  title: string | null
  conditionId: string | null
  buyingOptions: readonly string[]
  country: string | null
  freeShipping: boolean
  currency: string | null
  /** Decimal text without floats, e.g. `19.99`. */
  price: string | null
  seller: SellerRef | null
  /** The provider's own filler ("Shop on eBay"), no listing at all. */
  placeholder?: boolean
}>

/** What is left after the check: `listings.length` plus all counts of `leftOut` is the number of rows given. */
export type Checked = Readonly<{ listings: readonly Listing[]; leftOut: LeftOut }>

/**
 * Checks rows in the provider's order; a row's position is its place in it, from 1. Rows of one listing (its variations)
 * are merged into the cheapest that passes, the earlier one when they cost the same; the others count as `duplicate`. A row
 * given as null could not be read at all.
 */
export function recheck(rows: readonly (Row | null)[], filters: SearchFilters): Checked {
  const kept = new Map<string, Listing>()
  const leftOut: Partial<Record<LeftOutReason, number>> = {}
  const leave = (reason: LeftOutReason) => {
    leftOut[reason] = (leftOut[reason] ?? 0) + 1
  }
  rows.forEach((row, at) => {
    const checked = checkRow(row, filters, at + 1)
    if (typeof checked === 'string') {
      leave(checked)
      return
    }
    const before = kept.get(checked.listingId)
    if (before) leave('duplicate')
    if (!before || checked.priceCents < before.priceCents) kept.set(checked.listingId, checked)
  })
  return { listings: [...kept.values()].toSorted((a, b) => a.position - b.position), leftOut }
}

/**
 * Why an answer without listings must not be taken for "none": rows passed every filter and named no seller, or at least half of
 * the rows could not be read. Null when it may.
 */
export function falseNone({ listings, leftOut }: Checked, rowCount: number): 'no_sellers' | 'unreadable' | null {
  if (listings.length > 0) return null
  if (leftOut.no_seller) return 'no_sellers'
  return leftOut.unreadable && leftOut.unreadable * 2 >= rowCount - (leftOut.placeholder ?? 0) ? 'unreadable' : null
}

function checkRow(row: Row | null, filters: SearchFilters, position: number): Listing | LeftOutReason {
  if (!row) return 'unreadable'
  const reason = reasonAgainst(row, filters)
  if (reason) return reason
  const { listingId, title, seller, price } = row
  const priceCents = price === null ? null : parsePriceCents(price)
  if (listingId === null || title === null || priceCents === null || priceCents === 0) return 'unreadable'
  const band = filters.priceCents
  if (band && (priceCents < band.min || priceCents > band.max)) return 'price'
  if (seller === null) return 'no_seller'
  return { listingId, title, priceCents, position, seller }
}

function reasonAgainst(row: Row, filters: SearchFilters): LeftOutReason | null {
  if (row.placeholder) return 'placeholder'
  if (row.listingId === null || row.title === null) return 'unreadable'
  if (row.conditionId !== filters.conditionId) return 'condition'
  if (!row.buyingOptions.includes(filters.buyingOption)) return 'buying_option'
  if (filters.locatedIn !== null && row.country !== filters.locatedIn) return 'location'
  if (filters.freeShipping && !row.freeShipping) return 'shipping'
  if (row.currency !== filters.currency) return row.currency === null && row.price === null ? 'unreadable' : 'currency'
  return null
}

/** A feedback percentage as text ("99.2", "100") in tenths of a per cent, exactly; null when it is none, or finer than tenths. */
export function feedbackPermille(percentage: string | null | undefined): number | null {
  const match = /^(\d{1,3})(?:\.(\d)0*)?$/.exec(percentage?.trim() ?? '')
  if (!match) return null
  const permille = Number(match[1]) * 10 + Number(match[2] ?? 0)
  return permille <= 1000 ? permille : null
}

/** A feedback score as shown in text ("102,862", "3.7K", "1.2M"); null when it is none. A score with a unit is rounded. */
export function feedbackScore(shown: string): { score: number; rounded: boolean } | null {
  const match = /^(-?\d{1,3}(?:,\d{3})*|-?\d{1,9})(?:\.(\d{1,3}))?([KM]?)$/i.exec(shown.trim())
  if (!match) return null
  const [, whole = '', fraction = '', unit = ''] = match
  const zeros = { '': 0, k: 3, m: 6 }[unit.toLowerCase()] ?? 0
  if (fraction.length > zeros) return null
  const score = Number(whole.replaceAll(',', '') + fraction.padEnd(zeros, '0'))
  return score <= 2_147_483_647 ? { score, rounded: zeros > 0 } : null
}

/**
 * A user name as a provider sends it: trimmed, no white space or control characters inside, at most 64 characters (old accounts may break
 * today's rules for names, so nothing more is asked). Null when it is none.
 */
export function readUsername(sent: string | null | undefined): string | null {
  const name = sent?.trim() ?? ''
  return /^[^\s\p{C}]{1,64}$/u.test(name) ? name : null
}
