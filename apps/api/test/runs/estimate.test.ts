import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { type Micros, toMicros, ZERO } from '../../src/base/money.ts'
import { collectable, type EstimateInput, estimate } from '../../src/runs/estimate.ts'

const pace = { concurrency: 10, ratePerSecond: null, searchesPerDay: null }
const page = toMicros(500)

function categories(count: number, more: Partial<EstimateInput> = {}): EstimateInput {
  return {
    source: { kind: 'categories', count, stepPrices: [page, page] },
    search: { price: toMicros(1150), rungs: 3 },
    pace,
    ...more,
  }
}

describe('estimate', () => {
  it('counts one category by hand', () => {
    const answer = estimate(categories(1))
    expect(answer.products).toEqual({ low: 30, likely: 100, high: 100 })
    // Two pages and 30 searches; 180 searches and 4 retries; at worst the list twice, 300 searches and 30 retries.
    expect(answer.calls).toEqual({ low: 32, likely: 2 + 184, high: 4 + 330 })
    expect(answer.cost).toEqual({
      low: 2 * 500 + 30 * 1150,
      likely: 2 * 500 + 184 * 1150,
      high: 4 * 500 + 330 * 1150,
    })
    expect(answer.sources.cost).toEqual({ kind: 'price_list' })
  })

  it('expects products that stand in several categories, but not at worst', () => {
    expect(estimate(categories(20)).products).toEqual({ low: 1518, likely: 1900, high: 2000 })
  })

  it('searches a product list without list calls', () => {
    const answer = estimate(categories(0, { source: { kind: 'list', rows: 646 }, search: { price: page, rungs: 1 } }))
    expect(answer.calls).toEqual({ low: 646, likely: 659, high: 711 })
    expect(answer.cost.low).toBe(646 * 500)
  })

  it('is free where everything is free, and refuses what has no price', () => {
    const free = categories(2, {
      source: { kind: 'categories', count: 2, stepPrices: [ZERO] },
      search: { price: ZERO, rungs: 3 },
    })
    expect(estimate(free).cost).toEqual({ low: 0, likely: 0, high: 0 })
    const unpriced = expect.objectContaining({ code: 'provider.no_price' })
    expect(() => estimate(categories(1, { search: { price: null, rungs: 3 } }))).toThrow(unpriced)
    const noList: EstimateInput['source'] = { kind: 'categories', count: 1, stepPrices: [page, null] }
    expect(() => estimate(categories(1, { source: noList }))).toThrow(unpriced)
  })

  it('waits for the quota of further days', () => {
    const list: Partial<EstimateInput> = { source: { kind: 'list', rows: 12_000 }, search: { price: ZERO, rungs: 1 } }
    const unlimited = estimate(categories(0, list)).durationSeconds
    expect(unlimited.low).toBe(480) // 12,000 calls at 25 a second
    const limited = estimate(categories(0, { ...list, pace: { ...pace, searchesPerDay: 5000 } })).durationSeconds
    expect(limited.low).toBe(2 * 86_400 + 80) // two more days, the last with 2,000 calls
  })

  it('is never faster than the rate', () => {
    const slow = estimate(categories(0, { source: { kind: 'list', rows: 100 }, pace: { ...pace, ratePerSecond: 1 } }))
    expect(slow.durationSeconds.low).toBe(100)
  })

  it('refuses what is no count', () => {
    expect(() => estimate(categories(-1))).toThrow(RangeError)
    expect(() => estimate(categories(1.5))).toThrow(RangeError)
    expect(() => estimate(categories(1, { search: { price: page, rungs: 0 } }))).toThrow(RangeError)
    expect(() => estimate(categories(1, { pace: { ...pace, concurrency: 0 } }))).toThrow(RangeError)
  })

  const price = fc.integer({ min: 0, max: 20_000 }).map(toMicros)
  const input: fc.Arbitrary<EstimateInput> = fc.record({
    source: fc.oneof(
      fc.record({
        kind: fc.constant('categories' as const),
        count: fc.integer({ min: 0, max: 500 }),
        productsPerCategory: fc.integer({ min: 0, max: 3000 }),
        stepPrices: fc.array(price, { maxLength: 5 }),
      }),
      fc.record({ kind: fc.constant('list' as const), rows: fc.integer({ min: 0, max: 200_000 }) }),
    ),
    search: fc.record({ price, rungs: fc.integer({ min: 1, max: 3 }) }),
    pace: fc.record({
      concurrency: fc.integer({ min: 1, max: 500 }),
      ratePerSecond: fc.option(fc.integer({ min: 1, max: 100 })),
      searchesPerDay: fc.option(fc.integer({ min: 1, max: 100_000 })),
    }),
  })

  it('gives ordered ranges of whole numbers', () => {
    fc.assert(
      fc.property(input, (given) => {
        const { products, calls, cost, durationSeconds } = estimate(given)
        for (const range of [products, calls, cost, durationSeconds]) {
          expect(range.low).toBeLessThanOrEqual(range.likely)
          expect(range.likely).toBeLessThanOrEqual(range.high)
          for (const value of Object.values(range)) expect(Number.isSafeInteger(value) && value >= 0).toBe(true)
        }
      }),
      { numRuns: 500 },
    )
  })

  it('never falls when a category is added', () => {
    fc.assert(
      fc.property(input, (given) => {
        if (given.source.kind !== 'categories') return
        const more = estimate({ ...given, source: { ...given.source, count: given.source.count + 1 } })
        const less = estimate(given)
        for (const bound of ['likely', 'high'] as const) {
          expect(more.cost[bound]).toBeGreaterThanOrEqual(less.cost[bound])
          expect(more.calls[bound]).toBeGreaterThanOrEqual(less.calls[bound])
        }
      }),
    )
  })
})

describe('collectable', () => {
  const answer = estimate(categories(1))

  it('follows the cap up to all products', () => {
    expect(collectable(answer.cost.likely, answer)).toBe(100)
    expect(collectable(toMicros(answer.cost.likely * 10), answer)).toBe(100)
    expect(collectable(toMicros(Math.floor(answer.cost.likely / 2)), answer)).toBe(50)
    expect(collectable(ZERO, answer)).toBe(0)
  })

  it('covers everything when it is free', () => {
    expect(collectable(ZERO, { ...answer, cost: { low: ZERO, likely: ZERO, high: ZERO } })).toBe(100)
  })

  it('never falls with a higher cap', () => {
    const cap = fc.integer({ min: 0, max: 2 * answer.cost.likely })
    fc.assert(
      fc.property(cap, cap, (a, b) => {
        const [low, high] = [Math.min(a, b) as Micros, Math.max(a, b) as Micros]
        expect(collectable(low, answer)).toBeLessThanOrEqual(collectable(high, answer))
      }),
    )
  })
})
