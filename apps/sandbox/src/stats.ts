/** Counts since the start: requests by provider, operation and fate, how many are open now, and the most at once. */
export type Fate = 'charged' | 'free' | 'refused'

export type Stats = Readonly<{
  /** Returns what to call when the request is over. */
  enter: (provider: string) => () => void
  count: (provider: string, operation: string, fate: Fate) => void
  report: () => object
  open: () => number
}>

export function createStats(): Stats {
  const providers = new Map<
    string,
    { requests: number; open: number; peak: number; operations: Record<string, number> }
  >()
  let open = 0
  let peak = 0
  const of = (provider: string) => {
    let entry = providers.get(provider)
    if (!entry) {
      entry = { requests: 0, open: 0, peak: 0, operations: {} }
      providers.set(provider, entry)
    }
    return entry
  }
  return {
    enter: (provider) => {
      const entry = of(provider)
      entry.requests++
      entry.open++
      entry.peak = Math.max(entry.peak, entry.open)
      open++
      peak = Math.max(peak, open)
      return () => {
        entry.open--
        open--
      }
    },
    count: (provider, operation, fate) => {
      const { operations } = of(provider)
      const name = `${operation}.${fate}`
      operations[name] = (operations[name] ?? 0) + 1
    },
    report: () => ({ open, peak, providers: Object.fromEntries(providers) }),
    open: () => open,
  }
}
