/** The sellers an answer names, each with its listings. */
import { readSellerName } from '../matching/normalise.ts'
import type { SearchAnswer } from '../providers/types.ts'
import type { SellerProof } from '../sellers/record.ts'

export type SellerOfSearch = Readonly<{ displayName: string; proof: SellerProof }>

const remembered = new WeakMap<SearchAnswer, ReadonlyMap<string, SellerOfSearch>>()

/**
 * The sellers of an answer by key (the normalised name), in the order of their first listing. Listings whose seller has
 * no usable name are left out. Worked out once per answer: it is asked for when a batch is picked and when it is booked.
 */
export function sellersOfSearch(answer: SearchAnswer): ReadonlyMap<string, SellerOfSearch> {
  let sellers = remembered.get(answer)
  if (!sellers) remembered.set(answer, (sellers = group(answer)))
  return sellers
}

function group(answer: SearchAnswer): Map<string, SellerOfSearch> {
  const sellers = new Map<string, SellerOfSearch>()
  if (!answer.ok) return sellers
  const keys = new Map<string, string | null>()
  for (const listing of answer.listings) {
    const { username, feedbackScore, feedbackPermille } = listing.seller
    let key = keys.get(username)
    if (key === undefined) keys.set(username, (key = readSellerName(username)?.normalizedName ?? null))
    if (key === null) continue
    const row = [listing.listingId, listing.title, listing.priceCents, listing.position] as const
    const seller = sellers.get(key)
    if (seller) (seller.proof[2] as (typeof row)[]).push(row)
    else sellers.set(key, { displayName: username.trim(), proof: [feedbackScore, feedbackPermille, [row]] })
  }
  return sellers
}
