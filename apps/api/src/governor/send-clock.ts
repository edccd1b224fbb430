/**
 * When to send: moments of the database's clock, told in this process's own. The worker's wall clock plays no part, and
 * may be wrong by hours.
 */
export type SendClock = Readonly<{
  /** A statement sent at `beforeMs` and answered at `afterMs` (performance.now) read `databaseMs` on the database's clock. */
  learn: (beforeMs: number, afterMs: number, databaseMs: number) => void
  /** The moment of `databaseMs`, as performance.now counts. */
  toLocal: (databaseMs: number) => number
}>

/** Two good quartz clocks drift apart by less than this, ms in a second: what was learned widens by it. */
const DRIFT = 0.0001

/** Nothing learned yet: `toLocal` answers with now. Each sample bounds the difference of the clocks; the bounds are kept as narrow as they came. */
export function makeSendClock(): SendClock {
  let least = Number.NEGATIVE_INFINITY
  let most = Number.POSITIVE_INFINITY
  let learnedAt = 0
  return {
    learn: (beforeMs, afterMs, databaseMs) => {
      const drift = (afterMs - learnedAt) * DRIFT
      const [low, high] = [Math.max(least - drift, databaseMs - afterMs), Math.min(most + drift, databaseMs - beforeMs)]
      const fits = low <= high
      // A clock was set: begin anew.
      least = fits ? low : databaseMs - afterMs
      most = fits ? high : databaseMs - beforeMs
      learnedAt = afterMs
    },
    toLocal: (databaseMs) =>
      Number.isFinite(least) && Number.isFinite(most) ? databaseMs - (least + most) / 2 : performance.now(),
  }
}
