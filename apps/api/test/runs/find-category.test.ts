import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { categoryPath, checkCategories, loadCategories } from '../../src/runs/categories.ts'
import { type CategoryChoice, findCategory, requireCategory, searchCategories } from '../../src/runs/find-category.ts'

const tree = await loadCategories()

function found(text: string): string {
  const answer = findCategory(tree, text)
  return answer.kind === 'found' ? answer.category.key : `${answer.kind}!`
}

function keys(choices: readonly CategoryChoice[]): string[] {
  return choices.map((one) => one.category.key)
}

describe('findCategory', () => {
  it.each([
    ['kitchen', 'kitchen'],
    ['KITCHEN', 'kitchen'],
    ['kitchen/289742', 'kitchen/289742'],
    ['289742', 'kitchen/289742'],
    ['1055398', 'home-garden'],
    ['home & kitchen', 'home-garden'],
    ['Home and Kitchen', 'home-garden'],
    ['electronics', 'electronics'],
    ['home decor', 'home-garden/1063278'],
    ['Home & Kitchen > Home Décor', 'home-garden/1063278'],
    ['home & kitchen>home decor', 'home-garden/1063278'],
    ['Pet Supplies > Dogs > Food', 'pet-supplies/2975359011'],
    ['Dogs › Food', 'pet-supplies/2975359011'],
    ['https://www.amazon.com/Best-Sellers-Kitchen-Dining/zgbs/kitchen/ref=zg_bs_nav', 'kitchen'],
    ['https://www.amazon.com/gp/bestsellers/pet-supplies/2975359011?pg=2', 'pet-supplies/2975359011'],
  ])('%s', (text, key) => {
    expect(found(text)).toBe(key)
  })

  it('finds every category by its key, and by its full path in any case', () => {
    for (const row of tree.rows) {
      expect(found(row.key)).toBe(row.key)
      expect(found(` ${categoryPath(tree, row).toUpperCase()} `)).toBe(row.key)
    }
  })

  it.each([
    ['172574', ['electronics/172574', 'office-products/172574']],
    ['284507', ['home-garden/284507', 'kitchen']],
    ['Music', ['music', 'software/497022']],
  ])('never guesses: %s', (text, candidates) => {
    const answer = findCategory(tree, text)
    expect(answer.kind).toBe('ambiguous')
    expect(answer.kind === 'ambiguous' && keys(answer.candidates).sort()).toEqual(candidates)
  })

  it('asks when a name is also the slug of another department', () => {
    const department = (slug: string, name: string) => ({ key: slug, id: slug, name, parentId: null, slug, level: 0 })
    const rows = checkCategories([department('music', 'Tunes'), department('sound', 'Music')])
    const small = { rows, byKey: new Map(rows.map((row) => [row.key, row])), source: 'test' }
    const answer = findCategory(small, 'Music')
    expect(answer.kind === 'ambiguous' && keys(answer.candidates)).toEqual(['sound', 'music'])
    expect(findCategory(small, 'music')).toMatchObject({ kind: 'found', category: { key: 'music' } })
  })

  it('takes every step of a path seriously', () => {
    expect(findCategory(tree, 'Dogs > Electronics > Food').kind).toBe('unknown')
    expect(findCategory(tree, 'Food > Dogs').kind).toBe('unknown')
  })

  it('names the candidates by path', () => {
    const answer = findCategory(tree, '172574')
    expect(answer.kind === 'ambiguous' && answer.candidates.map((one) => one.path)).toEqual([
      'Electronics > Office Electronics',
      'Office Products > Office Electronics',
    ])
  })

  it.each([
    ['Electornics', 'electronics'],
    ['Cat Fod', 'pet-supplies/2975265011'],
    ['laptpo', 'pc/565108'],
    ['kids room decor', 'home-garden/404454011'],
    ['home & kitchen > Coffee Machines', 'home-garden/915194'],
  ])('suggests for %s', (text, nearest) => {
    const answer = findCategory(tree, text)
    expect(answer.kind === 'unknown' && keys(answer.suggestions)[0]).toBe(nearest)
    expect(answer.kind === 'unknown' && answer.suggestions.length).toBeLessThanOrEqual(5)
  })

  it.each(['', '  ', '>', 'xyzzy qqqq', '999999999999'])('has nothing near %j', (text) => {
    expect(findCategory(tree, text)).toEqual({ kind: 'unknown', suggestions: [] })
  })

  it('answers anything', () => {
    fc.assert(
      fc.property(fc.string({ unit: 'binary' }), (text) => {
        expect(['found', 'ambiguous', 'unknown']).toContain(findCategory(tree, text).kind)
      }),
      { numRuns: 10 },
    )
  })
})

describe('requireCategory', () => {
  it('refuses with the choices', () => {
    expect(requireCategory(tree, 'kitchen').key).toBe('kitchen')
    expect(() => requireCategory(tree, '172574')).toThrow(/names 2 categories: electronics\/172574 \(Electronics > Off/)
    expect(() => requireCategory(tree, 'Electornics')).toThrow(/no category "Electornics"; near: electronics/)
    try {
      requireCategory(tree, 'Music')
      expect.unreachable()
    } catch (error) {
      expect(error).toMatchObject({ code: 'input.category_ambiguous', details: { text: 'Music' } })
    }
  })
})

describe('searchCategories', () => {
  it('needs every word, ancestors helping out', () => {
    expect(searchCategories(tree, 'kitchen towel').map((one) => one.path)).toEqual([
      'Home & Kitchen > Bath > Towels',
      'Home & Kitchen > Cleaning Supplies > Paper Towels',
    ])
  })

  it('lists in tree order without words, and finds ids exactly', () => {
    expect(keys(searchCategories(tree, '', 3))).toEqual(tree.rows.slice(0, 3).map((row) => row.key))
    expect(keys(searchCategories(tree, '172574'))).toEqual(['electronics/172574', 'office-products/172574'])
    expect(keys(searchCategories(tree, 'kitchen/289742'))).toEqual(['kitchen/289742'])
  })

  it('falls back to the nearest', () => {
    expect(keys(searchCategories(tree, 'electornics'))[0]).toBe('electronics')
  })
})
