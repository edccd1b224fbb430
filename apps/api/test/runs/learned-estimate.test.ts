import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { toMicros } from '../../src/base/money.ts'
import type { Estimate, EstimateInput } from '../../src/runs/estimate.ts'
import type { CategoryFigures, RunFigures } from '../../src/runs/figures.ts'
import { type History, learnedEstimate, type WantedCategory } from '../../src/runs/learned-estimate.ts'
import { sumRanges } from '../../src/runs/range.ts'

const PRICE = 5_000
const AT = new Date('2026-11-01T12:00:00Z')
const NOTHING: History = { runs: [], categories: [], own: new Map() }

function inputFor(count: number, more: Partial<EstimateInput> = {}): EstimateInput {
  return {
    source: { kind: 'categories', count, stepPrices: [toMicros(PRICE), toMicros(PRICE)] },
    search: { price: toMicros(PRICE), rungs: 3 },
    pace: { concurrency: 10, ratePerSecond: null, searchesPerDay: null },
    ...more,
  }
}

/** What a run over one category of 100 products leaves behind, `climbed` of them asking a second time, `again` a third. */
function oneRun(number: number, key: string, part: Partial<CategoryFigures> = {}): History {
  const category: CategoryFigures = {
    runId: `run-${number}`,
    number,
    key,
    asOf: AT,
    listed: 100,
    own: 100,
    skipped: 0,
    decided1: 100,
    climbed1: 40,
    decided2: 40,
    climbed2: 10,
    newSellers: 200,
    capped: false,
    repeat: false,
    complete: true,
    ...part,
  }
  const queries = category.decided1 + category.climbed1 + category.climbed2
  const run: RunFigures = {
    runId: category.runId,
    number,
    asOf: AT,
    products: category.own,
    searched: category.decided1,
    lists: 1,
    places: category.listed,
    searchCalls: queries,
    searchHoldMicros: queries * PRICE,
    searchChargeMicros: queries * PRICE,
    queries,
    listCalls: 2,
    listHoldMicros: 2 * PRICE,
    listChargeMicros: 2 * PRICE,
    searchMs: 100,
    listMs: 100,
    activeMs: 5_000,
  }
  const own = new Map([[key, { listed: category.listed, own: category.own }]])
  return { runs: [run], categories: [category], own }
}

function together(...histories: readonly History[]): History {
  return {
    runs: histories.flatMap((one) => one.runs),
    categories: histories.flatMap((one) => one.categories),
    own: new Map(histories.flatMap((one) => [...one.own])),
  }
}

const wanted = (...keys: readonly string[]): WantedCategory[] => keys.map((key) => ({ key, name: key }))
const spentOf = ({ runs }: History) => runs.reduce((sum, run) => sum + run.searchChargeMicros + run.listChargeMicros, 0)

function estimateOf(keys: readonly string[], history: History): Estimate {
  return learnedEstimate(inputFor(keys.length), wanted(...keys), history)
}

