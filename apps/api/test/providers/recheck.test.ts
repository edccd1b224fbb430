import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import {
  falseNone,
  feedbackPermille,
  feedbackScore,
  type Row,
  readUsername,
  recheck,
} from '../../src/providers/recheck.ts'
import { FILTERS } from './wire.ts'

const ROW: Row = {
  listingId: '1',
  title: 'Kettle',
  conditionId: '1000',
  buyingOptions: ['FIXED_PRICE', 'BEST_OFFER'],
  country: 'US',
  freeShipping: true,
  currency: 'USD',
  price: '19.99',
  seller: { username: 'kettle_corner', feedbackScore: 7, feedbackPermille: 992 },
}

describe('a row', () => {
  it.each<[string, Partial<Row>]>([
    ['condition', { conditionId: '1500' }],
    ['condition', { conditionId: null }],
    ['buying_option', { buyingOptions: ['AUCTION'] }],
    ['location', { country: 'CN' }],
    ['location', { country: null }],
    ['shipping', { freeShipping: false }],
    ['currency', { currency: 'GBP' }],
    ['price', { price: '15.99' }],
    ['price', { price: '32.01' }],
    ['unreadable', { price: '0.00' }],
    ['unreadable', { price: '19.999' }],
    ['unreadable', { price: null, currency: null }],
    ['unreadable', { listingId: null }],
    ['unreadable', { title: null }],
    ['no_seller', { seller: null }],
    ['placeholder', { placeholder: true }],
    // One reason each: the first that holds.
    ['condition', { conditionId: '3000', country: 'CN', seller: null }],
  ])('is left out for %s: %j', (reason, change) => {
    expect(recheck([{ ...ROW, ...change }], FILTERS)).toEqual({ listings: [], leftOut: { [reason]: 1 } })
  })

  it('passes at both ends of the band', () => {
    const rows = ['16.00', '32', '19.99'].map((price, at) => ({ ...ROW, listingId: String(at), price }))
    expect(recheck(rows, FILTERS).listings.map(({ priceCents }) => priceCents)).toEqual([1600, 3200, 1999])
  })

  it('is not asked for what the filters do not ask', () => {
    const row = { ...ROW, country: null, freeShipping: false, price: '9000.00' }
    const filters = { ...FILTERS, locatedIn: null, freeShipping: false, priceCents: null }
    expect(recheck([row], filters).listings).toHaveLength(1)
  })
})

describe('variations of a listing', () => {
  it('become the cheapest that passes, with its own place', () => {
    const prices = ['25.00', '12.00', '18.00', '18.00', '99.00']
    const { listings, leftOut } = recheck(
      prices.map((price) => ({ ...ROW, price })),
      FILTERS,
    )
    expect(listings).toMatchObject([{ listingId: '1', priceCents: 1800, position: 3 }])
    expect(leftOut).toEqual({ price: 2, duplicate: 2 })
  })
})

it('counts every row exactly once', () => {
  const row = fc.record({
    listingId: fc.constantFrom('1', '2', '3', null),
    conditionId: fc.constantFrom('1000', '3000', null),
    country: fc.constantFrom('US', 'CN'),
    freeShipping: fc.boolean(),
    price: fc.constantFrom('19.99', '20.00', '50.00', 'x', null),
    currency: fc.constantFrom('USD', 'USD', 'EUR', null),
    placeholder: fc.boolean(),
  })
  fc.assert(
    fc.property(fc.array(fc.option(row.map((change): Row => ({ ...ROW, ...change })))), (rows) => {
      const { listings, leftOut } = recheck(rows, FILTERS)
      expect(listings.length + Object.values(leftOut).reduce((sum, count) => sum + count, 0)).toBe(rows.length)
      expect(new Set(listings.map(({ listingId }) => listingId)).size).toBe(listings.length)
    }),
  )
})

describe('an answer without listings', () => {
  it.each<[string | null, readonly (Row | null)[]]>([
    [null, []],
    [null, [{ ...ROW, conditionId: '3000' }]],
    [
      'no_sellers',
      [
        { ...ROW, seller: null },
        { ...ROW, price: '99.00' },
      ],
    ],
    [
      null,
      [
        { ...ROW, seller: null },
        { ...ROW, listingId: '2' },
      ],
    ],
    ['unreadable', [null, { ...ROW, price: '99.00' }]],
    [null, [null, ...[2, 3, 4].map(() => ({ ...ROW, price: '99.00' }))]],
    ['unreadable', [null, ...[2, 3, 4].map(() => ({ ...ROW, placeholder: true }))]],
  ])('is a false none because of %s', (reason, rows) => {
    expect(falseNone(recheck(rows, FILTERS), rows.length)).toBe(reason)
  })
})

describe('feedback', () => {
  it.each([
    ['99.2', 992],
    ['100', 1000],
    ['0.0', 0],
    ['98', 980],
    ['98.10', 981],
    ['99.25', null],
    ['100.1', null],
    ['', null],
    ['n/a', null],
    [undefined, null],
  ])('percentage %s is %s', (shown, permille) => {
    expect(feedbackPermille(shown)).toBe(permille)
  })

  it.each([
    ['785', 785, false],
    ['102,862', 102_862, false],
    ['3.7K', 3700, true],
    ['102.9k', 102_900, true],
    ['12K', 12_000, true],
    ['1.25M', 1_250_000, true],
    ['-3', -3, false],
  ])('score %s is %d', (shown, score, rounded) => {
    expect(feedbackScore(shown)).toEqual({ score, rounded })
  })

  it.each(['', '3.7', '1,2', 'K', '99999M', '1.2345K'])('score %s is none', (shown) => {
    expect(feedbackScore(shown)).toBeNull()
  })
})

it.each([
  [' kettle_corner ', 'kettle_corner'],
  ['MA8vp1jySJC', 'MA8vp1jySJC'],
  ['two words', null],
  ['x'.repeat(65), null],
  ['a\u0000b', null],
  ['', null],
  [undefined, null],
])('user name %j is %j', (sent, name) => {
  expect(readUsername(sent)).toBe(name)
})
