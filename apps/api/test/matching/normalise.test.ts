import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { checkTypedSellerName, normaliseSellerName, readSellerName } from '../../src/matching/normalise.ts'

const userName = fc
  .tuple(
    fc.constantFrom(...'abcxyz0189*'),
    fc.string({ unit: fc.constantFrom(...'abcxyz0189._-*'), maxLength: 30 }),
    fc.constantFrom(...'abcxyz0189*'),
  )
  .map((parts) => parts.join(''))

/** The spellings one user name comes in (providers' README, section 6), none of which changes who it is. */
function spellings(name: string): string[] {
  const wide = name.replace(/[!-~]/g, (letter) => String.fromCharCode(letter.charCodeAt(0) + 0xfee0))
  return [
    name.toUpperCase(),
    `  ${name}\u00a0`,
    `@${name}`,
    ` @ ${name} `,
    wide,
    `https://www.ebay.com/usr/${name}`,
    `HTTP://WWW.EBAY.CO.UK/USR/${name.toUpperCase()}?_trksid=p1#top`,
    `ebay.com/usr/${encodeURIComponent(name)}/`,
    `/usr/${name}`,
  ]
}

describe('normaliseSellerName', () => {
  it('is one key for every spelling of a name', () => {
    fc.assert(
      fc.property(userName, (name) => {
        expect(normaliseSellerName(name)).toBe(name)
        for (const spelling of spellings(name)) expect(normaliseSellerName(spelling)).toBe(name)
      }),
    )
  })

  it('never merges two user names', () => {
    fc.assert(
      fc.property(userName, userName, (a, b) => {
        expect(normaliseSellerName(a) === normaliseSellerName(b)).toBe(a === b)
      }),
    )
    const different = ['a.b', 'ab', 'a_b', 'a-b', 'a*b', 'a..b', 'a.b*', '0ab', 'oab']
    expect(new Set(different.map(normaliseSellerName)).size).toBe(different.length)
  })

  it('is idempotent on any text', () => {
    fc.assert(
      fc.property(
        fc.oneof(
          fc.string({ unit: 'binary' }),
          fc.string().map((text) => `@/usr/${text}`),
        ),
        (text) => {
          const key = normaliseSellerName(text)
          expect(normaliseSellerName(key)).toBe(key)
          expect(key.isWellFormed()).toBe(true)
        },
      ),
      { numRuns: 2000 },
    )
  })

  it('does not take a store for a user', () => {
    expect(normaliseSellerName('https://www.ebay.com/str/somestore')).toBe('https://www.ebay.com/str/somestore')
    expect(normaliseSellerName('https://evil.example/usr/name')).toBe('https://evil.example/usr/name')
  })
})

describe('readSellerName', () => {
  it('keeps the name as it came and its key', () => {
    expect(readSellerName(' Some.Seller_1 ')).toEqual({ displayName: 'Some.Seller_1', normalizedName: 'some.seller_1' })
    expect(readSellerName('9')?.normalizedName).toBe('9')
    expect(readSellerName('-odd-')?.normalizedName).toBe('-odd-')
  })

  it.each(['', ' ', 'two words', 'a\u0000b', 'x'.repeat(65), 'a\ud800', 'a\u200bb', '@'])('is null for %j', (text) => {
    expect(readSellerName(text)).toBeNull()
  })
})

describe('checkTypedSellerName', () => {
  it('accepts what eBay accepts, in every spelling', () => {
    fc.assert(
      fc.property(userName, (name) => {
        for (const spelling of [name, ...spellings(name)]) {
          expect(checkTypedSellerName(spelling)).toEqual({
            ok: true,
            name: { displayName: name, normalizedName: name },
          })
        }
      }),
    )
  })

  it.each([
    ['', 'empty'],
    ['Some Great Store', 'no spaces'],
    ['https://www.ebay.com/str/somestore', 'store'],
    ['someone@example.com', 'e-mail'],
    ['https://www.ebay.com/itm/12345', 'without a user name'],
    ['a', 'letters, digits'],
    ['-abc', 'begins and ends'],
    ['abc.', 'begins and ends'],
    ['naïve', 'letters, digits'],
    ['x'.repeat(65), 'at most 64'],
  ])('refuses %j with the reason', (text, reason) => {
    const answer = checkTypedSellerName(text)
    expect(answer.ok).toBe(false)
    expect(!answer.ok && answer.problem).toContain(reason)
  })
})
