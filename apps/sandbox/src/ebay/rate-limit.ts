/** The daily quota of the Browse API: counted over restarts, reset at midnight in California. */
import type { Config } from '../config.ts'
import type { CounterStore } from '../counters.ts'
import { json, type Reply } from '../exchange.ts'

export type Quota = Readonly<{
  /** Counts one call. False when the day's quota was used up before it. */
  take: () => boolean
  report: () => Reply
  set: (used: number) => void
  state: () => { limit: number; used: number; resetAt: string }
}>

export function createQuota(config: () => Config, counters: CounterStore): Quota {
  const { values } = counters

  const turnDay = (): void => {
    const now = Date.now()
    if (now < values.ebayResetMs) return
    values.ebayResetMs = nextPacificMidnight(now)
    values.ebayUsed = 0
    counters.save()
  }

  const state = (): { limit: number; used: number; resetAt: string } => {
    turnDay()
    return {
      limit: config().ebay.dailyQuota,
      used: values.ebayUsed,
      resetAt: new Date(values.ebayResetMs).toISOString(),
    }
  }

  return {
    take: () => {
      turnDay()
      if (values.ebayUsed >= config().ebay.dailyQuota) return false
      values.ebayUsed += 1
      counters.save()
      return true
    },
    report: () => {
      const { limit, used, resetAt } = state()
      const rate = { limit, count: used, remaining: Math.max(0, limit - used), reset: resetAt, timeWindow: 86_400 }
      return json(200, {
        rateLimits: [
          {
            apiContext: 'buy',
            apiName: 'browse',
            apiVersion: 'v1',
            resources: [{ name: 'buy.browse', rates: [rate] }],
          },
        ],
      })
    },
    set: (used) => {
      turnDay()
      values.ebayUsed = used
      counters.save()
    },
    state,
  }
}

const pacific = new Intl.DateTimeFormat('en-US', {
  timeZone: 'America/Los_Angeles',
  hourCycle: 'h23',
  hour: 'numeric',
  minute: 'numeric',
  second: 'numeric',
})

/** The next midnight in California after `nowMs`, Unix ms, also over the days on which clocks change. */
export function nextPacificMidnight(nowMs: number): number {
  const secondsOfDay = (ms: number): number => {
    const part = (type: string): number =>
      Number(pacific.formatToParts(ms).find((candidate) => candidate.type === type)?.value ?? 0)
    return part('hour') * 3600 + part('minute') * 60 + part('second')
  }
  const whole = nowMs - (nowMs % 1000)
  let guess = whole + (86_400 - secondsOfDay(whole)) * 1000
  const over = secondsOfDay(guess)
  if (over !== 0) guess += (over > 43_200 ? 86_400 - over : -over) * 1000
  return guess
}
