/** How fast a run goes and when it will end, from what was seen of it. Pure but for the samples it is given. */
import type { RunSnapshot } from '../runs/snapshot.ts'

export type Pace = Readonly<{
  /** Answers a second, mean of the last 10 s; null before two looks. */
  perSecond: number | null
  /** When it ends; null while nothing can be said. `until` when the spread is above 25 %. */
  end: Readonly<{ from: Date; until: Date | null }> | null
}>

export type PaceKeeper = Readonly<{ look: (run: RunSnapshot, nowMs: number) => Pace }>

const WINDOW_MS = 10_000
/** Fewer answers than this say nothing about the end. */
const ANSWERS_LEAST = 50
const SPREAD_PERCENT = 25
/** A forecast moves only by more than this share of what is left, or after this long. */
const MOVE_PERCENT = 10
const HOLD_MS = 30_000
const PRODUCTS_PER_CATEGORY = 100

type Sample = Readonly<{ at: number; answers: number }>
type Said = Readonly<{ at: number; remainingMs: number; end: NonNullable<Pace['end']> }>

/** Starts watching. `look` is called with each new snapshot, `nowMs` being a steady clock that agrees with Date. */
export function makePace(): PaceKeeper {
  const samples: Sample[] = []
  let first: Sample | null = null
  let said: Said | null = null
  return {
    look: (run, nowMs) => {
      const sample = { at: nowMs, answers: run.processedItems }
      first ??= sample
      samples.push(sample)
      while (samples.length > 2 && (samples[1]?.at ?? nowMs) < nowMs - WINDOW_MS) samples.shift()
      const recent = speed(samples[0] ?? sample, sample)
      said = forecast(run, sample, first, recent, said)
      return { perSecond: recent, end: said?.end ?? null }
    },
  }
}

function speed(from: Sample, to: Sample): number | null {
  const ms = to.at - from.at
  return ms < 500 ? null : ((to.answers - from.answers) * 1000) / ms
}

function forecast(run: RunSnapshot, now: Sample, first: Sample, recent: number | null, said: Said | null): Said | null {
  const left = run.pendingItems + run.processingItems + run.openCategories * PRODUCTS_PER_CATEGORY
  const overall = speed(first, now)
  if (run.status !== 'running' || now.answers - first.answers < ANSWERS_LEAST || left === 0) return null
  if (!recent || !overall) return said
  const times = [(left / recent) * 1000, (left / overall) * 1000].sort((a, b) => a - b)
  const [soonest = 0, latest = 0] = times
  const wide = (latest - soonest) * 100 > soonest * SPREAD_PERCENT
  const end = {
    from: new Date(now.at + (wide ? soonest : (soonest + latest) / 2)),
    until: wide ? new Date(now.at + latest) : null,
  }
  if (said && now.at - said.at < HOLD_MS) {
    const expected = said.remainingMs - (now.at - said.at)
    if (Math.abs(latest - expected) * 100 <= Math.max(expected, 1) * MOVE_PERCENT) return said
  }
  return { at: now.at, remainingMs: latest, end }
}
