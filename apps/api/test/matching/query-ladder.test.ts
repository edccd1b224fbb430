import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { isbn13OfAsin, readGtin } from '../../src/base/gtin.ts'
import { ladder, MAX_QUERY_LENGTH } from '../../src/matching/query-ladder.ts'
import type { ListedProduct } from '../../src/providers/types.ts'

function product(title: string, more: Partial<ListedProduct> = {}): ListedProduct {
  return { asin: 'B000000000', title, priceCents: 1000, rank: 1, ...more }
}

function texts(title: string, more: Partial<ListedProduct> = {}): string[] {
  return ladder(product(title, more)).map((rung) => (rung.kind === 'gtin' ? `#${rung.gtin}` : rung.text))
}

describe('ladder', () => {
  it.each([
    [
      'Meat Thermometer Digital by Hotspoke, Instant Read Food Thermometer - Waterproof w/Backlight for Cooking',
      ['Meat Thermometer Digital Hotspoke', 'Meat Thermometer Hotspoke'],
    ],
    ['Vexo AX1800 WiFi 6 Router (Bowman AX21) – Dual Band', ['Vexo AX1800 WiFi 6 Router', 'Vexo AX1800 Router']],
    ['400 Pack Vexo Cable Zip Ties, 12+8+6 Inch, Black', ['Vexo Cable Zip Ties', 'Vexo Cable Ties']],
    ['Vexo Card Reader (Pack of 3), 2-Pack, 120Pcs', ['Vexo Card Reader']],
    ['Vexo Men&#39;s Undershirt 10-Pack, 100% Cotton', ['Vexo Mens Undershirt']],
    ['Vexo 8.5" x 11" Frames Wood', ['Vexo Frames Wood']],
    ['Vexo Reader Tablet 16 GB', ['Vexo Reader Tablet 16GB', 'Vexo Reader Tablet']],
    ['Vexo® Bubbles™ Machine', ['Vexo Bubbles Machine']],
  ])('%s', (title, expected) => {
    expect(texts(title)).toEqual(expected)
  })

  it('puts a valid GTIN first and an invalid one nowhere', () => {
    const title = 'Vexo Garden Sprinkler'
    expect(texts(title, { gtins: ['036000291453', '036000291452'] })).toEqual([
      '#036000291452',
      'Vexo Garden Sprinkler',
    ])
    expect(texts(title, { gtins: ['036000291453', '000000000000', 'x'] })).toEqual(['Vexo Garden Sprinkler'])
  })

  it('reads the bar code of a book from its ASIN', () => {
    expect(texts('Example Novel', { asin: '0306406152' })[0]).toBe('#9780306406157')
    expect(texts('Example Novel', { asin: '0306406153' })[0]).toBe('Example Novel')
  })

  it('uses the known brand', () => {
    expect(texts('Sprinkler Oscillating Garden QR4471, Metal', { brand: 'Visit the Vexo Works Store' }).at(-1)).toBe(
      'Vexo Works Garden QR4471',
    )
    expect(texts('Sprinkler Garden', { brand: 'Generic' })).toEqual(['Sprinkler Garden'])
  })

  it('searches a Chinese title by its brand and model, and cuts it into words when it has none', () => {
    expect(texts('Vexo-Link AX1800 WiFi 6 路由器 (Bowman AX21) – 双频无线互联网路由器')[0]).toBe(
      'Vexo-Link AX1800 WiFi',
    )
    expect(texts('适用于Vexo联想笔记本电脑Lumapad充电器')[0]).toBe('Vexo Lumapad')
    const [words = ''] = texts('100 张心理健康贴纸贴花,用于水瓶笔记本电脑的心理健康意识贴纸')
    expect(words.split(' ').length).toBeGreaterThan(1)
    expect(words).toMatch(/^心理/)
    const [japanese = ''] = texts('水筒ステンレス保温保冷マグボトル')
    expect(japanese.split(' ').length).toBeGreaterThan(1)
    expect(japanese).toContain('ステンレス')
  })

  it.each(['', '   ', '!!! *** ()', '400 Pack', 'the of and', '12', 'a'])('has nothing to search in %j', (title) => {
    expect(ladder(product(title))).toEqual([])
  })

  it('skips a word that cannot fit instead of cutting it', () => {
    const long = 'x'.repeat(120)
    expect(texts(`Vexo ${long} Lamp`)).toEqual(['Vexo Lamp'])
  })

  it('keeps its promises on any title', () => {
    const piece = fc.oneof(
      fc.string({ unit: 'binary', maxLength: 12 }),
      fc.string({ unit: 'grapheme', maxLength: 12 }),
      fc.constantFrom(
        '-minus',
        '(or,',
        '"quoted"',
        '*',
        'AND',
        '路由器',
        'ルーター',
        '16 GB',
        'Pack of 3',
        'AX1800',
        '&amp;',
      ),
      fc.string({ unit: fc.constantFrom(...'abcXYZ019-.&'), maxLength: 60 }),
    )
    const title = fc.array(piece, { maxLength: 14 }).map((pieces) => pieces.join(' '))
    const brand = fc.option(piece, { nil: undefined })
    fc.assert(
      fc.property(title, brand, (text, name) => {
        const given = product(text, name === undefined ? {} : { brand: name })
        const rungs = ladder(given)
        expect(ladder(given)).toEqual(rungs)
        expect(rungs.length).toBeLessThanOrEqual(3)
        const sets = rungs.map((rung) =>
          rung.kind === 'gtin' ? rung.gtin : rung.text.toLowerCase().split(' ').sort().join(' '),
        )
        expect(new Set(sets).size).toBe(sets.length)
        for (const rung of rungs) {
          if (rung.kind !== 'text') continue
          expect(rung.text.length).toBeLessThanOrEqual(MAX_QUERY_LENGTH)
          expect(rung.text).toMatch(/^[\p{L}\p{N}\p{M}.& -]+$/u)
          for (const word of rung.text.split(' ')) expect(word).toMatch(/^[\p{L}\p{N}]/u)
        }
      }),
      { numRuns: 1000 },
    )
  })
})

describe('readGtin', () => {
  it.each([
    ['036000291452', '036000291452'],
    [' 0-36000-29145-2 ', '036000291452'],
    ['4006381333931', '4006381333931'],
    ['96385074', '96385074'],
    ['00036000291452', '0036000291452'],
    ['10036000291459', null],
    ['4006381333932', null],
    ['0000000000000', null],
    ['123', null],
    ['', null],
    ['8.85909E+11', null],
  ])('%j is %j', (text, gtin) => {
    expect(readGtin(text)).toBe(gtin)
  })

  it('notices every single wrong digit', () => {
    const good = '4006381333931'
    for (let at = 0; at < good.length; at++) {
      for (let digit = 0; digit < 10; digit++) {
        const changed = good.slice(0, at) + digit + good.slice(at + 1)
        expect(readGtin(changed)).toBe(changed === good ? good : null)
      }
    }
  })
})

describe('isbn13OfAsin', () => {
  it.each([
    ['0306406152', '9780306406157'],
    ['097522980X', '9780975229804'],
    ['0306406153', null],
    ['B000000000', null],
  ])('%s', (asin, isbn) => {
    expect(isbn13OfAsin(asin)).toBe(isbn)
  })
})
