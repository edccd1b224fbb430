/** The last events of one organisation, kept once for all who watch it. */
import type { FeedEntry } from '../../events/feed.ts'

export type RingEntry = Readonly<{
  position: number
  runId: string
  /** Of the event in its run; 0 when it went with its run. */
  seq: number
  /** The event as JSON; null when it went with its run. */
  json: string | null
}>

export type Ring = Readonly<{
  /** Everything after this position, up to `to`, is here. */
  from: () => number
  to: () => number
  /** Adds what follows `to`; drops the oldest beyond what may be kept. */
  push: (entries: readonly FeedEntry[]) => void
  /** What follows `position`, at most `most`; null when that is not here any more. */
  after: (position: number, most: number) => readonly RingEntry[] | null
}>

/** About what a second brings while the engine is at its fastest, a hundred times over. */
const ENTRIES_MOST = 4_000
const BYTES_MOST = 2 * 1024 * 1024

/** A ring that begins after `position`. */
export function makeRing(position: number): Ring {
  let entries: RingEntry[] = []
  let from = position
  let to = position
  let bytes = 0
  const sizeOf = ({ json }: RingEntry): number => (json?.length ?? 0) + 100
  return {
    from: () => from,
    to: () => to,
    push: (fresh) => {
      for (const { position: at, runId, event } of fresh) {
        if (at <= to) continue
        // Cannot be, unless somebody removed positions: whoever stands before this one reads it from the database.
        if (at !== to + 1) {
          entries = []
          bytes = 0
          from = at - 1
        }
        const entry = { position: at, runId, seq: event?.seq ?? 0, json: event && JSON.stringify(event) }
        entries.push(entry)
        bytes += sizeOf(entry)
        to = at
      }
      let dropped = 0
      for (; entries.length - dropped > ENTRIES_MOST || bytes > BYTES_MOST; dropped++) {
        const oldest = entries[dropped]
        if (!oldest) break
        bytes -= sizeOf(oldest)
        from = oldest.position
      }
      if (dropped > 0) entries = entries.slice(dropped)
    },
    after: (wanted, most) => {
      if (wanted < from) return null
      // Positions have no gap, so the place of one follows from it.
      const start = Math.max(0, wanted - from)
      return entries.slice(start, start + most)
    },
  }
}
