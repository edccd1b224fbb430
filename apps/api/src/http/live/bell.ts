export type Bell = Readonly<{
  ring: () => void
  /** Resolves when it rings, at once when it rang since the last wait, or after `ms`. True when it rang. */
  wait: (ms: number) => Promise<boolean>
}>

/** Wakes the one who waits for it. */
export function makeBell(): Bell {
  let isRung = false
  let wake: (() => void) | null = null
  return {
    ring: () => {
      isRung = true
      wake?.()
    },
    wait: (ms) =>
      new Promise((resolve) => {
        const done = (): void => {
          clearTimeout(timer)
          wake = null
          resolve(isRung)
          isRung = false
        }
        const timer = setTimeout(done, ms)
        wake = done
        if (isRung) done()
      }),
  }
}
