/** Seeded randomness: everything in the world is a function of a text such as `1|listings|B0ABC...`, never of time. */

/** A 53-bit hash of `text` (cyrb53): stable across processes and versions of Node. */
export function hash53(text: string): number {
  let h1 = 0xdeadbeef
  let h2 = 0x41c6ce57
  for (let i = 0; i < text.length; i++) {
    const code = text.charCodeAt(i)
    h1 = Math.imul(h1 ^ code, 2654435761)
    h2 = Math.imul(h2 ^ code, 1597334677)
  }
  h1 = Math.imul(h1 ^ (h1 >>> 16), 2246822507) ^ Math.imul(h2 ^ (h2 >>> 13), 3266489909)
  h2 = Math.imul(h2 ^ (h2 >>> 16), 2246822507) ^ Math.imul(h1 ^ (h1 >>> 13), 3266489909)
  return 4294967296 * (2097151 & h2) + (h1 >>> 0)
}

export type Random = Readonly<{
  /** In [0, 1). */
  next: () => number
  /** An integer in [min, max], both included. */
  int: (min: number, max: number) => number
  chance: (probability: number) => boolean
  pick: <T>(items: readonly T[]) => T
}>

/** A generator that always yields the same sequence for the same text (mulberry32). */
export function randomOf(text: string): Random {
  let state = hash53(text) >>> 0
  const next = (): number => {
    state = (state + 0x6d2b79f5) | 0
    let t = Math.imul(state ^ (state >>> 15), 1 | state)
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t
    return ((t ^ (t >>> 14)) >>> 0) / 4294967296
  }
  const int = (min: number, max: number): number => min + Math.floor(next() * (max - min + 1))
  return {
    next,
    int,
    chance: (probability) => next() < probability,
    pick: (items) => {
      const item = items[int(0, items.length - 1)]
      if (item === undefined) throw new RangeError('nothing to pick from')
      return item
    },
  }
}

/** `length` characters of `alphabet`, decided by `text`. */
export function codeOf(text: string, alphabet: string, length: number): string {
  let code = ''
  let value = hash53(text)
  for (let i = 0; i < length; i++) {
    if (i > 0 && i % 6 === 0) value = hash53(`${text}|${i}`)
    code += alphabet[value % alphabet.length]
    value = Math.floor(value / alphabet.length)
  }
  return code
}
