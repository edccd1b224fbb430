/**
 * Book: what searches brought. Result, money, counters, checkpoint and event commit together or not at all, many calls
 * in one transaction.
 */
import { addMicros, ZERO } from '../base/money.ts'
import type { Secrets } from '../base/seal.ts'
import type { Tx } from '../db/client.ts'
import { bookCalls, type CallBooking, lockUnbookedCalls } from '../ledger/book.ts'
import type { Listing, SearchAnswer } from '../providers/types.ts'
import { bookItems, type ItemBooking, type ItemChange, lockEffectiveItems } from '../runs/items.ts'
import type { RunSnapshot } from '../runs/snapshot.ts'
import type { KnownSellers } from '../sellers/known.ts'
import {
  type Evidence,
  type RecordedSeller,
  recordEvidence,
  recordSellers,
  recordSellersInRun,
  type SeenSeller,
} from '../sellers/record.ts'
import { type BookedFacts, closeBooking } from './close-booking.ts'
import { type Consequence, consequenceOfAnswer, consequenceOfFailure, type RunFate } from './consequences.ts'
import { heedLeftOut, leaveOut } from './leave-out.ts'
import { overruleResolved } from './overrule.ts'
import { type SellerOfSearch, sellersOfSearch } from './sellers-of-search.ts'

/** A search that has come to an end, whatever end. */
export type FinishedSearch = Readonly<{
  callId: string
  itemId: string
  epoch: number
  attempt: number
  rung: number
  /** Number of rungs this product has. */
  rungs: number
  answer: SearchAnswer
  durationMs: number
}>

/** A search that brought fewer listings than this goes on to the next rung, when there is one and the budget allows. */
export const ENOUGH_LISTINGS = 3

export type Booked = Readonly<{
  run: RunSnapshot
  fates: readonly RunFate[]
  /** Sellers that are on the list and in the run once this booking is committed. */
  recorded: readonly RecordedSeller[]
  /** The version of the lists of those not to collect that they were held against. */
  leftOutVersion: number
}>

export type BookingOptions = Readonly<{
  /** Products that found too little may try their next rung. */
  mayClimb: boolean
  /** Sellers earlier bookings of this lane recorded: they are not asked for again. */
  known: KnownSellers
  /** Tells sellers that were erased; null where the process lacks the installation's key. */
  secrets?: Secrets | null
}>

type Judged = Readonly<{ search: FinishedSearch; consequence: Consequence; listings: readonly Listing[] }>

/**
 * Books finished searches of one run. Afterwards every call is settled, released or suspect; every item whose epoch still
 * matched has moved on; the sellers and their evidence are stored; one event tells of it. Returns the run as it stands at
 * this commit and what the outcomes mean for it.
 */
export async function bookSearches(
  tx: Tx,
  run: Readonly<{ id: string; orgId: string }>,
  searches: readonly FinishedSearch[],
  options: BookingOptions,
): Promise<Booked> {
  // A call that is settled or released was booked before: by this very booking, when the answer to its COMMIT was lost.
  const unbooked = await lockUnbookedCalls(
    tx,
    searches.map((search) => search.callId),
  )
  const judged = searches.filter((search) => unbooked.has(search.callId)).map(judge)
  const effective = await lockEffectiveItems(tx, searches)
  const sightings = gather(judged.filter((one) => effective.has(one.search.callId) && one.listings.length > 0))

  // Before anything is looked up: it forgets who was known when somebody was put on a list since.
  const leftOutVersion = sightings.sellers.size > 0 ? await heedLeftOut(tx, options.known) : 0
  const ids = new Map<string, string>()
  let unknown: NewInBooking[] = []
  for (const seller of sightings.sellers.values()) {
    const id = options.known.find(seller.key)
    if (id === undefined) unknown.push(seller)
    else ids.set(seller.key, id)
  }
  const leftOut = await leaveOut(tx, { version: leftOutVersion, orgId: run.orgId, secrets: options.secrets }, unknown)
  if (leftOut.size > 0) unknown = unknown.filter(({ key }) => !leftOut.has(key))
  const recorded = await recordSellers(tx, run.orgId, run.id, unknown)
  for (const { key, id } of recorded.values()) ids.set(key, id)
  await recordEvidence(
    tx,
    run.orgId,
    sightings.searches.map((search) => toEvidence(search, ids, leftOut)),
  )
  await recordSellersInRun(
    tx,
    run.id,
    unknown.map((seller) => ({
      ...seller,
      id: idOf(ids, seller.key),
      isNew: recorded.get(seller.key)?.isNew ?? false,
    })),
  )
  await bookItems(tx, itemBookings(judged, effective, options.mayClimb))
  const booked = await bookCalls(tx, judged.map(callBooking))

  // Those that were neither held nor suspect: booked before, or resolved by a person meanwhile.
  const late = searches.filter((search) => !unbooked.has(search.callId))
  const contradictions = await overruleResolved(tx, late)
  const snapshot = await closeBooking(tx, run.id, facts(judged, booked.size), contradictions)
  const fates = judged.map((one) => one.consequence.run)
  return { run: snapshot, fates, recorded: [...recorded.values()], leftOutVersion }
}

