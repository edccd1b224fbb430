import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { cleanLine, cutText, decodeEntities, foldText } from '../../src/base/text.ts'

describe('decodeEntities', () => {
  it.each([
    ['Johnson&amp;Johnson', 'Johnson&Johnson'],
    ['8&quot; pan, caf&eacute; &#39;A&#x2019;', '8" pan, café \'A’'],
    ['&yuml;&nbsp;&divide;', 'ÿ\u00a0÷'],
    ['AT&T; &unknown; &#0; &#xD800; &#1114112; & ;', 'AT&T; &unknown; &#0; &#xD800; &#1114112; & ;'],
    ['&amp;lt;', '&lt;'],
  ])('%s', (given, expected) => {
    expect(decodeEntities(given)).toBe(expected)
  })
})

describe('cleanLine', () => {
  it('leaves one storable line', () => {
    expect(cleanLine('\ufeff a\u0000b\t\r\nc\u202e d\ud800 ')).toBe('a b c d\ufffd')
  })

  it('is idempotent, well-formed and free of control characters', () => {
    fc.assert(
      fc.property(fc.string({ unit: 'binary' }), (text) => {
        const clean = cleanLine(text)
        expect(cleanLine(clean)).toBe(clean)
        expect(clean.isWellFormed()).toBe(true)
        expect(clean).not.toMatch(/\p{Cc}/u)
      }),
    )
  })
})

describe('cutText', () => {
  it('counts characters, not halves of them', () => {
    expect(cutText('😀😀😀', 2)).toBe('😀😀')
    expect(cutText('😀😀', 2)).toBe('😀😀')
    expect(cutText('ab cd', 3)).toBe('ab')
  })
})

describe('foldText', () => {
  it.each([
    ['Home Décor', 'home decor'],
    ['  HOME  DE\u0301COR ', 'home decor'],
    ['Home & Kitchen', 'home and kitchen'],
    ['Libros en español', 'libros en espanol'],
    ['Ｋｉｔｃｈｅｎ', 'kitchen'],
  ])('%s', (given, expected) => {
    expect(foldText(given)).toBe(expected)
  })

  it('is idempotent', () => {
    fc.assert(
      fc.property(fc.string({ unit: 'binary' }), (text) => {
        expect(foldText(foldText(text))).toBe(foldText(text))
      }),
      { numRuns: 1000 },
    )
  })
})
