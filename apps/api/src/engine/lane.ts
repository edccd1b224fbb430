/**
 * A lane: one worker's part in one run. Two loops share it: the claiming loop keeps every free slot busy, the booking
 * loop writes down what came back. Bookings gather by natural batching: while one transaction is under way, finished
 * calls queue, and the next takes them all. An idle lane books a single call at once, a busy one hundreds together.
 */
import { setTimeout as sleep } from 'node:timers/promises'
import type { Micros } from '../base/money.ts'
import { makeWake, type Wake } from '../base/wake.ts'
import type { Db } from '../db/client.ts'
import { CommitUnknown, isConnectionError } from '../db/errors.ts'
import { makeSendClock, type SendClock } from '../governor/send-clock.ts'
import type { Room } from '../ledger/claim.ts'
import type { FilterSettings } from '../matching/filters.ts'
import type { ListAdapter, SearchAdapter } from '../providers/types.ts'
import { type RunSnapshot } from '../runs/snapshot.ts'
import { type KnownSellers, makeKnownSellers } from '../sellers/known.ts'
import type { FinishedSearch } from './book.ts'
import type { FinishedStep } from './book-list.ts'
import type { Heart } from './may-send.ts'
import { makeObserver, type Observer } from './observe.ts'

export type LaneAccount<Adapter> = Readonly<{
  id: string
  name: string
  adapter: Adapter
  /** Most calls this worker may have in flight at this account; how many the fleet may, the governor says. */
  maxInFlight: number
  /** Calls a day the account allows, for the forecast; nothing is decided by it here. */
  callsPerDay?: number | null
}>

/** What the two sides of a lane have of their own: searches and list steps may go to different accounts. */
export type Side = 'search' | 'list'

export type LaneOptions = Readonly<{
  db: Db
  workerId: string
  run: RunSnapshot
  filters: FilterSettings
  search: LaneAccount<SearchAdapter>
  /** Null for a product list, which has no products phase. */
  list: LaneAccount<ListAdapter> | null
  log: (message: string, facts?: Record<string, unknown>) => void
  /** Aborted when the worker has no time left: requests in flight are given up, and booked as that. */
  giveUp?: AbortSignal
  /** The heart of the worker; without one, leases alone decide whether a call may still be sent. */
  heart?: Heart
}>

/** What the loops of one lane share. Only they change it. */
export type Lane = LaneOptions & {
  /** As of this worker's last look or booking. */
  run: RunSnapshot
  readonly searchPrice: Micros
  /** Calls sent and not finished, by id. */
  readonly inFlight: { readonly searches: Set<string>; readonly steps: Set<string> }
  /** A claim is under way: it may bring calls that will have to be booked. */
  claiming: boolean
  /** Finished, and no booking is under way. */
  readonly finished: { searches: FinishedSearch[]; steps: FinishedStep[] }
  /** Calls a booking is under way for. */
  readonly booking: Set<string>
  /** Keys of sellers a booking under way is recording. */
  readonly recording: Set<string>
  readonly knownSellers: KnownSellers
  /** What the month cap left after this lane's last claim; null without one. */
  monthLeftMicros: Micros | null
  /** What the governor said to the last claim; null before the first. */
  readonly room: Record<Side, Room | null>
  /** It is not worth asking the governor again before this moment (performance.now). */
  readonly askAt: Record<Side, number>
  readonly observers: Readonly<Record<Side, Observer>>
  readonly sendClock: SendClock
  /** No more claims: the run ended, or the worker stops. */
  closing: boolean
  readonly claimWake: Wake
  readonly bookWake: Wake
}

/** A lane at rest. Throws when the search price is unknown: without a price no call is made. */
export function openLane(options: LaneOptions): Lane {
  const searchPrice = options.search.adapter.worstCase()
  if (searchPrice === null) throw new Error(`account ${options.search.name} has no price for a search`)
  const search = makeObserver(options.db, options.search.id, options.log)
  const isShared = !options.list || options.list.id === options.search.id
  const list = isShared ? search : makeObserver(options.db, options.list?.id ?? '', options.log)
  return {
    ...options,
    searchPrice,
    inFlight: { searches: new Set(), steps: new Set() },
    claiming: false,
    finished: { searches: [], steps: [] },
    booking: new Set(),
    recording: new Set(),
    knownSellers: makeKnownSellers(),
    monthLeftMicros: null,
    room: { search: null, list: null },
    askAt: { search: 0, list: 0 },
    observers: { search, list },
    sendClock: makeSendClock(),
    closing: false,
    claimWake: makeWake(),
    bookWake: makeWake(),
  }
}

/** True while something of this lane is neither booked nor given up, or may yet come. */
export function hasUnbooked(lane: Lane): boolean {
  return (
    lane.claiming ||
    lane.inFlight.searches.size + lane.inFlight.steps.size > 0 ||
    lane.finished.searches.length + lane.finished.steps.length > 0 ||
    lane.booking.size > 0
  )
}

const OUTAGE_PAUSE_MS = 500

/**
 * Runs `work` until it gets through: a database that is away or restarting is waited for, because giving up would turn
 * paid answers into suspect ones. Any other error is thrown.
 */
export async function throughOutages<T>(lane: Lane, work: () => Promise<T>): Promise<T> {
  for (;;) {
    try {
      return await work()
    } catch (error) {
      if (!(error instanceof CommitUnknown) && !isConnectionError(error)) throw error
      lane.log('database away, waiting', { error: String(error) })
      await sleep(OUTAGE_PAUSE_MS)
    }
  }
}
