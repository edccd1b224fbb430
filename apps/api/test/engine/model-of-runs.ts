/**
 * What the engine promises, as plainly as it can be said: runs, products and calls as values, and what each act does to
 * them. Shares nothing with the engine but words; the model test compares the two after every step.
 */
import type { ClaimedItem } from '../../src/ledger/claim.ts'
import type { SearchAnswer } from '../../src/providers/types.ts'
import { CHARGED, FREE, failed, found, PRICE, UNKNOWN } from './arena.ts'

/** Places of the organisation. */
export const PLACES = 2

export type Item = {
  status: 'pending' | 'processing' | 'ended'
  outcome: string | null
  rung: number
  epoch: number
  attempt: number
  /** Sellers were found on some rung. */
  seen: boolean
}

export function newItem(): Item {
  return { status: 'pending', outcome: null, rung: 1, epoch: 0, attempt: 0, seen: false }
}

export type Call = {
  claimed: ClaimedItem
  item: number
  worker: number
  state: 'held' | 'settled' | 'released' | 'suspect'
  /** An answer came, or it will never come. */
  over: boolean
  /** What came was an answer, whether it took effect or not. */
  answered: boolean
}

export type Run = {
  id: string
  status: 'pending' | 'running' | 'paused' | 'completed' | 'cancelled'
  /** Place in the line of those that wait to be started; null when nobody asked. */
  asked: number | null
  cap: number
  spent: number
  breach: number
  rungs: number
  items: Item[]
  calls: Call[]
}

export type Model = { runs: Run[]; asks: number; dead: Set<number> }

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

type Rule = Readonly<{
  answer: SearchAnswer
  money: 'settled' | 'released' | 'suspect'
  charge: number
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

export const countCalls = (run: Run, state: Call['state']): number =>
  run.calls.filter((call) => call.state === state).length
export const used = (run: Run): number => run.spent + (countCalls(run, 'held') + countCalls(run, 'suspect')) * PRICE
export const running = (model: Model): number => model.runs.filter(({ status }) => status === 'running').length
export const isOver = (run: Run): boolean => run.status === 'completed' || run.status === 'cancelled'

/** Products a claim of so many slots takes, in order. */
export function claimable(run: Run, slots: number): number[] {
  if (run.status !== 'running') return []
  const fits = Math.max(0, Math.floor((run.cap - used(run)) / PRICE))
  return run.items
    .map((item, index) => ({ item, index }))
    .filter(({ item }) => item.status === 'pending')
    .sort((a, b) => a.item.rung - b.item.rung || a.index - b.index)
    .slice(0, Math.min(slots, fits))
    .map(({ index }) => index)
}

/** A claim took the product. */
export function take(run: Run, item: number, worker: number, claimed: ClaimedItem): void {
  const one = run.items[item] as Item
  Object.assign(one, { status: 'processing', epoch: one.epoch + 1, attempt: one.attempt + 1 })
  run.calls.push({ claimed, item, worker, state: 'held', over: false, answered: false })
}

/** The answer to a call is booked. */
export function answer(run: Run, call: Call, kind: Kind, mayClimb: boolean): void {
  const rule = KINDS[kind]
  call.over = true
  call.answered = rule.listings !== undefined
  call.state = rule.money
  run.spent += rule.charge
  run.breach += Math.max(0, rule.charge - PRICE)
  const item = run.items[call.item] as Item
  if (item.status === 'ended' || item.epoch !== call.claimed.epoch) return
  const climbs = mayClimb && call.claimed.rung < run.rungs
  const next = (): void => void Object.assign(item, { status: 'pending', rung: call.claimed.rung + 1, attempt: 0 })
  if (rule.listings !== undefined) {
    if (rule.listings > 0) item.seen = true
    if (rule.listings < 3 && climbs) next()
    else endItem(item, rule.listings > 0 ? 'found' : 'none')
  } else if (!rule.fails || call.claimed.attempt < rule.fails[0]) {
    const attempt = call.claimed.attempt - (rule.free ? 1 : 0)
    Object.assign(item, { status: 'pending', rung: call.claimed.rung, attempt })
  } else if (rule.fails[1] === 'rejected' && climbs) next()
  else endItem(item, rule.fails[1])
}

function endItem(item: Item, outcome: string): void {
  Object.assign(item, { status: 'ended', outcome: item.seen ? 'found' : outcome })
}

/** The worker knows that it never sent the call. */
export function unsend(run: Run, call: Call): void {
  const item = run.items[call.item] as Item
  if (item.status === 'processing' && item.epoch === call.claimed.epoch) {
    Object.assign(item, { status: 'pending', attempt: item.attempt - 1 })
  }
  Object.assign(call, { state: 'released', over: true })
}

/** Whatever dead workers hold is suspect, and its product waits again. */
export function rescue(model: Model): void {
  for (const run of model.runs) {
    for (const call of run.calls) {
      if (call.state !== 'held' || !model.dead.has(call.worker)) continue
      call.state = 'suspect'
      const item = run.items[call.item] as Item
      if (item.status === 'processing' && item.epoch === call.claimed.epoch) item.status = 'pending'
    }
  }
}

/** Products that were answered and only hoped for another rung are done. */
export function finishClimbers(run: Run): void {
  for (const item of run.items) {
    const answered = run.calls.some((call) => call.answered && run.items[call.item] === item)
    if (item.status === 'pending' && item.rung > 1 && answered) endItem(item, 'none')
  }
}

/** What a snapshot of the run has to say. */
export function expected(run: Run): Record<string, unknown> {
  const items = (outcome: string): number => run.items.filter((item) => item.outcome === outcome).length
  const status = (wanted: Item['status']): number => run.items.filter((item) => item.status === wanted).length
  return {
    status: run.status,
    capMicros: run.cap,
    spentMicros: run.spent,
    heldMicros: countCalls(run, 'held') * PRICE,
    suspectMicros: countCalls(run, 'suspect') * PRICE,
    breachMicros: run.breach,
    heldCalls: countCalls(run, 'held'),
    settledCalls: countCalls(run, 'settled'),
    releasedCalls: countCalls(run, 'released'),
    suspectCalls: countCalls(run, 'suspect'),
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
