/** How eBay takes words and prices, by its API and on its pages alike. */
import { cleanLine, cutText } from '../base/text.ts'

/** eBay cuts longer queries silently, in the middle of a word. */
const QUERY_LIMIT = 100

/** A title as a query: brackets, commas and stars are operators, a title's own are noise. At most 100 characters. */
export function queryText(text: string): string {
  return cutText(cleanLine(text.replace(/[()*,"]/g, ' ')), QUERY_LIMIT)
}

/** Cents as eBay reads a price: `1999` is `19.99`. */
export function centsText(cents: number): string {
  return `${Math.trunc(cents / 100)}.${String(cents % 100).padStart(2, '0')}`
}
