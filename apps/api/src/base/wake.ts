/** A signal one loop waits on: `notify` wakes the waiter, or the next one to wait when nobody waits now. */
export type Wake = Readonly<{ notify: () => void; wait: (timeoutMs: number) => Promise<void> }>

/** Makes a signal. `wait` resolves at the next `notify`, at once when one came since the last wait, or after the timeout. */
export function makeWake(): Wake {
  let pending = false
  let release: (() => void) | null = null
  return {
    notify: () => {
      if (release) release()
      else pending = true
    },
    wait: (timeoutMs) => {
      if (pending) {
        pending = false
        return Promise.resolve()
      }
      return new Promise((resolve) => {
        const timer = setTimeout(done, timeoutMs)
        function done(): void {
          clearTimeout(timer)
          release = null
          resolve()
        }
        release = done
      })
    },
  }
}
