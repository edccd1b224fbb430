/**
 * What the engine promises, as plainly as it can be said: runs, products, categories and calls as values, and what each act
 * does to them. Shares nothing with the engine but words; the model test compares the two after every step. What is promised
 * about money stands in model-of-money.ts, about retries in model-of-retries.ts.
 */
import type { ClaimedCategory, ClaimedItem } from '../../src/ledger/claim.ts'
import type { ListAnswer, SearchAnswer } from '../../src/providers/types.ts'
import { CHARGED, FREE, failed, found, LIST_PRICE, listed, PRICE, product, UNKNOWN } from './arena.ts'
import { expectedMoney, fitting, leftOf, leftOfMonth, overrule } from './model-of-money.ts'
import { type Call, type Category, type Item, type Model, newItem, type Run } from './model-types.ts'

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
export const running = (model: Model, org: number): number =>
  model.runs.filter((run) => run.org === org && run.status === 'running').length
export const hasPlace = (model: Model, org: number): boolean => running(model, org) < (model.places[org] ?? 0)
export const isOver = ({ status }: Run): boolean => ['completed', 'failed', 'cancelled'].includes(status)
export const isDone = (run: Run): boolean =>
  [...run.items, ...run.categories].every(({ status }) => status === 'ended') && countCalls(run, 'held') === 0

/** The cheapest call that could be made for these next; nothing to call costs nothing. */
export function nextPrice({ items, categories }: Pick<Run, 'items' | 'categories'>): number {
  const prices = [
    ...items.filter(({ status, held }) => status === 'pending' && !held).map(() => PRICE),
    ...categories.filter(({ status }) => status === 'pending').map(() => LIST_PRICE),
  ]
  return prices.length === 0 ? 0 : Math.min(...prices)
}

/** With which code a start is refused. When all places are taken it is not: the run waits in line. */
export function startRefusal(model: Model, run: Run): string | null {
  if (run.status !== 'pending') return 'run.wrong_state'
  return leftOfMonth(model, run.org) < nextPrice(run) ? 'month.cap_reached' : null
}

/** With which code it is refused that the run goes on, when one call costs so much. */
export function resumeRefusal(model: Model, run: Run, price: number): string | null {
  if (run.status === 'running') return null
  if (run.status !== 'paused') return 'run.wrong_state'
  if (leftOf(run) < price) return 'run.cap_reached'
  if (leftOfMonth(model, run.org) < price) return 'month.cap_reached'
  return hasPlace(model, run.org) ? null : 'run.wrong_state'
}

/** The run goes on, beyond its sample when that is through. */
export function resume(run: Run): void {
  Object.assign(run, { status: 'running', pause: null })
  if (run.sampled) for (const item of run.items) item.held = false
}

/** Runs go on that met the month cap, when it leaves a call again, as far as places are free. */
export function resumeDue(model: Model): void {
  for (const run of model.runs) {
    const due = run.pause === 'month' && leftOfMonth(model, run.org) >= PRICE
    if (due && hasPlace(model, run.org)) resume(run)
  }
}

/** Nothing of the run's sample is left to do. */
export function isSampleThrough(run: Run): boolean {
  const open = run.items.some(({ status, held }) => status === 'processing' || (status === 'pending' && !held))
  return run.sample !== null && !run.sampled && !open && run.categories.every(({ status }) => status === 'ended')
}

/** Products a claim of so many slots takes, in order. */
export function claimable(model: Model, run: Run, slots: number): number[] {
  if (run.status !== 'running') return []
  return run.items
    .map((item, index) => ({ item, index }))
    .filter(({ item }) => item.status === 'pending' && !item.held)
    .sort((a, b) => a.item.rung - b.item.rung || a.index - b.index)
    .slice(0, Math.min(slots, fitting(model, run, PRICE)))
    .map(({ index }) => index)
}

/** Categories a claim of so many slots takes, in order. */
export function claimableSteps(model: Model, run: Run, slots: number): number[] {
  if (run.status !== 'running') return []
  return run.categories
    .map(({ status }, index) => (status === 'pending' ? index : -1))
    .filter((index) => index >= 0)
    .slice(0, Math.min(slots, fitting(model, run, LIST_PRICE)))
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
    resolved: null,
    overruled: false,
  })
}

/** What the call was made for, while it still waits for exactly this call. */
function target(run: Run, call: Call): Item | Category | null {
  const one = call.search ? run.items[call.search.item] : run.categories[call.step?.category ?? -1]
  return one && one.status !== 'ended' && one.epoch === call.epoch ? one : null
}

/** Books the money of an answer. False when a person had settled the call: then the rest of the answer is left out. */
function bookMoney(call: Call, rule: Money): boolean {
  call.over = true
  overrule(call, rule)
  if (call.resolved !== null) return false
  Object.assign(call, { state: rule.money, charge: rule.money === 'settled' ? rule.charge : null })
  return true
}

/** The answer to a search is booked. */
export function answer(run: Run, call: Call, kind: Kind, mayClimb: boolean): void {
  const rule = KINDS[kind]
  const { claimed } = call.search as NonNullable<Call['search']>
  if (!bookMoney(call, rule)) return
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

const isAnswered = ({ outcome, seen }: Item): boolean => outcome === 'found' || outcome === 'none' || seen

/** The run and all that go back to the same first run, in order. */
export const family = (model: Model, run: Run): Run[] => model.runs.filter(({ root }) => root === run.root)

/** True when a run of the family, this one or another, has the answer to a product, or a part of it. */
export function isAnsweredIn(runs: readonly Run[], number: number): boolean {
  return runs.some(({ items }) => items.some((item) => item.number === number && isAnswered(item)))
}

/** The page a claimed step asks for. */
export function pageOf(call: Call): number {
  const step = call.step?.claimed.step
  return step?.kind === 'page' ? step.page : 0
}

/** The answer to a step through a list is booked. */
export function answerStep(model: Model, run: Run, call: Call, kind: ListKind): void {
  const rule = LIST_KINDS[kind]
  if (!bookMoney(call, rule)) return
  call.answered = rule.names !== undefined
  const category = target(run, call) as Category | null
  if (!category) return
  if (rule.names) {
    const [count, more] = rule.names
    const others = family(model, run).filter((member) => member !== run)
    for (const number of numbersOf(pageOf(call), count)) {
      if (run.items.some((item) => item.number === number)) continue
      const item = newItem(number)
      // A retry does not search again what its family has found.
      if (isAnsweredIn(others, number)) Object.assign(item, { status: 'ended', outcome: 'skipped' })
      run.items.push(item)
    }
    const next = { status: 'pending', attempt: 0, page: pageOf(call) + 1 }
    Object.assign(category, more ? next : { status: 'ended' })
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
    ...expectedMoney(run.calls),
    retryOfRunId: run.retryOf,
    sampleProducts: run.sample,
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
    skippedItems: items('skipped'),
  }
}
