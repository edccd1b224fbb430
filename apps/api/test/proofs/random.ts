/** Choices that a seed repeats. */

export type Random = Readonly<{
  /** An integer from 0 to below `most`. */
  below: (most: number) => number
  pick: <T>(list: readonly T[]) => T
  shuffled: <T>(list: readonly T[]) => T[]
}>

/** mulberry32: small, even enough for choosing what to break next. */
export function makeRandom(seed: number): Random {
  let state = seed >>> 0
  const next = (): number => {
    state = (state + 0x6d2b79f5) >>> 0
    let mixed = Math.imul(state ^ (state >>> 15), state | 1)
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61)
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32
  }
  const below = (most: number): number => Math.floor(next() * most)
  return {
    below,
    pick: (list) => {
      if (list.length === 0) throw new Error('nothing to pick from')
      return list[below(list.length)] as (typeof list)[number]
    },
    shuffled: (list) => {
      const left = [...list]
      return Array.from({ length: left.length }, () => left.splice(below(left.length), 1)[0] as (typeof list)[number])
    },
  }
}
