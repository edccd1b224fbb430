/**
 * Sellers a lane has recorded in its run a moment ago. The same sellers turn up again and again within a run, and asking
 * the database for them each time is work a booking can do without. Forgotten after 30 to 60 s, so that a seller deleted
 * meanwhile is soon noticed.
 */
import type { RecordedSeller } from './record.ts'

const GENERATION_MS = 30_000

export type KnownSellers = Readonly<{
  /** The id of the seller with this key, or undefined when it is not known. */
  find: (key: string) => string | undefined
  /** To be called after the commit that recorded them, with the version of the lists they were held against. */
  remember: (sellers: readonly RecordedSeller[], version?: number) => void
  /** Forgets everybody when the lists of those not to collect have another version now. */
  heed: (version: number) => void
}>

/** A memory with nothing in it. `now` in ms, for tests. */
export function makeKnownSellers(now: () => number = () => performance.now()): KnownSellers {
  let young = new Map<string, string>()
  let old = new Map<string, string>()
  let bornAt = now()
  let heeded = 0

  function age(): void {
    const elapsed = now() - bornAt
    if (elapsed < GENERATION_MS) return
    old = elapsed < 2 * GENERATION_MS ? young : new Map()
    young = new Map()
    bornAt = now()
  }

  return {
    heed: (version) => {
      if (version === heeded) return
      heeded = version
      young = new Map()
      old = new Map()
    },
    find: (key) => young.get(key) ?? old.get(key),
    remember: (sellers, version = heeded) => {
      // Held against lists that have changed since: another booking has forgotten everybody, and so must this one.
      if (version !== heeded) return
      age()
      for (const seller of sellers) young.set(seller.key, seller.id)
    },
  }
}
