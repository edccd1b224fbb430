/**
 * What the engine promises, as plainly as it can be said: runs, products, categories and calls as values, and what each act
 * does to them. Shares nothing with the engine but words; the model test compares the two after every step.
 */
import type { ClaimedCategory, ClaimedItem } from '../../src/ledger/claim.ts'
import type { ListAnswer, SearchAnswer } from '../../src/providers/types.ts'
import { CHARGED, FREE, failed, found, LIST_PRICE, listed, PRICE, product, UNKNOWN } from './arena.ts'

export type Item = {
  number: number
  status: 'pending' | 'processing' | 'ended'
  outcome: string | null
  rung: number
  epoch: number
  attempt: number
  /** Sellers were found on some rung. */
  seen: boolean
}

export type Category = {
  status: 'pending' | 'processing' | 'ended'
  failed: boolean
  epoch: number
  attempt: number
}

export function newItem(number: number): Item {
  return { number, status: 'pending', outcome: null, rung: 1, epoch: 0, attempt: 0, seen: false }
}

export type Call = {
  id: string
  /** What it was made for: a product, or a category's list. */
  search: Readonly<{ claimed: ClaimedItem; item: number }> | null
  step: Readonly<{ claimed: ClaimedCategory; category: number }> | null
  epoch: number
  attempt: number
  worker: number
  hold: number
  charge: number | null
  state: 'held' | 'settled' | 'released' | 'suspect'
  /** An answer came, or it will never come. */
  over: boolean
  /** What came was an answer, whether it took effect or not. */
  answered: boolean
  /** Its lease has run out. */
  expired: boolean
}

export type Run = {
  id: string
  /** Which organisation. */
  org: number
  status: 'pending' | 'running' | 'paused' | 'completed' | 'failed' | 'cancelled'
  /** Place in the line of those that wait to be started; null when nobody asked. */
  asked: number | null
  cap: number
  breach: number
  items: Item[]
  categories: Category[]
  calls: Call[]
  /** Number of its last event when last looked at. */
  events: number
}

/** `places`: how many runs each organisation may have running. */
export type Model = { runs: Run[]; asks: number; dead: Set<number>; places: number[] }

export type Kind =
  | 'three'
  | 'one'
  | 'none'
  | 'unsure'
  | 'blocked'
  | 'drift'
  | 'rejected'
  | 'throttled'
  | 'quota'
  | 'fault'
  | 'lost'
  | 'dear'

type Money = Readonly<{ money: 'settled' | 'released' | 'suspect'; charge: number }>
type Rule = Money &
  Readonly<{
    answer: SearchAnswer
    /** Listings, for an answer. */
    listings?: number
    /** Attempts until the product fails, and as what. */
    fails?: readonly [attempts: number, as: string]
    /** An attempt that does not count. */
    free?: true
  }>

const SELLERS = ['Anna', 'anna', 'BERT', 'carl.c', 'dora_d', 'emil']

export const KINDS: Readonly<Record<Kind, Rule>> = {
  three: { answer: found(SELLERS.slice(1, 4)), money: 'settled', charge: PRICE, listings: 3 },
  one: { answer: found(SELLERS.slice(4, 5)), money: 'settled', charge: PRICE, listings: 1 },
  none: { answer: found([]), money: 'settled', charge: PRICE, listings: 0 },
  unsure: { answer: { ...found(SELLERS), charge: UNKNOWN }, money: 'suspect', charge: 0, listings: 6 },
  blocked: { answer: failed('blocked', CHARGED), money: 'settled', charge: PRICE, fails: [3, 'blocked'] },
  drift: { answer: failed('drift', CHARGED), money: 'settled', charge: PRICE, fails: [1, 'drift'] },
  rejected: { answer: failed('rejected', FREE), money: 'released', charge: 0, fails: [1, 'rejected'] },
  throttled: { answer: failed('throttled', FREE), money: 'released', charge: 0, free: true },
  quota: { answer: failed('quota', FREE), money: 'released', charge: 0, free: true },
  fault: { answer: failed('fault', FREE), money: 'released', charge: 0, fails: [4, 'blocked'] },
  lost: { answer: failed('lost', UNKNOWN), money: 'suspect', charge: 0, fails: [3, 'blocked'] },
  dear: { answer: found(SELLERS.slice(0, 5), 3 * PRICE), money: 'settled', charge: 3 * PRICE, listings: 5 },
}

export type ListKind = 'page' | 'last' | 'unsure' | 'blocked' | 'drift' | 'throttled' | 'fault' | 'lost'

type ListRule = Money &
  Readonly<{
    /** The answer to this page of a list. */
    answer: (page: number) => ListAnswer
    /** How many products it names, and whether another page follows. */
    names?: readonly [products: number, more: boolean]
    fails?: number
    free?: true
  }>

/** Lists overlap: page 2 of any begins with the products page 1 of any ended with. */
const FIRST_OF_PAGE = 2
export const numbersOf = (page: number, count: number): number[] =>
  Array.from({ length: count }, (_, more) => 100 + (page - 1) * FIRST_OF_PAGE + more)
