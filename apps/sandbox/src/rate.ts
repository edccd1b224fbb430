/** A strict rate: no second, wherever it begins, may see more arrivals than the limit. */
export type Rate = Readonly<{
  /** Counts an arrival. False when the second before it was full already. */
  arrive: (atMs: number) => boolean
  /** How many more may arrive now. */
  room: (atMs: number) => number
  report: () => { limit: number; arrivals: number; passed: number; busiestSecond: number }
}>

const SECOND_MS = 1_000

/** `limit` is read at every arrival, so it may change. Refused arrivals count as well: they arrived. */
export function createRate(limit: () => number): Rate {
  let recent: number[] = []
  let arrivals = 0
  let passed = 0
  let busiestSecond = 0
  const since = (atMs: number): number[] => {
    const first = recent.findIndex((earlier) => earlier > atMs - SECOND_MS)
    return first < 0 ? [] : recent.slice(first)
  }
  return {
    arrive: (arrivedMs) => {
      // One whose body took longer to read comes after a later one: the times stay in order.
      const atMs = Math.max(arrivedMs, recent.at(-1) ?? 0)
      recent = since(atMs)
      recent.push(atMs)
      arrivals += 1
      busiestSecond = Math.max(busiestSecond, recent.length)
      if (recent.length <= limit()) return true
      passed += 1
      return false
    },
    room: (atMs) => Math.max(0, limit() - since(atMs).length),
    report: () => ({ limit: limit(), arrivals, passed, busiestSecond }),
  }
}
