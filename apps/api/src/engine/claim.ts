/** The claiming loop of a lane: takes what can be sent now, holds the money for it, and sends it. */
import { setTimeout as sleep } from 'node:timers/promises'
import { AppError } from '../base/errors.ts'
import { newId } from '../base/ids.ts'
import { momentNow } from '../base/moment.ts'
import { timesMicros } from '../base/money.ts'
import { type Tx, withTxRetry } from '../db/client.ts'
import { takeSlot } from '../governor/store.ts'
import { releaseUnsent } from '../ledger/book.ts'
import {
  type ClaimedCategory,
  type ClaimedItem,
  claimCategories,
  claimItems,
  type Slice,
  waitingCategories,
} from '../ledger/claim.ts'
import { buildFilters } from '../matching/filters.ts'
import type { CallContext, Failure, ListAnswer, SearchAnswer, SearchRequest } from '../providers/types.ts'
import { hasUnbooked, type Lane, type LaneAccount, type Side, throughOutages } from './lane.ts'
import { LEASE_MARGIN_MS, maySendUntil, tooLate } from './may-send.ts'
import { pauseIfBarred } from './pause-if-barred.ts'
import { isSampling } from './sample.ts'
import { settleIdleRun } from './settle-idle-run.ts'

/** One claim takes at most this many products, so that its transaction stays short. */
const SLICE_MOST = 500
/** Rows asked of a search. One call costs the same whatever the limit; 200 is eBay's most. */
const SEARCH_LIMIT = 200
const LIST_TIMEOUT_MS = 180_000
/** How long an idle lane waits before it looks again: other workers and operators change the run meanwhile. */
const IDLE_MS = 200
/** A call that would leave later than this after its moment takes a new one, ms: late calls bunch with those behind them. */
const LATE_MOST_MS = 8
/** So often at most: on a machine this busy a call goes out late rather than never. */
const NEW_SLOTS_MOST = 5

/** Claims and sends until the lane closes. */
export async function claimingLoop(lane: Lane): Promise<void> {
  while (!lane.closing) {
    if ((await takeWork(lane)) > 0) continue
    await pauseIfBarred(lane)
    if (!lane.closing && !hasUnbooked(lane)) await settleIdleRun(lane)
    if (!lane.closing) await lane.claimWake.wait(idleMs(lane))
  }
  lane.bookWake.notify()
}

/** Until the governor is worth asking again, when it said so; else until others may have changed the run. */
function idleMs(lane: Lane): number {
  const now = performance.now()
  const waits = [lane.askAt.search - now, lane.askAt.list - now].filter((ms) => ms > 0)
  return Math.max(1, Math.min(IDLE_MS, ...waits))
}

/** Claims and sends what can be sent now. Returns how many calls that were. */
async function takeWork(lane: Lane): Promise<number> {
  // Whose heart does not get through is taken for dead, and what it claims would be taken from it before it is sent.
  if (lane.heart && !lane.heart.heldSince(momentNow())) return 0
  lane.claiming = true
  try {
    return (await takeListSteps(lane)) + (await takeSearches(lane))
  } finally {
    lane.claiming = false
  }
}

async function takeSearches(lane: Lane): Promise<number> {
  const { search, inFlight, finished, booking } = lane
  // Finished calls that wait for their booking hold slots too, or a slow database would be buried in answers.
  const unbooked = finished.searches.length + booking.size
  const free = Math.min(search.maxInFlight - inFlight.searches.size, 2 * search.maxInFlight - unbooked, SLICE_MOST)
  if (free <= 0 || performance.now() < lane.askAt.search || lane.run.pendingItems === 0) return 0
  const claim = {
    runId: lane.run.id,
    workerId: lane.workerId,
    accountId: search.id,
    priceMicros: lane.searchPrice,
    leaseMs: search.adapter.timeoutMs + LEASE_MARGIN_MS,
  }
  const taken = await claimSafely(lane, 'search', free, (tx, callIds) => claimItems(tx, { ...claim, callIds }))
  for (const item of taken.claimed) void sendSearch(lane, item, taken.maySend)
  return taken.claimed.length
}

