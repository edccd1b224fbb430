/** What the model is made of: runs, products, categories and calls as plain values. */
import type { ClaimedCategory, ClaimedItem } from '../../src/ledger/claim.ts'

export type Item = {
  number: number
  status: 'pending' | 'processing' | 'ended'
  outcome: string | null
  rung: number
  epoch: number
  attempt: number
  /** Sellers were found on some rung. */
  seen: boolean
  /** Waits for the run to go on beyond its sample. */
  held: boolean
}

export type Category = {
  key: string
  status: 'pending' | 'processing' | 'ended'
  failed: boolean
  /** The page of its list that is to be read next. */
  page: number
  epoch: number
  attempt: number
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
  /** Of its hold, what a person left counted; null when nobody settled it. */
  resolved: number | null
  /** Its answer came after that, and proved more. */
  overruled: boolean
}

export type Run = {
  id: string
  /** Which organisation. */
  org: number
  status: 'pending' | 'running' | 'paused' | 'completed' | 'failed' | 'cancelled'
  /** Why it is paused: by a person, at the end of its sample, or because of the month. */
  pause: 'operator' | 'sample' | 'month' | null
  /** Place in the line of those that wait to be started; null when nobody asked. */
  asked: number | null
  cap: number
  items: Item[]
  categories: Category[]
  calls: Call[]
  /** The run it retries, and the first one of its family. */
  retryOf: string | null
  root: string
  /** So many products are searched first; null = no sample. And whether that is through. */
  sample: number | null
  sampled: boolean
  /** Number of its last event when last looked at. */
  events: number
}

/** `places`: how many runs each organisation may have running. `caps`: what each may spend in a month; null = no such cap. */
export type Model = { runs: Run[]; asks: number; dead: Set<number>; places: number[]; caps: (number | null)[] }

export function newItem(number: number, rung = 1): Item {
  return { number, status: 'pending', outcome: null, rung, epoch: 0, attempt: 0, seen: false, held: false }
}

export function newCategory(key: string, page = 1): Category {
  return { key, status: 'pending', failed: false, page, epoch: 0, attempt: 0 }
}

type RunInput = Pick<Run, 'id' | 'org' | 'cap' | 'items' | 'categories'> &
  Partial<Pick<Run, 'sample' | 'retryOf' | 'root'>>

/** A pending run. Of one with a sample, all products but so many wait, those that do not drawn evenly. */
export function newRun(input: RunInput): Run {
  const { sample = null, retryOf = null, root = input.id, items } = input
  if (sample !== null && sample < items.length) {
    const upTo = (place: number): number => Math.floor((place * sample) / items.length)
    items.forEach((item, place) => {
      item.held = upTo(place + 1) === upTo(place)
    })
  }
  const { id, org, cap, categories } = input
  const begin = { status: 'pending', pause: null, asked: null, sampled: false, events: 0 } as const
  return { ...begin, calls: [], id, org, cap, items, categories, sample, retryOf, root }
}
