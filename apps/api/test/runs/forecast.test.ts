import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { forecastCost, type Standing } from '../../src/runs/forecast.ts'
import type { RunSnapshot } from '../../src/runs/snapshot.ts'

const PRICE = 5_000

/**
 * A run of `total` products of one list, of which `asked` have been searched once. The claim takes first queries first:
 * second ones wait, unless `asked` is all of them and `second` of those that climb have been asked again.
 */
function at(total: number, asked: number, climb: number, second = 0): [RunSnapshot, Standing[]] {
  const climbers = Math.round(asked * climb)
  const standing: Standing[] = [
    { rung: 1, ended: false, count: total - asked, costMicros: 0 },
    { rung: 1, ended: true, count: asked - climbers, costMicros: (asked - climbers) * PRICE },
    { rung: 2, ended: false, count: climbers - second, costMicros: (climbers - second) * PRICE },
    { rung: 2, ended: true, count: second, costMicros: 2 * second * PRICE },
  ]
  const ended = asked - climbers + second
  const run = {
    totalItems: total,
    processedItems: ended,
    pendingItems: total - ended,
    processingItems: 0,
    totalCategories: 1,
    openCategories: 0,
    spentMicros: 2 * PRICE + (asked + second) * PRICE,
    suspectMicros: 0,
  }
  return [run as RunSnapshot, standing]
}

describe('forecastCost', () => {
  it('says nothing before 5 % of the work, nor when nothing is left', () => {
    expect(forecastCost(...at(1_000, 40, 0))).toBeNull()
    expect(forecastCost(...at(1_000, 60, 0))).not.toBeNull()
    expect(forecastCost(...at(1_000, 1_000, 0.4, 400))).toBeNull()
  })

  it('is not misled by second queries that all wait for the end', () => {
    const end = 2 * PRICE + 1_400 * PRICE
    for (const asked of [100, 300, 500, 900, 1_000]) {
      const forecast = forecastCost(...at(1_000, asked, 0.4))
      expect(Math.abs((forecast?.likely ?? 0) - end)).toBeLessThan(end * 0.001)
    }
  })

  it('is never below what is spent, in order, and narrows', () => {
    fc.assert(
      fc.property(
        fc.integer({ min: 200, max: 5_000 }),
        fc.double({ min: 0, max: 0.9, noNaN: true }),
        (total, climb) => {
          const widths = [0.4, 0.7, 1].map((part) => {
            const [run, standing] = at(total, Math.round(total * part), climb)
            const forecast = forecastCost(run, standing)
            if (!forecast) return null
            expect(forecast.low).toBeGreaterThanOrEqual(run.spentMicros)
            expect(forecast.low).toBeLessThanOrEqual(forecast.likely)
            expect(forecast.likely).toBeLessThanOrEqual(forecast.high)
            return forecast.high - forecast.low
          })
          const known = widths.filter((width) => width !== null)
          expect(known.toSorted((a, b) => b - a)).toEqual(known)
        },
      ),
    )
  })

  it('counts lists that are still to be read', () => {
    const [run, standing] = at(1_000, 500, 0.4)
    const more = forecastCost({ ...run, totalCategories: 2, openCategories: 1 }, standing)
    const less = forecastCost(run, standing)
    expect((more?.likely ?? 0) - (less?.likely ?? 0)).toBeGreaterThanOrEqual(140 * PRICE)
  })
})
