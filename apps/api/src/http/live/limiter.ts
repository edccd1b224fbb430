/** Runs tasks, `most` of them at a time; the others wait their turn. */
export function makeLimiter(most: number): <T>(task: () => Promise<T>) => Promise<T> {
  let busy = 0
  const waiting: (() => void)[] = []
  return async (task) => {
    // Whoever ends hands its place on, so nobody new gets in between.
    if (busy >= most) await new Promise<void>((resolve) => waiting.push(resolve))
    else busy++
    try {
      return await task()
    } finally {
      const next = waiting.shift()
      if (next) next()
      else busy--
    }
  }
}
