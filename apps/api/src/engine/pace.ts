/** A smooth rate: calls become available one after the other, with no burst after a pause. */
export type Pace = Readonly<{
  /** Whole calls that may be sent now. */
  available: () => number
  /** Notes that `count` calls are sent. */
  take: (count: number) => void
}>

/** So much of a second's calls may gather while nothing is sent: enough to bridge a claim, too little for a burst. */
const GATHER_SECONDS = 0.1

/** A pace of `perSecond` calls; null = any number. `now` in ms, for tests. */
export function makePace(perSecond: number | null, now: () => number = () => performance.now()): Pace {
  if (perSecond === null) return { available: () => Infinity, take: () => {} }
  const most = Math.max(1, perSecond * GATHER_SECONDS)
  let tokens = most
  let countedAt = now()
  const count = (): void => {
    const at = now()
    tokens = Math.min(most, tokens + ((at - countedAt) / 1000) * perSecond)
    countedAt = at
  }
  return {
    available: () => {
      count()
      return Math.max(0, Math.floor(tokens))
    },
    take: (taken) => {
      count()
      tokens -= taken
    },
  }
}
