/** Works on one run until it ends, pauses, or the worker stops. */
import { type RunSnapshot, runSnapshot } from '../runs/snapshot.ts'
import { BOOKING_LOOPS, bookingLoop } from './booking-loop.ts'
import { claimingLoop } from './claim.ts'
import { type LaneOptions, openLane } from './lane.ts'

/**
 * Takes part in a run: claims, sends and books until the run is no longer running or `signal` is aborted, and everything
 * this worker sent is booked. Other workers may take part at the same time. Returns the run as it stands then.
 */
export async function workRun(options: LaneOptions, signal: AbortSignal): Promise<RunSnapshot> {
  const lane = openLane(options)
  const close = (): void => {
    lane.closing = true
    lane.claimWake.notify()
    lane.bookWake.notify()
  }
  if (signal.aborted) close()
  signal.addEventListener('abort', close, { once: true })
  try {
    const loops = [claimingLoop(lane), ...Array.from({ length: BOOKING_LOOPS }, () => bookingLoop(lane))]
    for (const loop of loops) loop.catch(close)
    // All of them, also when one broke: what the others have in flight is booked before the lane is left.
    const ends = await Promise.allSettled(loops)
    for (const end of ends) if (end.status === 'rejected') throw end.reason
    return (await runSnapshot(lane.db, lane.run.id)) ?? lane.run
  } finally {
    await Promise.all([lane.observers.search.flush(), lane.observers.list.flush()])
    signal.removeEventListener('abort', close)
  }
}
