/**
 * The Amazon best-seller category tree: read, checked, and addressed the way people write a category. The facts are a
 * data file (`data/README.md`), so a newer tree replaces it without a change here.
 */
import { readFile, stat } from 'node:fs/promises'
import { fileURLToPath } from 'node:url'
import { z } from 'zod'
import { AppError } from '../base/errors.ts'
import type { CategoryRef } from '../providers/types.ts'

/** The tree that comes with Gleaner. */
export const BUILT_IN_CATEGORIES = fileURLToPath(new URL('../../../../data/amazon-categories.json', import.meta.url))

/** Larger than any real tree (the whole of Home & Kitchen is 2,172 rows), small enough to read at once. */
const MAX_FILE_BYTES = 50 * 1024 * 1024
/** So many problems of a bad file are named; more would bury the first. */
const MAX_PROBLEMS = 20

/**
 * What cannot be found on eBay as a physical product: whole departments, and single branches of departments that are
 * otherwise goods. A collection there costs money and finds nobody.
 */
const NOT_PHYSICAL: ReadonlySet<string> = new Set([
  'amazon-devices/121475272011', // subscriptions
  'audible',
  'digital-educational-resources',
  'digital-text', // Kindle Store
  'dmusic', // Digital Music
  'gift-cards',
  'mobile-apps',
  'movies-tv/2958933011', // Prime Video
  'software', // nearly all downloads
])

export type Category = Readonly<{
  /** Unique: `<slug>` for a department, `<slug>/<id>` below it. */
  key: string
  /** Slug of a department, browse node otherwise. Not unique: a node can sit in two departments. */
  id: string
  name: string
  /** `id` of the parent within the same slug; null for a department. */
  parentId: string | null
  slug: string
  level: number
  /** Root browse node of a department when known; always null below. */
  browseNodeId: string | null
  /** False when its best sellers are no physical goods, so that an eBay search is no use. */
  physical: boolean
}>

export type CategoryTree = Readonly<{
  /** In the order of the file: parents before children. */
  rows: readonly Category[]
  byKey: ReadonlyMap<string, Category>
  /** The file it was read from. */
  source: string
}>

const rowSchema = z.object({
  key: z.string().regex(/^[a-z0-9-]+(\/[A-Za-z0-9-]+)?$/, 'must look like kitchen or kitchen/289742'),
  id: z.string().regex(/^[A-Za-z0-9-]+$/, 'must be a slug or a browse node id, as text'),
  name: z
    .string()
    .trim()
    .min(1)
    .max(200)
    .regex(/^[^>]*$/, 'must not contain ">", which separates the parts of a path'),
  parentId: z.string().nullable(),
  slug: z.string().regex(/^[a-z0-9-]+$/),
  level: z.int().min(0).max(20),
  browseNodeId: z
    .string()
    .regex(/^\d+$/, 'must be digits')
    .nullish()
    .transform((id) => id ?? null),
})
type Row = z.infer<typeof rowSchema>

/**
 * Checks parsed JSON as a category tree and returns its rows with `physical` set. Fields it does not know are dropped.
 * Throws AppError `input.invalid` naming the first 20 problems with their row numbers (from 1): not a list, wrong or
 * missing fields, a key twice, a key that does not belong to its slug and id, a missing parent, a wrong level.
 */
export function checkCategories(rows: unknown, source = 'the category list'): Category[] {
  if (!Array.isArray(rows) || rows.length === 0) {
    throw invalid(source, ['it must be a JSON array of at least one category'])
  }
  const problems: string[] = []
  const valid: Row[] = []
  for (const [at, row] of rows.entries()) {
    const parsed = rowSchema.safeParse(row)
    if (parsed.success) valid.push(parsed.data)
    else problems.push(...parsed.error.issues.map((issue) => `row ${at + 1}: ${issue.path.join('.')} ${issue.message}`))
    if (problems.length >= MAX_PROBLEMS) break
  }
  // The links are only worth checking on sound rows: one bad row would otherwise be named once for each child.
  if (problems.length === 0) problems.push(...linkProblems(valid))
  if (problems.length > 0) throw invalid(source, problems)
  return withPhysical(valid)
}

