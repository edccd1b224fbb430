/** Ranges: what will at least, likely and at most be. Pure arithmetic on them. */

export type Range<T> = Readonly<{ low: T; likely: T; high: T }>

/**
 * Errors of several parts have so much of their variance in common: a day on which the provider is in trouble hits all of
 * them. An assumption. 0 would let the errors of twenty categories cancel each other, 1 would never.
 */
const SHARED = 0.3

/** A range around `likely`, put in order: a bound on the wrong side of it becomes `likely` itself. */
export function around(likely: number, low: number, high: number): Range<number> {
  return { low: Math.min(low, likely), likely, high: Math.max(high, likely) }
}

/** No range at all: a number that is known. */
export function exactly(value: number): Range<number> {
  return { low: value, likely: value, high: value }
}

/**
 * The sum of parts whose errors are partly their own: narrower than the sum of the bounds, wider than if each were
 * independent. Never falls when a part is added whose bounds are not below zero.
 */
export function sumRanges(parts: readonly Range<number>[], shared: number = SHARED): Range<number> {
  const likely = parts.reduce((sum, part) => sum + part.likely, 0)
  const below = spread(
    parts.map((part) => part.likely - part.low),
    shared,
  )
  const above = spread(
    parts.map((part) => part.high - part.likely),
    shared,
  )
  return { low: Math.max(0, likely - below), likely, high: likely + above }
}

/** The norm whose square is `shared` of the squared sum and the rest of the sum of squares. */
function spread(halves: readonly number[], shared: number): number {
  const sum = halves.reduce((all, half) => all + half, 0)
  const squares = halves.reduce((all, half) => all + half * half, 0)
  return Math.sqrt(shared * sum * sum + (1 - shared) * squares)
}

/** Bound times bound: both are wrong in the same direction at worst. For ranges that are not below zero. */
export function timesRange(a: Range<number>, b: Range<number>): Range<number> {
  return { low: a.low * b.low, likely: a.likely * b.likely, high: a.high * b.high }
}

/** A range of whole numbers that contains the given one. Tiny errors of floating point do not move a bound. */
export function wholeRange({ low, likely, high }: Range<number>): Range<number> {
  const slack = 1e-9 * Math.max(1, Math.abs(high))
  const whole = Math.round(likely)
  return {
    low: Math.min(whole, Math.floor(low + slack)),
    likely: whole,
    high: Math.max(whole, Math.ceil(high - slack)),
  }
}

/** At least `least`, at most `most`, each bound for itself. */
export function within(range: Range<number>, least: number, most: number): Range<number> {
  const clamp = (value: number) => Math.min(most, Math.max(least, value))
  return { low: clamp(range.low), likely: clamp(range.likely), high: clamp(range.high) }
}

/** The least and the greatest of `values`; of ten and more the 10th and the 90th percentile. Throws for none. */
export function span(values: readonly number[]): Readonly<{ low: number; high: number }> {
  const sorted = values.toSorted((a, b) => a - b)
  const [first] = sorted
  if (first === undefined) throw new RangeError('no value has no span')
  if (sorted.length < 10) return { low: first, high: sorted.at(-1) ?? first }
  return { low: quantile(sorted, 0.1), high: quantile(sorted, 0.9) }
}

/** Between the two values the rank falls between. `sorted` is not empty. */
function quantile(sorted: readonly number[], share: number): number {
  const rank = share * (sorted.length - 1)
  const below = sorted[Math.floor(rank)] ?? 0
  const above = sorted[Math.ceil(rank)] ?? below
  return below + (above - below) * (rank - Math.floor(rank))
}
