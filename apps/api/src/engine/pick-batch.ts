/** Which finished searches one booking takes. */
import type { FinishedSearch } from './book.ts'
import type { Lane } from './lane.ts'
import { sellersOfSearch } from './sellers-of-search.ts'

/** One booking takes at most this many searches, so that its transaction stays short. */
const BATCH_MOST = 400

export type Batch = Readonly<{ searches: readonly FinishedSearch[]; newKeys: readonly string[] }>

/**
 * Takes searches from the lane's queue for one booking, oldest first. A search that names a seller whom a booking under
 * way is recording is left for the next one: the database would make the second booking wait for the first at that
 * seller, and both would be as slow as one. Adds the sellers it will record to `lane.recording`; `dropBatch` takes them
 * out again.
 */
export function pickBatch(lane: Lane): Batch {
  const taken: FinishedSearch[] = []
  const left: FinishedSearch[] = []
  const newKeys = new Set<string>()
  for (const search of lane.finished.searches) {
    const unknown = taken.length < BATCH_MOST ? unknownSellers(lane, search) : null
    if (!unknown || unknown.some((key) => lane.recording.has(key))) {
      left.push(search)
      continue
    }
    taken.push(search)
    for (const key of unknown) newKeys.add(key)
  }
  lane.finished.searches = left
  for (const key of newKeys) lane.recording.add(key)
  for (const { callId } of taken) lane.booking.add(callId)
  return { searches: taken, newKeys: [...newKeys] }
}

/** To be called when a batch is booked: its calls and sellers are no longer under way. */
export function dropBatch(lane: Lane, batch: Batch): void {
  for (const key of batch.newKeys) lane.recording.delete(key)
  for (const { callId } of batch.searches) lane.booking.delete(callId)
}

function unknownSellers(lane: Lane, search: FinishedSearch): string[] {
  return [...sellersOfSearch(search.answer).keys()].filter((key) => lane.knownSellers.find(key) === undefined)
}