function linkProblems(rows: readonly Row[]): string[] {
  const problems: string[] = []
  const at = new Map<string, Row>()
  for (const row of rows) {
    if (at.has(row.key)) problems.push(`${row.key}: the key occurs twice`)
    at.set(row.key, row)
  }
  for (const row of rows) {
    const expected = row.level === 0 ? row.slug : `${row.slug}/${row.id}`
    if (row.key !== expected) problems.push(`${row.key}: the key must be ${expected}`)
    if (row.level === 0 && row.id !== row.slug) problems.push(`${row.key}: the id of a department is its slug`)
    if ((row.level === 0) !== (row.parentId === null)) {
      problems.push(`${row.key}: departments (level 0), and only they, have no parent`)
    } else if (row.parentId !== null) {
      const parent = at.get(parentKey(row))
      if (parent === undefined) problems.push(`${row.key}: its parent ${parentKey(row)} is missing`)
      else if (parent.level !== row.level - 1) problems.push(`${row.key}: level must be ${parent.level + 1}`)
    }
  }
  return problems
}

function parentKey(row: Pick<Row, 'slug' | 'parentId'>): string {
  return row.parentId === row.slug ? row.slug : `${row.slug}/${row.parentId}`
}

function withPhysical(rows: readonly Row[]): Category[] {
  const byKey = new Map(rows.map((row) => [row.key, row]))
  const physical = (row: Row): boolean => {
    if (NOT_PHYSICAL.has(row.key)) return false
    const parent = row.parentId === null ? undefined : byKey.get(parentKey(row))
    return parent === undefined || physical(parent)
  }
  return rows.map((row) => ({ ...row, physical: physical(row) }))
}

function invalid(source: string, problems: readonly string[]): AppError {
  const shown = problems.slice(0, MAX_PROBLEMS)
  return new AppError('input.invalid', `${source} is not a usable category tree: ${shown.join('; ')}`, {
    hint: 'data/README.md describes the fields. Correct the file, or leave it out to use the built-in tree.',
    details: { problems: shown },
  })
}

/**
 * Reads and checks a category file; the built-in one when no path is given.
 * Throws AppError `input.file_unreadable` when it cannot be read or is no JSON, `input.invalid` when it is no tree.
 */
export async function loadCategories(path: string = BUILT_IN_CATEGORIES): Promise<CategoryTree> {
  const rows = checkCategories(await readJson(path), path)
  return { rows, byKey: new Map(rows.map((row) => [row.key, row])), source: path }
}

async function readJson(path: string): Promise<unknown> {
  let text: string
  try {
    const found = await stat(path)
    if (!found.isFile()) throw new Error('it is not a file')
    if (found.size > MAX_FILE_BYTES) throw new Error(`it is larger than ${MAX_FILE_BYTES / 1024 / 1024} MB`)
    text = await readFile(path, 'utf8')
  } catch (cause) {
    const reason = cause instanceof Error ? cause.message : String(cause)
    throw new AppError('input.file_unreadable', `The category file ${path} cannot be read: ${reason}`, {
      hint: 'Check the path and its permissions, or leave it out to use the built-in tree.',
      cause,
    })
  }
  try {
    return JSON.parse(text.replace(/^\ufeff/, ''))
  } catch (cause) {
    throw new AppError('input.file_unreadable', `The category file ${path} is not JSON: ${(cause as Error).message}`, {
      hint: 'data/README.md describes the format.',
      cause,
    })
  }
}

/** The parent of a category, or null for a department. */
export function parentOf(tree: CategoryTree, row: Category): Category | null {
  return row.parentId === null ? null : (tree.byKey.get(parentKey(row)) ?? null)
}

/** The category and all above it, department first. */
export function lineage(tree: CategoryTree, row: Category): Category[] {
  const parent = parentOf(tree, row)
  return parent === null ? [row] : [...lineage(tree, parent), row]
}

/** The path people read and may type back: `Home & Kitchen > Bath > Towels`. */
export function categoryPath(tree: CategoryTree, row: Category): string {
  return lineage(tree, row)
    .map((step) => step.name)
    .join(' > ')
}

/** The category as the adapters need it. `nodeId` is null for a department whose root node is unknown. */
export function toCategoryRef(row: Category): CategoryRef {
  return { key: row.key, slug: row.slug, nodeId: row.level === 0 ? row.browseNodeId : row.id, name: row.name }
}
