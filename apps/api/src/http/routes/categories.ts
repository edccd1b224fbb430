/** The tree of best-seller lists: facts that come with Gleaner, the same for everybody. */
import { z } from 'zod'
import { AppError } from '../../base/errors.ts'
import { type Category, type CategoryTree, categoryPath, loadCategories, parentOf } from '../../runs/categories.ts'
import { searchCategories } from '../../runs/find-category.ts'
import { type Route, route } from '../route.ts'
import { count } from '../schemas/common.ts'

const category = z
  .object({
    key: z.string(),
    name: z.string(),
    path: z.string().describe('From the department down.'),
    parentKey: z.string().nullable(),
    level: count,
    physical: z.boolean().describe('False when its best sellers are no goods that eBay sells.'),
    children: count.describe('Categories right below it.'),
  })
  .meta({ id: 'Category', description: 'One Amazon best-seller list.' })

const preset = z
  .object({ name: z.string(), description: z.string(), keys: z.array(z.string()) })
  .meta({ id: 'CategoryPreset', description: 'Categories often collected together.' })

let tree: Promise<CategoryTree> | undefined
/** The tree, read once. */
export function categoryTree(): Promise<CategoryTree> {
  tree ??= loadCategories()
  return tree
}

const childCounts = new WeakMap<CategoryTree, ReadonlyMap<string, number>>()

function childrenOf(all: CategoryTree): ReadonlyMap<string, number> {
  const known = childCounts.get(all)
  if (known) return known
  const counts = new Map<string, number>()
  for (const row of all.rows) {
    const key = parentOf(all, row)?.key
    if (key !== undefined) counts.set(key, (counts.get(key) ?? 0) + 1)
  }
  childCounts.set(all, counts)
  return counts
}

function view(all: CategoryTree, row: Category): z.output<typeof category> {
  const { key, name, level, physical } = row
  const path = categoryPath(all, row)
  return {
    key,
    name,
    path,
    parentKey: parentOf(all, row)?.key ?? null,
    level,
    physical,
    children: childrenOf(all).get(key) ?? 0,
  }
}

const isDepartment = (row: Category): boolean => row.level === 0 && row.physical

const example = {
  key: 'kitchen/289742',
  name: 'Coffee, Tea & Espresso',
  path: 'Kitchen & Dining > Coffee, Tea & Espresso',
  parentKey: 'kitchen',
  level: 1,
  physical: true,
  children: 0,
}

export const categoryRoutes: readonly Route[] = [
  route({
    method: 'GET',
    path: '/api/v1/categories',
    operationId: 'listCategories',
    tag: 'Categories',
    summary: 'Walk or search the tree',
    description:
      'Without parameters the departments; with `parent` what is right below that category; with `search` those whose name has the words, best match first, else the nearest.',
    access: 'signed-in',
    transaction: 'none',
    query: z.strictObject({
      parent: z
        .string()
        .min(1)
        .max(200)
        .optional()
        .meta({ description: 'Key of a category.', examples: ['kitchen'] }),
      search: z
        .string()
        .trim()
        .min(1)
        .max(200)
        .optional()
        .meta({ description: 'Words of a name, a key, or an address.' }),
      limit: z.coerce.number().int().min(1).max(1000).default(200).meta({ description: 'Rows at most, 1 to 1,000.' }),
    }),
    refuses: ['input.category_unknown'],
    answers: {
      200: {
        description: 'The categories.',
        schema: z.object({ items: z.array(category), total: count.describe('Categories of the tree.') }),
        example: { items: [example], total: 2172 },
      },
    },
  })(async ({ query: { parent, search, limit } }) => {
    const all = await categoryTree()
    const above = parent === undefined ? null : all.byKey.get(parent)
    if (above === undefined) throw new AppError('input.category_unknown', `There is no category "${parent}".`)
    const found =
      search !== undefined
        ? searchCategories(all, search, all.rows.length).map((choice) => choice.category)
        : all.rows.filter((row) => (above ? parentOf(all, row) === above : row.level === 0))
    const inside = search !== undefined && above ? found.filter((row) => isBelow(all, row, above)) : found
    return {
      status: 200,
      body: { items: inside.slice(0, limit).map((row) => view(all, row)), total: all.rows.length },
    }
  }),
  route({
    method: 'GET',
    path: '/api/v1/category-presets',
    operationId: 'listCategoryPresets',
    tag: 'Categories',
    summary: 'List presets',
    description: 'Categories often collected together, to choose with one click.',
    access: 'signed-in',
    transaction: 'none',
    answers: { 200: { description: 'The presets.', schema: z.object({ items: z.array(preset) }) } },
  })(async () => {
    const all = await categoryTree()
    const departments = all.rows.filter(isDepartment)
    const home = departments.filter(({ slug }) =>
      /^(kitchen|home-garden|garden|hi|pet-supplies|office-products)$/.test(slug),
    )
    const keys = (rows: readonly Category[]) => rows.map(({ key }) => key)
    return {
      status: 200,
      body: {
        items: [
          {
            name: 'All departments with goods',
            description: 'The list at the top of every department whose best sellers eBay sells.',
            keys: keys(departments),
          },
          { name: 'House and garden', description: 'Kitchen, home, garden, tools, pets, office.', keys: keys(home) },
        ],
      },
    }
  }),
]

function isBelow(all: CategoryTree, row: Category, above: Category): boolean {
  const parent = parentOf(all, row)
  return parent !== null && (parent === above || isBelow(all, parent, above))
}