const page = (at: number, count: number, more: boolean) =>
  listed(
    numbersOf(at, count).map((number) => product(number)),
    more ? { kind: 'page', page: at + 1 } : null,
  )

export const LIST_KINDS: Readonly<Record<ListKind, ListRule>> = {
  page: { answer: (at) => page(at, 3, true), money: 'settled', charge: LIST_PRICE, names: [3, true] },
  last: { answer: (at) => page(at, 2, false), money: 'settled', charge: LIST_PRICE, names: [2, false] },
  unsure: {
    answer: (at) => ({ ...page(at, 3, false), charge: UNKNOWN }),
    money: 'suspect',
    charge: 0,
    names: [3, false],
  },
  blocked: {
    answer: () => failed('blocked', { kind: 'charged', micros: LIST_PRICE }),
    money: 'settled',
    charge: LIST_PRICE,
    fails: 3,
  },
  drift: {
    answer: () => failed('drift', { kind: 'charged', micros: LIST_PRICE }),
    money: 'settled',
    charge: LIST_PRICE,
    fails: 1,
  },
  throttled: { answer: () => failed('throttled', FREE), money: 'released', charge: 0, free: true },
  fault: { answer: () => failed('fault', FREE), money: 'released', charge: 0, fails: 4 },
  lost: { answer: () => failed('lost', UNKNOWN), money: 'suspect', charge: 0, fails: 3 },
}

export const countCalls = (run: Run, state: Call['state']): number =>
  run.calls.filter((call) => call.state === state).length
const held = (run: Run, state: Call['state']): number =>
  run.calls.reduce((sum, call) => sum + (call.state === state ? call.hold : 0), 0)
export const spent = (run: Run): number => run.calls.reduce((sum, { charge }) => sum + (charge ?? 0), 0)
export const used = (run: Run): number => spent(run) + held(run, 'held') + held(run, 'suspect')
export const running = (model: Model, org: number): number =>
  model.runs.filter((run) => run.org === org && run.status === 'running').length
export const hasPlace = (model: Model, org: number): boolean => running(model, org) < (model.places[org] ?? 0)
export const isOver = ({ status }: Run): boolean => ['completed', 'failed', 'cancelled'].includes(status)
export const isDone = (run: Run): boolean =>
  [...run.items, ...run.categories].every(({ status }) => status === 'ended') && countCalls(run, 'held') === 0

const fitting = (run: Run, price: number): number => Math.max(0, Math.floor((run.cap - used(run)) / price))

/** Products a claim of so many slots takes, in order. */
export function claimable(run: Run, slots: number): number[] {
  if (run.status !== 'running') return []
  return run.items
    .map((item, index) => ({ item, index }))
    .filter(({ item }) => item.status === 'pending')
    .sort((a, b) => a.item.rung - b.item.rung || a.index - b.index)
    .slice(0, Math.min(slots, fitting(run, PRICE)))
    .map(({ index }) => index)
}

/** Categories a claim of so many slots takes, in order. */
export function claimableSteps(run: Run, slots: number): number[] {
  if (run.status !== 'running') return []
  return run.categories
    .map(({ status }, index) => (status === 'pending' ? index : -1))
    .filter((index) => index >= 0)
    .slice(0, Math.min(slots, fitting(run, LIST_PRICE)))
}

type Taken = Readonly<{ claimed: ClaimedItem | ClaimedCategory; worker: number }> &
  (Readonly<{ item: number }> | Readonly<{ category: number }>)

/** A claim took the product, or the category. */
export function take(run: Run, taken: Taken): void {
  const { claimed, worker } = taken
  const one = 'item' in taken ? run.items[taken.item] : run.categories[taken.category]
  Object.assign(one as Item | Category, {
    status: 'processing',
    epoch: (one?.epoch ?? 0) + 1,
    attempt: (one?.attempt ?? 0) + 1,
  })
  run.calls.push({
    id: claimed.callId,
    search: 'item' in taken ? { claimed: claimed as ClaimedItem, item: taken.item } : null,
    step: 'category' in taken ? { claimed: claimed as ClaimedCategory, category: taken.category } : null,
    epoch: claimed.epoch,
    attempt: claimed.attempt,
    worker,
    hold: 'item' in taken ? PRICE : LIST_PRICE,
    charge: null,
    state: 'held',
    over: false,
    answered: false,
    expired: false,
  })
}

/** What the call was made for, while it still waits for exactly this call. */
function target(run: Run, call: Call): Item | Category | null {
  const one = call.search ? run.items[call.search.item] : run.categories[call.step?.category ?? -1]
  return one && one.status !== 'ended' && one.epoch === call.epoch ? one : null
}

function bookMoney(run: Run, call: Call, { money, charge }: Money): void {
  Object.assign(call, { over: true, state: money, charge: money === 'settled' ? charge : null })
  run.breach += Math.max(0, charge - call.hold)
}