describe('an estimate that learns', () => {
  it('is that of the price list while nothing was collected, and knows nothing of new sellers', () => {
    const answer = estimateOf(['a', 'b'], NOTHING)
    expect(answer.sources.cost).toEqual({ kind: 'price_list' })
    expect(answer.newSellers).toBeNull()
    expect(answer.categories.map(({ key, lastCollectedAt, newSellers }) => [key, lastCollectedAt, newSellers])).toEqual(
      [
        ['a', null, null],
        ['b', null, null],
      ],
    )
    expect(answer.cost).toEqual(learnedEstimate(inputFor(2), null, NOTHING).cost)
  })

  it('is far narrower for the same category again, and says which runs it stands on', () => {
    const history = oneRun(1, 'a')
    const [before, after] = [estimateOf(['a'], NOTHING), estimateOf(['a'], history)]
    const wide = ({ cost }: Estimate) => cost.high - cost.low
    expect(wide(after)).toBeLessThan(wide(before) / 2)
    expect(after.cost.low).toBeLessThanOrEqual(spentOf(history))
    expect(after.cost.high).toBeGreaterThanOrEqual(spentOf(history))
    expect(after.sources.cost).toEqual({ kind: 'earlier_runs', runs: 1, products: 100, newest: AT.toISOString() })
    expect(after.categories[0]).toMatchObject({ lastCollectedAt: AT.toISOString(), lastYield: 200 })
  })

  it('is wider for a category never collected than for one that was', () => {
    const { categories } = estimateOf(['a', 'b'], oneRun(1, 'a'))
    const [known, unknown] = categories.map(({ cost }) => cost.high - cost.low)
    expect(unknown).toBeGreaterThan(known ?? Infinity)
    expect(categories[1]).toMatchObject({ lastCollectedAt: null, lastYield: null })
  })

  it('expects of a category collected again at most what its last run brought', () => {
    const first = oneRun(1, 'a', { newSellers: 200 })
    const second = oneRun(2, 'a', { newSellers: 20, repeat: true })
    expect(estimateOf(['a'], first).newSellers).toMatchObject({ low: 0, high: 200 })
    // A tenth came the second time: so it is expected the third.
    expect(estimateOf(['a'], together(second, first)).newSellers).toEqual({ low: 0, likely: 2, high: 20 })
  })

  it('searches a product of two categories once', () => {
    const history = together(oneRun(1, 'a'), oneRun(2, 'b', { own: 60, decided1: 60, climbed1: 20 }))
    const answer = estimateOf(['a', 'b'], history)
    expect(answer.products.likely).toBe(160)
    expect(answer.categories.map(({ products }) => products.likely)).toEqual([100, 100])
    const alone = answer.categories.reduce((sum, { cost }) => sum + cost.likely, 0)
    expect(answer.cost.likely).toBeLessThan(alone)
  })

  it('does not take the low figures of a run at its cap for what products need', () => {
    const capped = oneRun(1, 'a', { climbed1: 0, decided2: 0, climbed2: 0, capped: true })
    expect(estimateOf(['a'], capped).calls.high).toBeGreaterThanOrEqual(300)
    const free = estimateOf(['a'], together(capped, oneRun(2, 'a')))
    expect(free.calls.likely).toBe(152)
  })

  it('charges what calls were charged, not what they were held at', () => {
    const full = oneRun(1, 'a')
    const half = { ...full, runs: full.runs.map((run) => ({ ...run, searchChargeMicros: run.searchHoldMicros / 2 })) }
    const difference = estimateOf(['a'], full).cost.likely - estimateOf(['a'], half).cost.likely
    expect(difference).toBe((150 * PRICE) / 2)
  })

  it('takes days when the quota does', () => {
    const pace = { concurrency: 10, ratePerSecond: null, searchesPerDay: 60 }
    const history = oneRun(1, 'a')
    const whole = learnedEstimate(inputFor(1, { pace }), wanted('a'), history).durationSeconds
    expect(Math.ceil(whole.likely / 86_400)).toBe(3) // 150 searches: 60, 60, 30
    const today = { searchesLeft: 0, secondsToReset: 3_600 }
    const late = learnedEstimate(inputFor(1, { pace: { ...pace, today } }), wanted('a'), history).durationSeconds
    expect(late.likely).toBeGreaterThan(3_600 + 2 * 86_400)
    expect(late.likely).toBeLessThan(3_600 + 3 * 86_400)
  })

  it('takes a sample for a draw from the very products: nothing but chance is added', () => {
    const sample = {
      ...oneRun(1, 'a', { own: 100, decided1: 10, climbed1: 4, decided2: 4, climbed2: 1 }),
      sample: true,
    }
    const input = inputFor(0, { source: { kind: 'list', rows: 1_000 } })
    const answer = learnedEstimate(input, null, sample)
    expect(answer.sources.cost).toEqual({ kind: 'sample', products: 10 })
    expect(answer.calls.likely).toBe(1_500)
    expect(answer.calls.low).toBeGreaterThanOrEqual(1_000 * 0.95)
    expect(answer.newSellers?.low).toBe(200)
  })
})

