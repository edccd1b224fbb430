import { describe, expect, it } from 'vitest'
import { treeOf } from '../src/world/categories.ts'
import { passesDefaults } from '../src/world/listings.ts'
import { createWorld, type World } from '../src/world/world.ts'
import { CATEGORIES, temporaryDirectory } from './support.ts'

const tree = treeOf(CATEGORIES)
const pickers = tree.byKey.get('orchard/9101')
const shears = tree.byKey.get('orchard/9102')
const ladders = tree.byKey.get('orchard/9103')
const orchard = tree.byKey.get('orchard')
if (!pickers || !shears || !ladders || !orchard) throw new Error('the fixture lacks a category')

const world = (seed = 1, directory = temporaryDirectory()): World => createWorld(seed, tree, directory)

describe('the generated marketplace', () => {
  it('is the same for the same seed, whatever was asked for before', () => {
    const one = world()
    const other = world()
    other.list(ladders)
    other.list(orchard)
    expect(other.list(pickers)).toEqual(one.list(pickers))
    for (const product of one.list(pickers)) expect(other.listings(product)).toEqual(one.listings(product))
  })

  it('differs for another seed', () => {
    const asins = new Set(
      world(1)
        .list(pickers)
        .map(({ asin }) => asin),
    )
    expect(
      world(2)
        .list(pickers)
        .filter(({ asin }) => asins.has(asin)),
    ).toEqual([])
  })

  it('is searchable again after a restart without being asked for', () => {
    const directory = temporaryDirectory()
    const before = world(1, directory)
    const [product] = before.list(pickers)
    if (!product) throw new Error('no product')
    const query = [[product.brand.toLowerCase()]]
    const after = world(1, directory)
    expect(after.product(product.asin)).toEqual(product)
    expect(after.searchWords(query)).toEqual(before.searchWords(query))
    expect(after.searchWords(query).length).toBeGreaterThan(0)
  })

  it('keeps an uploaded catalogue over a restart, and takes every product once', () => {
    const directory = temporaryDirectory()
    const row = { asin: 'B0UPLOADED', title: 'Gleamwright Tin Opener T88 with Stand', priceCents: 1999, gtin: null }
    expect(world(1, directory).addCatalogue([row, row])).toEqual({ added: 1, known: 1 })
    const after = world(1, directory)
    expect(after.addCatalogue([row])).toEqual({ added: 0, known: 1 })
    expect(after.product('B0UPLOADED')?.priceCents).toBe(1999)
  })

  it('lists up to 100 different products, with valid article numbers and some hidden prices', () => {
    const lists = [pickers, shears, ladders, orchard].map((category) => world().list(category))
    for (const list of lists) {
      expect(list.length).toBeGreaterThanOrEqual(30)
      expect(list.length).toBeLessThanOrEqual(100)
      expect(new Set(list.map(({ asin }) => asin)).size).toBe(list.length)
    }
    const all = lists.flat()
    expect(all.every(({ asin }) => /^[A-Z0-9]{10}$/.test(asin))).toBe(true)
    expect(all.some(({ priceCents }) => priceCents === null)).toBe(true)
    const gtins = all.map(({ gtin }) => gtin).filter((gtin) => gtin !== null)
    expect(gtins.length).toBeGreaterThan(all.length / 2)
    expect(gtins.every(hasValidCheckDigit)).toBe(true)
  })

  it('puts some products into two categories, and a node of two departments into one list', () => {
    const made = world()
    const department = new Set(made.list(orchard).map(({ asin }) => asin))
    expect(made.list(pickers).some(({ asin }) => department.has(asin))).toBe(true)
    const attic = tree.byKey.get('attic/9103')
    expect(attic && made.list(attic)).toEqual(made.list(ladders))
  })

  it('has shared sellers, twins told apart by a dot, changing case, dominating sellers and empty searches', () => {
    const made = world()
    const rows = [pickers, shears, ladders].flatMap((category) =>
      made.list(category).map((product) => ({
        product,
        passing: made.listings(product).filter((listing) => passesDefaults(listing, product.priceCents)),
      })),
    )
    const homesOf = new Map<string, Set<string>>()
    const names = new Map<string, Set<string>>()
    for (const { product, passing } of rows) {
      for (const { seller, username } of passing) {
        homesOf.set(seller.key, (homesOf.get(seller.key) ?? new Set()).add(product.home))
        names.set(seller.userId, (names.get(seller.userId) ?? new Set()).add(username))
      }
    }
    expect([...homesOf.values()].some((homes) => homes.size >= 3)).toBe(true)
    expect([...names.values()].some((shown) => shown.size > 1)).toBe(true)
    for (const shown of names.values()) expect(new Set([...shown].map((name) => name.toLowerCase())).size).toBe(1)
    const undotted = [...homesOf.keys()].map((key) => key.replaceAll('.', ''))
    expect(new Set(undotted).size).toBeLessThan(undotted.length)
    expect(rows.some(({ passing }) => passing.length === 0)).toBe(true)
    expect(rows.some(({ passing }) => dominated(passing.map(({ seller }) => seller.key)))).toBe(true)
  })
})

function dominated(keys: readonly string[]): boolean {
  return keys.length > 10 && keys.some((key) => keys.filter((other) => other === key).length > keys.length / 2)
}

function hasValidCheckDigit(gtin: string): boolean {
  const sum = [...gtin].reduce((total, digit, place) => total + Number(digit) * (place % 2 === 0 ? 3 : 1), 0)
  return gtin.length === 12 && sum % 10 === 0
}