/** The answer to a search is booked. */
export function answer(run: Run, call: Call, kind: Kind, mayClimb: boolean): void {
  const rule = KINDS[kind]
  const { claimed } = call.search as NonNullable<Call['search']>
  bookMoney(run, call, rule)
  call.answered = rule.listings !== undefined
  const item = target(run, call) as Item | null
  if (!item) return
  const climbs = mayClimb && claimed.rung < claimed.data.ladder.length
  const next = (): void => void Object.assign(item, { status: 'pending', rung: claimed.rung + 1, attempt: 0 })
  if (rule.listings !== undefined) {
    if (rule.listings > 0) item.seen = true
    if (rule.listings < 3 && climbs) next()
    else endItem(item, rule.listings > 0 ? 'found' : 'none')
  } else if (!rule.fails || call.attempt < rule.fails[0]) {
    Object.assign(item, { status: 'pending', rung: claimed.rung, attempt: call.attempt - (rule.free ? 1 : 0) })
  } else if (rule.fails[1] === 'rejected' && climbs) next()
  else endItem(item, rule.fails[1])
}

function endItem(item: Item, outcome: string): void {
  Object.assign(item, { status: 'ended', outcome: item.seen ? 'found' : outcome })
}

/** The page a claimed step asks for. */
export function pageOf(call: Call): number {
  const step = call.step?.claimed.step
  return step?.kind === 'page' ? step.page : 0
}

/** The answer to a step through a list is booked. */
export function answerStep(run: Run, call: Call, kind: ListKind): void {
  const rule = LIST_KINDS[kind]
  bookMoney(run, call, rule)
  call.answered = rule.names !== undefined
  const category = target(run, call) as Category | null
  if (!category) return
  if (rule.names) {
    const [count, more] = rule.names
    for (const number of numbersOf(pageOf(call), count)) {
      if (!run.items.some((item) => item.number === number)) run.items.push(newItem(number))
    }
    Object.assign(category, more ? { status: 'pending', attempt: 0 } : { status: 'ended' })
  } else if (rule.fails !== undefined && call.attempt >= rule.fails) {
    Object.assign(category, { status: 'ended', failed: true })
  } else Object.assign(category, { status: 'pending', attempt: call.attempt - (rule.free ? 1 : 0) })
}

/** The worker knows that it never sent the call. */
export function unsend(run: Run, call: Call): void {
  const one = target(run, call)
  if (one?.status === 'processing') Object.assign(one, { status: 'pending', attempt: one.attempt - 1 })
  Object.assign(call, { state: 'released', over: true })
}

/** Whatever dead workers hold, or hold for too long, is suspect, and its product waits again. */
export function rescue(model: Model): void {
  for (const run of model.runs) {
    for (const call of run.calls) {
      if (call.state !== 'held' || !(call.expired || model.dead.has(call.worker))) continue
      call.state = 'suspect'
      const one = target(run, call)
      if (one?.status === 'processing') one.status = 'pending'
    }
  }
}

/** Those that wait are started, oldest first, as far as their organisation has places. */
export function startWaiting(model: Model): void {
  const waiting = model.runs.filter(({ status, asked }) => status === 'pending' && asked !== null)
  waiting.sort((a, b) => (a.asked ?? 0) - (b.asked ?? 0))
  for (const run of waiting) if (hasPlace(model, run.org)) run.status = 'running'
}

/** Products that were answered and only hoped for another rung are done. */
export function finishClimbers(run: Run): void {
  run.items.forEach((item, index) => {
    const answered = run.calls.some((call) => call.answered && call.search?.item === index)
    if (item.status === 'pending' && item.rung > 1 && answered) endItem(item, 'none')
  })
}

/** What a snapshot of the run has to say. */
export function expected(run: Run): Record<string, unknown> {
  const items = (outcome: string): number => run.items.filter((item) => item.outcome === outcome).length
  const status = (wanted: Item['status']): number => run.items.filter((item) => item.status === wanted).length
  return {
    status: run.status,
    capMicros: run.cap,
    spentMicros: spent(run),
    heldMicros: held(run, 'held'),
    suspectMicros: held(run, 'suspect'),
    breachMicros: run.breach,
    heldCalls: countCalls(run, 'held'),
    settledCalls: countCalls(run, 'settled'),
    releasedCalls: countCalls(run, 'released'),
    suspectCalls: countCalls(run, 'suspect'),
    totalCategories: run.categories.length,
    openCategories: run.categories.filter((category) => category.status !== 'ended').length,
    failedCategories: run.categories.filter((category) => category.failed).length,
    totalItems: run.items.length,
    pendingItems: status('pending'),
    processingItems: status('processing'),
    processedItems: status('ended'),
    foundItems: items('found'),
    noneItems: items('none'),
    blockedItems: items('blocked'),
    driftItems: items('drift'),
    rejectedItems: items('rejected'),
  }
}
