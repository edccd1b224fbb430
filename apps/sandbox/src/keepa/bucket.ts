/**
 * Keepa's tokens: whole refills at fixed ticks, a balance that may go below zero (a call is allowed while it is above
 * zero, then debited), and nothing kept longer than the capacity. Survives a restart.
 */
import type { Config } from '../config.ts'
import type { CounterStore } from '../counters.ts'

export type BucketState = Readonly<{ tokensLeft: number; refillIn: number; refillRate: number }>

export type Bucket = Readonly<{
  state: () => BucketState
  /** Whether a call is allowed now: the balance is above zero. */
  open: () => boolean
  debit: (tokens: number) => void
}>

export function createBucket(config: () => Config, counters: CounterStore, now: () => number = Date.now): Bucket {
  const { values } = counters

  const refill = (): void => {
    const { refillRate, tickMs } = config().keepa
    const capacity = config().keepa.capacity ?? refillRate * 60
    const at = now()
    if (values.keepaTickMs === 0) {
      values.keepaTickMs = at
      values.keepaTokens = capacity
      counters.save()
      return
    }
    const ticks = Math.floor((at - values.keepaTickMs) / tickMs)
    if (ticks <= 0) return
    const perTick = (refillRate * tickMs) / 60_000
    values.keepaTokens = Math.min(capacity, Math.floor(values.keepaTokens + ticks * perTick))
    values.keepaTickMs += ticks * tickMs
    counters.save()
  }

  return {
    state: () => {
      refill()
      const { refillRate, tickMs } = config().keepa
      return { tokensLeft: values.keepaTokens, refillIn: values.keepaTickMs + tickMs - now(), refillRate }
    },
    open: () => {
      refill()
      return values.keepaTokens > 0
    },
    debit: (tokens) => {
      values.keepaTokens -= tokens
      counters.save()
    },
  }
}
