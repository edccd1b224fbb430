/** The category tree the world is built over: the project's own data file, read once. */
import { readFileSync } from 'node:fs'

export type Category = Readonly<{
  key: string
  id: string
  name: string
  parentId: string | null
  slug: string
  level: number
  browseNodeId: string | null
}>

export type CategoryTree = Readonly<{
  all: readonly Category[]
  byKey: ReadonlyMap<string, Category>
  /** A browse node id, a department's root node or a slug; the first one in file order where a node occurs twice. */
  find: (reference: string, slug?: string) => Category | null
  childrenOf: (category: Category) => readonly Category[]
  siblingsOf: (category: Category) => readonly Category[]
}>

/** Reads and indexes the file. Throws an Error with the path in its message when it cannot be read or has no rows. */
export function readCategories(file: string): CategoryTree {
  let rows: unknown
  try {
    rows = JSON.parse(readFileSync(file, 'utf8'))
  } catch (cause) {
    throw new Error(`cannot read the category file ${file}`, { cause })
  }
  if (!Array.isArray(rows) || rows.length === 0) throw new Error(`no categories in ${file}`)
  return treeOf((rows as Category[]).map((row) => ({ ...row, browseNodeId: row.browseNodeId ?? null })))
}

export function treeOf(all: readonly Category[]): CategoryTree {
  const byKey = new Map(all.map((category) => [category.key, category]))
  const byReference = new Map<string, Category>()
  const children = new Map<string, Category[]>()
  for (const category of all) {
    for (const reference of [category.id, category.browseNodeId]) {
      if (reference === null) continue
      if (!byReference.has(reference)) byReference.set(reference, category)
      if (!byReference.has(`${category.slug}/${reference}`)) byReference.set(`${category.slug}/${reference}`, category)
    }
    if (category.parentId === null) continue
    const parent = `${category.slug}|${category.parentId}`
    const siblings = children.get(parent)
    if (siblings) siblings.push(category)
    else children.set(parent, [category])
  }
  return {
    all,
    byKey,
    find: (reference, slug) => byReference.get(slug === undefined ? reference : `${slug}/${reference}`) ?? null,
    childrenOf: (category) => children.get(`${category.slug}|${category.id}`) ?? [],
    siblingsOf: (category) => children.get(`${category.slug}|${category.parentId}`) ?? [],
  }
}