/** Resolves when the call's turn to be sent has come, or it may not be sent any more. */
async function waitForSlot(
  lane: Lane,
  account: LaneAccount<unknown>,
  sendAtMs: number | null,
  maySend: MaySend,
): Promise<void> {
  let atMs = sendAtMs
  for (let slots = 0; atMs !== null && maySend(); slots++) {
    const dueAt = lane.sendClock.toLocal(atMs)
    const waitMs = dueAt - performance.now()
    if (waitMs > 0) await sleep(waitMs)
    if (performance.now() - dueAt <= LATE_MOST_MS || slots === NEW_SLOTS_MOST) return
    atMs = await throughOutages(lane, () => takeSlot(lane.db, account.id))
  }
}

async function sendSearch(lane: Lane, item: ClaimedItem, maySend: MaySend): Promise<void> {
  lane.inFlight.searches.add(item.callId)
  if (item.sendAtMs !== null) await lane.search.adapter.ready?.(lane.search.adapter.timeoutMs)
  await waitForSlot(lane, lane.search, item.sendAtMs, maySend)
  const sentAt = performance.now()
  const request = maySend() ? requestFor(lane, item) : ({ ok: false, failure: tooLate() } as const)
  const context = contextOf(lane, item.callId, lane.search.adapter.timeoutMs, maySend)
  const answer: SearchAnswer = request.ok
    ? await lane.search.adapter.search(request.value, context).catch(adapterBroke)
    : request.failure
  const durationMs = performance.now() - sentAt
  if (request.ok) lane.observers.search.note(answer, durationMs)
  lane.inFlight.searches.delete(item.callId)
  lane.finished.searches.push({
    callId: item.callId,
    itemId: item.itemId,
    epoch: item.epoch,
    attempt: item.attempt,
    rung: item.rung,
    rungs: item.data.ladder.length,
    answer,
    durationMs,
  })
  lane.bookWake.notify()
  lane.claimWake.notify()
}

type Prepared = Readonly<{ ok: true; value: SearchRequest }> | Readonly<{ ok: false; failure: Failure }>

/** The request of an item, or what is said of an item whose data nobody can make a request of: nothing was sent. */
function requestFor(lane: Lane, { data, rung }: ClaimedItem): Prepared {
  const charge = { kind: 'not_charged' } as const
  const query = data.ladder[rung - 1]
  if (!query) {
    const message = `The product has no query number ${rung}.`
    return { ok: false, failure: { ok: false, kind: 'rejected', charge, code: 'item.no_query', message } }
  }
  try {
    return { ok: true, value: { query, filters: buildFilters(data, lane.filters), limit: SEARCH_LIMIT } }
  } catch (error) {
    const message = error instanceof Error ? error.message : String(error)
    return { ok: false, failure: { ok: false, kind: 'rejected', charge, code: 'item.unusable', message } }
  }
}

async function takeListSteps(lane: Lane): Promise<number> {
  const { list } = lane
  if (!list || lane.run.openCategories === 0 || performance.now() < lane.askAt.list) return 0
  const free = list.maxInFlight - lane.inFlight.steps.size
  if (free <= 0) return 0
  const taken = await claimSafely(lane, 'list', free, (tx, callIds) => claimListSteps(tx, lane, list, callIds))
  for (const category of taken.claimed) void sendListStep(lane, list, category, taken.maySend)
  return taken.claimed.length
}

/** Categories looked at for a claim: beyond the first ones, which may all be too dear for what is left. */
const WAITING_MOST = 1_000

async function claimListSteps(
  tx: Tx,
  lane: Lane,
  list: NonNullable<Lane['list']>,
  callIds: readonly string[],
): Promise<Slice<ClaimedCategory> | null> {
  const waiting = await waitingCategories(tx, lane.run.id, WAITING_MOST)
  const priced = waiting.flatMap(({ id, step }) => {
    const priceMicros = list.adapter.worstCase(step)
    return priceMicros === null ? [] : [{ id, priceMicros }]
  })
  if (priced.length === 0) {
    if (waiting.length === 0) return null
    throw new AppError('provider.no_price', `The account ${list.name} has no price for reading a list.`, {
      hint: `Set one with gleaner accounts price ${list.name}.`,
    })
  }
  const claim = {
    runId: lane.run.id,
    workerId: lane.workerId,
    accountId: list.id,
    callIds,
    leaseMs: LIST_TIMEOUT_MS + LEASE_MARGIN_MS,
  }
  return claimCategories(tx, claim, priced)
}

