/** The work both sides of bench/engine.ts do: products with 20 listings from 8 sellers, 3 of them never seen before. */
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

/** Names of the sellers of product `n`: three of its own, five of those that came before, a few of them everywhere. */
export function sellerNames(n: number): string[] {
  const names: string[] = []
  for (let k = 0; k < NEW_SELLERS; k++) names.push(`seller_${n * NEW_SELLERS + k}`)
  for (let k = 0; names.length < SELLERS; k++) {
    const earlier = k < 2 ? (n + k * 7) % 40 : (n * 7919 + k * 104_729) % Math.max(1, n * NEW_SELLERS)
    const name = `seller_${earlier}`
    names.push(names.includes(name) ? `seller_${n * NEW_SELLERS}_${k}` : name)
  }
  return names
}

/** The listings of product `n`, as an adapter returns them. */
export function listingsOf(n: number): Listing[] {
  const names = sellerNames(n)
  return Array.from({ length: LISTINGS }, (_, k) => ({
    listingId: String(200_000_000_000 + n * LISTINGS + k),
    title: TITLES[(n + k) % TITLES.length] ?? '',
    priceCents: 1999 + k,
    position: k + 1,
    seller: { username: names[k % SELLERS] ?? '', feedbackScore: 1000 + (n % 5000), feedbackPermille: 992 },
  }))
}

/** A provider that answers at once. Product number `n` is told from the query text `product n`. */
export function instantAdapter(priceMicros: Micros): SearchAdapter {
  return {
    worstCase: () => priceMicros,
    timeoutMs: 30_000,
    search: async (request): Promise<SearchAnswer> => {
      const text = request.query.kind === 'text' ? request.query.text : ''
      return {
        ok: true,
        charge: { kind: 'charged', micros: priceMicros },
        listings: listingsOf(Number(text.split(' ')[1])),
        leftOut: {},
        ignoredFilters: [],
      }
    },
  }
}