const rates = fc.record({
  listed: fc.integer({ min: 1, max: 100 }),
  climb1: fc.double({ min: 0, max: 1, noNaN: true }),
  climb2: fc.double({ min: 0, max: 1, noNaN: true }),
  newSellers: fc.integer({ min: 0, max: 500 }),
  key: fc.constantFrom('a', 'b', 'c', 'd'),
  capped: fc.boolean(),
})
const histories = fc.array(rates, { minLength: 1, maxLength: 15 }).map((all) =>
  together(
    ...all.map(({ listed, climb1, climb2, newSellers, key, capped }, index) => {
      const climbed1 = Math.round(listed * climb1)
      const climbed2 = Math.round(climbed1 * climb2)
      const part = { listed, own: listed, decided1: listed, climbed1, decided2: climbed1, climbed2, newSellers, capped }
      return oneRun(100 - index, key, part)
    }),
  ),
)
const chosen = fc.uniqueArray(fc.constantFrom('a', 'b', 'c', 'd', 'e', 'f'), { minLength: 1 })

describe('learned ranges', () => {
  it('are whole numbers in order, whatever was learned', () => {
    fc.assert(
      fc.property(histories, chosen, (history, keys) => {
        const answer = estimateOf(keys, history)
        const ranges = [answer, ...answer.categories].flatMap(({ products, cost, newSellers }) => [
          products,
          cost,
          ...(newSellers ? [newSellers] : []),
        ])
        for (const { low, likely, high } of [...ranges, answer.calls, answer.durationSeconds]) {
          expect(low).toBeLessThanOrEqual(likely)
          expect(likely).toBeLessThanOrEqual(high)
          for (const value of [low, likely, high]) expect(Number.isSafeInteger(value) && value >= 0).toBe(true)
        }
      }),
      { numRuns: 300 },
    )
  })

  it('never fall when a category is added', () => {
    fc.assert(
      fc.property(histories, chosen, (history, keys) => {
        const [less, more] = [estimateOf(keys.slice(0, -1), history), estimateOf(keys, history)]
        for (const bound of ['low', 'likely', 'high'] as const) {
          // One for the rounding to whole products and calls.
          for (const figure of ['products', 'calls'] as const) {
            expect(more[figure][bound]).toBeGreaterThanOrEqual(less[figure][bound] - 1)
          }
          expect(more.cost[bound]).toBeGreaterThanOrEqual(less.cost[bound] - 1)
        }
      }),
      { numRuns: 300 },
    )
  })

  it('contain every run of up to nine, when it repeats itself', () => {
    const few = fc.array(rates, { minLength: 1, maxLength: 9 })
    fc.assert(
      fc.property(few, (all) => {
        const runs = all.map(({ listed, climb1, climb2, newSellers }, index) => {
          const climbed1 = Math.round(listed * climb1)
          const climbed2 = Math.round(climbed1 * climb2)
          const part = { listed, own: listed, decided1: listed, climbed1, decided2: climbed1, climbed2, newSellers }
          return oneRun(100 - index, 'a', part)
        })
        const history = together(...runs)
        const answer = learnedEstimate(inputFor(1), wanted('a'), { ...history, own: runs[0]?.own ?? new Map() })
        for (const run of runs) {
          const spent = spentOf(run)
          expect(spent).toBeGreaterThanOrEqual(answer.cost.low)
          expect(spent).toBeLessThanOrEqual(answer.cost.high)
        }
        const last = runs[0]?.categories[0]?.newSellers ?? 0
        expect(answer.newSellers?.low).toBeLessThanOrEqual(last)
        expect(answer.newSellers?.high).toBeGreaterThanOrEqual(last)
      }),
      { numRuns: 300 },
    )
  })

  it('narrow with the number of categories, but never as if their errors were strangers', () => {
    const one = { low: 50, likely: 100, high: 150 }
    const many = sumRanges(Array.from({ length: 20 }, () => one))
    expect(many.likely).toBe(2_000)
    expect(2_000 - many.low).toBeLessThan(1_000)
    expect(2_000 - many.low).toBeGreaterThan(Math.sqrt(20) * 50)
  })
})
