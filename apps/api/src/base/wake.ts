/** A signal loops wait on: `notify` wakes all who wait, or the next one to wait when nobody waits now. */
export type Wake = Readonly<{ notify: () => void; wait: (timeoutMs: number) => Promise<void> }>

/** Makes a signal. `wait` resolves at the next `notify`, at once when one came since the last wait, or after the timeout. */
export function makeWake(): Wake {
  let pending = false
  const waiting = new Set<() => void>()
  return {
    notify: () => {
      if (waiting.size === 0) pending = true
      for (const release of waiting) release()
    },
    wait: (timeoutMs) => {
      if (pending) {
        pending = false
        return Promise.resolve()
      }
      return new Promise((resolve) => {
        const timer = setTimeout(release, timeoutMs)
        function release(): void {
          clearTimeout(timer)
          waiting.delete(release)
          resolve()
        }
        waiting.add(release)
      })
    },
  }
}
