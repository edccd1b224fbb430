import { describe, expect, it } from 'vitest'
import type { Micros } from '../../src/base/money.ts'
import { budgetBar, SWATCH } from '../../src/cli/budget-bar.ts'
import {
  clock,
  comingMoment,
  duration,
  exactMoney,
  moment,
  moneyDown,
  moneyUp,
  percent,
  perNewSeller,
  price,
  rate,
  readDollars,
  runDecimals,
} from '../../src/cli/format.ts'
import { makePace } from '../../src/cli/pace.ts'
import { cutTo, makePaint, widthOf, wrap } from '../../src/cli/paint.ts'
import type { RunSnapshot } from '../../src/runs/snapshot.ts'
import { csvCell } from '../../src/sellers/cells.ts'

const micros = (value: number) => value as Micros

describe('money', () => {
  it('rounds what is spent up and what is left down, and shows less than a cent as that', () => {
    expect(moneyUp(micros(11_605_000))).toBe('$11.61')
    expect(moneyUp(micros(11_600_001))).toBe('$11.61')
    expect(moneyDown(micros(11_609_999))).toBe('$11.60')
    expect(moneyUp(micros(500))).toBe('<$0.01')
    expect(moneyUp(micros(0))).toBe('$0.00')
    expect(moneyUp(micros(99_999_990_001))).toBe('$100,000.00')
  })

  it('is exact on one run, with the decimals of its cheapest call', () => {
    expect(runDecimals([5000, 6000])).toBe(3)
    expect(runDecimals([60, 5000])).toBe(5)
    expect(runDecimals([0, 10_000_000])).toBe(2)
    expect(exactMoney(micros(11_605_000), 3)).toBe('$11.605')
    expect(exactMoney(micros(60_000), 3)).toBe('$0.060')
  })

  it('tells free, no price and nothing yet apart', () => {
    expect([price(0), price(null), price(500)]).toEqual(['free', 'no price', '$0.0005'])
    expect(perNewSeller(micros(11_605_000), 318)).toBe('$0.0365')
    expect(perNewSeller(micros(10), 318)).toBe('<$0.0001')
    expect(perNewSeller(micros(5000), 0)).toBe('—')
  })

  it('is read as people type it, and never guessed', () => {
    expect([readDollars('25'), readDollars('$12.50'), readDollars('1,000')]).toEqual([25e6, 12.5e6, 1e9])
    for (const text of ['', 'abc', '1,00', '12.', '1e3', '0.0000001']) {
      expect(() => readDollars(text), text).toThrow(expect.objectContaining({ code: 'input.cap_invalid' }))
    }
  })
})

describe('numbers and time', () => {
  it('rounds per cent down', () => {
    expect([percent(0, 9), percent(1, 1000), percent(999, 1000), percent(9, 9)]).toEqual([
      '0 %',
      '<1 %',
      '99 %',
      '100 %',
    ])
  })

  it('shows rates with one decimal under a hundred', () => {
    expect([rate(16.44), rate(980.4)]).toEqual(['16.4/s', '980/s'])
  })

  it('shows durations and moments in words', () => {
    const all = [820, 4_230, 42_000, 42 * 60_000, 72 * 60_000, 76 * 3_600_000].map(duration)
    expect(all).toEqual(['820 ms', '4.2 s', '42 s', '42 min', '1 h 12 min', '3 d 4 h'])
    expect(clock(2_527_000)).toBe('0:42:07')
    const now = new Date(2026, 10, 22, 14, 2)
    expect(moment(new Date(2026, 10, 22, 13, 50), now)).toBe('12 min ago')
    expect(moment(new Date(2026, 10, 20, 14, 2), now)).toBe('20 Nov 14:02')
    expect(moment(new Date(2025, 10, 20, 14, 2), now)).toBe('20 Nov 2025 14:02')
    expect(comingMoment(new Date(2026, 10, 22, 14, 40), now)).toBe('14:40')
    expect(comingMoment(new Date(2026, 10, 26, 9, 0), now)).toBe('Thu 26 Nov')
  })
})

describe('the end of a run', () => {
  const run = (processedItems: number): RunSnapshot =>
    ({
      status: 'running',
      processedItems,
      pendingItems: 1000 - processedItems,
      processingItems: 0,
      openCategories: 0,
    }) as RunSnapshot

  it('is not told before 50 answers, and then stands still while it hardly moves', () => {
    const pace = makePace()
    expect(pace.look(run(0), 0).end).toBeNull()
    expect(pace.look(run(40), 4_000).end).toBeNull()
    const first = pace.look(run(60), 6_000)
    expect(first.perSecond).toBe(10)
    expect(first.end?.from.getTime()).toBe(100_000)
    expect(pace.look(run(71), 7_000).end).toBe(first.end)
  })

  it('is a range when the speed changes by more than a quarter', () => {
    const pace = makePace()
    for (let second = 0; second <= 30; second++) pace.look(run(second * 10), second * 1000)
    for (let second = 31; second <= 45; second++) pace.look(run(300 + (second - 30) * 2), second * 1000)
    const { end } = pace.look(run(332), 46_000)
    expect(end?.until?.getTime()).toBeGreaterThan(end?.from.getTime() ?? Number.POSITIVE_INFINITY)
  })
})

describe('the budget bar', () => {
  const bar = (spent: number, held: number, suspect: number, cap: number) =>
    budgetBar(
      { spentMicros: spent, heldMicros: held, suspectMicros: suspect, capMicros: cap } as RunSnapshot,
      20,
      makePaint(false),
    )

  it('shows spent, held, suspect, left in this order over the whole cap', () => {
    expect(bar(10, 5, 5, 20)).toBe(`${SWATCH.spent.repeat(10)}${SWATCH.held.repeat(5)}${SWATCH.suspect.repeat(5)}`)
    expect(bar(0, 0, 0, 0)).toBe(SWATCH.left.repeat(20))
  })

  it('gives every part above zero a column, taken from the widest', () => {
    const drawn = bar(1, 1, 1, 1_000_000)
    expect(drawn).toBe(`${SWATCH.spent}${SWATCH.held}${SWATCH.suspect}${SWATCH.left.repeat(17)}`)
    expect(bar(999_999, 0, 0, 1_000_000)).toBe(`${SWATCH.spent.repeat(19)}${SWATCH.left}`)
  })
})

describe('cells of a CSV file', () => {
  it.each([
    ['=1+1', "'=1+1"],
    ['+1', "'+1"],
    ['-1', "'-1"],
    ['@SUM(A1)', "'@SUM(A1)"],
    ['\tx', "'\tx"],
    ['\rx', '"\'\rx"'],
    ['＝1', "'＝1"],
    ['a,b', '"a,b"'],
    ['say "x"', '"say ""x"""'],
    ['a\nb', '"a\nb"'],
    ['plain-name', 'plain-name'],
  ])('%j is written as %j', (text, cell) => expect(csvCell(text)).toBe(cell))

  it('leaves numbers numbers and nothing empty', () => expect([csvCell(-5), csvCell(null)]).toEqual(['-5', '']))
})

describe('text on a terminal', () => {
  it('is measured without paint, wide characters twice, and cut to fit', () => {
    expect(widthOf(makePaint(true).bold('añb'))).toBe(3)
    expect(widthOf('日本')).toBe(4)
    expect(cutTo('Kitchen and Dining', 10)).toBe('Kitchen a…')
    expect(widthOf(cutTo('日本語日本語', 5))).toBeLessThanOrEqual(5)
  })

  it('is broken between words', () => expect(wrap('one two three', 8)).toBe('one two\nthree'))
})
