import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { buildFilters, checkFilterSettings, DEFAULT_FILTERS } from '../../src/matching/filters.ts'
import { breakEvenCents, priceWindow, USUAL_TERMS } from '../../src/matching/price-window.ts'

describe('priceWindow', () => {
  it.each([
    [2420, 80, 160, { min: 1936, max: 3872 }],
    [2419, 80, 160, { min: 1935, max: 3871 }],
    [1, 80, 160, { min: 0, max: 2 }],
    [999, 100, 100, { min: 999, max: 999 }],
    [null, 80, 160, null],
    [0, 80, 160, null],
  ])('%j at %i to %i per cent', (price, min, max, window) => {
    expect(priceWindow(price, min, max)).toEqual(window)
  })

  it('lets in exactly what lies between the per cents, to the cent', () => {
    const percent = fc.integer({ min: 1, max: 1000 })
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 2 ** 40 }), percent, percent, (price, a, b) => {
        const [low, high] = [Math.min(a, b), Math.max(a, b)]
        const window = priceWindow(price, low, high)
        if (window === null) throw new Error('no window')
        const scaled = (cents: number) => BigInt(cents) * 100n
        const bound = (share: number) => BigInt(price) * BigInt(share)
        expect(Number.isSafeInteger(window.min) && Number.isSafeInteger(window.max)).toBe(true)
        expect(scaled(window.min) <= bound(low) && bound(low) < scaled(window.min + 1)).toBe(true)
        expect(scaled(window.max - 1) < bound(high) && bound(high) <= scaled(window.max)).toBe(true)
      }),
    )
  })

  it('refuses what is no window', () => {
    expect(() => priceWindow(100, 160, 80)).toThrow(RangeError)
    expect(() => priceWindow(100, 0, 80)).toThrow(RangeError)
    expect(() => priceWindow(100, 0.8, 1.6)).toThrow(RangeError)
    expect(() => priceWindow(24.2, 80, 160)).toThrow(RangeError)
    expect(() => priceWindow(-1, 80, 160)).toThrow(RangeError)
  })
})

describe('breakEvenCents', () => {
  const ratio = (price: number, terms: Partial<typeof USUAL_TERMS> = {}) =>
    breakEvenCents(price, { ...USUAL_TERMS, ...terms }) / price

  it.each([1500, 2500, 5000, 10_000])('agrees with the published ratios at %i cents', (price) => {
    expect(ratio(price)).toBeGreaterThan(1.165)
    expect(ratio(price)).toBeLessThan(1.205)
    expect(ratio(price, { cashbackPercent: 5 })).toBeGreaterThan(1.11)
    expect(ratio(price, { cashbackPercent: 5 })).toBeLessThan(1.145)
    expect(ratio(price, { purchaseTaxPercent: 8 })).toBeGreaterThan(1.26)
    expect(ratio(price, { purchaseTaxPercent: 8 })).toBeLessThan(1.3)
  })

  it('is the lowest price without a loss', () => {
    fc.assert(
      fc.property(fc.integer({ min: 0, max: 10_000_000 }), (price) => {
        // Profit in millionths of a cent: what is left of the sale, less the purchase and the fixed fee.
        const profit = (sale: number) => BigInt(sale) * (1_000_000n - 1325n * 108n) - (BigInt(price) + 40n) * 1_000_000n
        const even = breakEvenCents(price)
        expect(profit(even) >= 0n).toBe(true)
        expect(profit(even - 1) < 0n).toBe(true)
      }),
    )
  })

  it('refuses nonsense', () => {
    expect(() => breakEvenCents(1.5)).toThrow(RangeError)
    expect(() => breakEvenCents(100, { ...USUAL_TERMS, feeHundredths: 10_000 })).toThrow(RangeError)
  })
})

describe('filters', () => {
  it('builds what a product of the default run must be', () => {
    expect(buildFilters({ priceCents: 2000 }, checkFilterSettings({}))).toEqual({
      conditionId: '1000',
      freeShipping: true,
      locatedIn: 'US',
      buyingOption: 'FIXED_PRICE',
      priceCents: { min: 1600, max: 3200 },
      currency: 'USD',
    })
    expect(buildFilters({ priceCents: null }, DEFAULT_FILTERS).priceCents).toBeNull()
  })

  it('reads settings as people give them', () => {
    expect(checkFilterSettings({ locatedIn: ' us ' }).locatedIn).toBe('US')
    expect(checkFilterSettings({ locatedIn: null, minPercent: 100, maxPercent: 100 })).toMatchObject({
      locatedIn: null,
      minPercent: 100,
    })
  })

  it.each([
    [{ locatedIn: 'USA' }],
    [{ locatedIn: '' }],
    [{ minPercent: 0.8, maxPercent: 1.6 }],
    [{ minPercent: 160, maxPercent: 80 }],
    [{ minPercent: 0 }],
    [{ maxPercent: 1001 }],
    [{ minPercent: Number.NaN }],
  ])('refuses %j', (given) => {
    expect(() => checkFilterSettings(given)).toThrow(expect.objectContaining({ code: 'input.invalid' }))
  })
})
