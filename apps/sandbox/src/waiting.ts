/** Requests that are made to wait: with a time, until released, or until the client goes away. */
import type { ServerResponse } from 'node:http'

export type Waiting = Readonly<{
  sleep: (ms: number) => Promise<void>
  /** True when the wait ended by time or release, false when the client or the sandbox closed. */
  hold: (response: ServerResponse, ms: number | undefined) => Promise<boolean>
  /** Lets every held request go on. Returns how many. */
  release: () => number
  held: () => number
  stop: () => void
  stopped: () => boolean
}>

export function createWaiting(): Waiting {
  const sleepers = new Set<() => void>()
  const held = new Set<(goOn: boolean) => void>()
  let stopping = false

  const sleep = (ms: number): Promise<void> =>
    new Promise((resolve) => {
      const wake = (): void => {
        clearTimeout(timer)
        sleepers.delete(wake)
        resolve()
      }
      const timer = setTimeout(wake, ms)
      sleepers.add(wake)
    })

  const hold = (response: ServerResponse, ms: number | undefined): Promise<boolean> =>
    new Promise((resolve) => {
      const end = (goOn: boolean): void => {
        clearTimeout(timer)
        held.delete(end)
        response.removeListener('close', gone)
        resolve(goOn)
      }
      const gone = (): void => end(false)
      const timer = ms === undefined ? undefined : setTimeout(() => end(true), ms)
      response.once('close', gone)
      held.add(end)
      if (response.destroyed) end(false)
    })

  return {
    sleep,
    hold,
    release: () => {
      const waiting = [...held]
      for (const end of waiting) end(true)
      return waiting.length
    },
    held: () => held.size,
    stop: () => {
      stopping = true
      for (const end of [...held]) end(false)
      for (const wake of [...sleepers]) wake()
    },
    stopped: () => stopping,
  }
}