function judge(search: FinishedSearch): Judged {
  const { answer } = search
  if (!answer.ok) {
    const consequence = consequenceOfFailure(answer, search.attempt, Math.random())
    return { search, consequence, listings: [] }
  }
  const outcome = answer.listings.length > 0 ? 'found' : 'none'
  return { search, consequence: consequenceOfAnswer(answer.charge, outcome), listings: answer.listings }
}

type NewInBooking = SeenSeller & { parentItemId: string; listings: number }

type Gathered = {
  /** Sellers of the whole batch, once each, with the product that brought them first. */
  sellers: Map<string, NewInBooking>
  searches: { search: FinishedSearch; bySeller: ReadonlyMap<string, SellerOfSearch> }[]
}

function gather(found: readonly Judged[]): Gathered {
  const gathered: Gathered = { sellers: new Map(), searches: [] }
  for (const { search } of found) {
    const bySeller = sellersOfSearch(search.answer)
    gathered.searches.push({ search, bySeller })
    for (const [key, { displayName, proof }] of bySeller) {
      const [feedbackScore, feedbackPermille, { length: listings }] = proof
      const seen = gathered.sellers.get(key)
      if (seen) seen.listings += listings
      else {
        const parentItemId = search.itemId
        gathered.sellers.set(key, { key, displayName, feedbackScore, feedbackPermille, parentItemId, listings })
      }
    }
  }
  return gathered
}

/** Without those left out; where nobody else was found, that the search found something still stands, with nobody named. */
function toEvidence(
  { search, bySeller }: Gathered['searches'][number],
  ids: ReadonlyMap<string, string>,
  leftOut: ReadonlySet<string>,
): Evidence {
  const { itemId, rung, callId } = search
  const sellers = leftOut.size === 0 ? [...bySeller] : [...bySeller].filter(([key]) => !leftOut.has(key))
  return {
    itemId,
    rung,
    callId,
    sellerIds: sellers.map(([key]) => idOf(ids, key)),
    proofs: sellers.map(([, { proof }]) => proof),
  }
}

function idOf(ids: ReadonlyMap<string, string>, key: string): string {
  const id = ids.get(key)
  if (id === undefined) throw new Error('a seller was recorded but not returned')
  return id
}

/**
 * What the booking does to each item, named once. A late answer may come together with the one to the claim after it: both
 * cost, one takes effect.
 */
function itemBookings(judged: readonly Judged[], effective: ReadonlySet<string>, mayClimb: boolean): ItemBooking[] {
  const bookings = new Map<string, ItemBooking>()
  for (const { search, consequence, listings } of judged) {
    const { itemId } = search
    const before = bookings.get(itemId)
    const costMicros = addMicros(before?.costMicros ?? ZERO, consequence.money.chargeMicros ?? ZERO)
    const takesEffect = effective.has(search.callId)
    const change = takesEffect ? itemChange(search, consequence, listings.length, mayClimb) : (before?.change ?? null)
    bookings.set(itemId, { itemId, costMicros, change })
  }
  return [...bookings.values()]
}

function itemChange(search: FinishedSearch, consequence: Consequence, listings: number, mayClimb: boolean): ItemChange {
  const { item } = consequence
  const nextRung: ItemChange = { status: 'pending', rung: search.rung + 1, attempt: 0, delayMs: 0 }
  const hasNext = search.rung < search.rungs
  if (item.kind === 'answered') {
    if (listings < ENOUGH_LISTINGS && hasNext && mayClimb) return nextRung
    return { status: 'completed', outcome: listings > 0 ? 'found' : 'none' }
  }
  const { code, message } = search.answer.ok ? { code: '', message: '' } : search.answer
  if (item.kind === 'retry') {
    const attempt = item.counts ? search.attempt : search.attempt - 1
    return { status: 'pending', rung: search.rung, attempt, delayMs: item.delayMs, code, message }
  }
  // A query refused as invalid is no reason not to ask with the next one.
  if (item.outcome === 'rejected' && hasNext && mayClimb) return nextRung
  return { status: 'failed', outcome: item.outcome, code, message }
}

function callBooking({ search, consequence }: Judged): CallBooking {
  const failure = search.answer.ok ? null : search.answer
  return {
    callId: search.callId,
    ...consequence.money,
    outcome: consequence.outcome,
    ...(failure ? { errorCode: failure.code, errorMessage: failure.message } : {}),
    durationMs: Math.round(search.durationMs),
  }
}

function facts(judged: readonly Judged[], booked: number): BookedFacts {
  const outcomes: Record<string, number> = {}
  for (const { consequence } of judged) outcomes[consequence.outcome] = (outcomes[consequence.outcome] ?? 0) + 1
  return { calls: booked, outcomes }
}
