import { describe, expect, it } from 'vitest'
import { readEbayPage } from '../../src/providers/ebay-html.ts'
import { searchUrl } from '../../src/providers/oxylabs-ebay.ts'
import type { Row } from '../../src/providers/recheck.ts'
import { type CardChange, FILTERS, newCard, oldCard, PLACEHOLDER, resultsPage, SEARCH } from './wire.ts'

function rows(html: string): readonly (Row | null)[] {
  const page = readEbayPage(html)
  if (page.kind !== 'rows') throw new Error(`${page.kind}: ${page.message}`)
  return page.rows
}

describe.each([
  ['since 2025', newCard],
  ['until 2025', oldCard],
])('the layout %s', (_, card: (change?: CardChange) => string) => {
  const read = (change: CardChange) => rows(resultsPage([card(change)]))[0]

  it('is read whole', () => {
    expect(read({})).toMatchObject({
      listingId: '110000000001',
      title: 'Brewster Kettle & Filter',
      conditionId: '1000',
      buyingOptions: ['FIXED_PRICE'],
      country: 'US',
      freeShipping: true,
      currency: 'USD',
      price: '19.99',
      seller: { username: 'kettle_corner', feedbackPermille: 992 },
      placeholder: false,
    })
  })

  it.each<[CardChange, Record<string, unknown>]>([
    [{ price: '$1,219.99' }, { price: '1,219.99', currency: 'USD' }],
    [{ price: 'US $12.00' }, { price: '12.00', currency: 'USD' }],
    [{ price: '$12.00 to $24.00' }, { price: '12.00', currency: 'USD' }],
    [{ price: 'IDR249,919.15' }, { currency: 'other' }],
    [{ price: 'C $19.99' }, { currency: 'other' }],
    [{ condition: 'Pre-Owned' }, { conditionId: null }],
    [{ condition: 'New (Other)' }, { conditionId: null }],
    [{ condition: 'Open Box · Brewster' }, { conditionId: null }],
    [{ condition: 'Brand New · Brewster' }, { conditionId: '1000' }],
    [{ lines: ['Free delivery', 'Located in China'] }, { country: 'CN' }],
    [{ lines: ['Free delivery', 'from United States'] }, { country: 'US' }],
    [{ lines: ['Free delivery', 'Located in Atlantis'] }, { country: null }],
    [{ lines: ['+$5.99 delivery', 'Free returns'] }, { freeShipping: false }],
    [{ lines: ['Free 3 day delivery'] }, { freeShipping: true }],
    [{ lines: ['0 bids · 2d 4h left', 'Free delivery'] }, { buyingOptions: ['AUCTION'] }],
    [{ lines: ['or Best Offer', 'Free delivery'] }, { buyingOptions: ['FIXED_PRICE'] }],
    [{ title: 'New Listing Kettle' }, { title: 'Kettle' }],
    [{ title: '' }, { title: null }],
    [{ seller: null }, { seller: null }],
  ])('%j', (change, expected) => {
    const others = [card({ id: '110000000002' }), card({ id: '110000000003' })]
    expect(rows(resultsPage([card(change), ...others]))[0]).toMatchObject(expected)
  })
})

describe('sellers', () => {
  it.each([
    [newCard({ seller: ['kettle_corner', '99.6% positive (785)'] }), { feedbackScore: 785, feedbackPermille: 996 }],
    [newCard({ seller: ['kettle_corner', '100% positive (3.7K)'] }), { feedbackScore: 3700, rounded: true }],
    [newCard({ seller: ['kettle_corner 99.6% positive (1.2M)', ''] }), { feedbackScore: 1_200_000, rounded: true }],
    [oldCard({ seller: ['kettle_corner', '(102,862) 98.8%'] }), { feedbackScore: 102_862, feedbackPermille: 988 }],
    [oldCard({ seller: ['kettle_corner', '(93) 100%'] }), { feedbackScore: 93, feedbackPermille: 1000 }],
  ])('%#', (card, expected) => {
    expect(rows(resultsPage([card]))[0]?.seller).toMatchObject({ username: 'kettle_corner', ...expected })
  })

  it('with an exact score are not called rounded', () => {
    expect(rows(resultsPage([oldCard()]))[0]?.seller).not.toHaveProperty('rounded')
  })
})

describe('a page', () => {
  it('marks its placeholders', () => {
    expect(rows(resultsPage([PLACEHOLDER, newCard()])).map((row) => row?.placeholder)).toEqual([true, false])
  })

  it.each([
    resultsPage([PLACEHOLDER], '0 results for kettle'),
    resultsPage([PLACEHOLDER], '<span class=BOLD>0</span> results for <span>kettle</span>'),
    resultsPage([]).replace('<ul', '<h3 class="srp-save-null-search__heading">No exact matches found</h3><ul'),
    // What eBay offers instead is not what was asked for.
    resultsPage([newCard()], '0 results for kettle'),
  ])('that says nothing was found has no rows: %#', (html) => {
    expect(rows(html).filter((row) => !row?.placeholder)).toEqual([])
  })

  it('ends where rows for fewer words begin', () => {
    const fewer = '<li class="srp-river-answer srp-river-answer--REWRITE_START">Results matching fewer words</li>'
    const cards = [PLACEHOLDER, newCard(), newCard({ id: '110000000002' }), fewer, newCard({ id: '110000000003' })]
    expect(rows(resultsPage(cards)).map((row) => row?.listingId)).toEqual(['123456', '110000000001', '110000000002'])
  })

  it('with broken nesting is read all the same', () => {
    const html = resultsPage([PLACEHOLDER, '</div></div>', newCard(), newCard({ id: '110000000002' })])
    expect(rows(html)).toHaveLength(3)
  })

  it('nested beyond reason does not break the process', () => {
    expect(readEbayPage(`<div class=srp-results>${'<div>'.repeat(200_000)}`).kind).toBe('drift')
  })
})

describe('the search URL', () => {
  it('carries every filter', () => {
    expect(searchUrl(SEARCH)).toBe(
      'https://www.ebay.com/sch/i.html?_nkw=Brewster+Pour+Over+Kettle&LH_ItemCondition=1000&LH_BIN=1&LH_Free=1' +
        '&LH_PrefLoc=1&_udlo=16.00&_udhi=32.00&_ipg=240&_pgn=1',
    )
  })

  it('leaves out what is not asked', () => {
    const filters = { ...FILTERS, locatedIn: null, freeShipping: false, priceCents: null }
    const url = searchUrl({ query: { kind: 'gtin', gtin: '012345678905' }, filters, limit: 50 })
    expect(url).toBe('https://www.ebay.com/sch/i.html?_nkw=012345678905&LH_ItemCondition=1000&LH_BIN=1&_ipg=60&_pgn=1')
  })
})
