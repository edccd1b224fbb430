import { mkdtemp, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { AppError } from '../../src/base/errors.ts'
import {
  BUILT_IN_CATEGORIES,
  categoryPath,
  checkCategories,
  loadCategories,
  toCategoryRef,
} from '../../src/runs/categories.ts'

const tree = await loadCategories()

const department = { key: 'toys', id: 'toys', name: 'Toys', parentId: null, slug: 'toys', level: 0, browseNodeId: '7' }
const child = { key: 'toys/1', id: '1', name: 'Dolls', parentId: 'toys', slug: 'toys', level: 1 }
const grandchild = { key: 'toys/2', id: '2', name: 'Houses', parentId: '1', slug: 'toys', level: 2 }

function refusal(rows: unknown): AppError {
  try {
    checkCategories(rows, 'my.json')
  } catch (error) {
    if (error instanceof AppError) return error
    throw error
  }
  throw new Error('accepted')
}

describe('the built-in tree', () => {
  it('holds 40 departments and 842 categories, parents first', () => {
    expect(tree.source).toBe(BUILT_IN_CATEGORIES)
    expect(tree.rows).toHaveLength(842)
    expect(tree.byKey.size).toBe(842)
    expect(tree.rows.filter((row) => row.level === 0)).toHaveLength(40)
    const seen = new Set<string>()
    for (const row of tree.rows) {
      if (row.parentId !== null) expect(seen).toContain(`${row.slug} ${row.parentId}`)
      seen.add(`${row.slug} ${row.id}`)
    }
  })

  it('flags what is not goods, with everything below it', () => {
    const physical = (key: string) => tree.byKey.get(key)?.physical
    expect(['audible', 'digital-text', 'gift-cards', 'mobile-apps', 'software', 'dmusic'].map(physical)).not.toContain(
      true,
    )
    expect(physical('gift-cards/120225714011')).toBe(false)
    expect(physical('movies-tv')).toBe(true)
    expect(physical('movies-tv/2958933011')).toBe(false)
    expect(physical('kitchen')).toBe(true)
    expect(tree.rows.filter((row) => row.physical).length).toBeGreaterThan(700)
  })

  it('gives paths and what the adapters need', () => {
    const towels = tree.byKey.get('home-garden/1057792') ?? tree.rows.find((row) => row.name === 'Towels')
    expect(towels && categoryPath(tree, towels)).toBe('Home & Kitchen > Bath > Towels')
    const kitchen = tree.byKey.get('kitchen')
    expect(kitchen && toCategoryRef(kitchen)).toEqual({
      key: 'kitchen',
      slug: 'kitchen',
      nodeId: '284507',
      name: 'Kitchen & Dining',
    })
    expect(towels && toCategoryRef(towels).nodeId).toBe(towels?.id)
    const renewed = tree.byKey.get('amazon-renewed')
    expect(renewed && toCategoryRef(renewed).nodeId).toBeNull()
  })
})

describe('checkCategories', () => {
  it('accepts a sound tree, drops unknown fields, and keeps order', () => {
    const rows = checkCategories([department, { ...child, leaf: true }, grandchild])
    expect(rows.map((row) => row.key)).toEqual(['toys', 'toys/1', 'toys/2'])
    expect(rows[1]).toEqual({ ...child, browseNodeId: null, physical: true })
  })

  it.each([
    ['no list', { rows: [] }, 'must be a JSON array'],
    ['an empty list', [], 'must be a JSON array'],
    ['a field missing', [{ ...department, name: undefined }], 'row 1: name'],
    ['a number for an id', [department, { ...child, id: 1 }], 'row 2: id'],
    ['a separator in a name', [{ ...department, name: 'A > B' }], 'separates the parts of a path'],
    ['a key twice', [department, child, child], 'toys/1: the key occurs twice'],
    ['a foreign key', [department, { ...child, key: 'toys/9' }], 'toys/9: the key must be toys/1'],
    ['a parent missing', [department, { ...child, parentId: '8' }], 'its parent toys/8 is missing'],
    [
      'a parent in another department',
      [department, { ...child, slug: 'games', key: 'games/1', parentId: '2' }],
      'games/2',
    ],
    ['a wrong level', [department, child, { ...grandchild, level: 3 }], 'toys/2: level must be 2'],
    [
      'a department below another',
      [department, { ...department, key: 'x', id: 'x', slug: 'x', parentId: 'toys' }],
      'level 0',
    ],
    ['its own parent', [department, { ...child, parentId: '1' }], 'level must be 2'],
  ])('refuses %s', (_what, rows, text) => {
    const error = refusal(rows)
    expect(error.code).toBe('input.invalid')
    expect(error.message).toContain('my.json')
    expect(error.message).toContain(text)
  })

  it('names at most 20 problems', () => {
    const error = refusal(Array.from({ length: 500 }, () => ({})))
    expect(error.details['problems']).toHaveLength(20)
  })
})

describe('loadCategories', () => {
  it('reads a replacement, with a byte-order mark too', async () => {
    const path = join(await mkdtemp(join(tmpdir(), 'gleaner-')), 'tree.json')
    await writeFile(path, `\ufeff${JSON.stringify([department, child])}`)
    const own = await loadCategories(path)
    expect(own.source).toBe(path)
    expect([...own.byKey.keys()]).toEqual(['toys', 'toys/1'])
  })

  it.each([
    ['a missing file', 'absent.json', null],
    ['a directory', '.', null],
    ['no JSON', 'tree.json', '{"key":'],
  ])('refuses %s', async (_what, name, content) => {
    const path = join(await mkdtemp(join(tmpdir(), 'gleaner-')), name)
    if (content !== null) await writeFile(path, content)
    await expect(loadCategories(path)).rejects.toMatchObject({ name: 'AppError', code: 'input.file_unreadable' })
  })
})
