/**
 * Keeping the seller list up with the evidence. Bookings only note which products brought something; this counts it, in a
 * loop of its own in every worker, one worker at a time, and never for more than half of the time: what is booked comes
 * first. ADR 0020.
 */
import { setTimeout as sleep } from 'node:timers/promises'
import { type Db, withTxRetry } from '../db/client.ts'
import { keepsPriceRule, likenessPercent, ratioPermille, wordSet } from '../matching/title-likeness.ts'
import {
  addMatches,
  becomeKeeper,
  isListDue,
  readSearches,
  refreshList,
  type SeenMatch,
  type StoredSearch,
  sellersOfRun,
  takeDue,
} from '../sellers/list-figures.ts'

/** Searches counted in one transaction: some tenths of a second. */
const SEARCHES_AT_ONCE = 400
const LOOK_MS = 500

/**
 * Counts the evidence that is due, oldest first, some hundreds of searches in one transaction. Returns how many searches
 * and ended runs were counted; 0 when nothing is due; null when somebody else is counting.
 */
export function keepList(db: Db): Promise<number | null> {
  return withTxRetry(db, async (tx) => {
    if (!(await becomeKeeper(tx))) return null
    const { itemIds, runIds } = await takeDue(tx, SEARCHES_AT_ONCE)
    const seen = matchesOf(await readSearches(tx, itemIds))
    await addMatches(tx, seen)
    const dirty = new Set(seen.map(({ sellerId }) => sellerId))
    for (const runId of runIds) for (const id of await sellersOfRun(tx, runId)) dirty.add(id)
    await refreshList(tx, [...dirty])
    return itemIds.length + runIds.length
  })
}

/** Counts until nothing is due that was due when it was called, whoever counts. */
export async function catchUp(db: Db): Promise<void> {
  const { rows } = await db.query<{ last: number | null }>('select max(id) as last from seller_list_due')
  const last = rows[0]?.last ?? null
  if (last === null) return
  for (;;) {
    const counted = await keepList(db)
    const left = await db.query('select from seller_list_due where id <= $1 limit 1', [last])
    if (left.rowCount === 0) return
    if (counted === null) await sleep(50)
  }
}

export type KeepListOptions = Readonly<{
  db: Db
  log: (message: string, facts?: Record<string, unknown>) => void
  lookMs?: number
}>

/** `keepList`, begun only when something is due: a look costs an idle worker one statement instead of a transaction. */
async function keepDue(db: Db): Promise<number | null> {
  return (await isListDue(db)) ? keepList(db) : 0
}

/** Counts whatever becomes due until `signal` is aborted. */
export async function keepListLoop({ db, log, lookMs = LOOK_MS }: KeepListOptions, signal: AbortSignal): Promise<void> {
  while (!signal.aborted) {
    const startedAt = performance.now()
    const counted = await keepDue(db).catch((error: unknown) => {
      log('the seller list could not be kept up', { error: String(error) })
      return null
    })
    // As long a rest as the work took: bookings share the machine.
    const restMs = counted ? Math.min(lookMs, performance.now() - startedAt) : lookMs
    await sleep(restMs, undefined, { signal }).catch(() => {})
  }
}

type Sums = { -readonly [K in keyof SeenMatch]: SeenMatch[K] }

/** What these searches show, each seller and product once. */
export function matchesOf(searches: readonly StoredSearch[]): SeenMatch[] {
  const matches = new Map<string, Sums>()
  for (const search of searches) {
    const product = wordSet(search.title ?? '')
    search.sellerIds.forEach((sellerId, at) => {
      const listings = search.proofs[at]?.[2] ?? []
      const match = openMatch(matches, sellerId, search)
      for (const [, title, priceCents] of listings) addListing(match, product, title, priceCents, search.amazonCents)
    })
  }
  return [...matches.values()]
}

function openMatch(matches: Map<string, Sums>, sellerId: string, { asin, seenAt }: StoredSearch): Sums {
  const key = `${sellerId} ${asin}`
  const known = matches.get(key)
  if (known) {
    if (seenAt < known.firstSeenAt) known.firstSeenAt = seenAt
    if (seenAt > known.lastSeenAt) known.lastSeenAt = seenAt
    return known
  }
  const match: Sums = {
    sellerId,
    asin,
    likenessPercent: 0,
    priceRule: false,
    ratioLowPermille: null,
    ratioHighPermille: null,
    firstSeenAt: seenAt,
    lastSeenAt: seenAt,
  }
  matches.set(key, match)
  return match
}

function addListing(
  match: Sums,
  product: ReadonlySet<string>,
  title: string,
  priceCents: number,
  amazonCents: number | null,
): void {
  match.likenessPercent = Math.max(match.likenessPercent, likenessPercent(product, wordSet(title)))
  match.priceRule ||= keepsPriceRule(priceCents, amazonCents)
  const ratio = ratioPermille(priceCents, amazonCents)
  if (ratio === null) return
  match.ratioLowPermille = Math.min(match.ratioLowPermille ?? ratio, ratio)
  match.ratioHighPermille = Math.max(match.ratioHighPermille ?? ratio, ratio)
}
