/** How well a listing fits the product it was found for: what a seller's score is made of. Pure. */
import { breakEvenCents } from './price-window.ts'
import { titleWords } from './title-words.ts'

/** Fewer words than this in common prove little, however short the shorter title is. */
const WORDS_LEAST = 3

/** The words a title is compared by, each once, without case. */
export function wordSet(title: string): ReadonlySet<string> {
  return new Set(titleWords(title).map(({ text }) => text.toLowerCase()))
}

/**
 * Likeness of two titles in whole per cent, rounded down: the content words they share, of those of the shorter one
 * (overlap coefficient), which is counted as at least three. Amazon titles run on where eBay cuts at 80 characters, so what
 * the longer one has beyond the shorter says nothing.
 */
export function likenessPercent(product: ReadonlySet<string>, listing: ReadonlySet<string>): number {
  const shorter = Math.min(product.size, listing.size)
  if (shorter === 0) return 0
  let shared = 0
  for (const word of listing) if (product.has(word)) shared++
  return Math.floor((shared * 100) / Math.max(WORDS_LEAST, shorter))
}

/** `priceCents` in thousandths of the Amazon price, rounded down; null when that is not known. */
export function ratioPermille(priceCents: number, amazonCents: number | null): number | null {
  return amazonCents === null || amazonCents <= 0 ? null : Math.floor((priceCents * 1000) / amazonCents)
}

/** The price rule: who buys at the Amazon price and sells at this one does not lose money (usual terms). */
export function keepsPriceRule(priceCents: number, amazonCents: number | null): boolean {
  return amazonCents !== null && amazonCents > 0 && priceCents >= breakEvenCents(amazonCents)
}