async function sendListStep(
  lane: Lane,
  list: NonNullable<Lane['list']>,
  claimed: ClaimedCategory,
  maySend: MaySend,
): Promise<void> {
  lane.inFlight.steps.add(claimed.callId)
  await waitForSlot(lane, list, claimed.sendAtMs, maySend)
  const sentAt = performance.now()
  const context = contextOf(lane, claimed.callId, LIST_TIMEOUT_MS, maySend)
  const answer: ListAnswer = maySend()
    ? await list.adapter.fetch(claimed.category, claimed.step, context).catch(adapterBroke)
    : tooLate()
  const durationMs = performance.now() - sentAt
  lane.observers.list.note(answer, durationMs)
  lane.inFlight.steps.delete(claimed.callId)
  lane.finished.steps.push({
    callId: claimed.callId,
    categoryId: claimed.categoryId,
    category: claimed.category,
    epoch: claimed.epoch,
    attempt: claimed.attempt,
    answer,
    durationMs,
  })
  lane.bookWake.notify()
  lane.claimWake.notify()
}

type MaySend = () => boolean

function contextOf({ giveUp }: Lane, callId: string, timeoutMs: number, maySend: MaySend): CallContext {
  return { callId, timeoutMs, maySend, ...(giveUp ? { signal: giveUp } : {}) }
}

/** Adapters never throw; if one does, it is a bug of ours, and nobody knows whether the request was sent. */
function adapterBroke(error: unknown) {
  const message = error instanceof Error ? error.message : String(error)
  return { ok: false, kind: 'lost', charge: { kind: 'unknown' }, code: 'adapter.bug', message } as const
}

/**
 * Claims up to `slots` calls, whatever happens to the connection. When the answer to the COMMIT is lost, the calls may be
 * held without being known here: they were never sent, so they are released before the next attempt.
 */
async function claimSafely<Claimed>(
  lane: Lane,
  side: Side,
  slots: number,
  claim: (tx: Tx, callIds: readonly string[]) => Promise<Slice<Claimed> | null>,
): Promise<Readonly<{ claimed: readonly Claimed[]; maySend: MaySend }>> {
  let proposed: string[] = []
  let askedAt = momentNow()
  const slice = await throughOutages(lane, async () => {
    const unsent = proposed
    if (unsent.length > 0) await withTxRetry(lane.db, (tx) => releaseUnsent(tx, unsent))
    proposed = Array.from({ length: slots }, newId)
    // Before the transaction begins: the lease counts from there, and must not end before we think it does.
    askedAt = momentNow()
    return withTxRetry(lane.db, async (tx) => {
      const beforeMs = performance.now()
      const taken = await claim(tx, proposed)
      if (taken) lane.sendClock.learn(beforeMs, performance.now(), taken.room.nowMs)
      return taken
    })
  })
  lane.room[side] = slice?.room ?? null
  if (slice?.monthLeftMicros !== undefined) lane.monthLeftMicros = slice.monthLeftMicros
  const maySend = maySendUntil(askedAt, lane.heart)
  if (!slice) return { claimed: [], maySend }
  // A full window opens with the next booking, which wakes the lane; everything else takes its time.
  const waitMs = slice.room.reason === 'window' ? 0 : slice.room.waitMs
  lane.askAt[side] = performance.now() + waitMs
  return { claimed: slice.claimed, maySend }
}

/**
 * True when the run's budget, its cap and what the month left at the last claim, lets a product that found too little ask
 * once more, without taking it from others.
 */
export function mayClimb(lane: Pick<Lane, 'run' | 'searchPrice' | 'monthLeftMicros'>): boolean {
  const { run, searchPrice, monthLeftMicros } = lane
  const ofRun = run.capMicros - run.spentMicros - run.heldMicros - run.suspectMicros
  const left = monthLeftMicros === null ? ofRun : Math.min(ofRun, monthLeftMicros)
  // The cap of a sample covers every query of its products; the others wait for a cap of their own.
  if (isSampling(run)) return left >= searchPrice
  return left >= timesMicros(searchPrice, run.pendingItems + 1)
}
