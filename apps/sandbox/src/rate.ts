/** A strict rate: no second, wherever it begins, may see more arrivals than the limit. */
export type Rate = Readonly<{
  /** Counts an arrival. False when the second before it was full already. */
  arrive: (atMs: number) => boolean
  report: () => { limit: number; arrivals: number; passed: number; busiestSecond: number }
}>

const SECOND_MS = 1_000

/** `limit` is read at every arrival, so it may change. Refused arrivals count as well: they arrived. */
export function createRate(limit: () => number): Rate {
  let recent: number[] = []
  let arrivals = 0
  let passed = 0
  let busiestSecond = 0
  return {
    arrive: (atMs) => {
      const first = recent.findIndex((earlier) => earlier > atMs - SECOND_MS)
      recent = first < 0 ? [] : recent.slice(first)
      recent.push(atMs)
      arrivals += 1
      busiestSecond = Math.max(busiestSecond, recent.length)
      if (recent.length <= limit()) return true
      passed += 1
      return false
    },
    report: () => ({ limit: limit(), arrivals, passed, busiestSecond }),
  }
}
