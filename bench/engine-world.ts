/** The work all sides of the benchmarks do: products with 20 listings from 8 sellers, 3 of them never seen before. */
import type { Micros } from '../apps/api/src/base/money.ts'
import type { Listing, SearchAdapter, SearchAnswer } from '../apps/api/src/providers/types.ts'

export const LISTINGS = 20
export const SELLERS = 8
export const NEW_SELLERS = 3

const TITLES = [
  'Insulated Stainless Steel Travel Mug 20 oz Leakproof Lid Double Wall Vacuum Navy',
  'Silicone Baking Mat Set of 3 Nonstick Reusable Sheet for Oven Pan Macaron Bread',
  'Cordless Handheld Vacuum Cleaner Rechargeable Strong Suction Car Home Pet Hair',
  'Adjustable Laptop Stand Aluminium Foldable Portable Riser for 10 to 17 inch',
]

/** Which of the sellers that came before the k-th of product `n` is. */
export type Earlier = (n: number, k: number) => number

/** A few of them everywhere, the others spread over all that came before. */
const anyEarlier: Earlier = (n, k) =>
  k < 2 ? (n + k * 7) % 40 : (n * 7919 + k * 104_729) % Math.max(1, n * NEW_SELLERS)

/**
 * As many sellers are met again, and as often, whatever the past: a few of them everywhere, the others `candidates` of the
 * `count` there are, spread evenly over them. `from` is the number of the first product.
 */
export function spreadEarlier(from: number, count: number, candidates: number): Earlier {
  const stride = Math.max(1, Math.floor(count / candidates))
  return (n, k) => (k < 2 ? (n + k * 7) % 40 : (((n - from) * 7919 + k * 104_729) % candidates) * stride)
}

/** Names of the sellers of product `n`: three of its own, five of those that came before. */
export function sellerNames(n: number, earlierOf: Earlier = anyEarlier): string[] {
  const names: string[] = []
  for (let k = 0; k < NEW_SELLERS; k++) names.push(`seller_${n * NEW_SELLERS + k}`)
  for (let k = 0; names.length < SELLERS; k++) {
    const name = `seller_${earlierOf(n, k)}`
    names.push(names.includes(name) ? `seller_${n * NEW_SELLERS}_${k}` : name)
  }
  return names
}

/** The listings of product `n`, as an adapter returns them. */
export function listingsOf(n: number, earlierOf: Earlier = anyEarlier): Listing[] {
  const names = sellerNames(n, earlierOf)
  return Array.from({ length: LISTINGS }, (_, k) => ({
    listingId: String(200_000_000_000 + n * LISTINGS + k),
    title: TITLES[(n + k) % TITLES.length] ?? '',
    priceCents: 1999 + k,
    position: k + 1,
    seller: { username: names[k % SELLERS] ?? '', feedbackScore: 1000 + (n % 5000), feedbackPermille: 992 },
  }))
}

/** A provider that answers at once. Product number `n` is told from the query text `product n`. */
export function instantAdapter(priceMicros: Micros, earlierOf: Earlier = anyEarlier): SearchAdapter {
  return {
    worstCase: () => priceMicros,
    timeoutMs: 30_000,
    search: async (request): Promise<SearchAnswer> => {
      const text = request.query.kind === 'text' ? request.query.text : ''
      return {
        ok: true,
        charge: { kind: 'charged', micros: priceMicros },
        listings: listingsOf(Number(text.split(' ')[1]), earlierOf),
        leftOut: {},
        ignoredFilters: [],
      }
    },
  }
}
