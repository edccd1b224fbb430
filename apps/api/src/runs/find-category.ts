/**
 * From what a person types to one category. A collection costs money, so a text that could mean two categories is never
 * decided by a guess: the answer is then `ambiguous`, with the paths to choose from.
 */
import { AppError } from '../base/errors.ts'
import { foldText } from '../base/text.ts'
import { type Category, type CategoryTree, categoryPath, lineage } from './categories.ts'

export type CategoryChoice = Readonly<{ category: Category; path: string }>

export type FoundCategory =
  | Readonly<{ kind: 'found'; category: Category }>
  | Readonly<{ kind: 'ambiguous'; candidates: readonly CategoryChoice[] }>
  /** At most 5 suggestions, nearest first; none when nothing is near. */
  | Readonly<{ kind: 'unknown'; suggestions: readonly CategoryChoice[] }>

const MAX_SUGGESTIONS = 5
/** Below this a suggestion is noise; found by trying misspellings of category names against the built-in tree. */
const NEAR_ENOUGH = 0.45
/** Beside a good suggestion, one that reaches less than this part of its score only distracts. */
const NEAR_BEST = 0.7
/** A word of an ancestor tells less than a word of the category itself. */
const ANCESTOR_WEIGHT = 0.6

/**
 * Finds the category meant by `text`, which may be, in this order of precedence:
 * 1. a key (`kitchen/289742`), exactly as listed: always one category, what scripts should use;
 * 2. a full path from the department (`Home & Kitchen > Bath`; a department's name alone is its full path);
 * 3. a browse node id, a slug or key in any case, a name, the end of a path with steps left out
 *    (`Home & Kitchen > Towels`), or the address of a best-seller page on amazon.com.
 * Names are compared without case, diacritics and `&`/`and`. Never throws.
 */
export function findCategory(tree: CategoryTree, text: string): FoundCategory {
  const typed = keyInUrl(text) ?? text.trim()
  const exact = tree.byKey.get(typed)
  if (exact !== undefined) return { kind: 'found', category: exact }

  const steps = pathSteps(typed)
  if (steps.length === 0) return { kind: 'unknown', suggestions: [] }
  const full = tree.rows.filter((row) => isFullPath(tree, row, steps))
  // A slug can name another department than the same word as a name does ("Music"), so both are asked for.
  const bySlug = tree.rows.filter((row) => row.key === typed.toLowerCase() && !full.includes(row))
  if (full.length > 0) return decide(tree, [...full, ...bySlug])

  const matches = tree.rows.filter(
    (row) => row.id === typed || row.browseNodeId === typed || bySlug.includes(row) || endsPath(tree, row, steps),
  )
  return matches.length > 0 ? decide(tree, matches) : { kind: 'unknown', suggestions: nearest(tree, text) }
}

/**
 * The category meant by `text`. Throws AppError `input.category_unknown` with suggestions, or `input.category_ambiguous`
 * with the keys to choose from.
 */
export function requireCategory(tree: CategoryTree, text: string): Category {
  const answer = findCategory(tree, text)
  if (answer.kind === 'found') return answer.category
  const choices = answer.kind === 'ambiguous' ? answer.candidates : answer.suggestions
  const list = choices.map(({ category, path }) => `${category.key} (${path})`).join(', ')
  const details = { text, choices: choices.map(({ category, path }) => ({ key: category.key, path })) }
  if (answer.kind === 'ambiguous') {
    throw new AppError('input.category_ambiguous', `"${text}" names ${choices.length} categories: ${list}`, {
      hint: 'Use the key of the one you mean.',
      details,
    })
  }
  throw new AppError('input.category_unknown', `There is no category "${text}"${list && `; near: ${list}`}`, {
    hint: 'gleaner categories <words> searches the tree.',
    details,
  })
}

/**
 * Categories for a list on the screen: those whose own name or key has every word of `text` as the beginning of a word,
 * ancestors helping out ("kitchen towel"), best match first; when there is none, the nearest ones. All, in the order of
 * the tree, for an empty text. A node id or key finds exactly its rows.
 */
export function searchCategories(tree: CategoryTree, text: string, limit = 50): CategoryChoice[] {
  const typed = text.trim()
  if (typed === '') return tree.rows.slice(0, limit).map((row) => choice(tree, row))
  const known = tree.rows.filter((row) => [row.key, row.id, row.browseNodeId].includes(keyInUrl(typed) ?? typed))
  if (known.length > 0 && /\d/.test(typed)) return known.slice(0, limit).map((row) => choice(tree, row))

  const asked = words(typed)
  const begins = (word: string, list: readonly string[]) => list.some((other) => other.startsWith(word))
  const hits = tree.rows.filter((row) => {
    const own = words(row.name)
    if (known.includes(row)) return true
    if (!asked.some((word) => begins(word, own))) return false
    const above = lineage(tree, row).flatMap((step) => words(step.name))
    return asked.length > 0 && asked.every((word) => begins(word, above))
  })
  if (hits.length === 0) return nearest(tree, text)
  return ranked(tree, asked, hits)
    .slice(0, limit)
    .map(({ row }) => choice(tree, row))
}

function decide(tree: CategoryTree, rows: readonly Category[]): FoundCategory {
  const [first, ...others] = rows
  if (first !== undefined && others.length === 0) return { kind: 'found', category: first }
  return { kind: 'ambiguous', candidates: rows.map((row) => choice(tree, row)) }
}

function choice(tree: CategoryTree, category: Category): CategoryChoice {
  return { category, path: categoryPath(tree, category) }
}

/** `https://www.amazon.com/Best-Sellers-Any-Words/zgbs/kitchen/289742/ref=x` and `/gp/bestsellers/kitchen/289742`. */
function keyInUrl(text: string): string | null {
  const match = /amazon\.[a-z.]+\/(?:.*\/)?(?:zgbs|bestsellers)\/([a-z0-9-]+)(?:\/(?!ref=)([A-Za-z0-9-]+))?/.exec(text)
  if (match === null) return null
  return match[2] === undefined ? (match[1] ?? null) : `${match[1]}/${match[2]}`
}

function pathSteps(text: string): string[] {
  return text
    .split(/[>›»]/)
    .map(foldText)
    .filter((step) => step !== '')
}

function isFullPath(tree: CategoryTree, row: Category, steps: readonly string[]): boolean {
  if (row.level !== steps.length - 1 || foldText(row.name) !== steps.at(-1)) return false
  return lineage(tree, row).every((step, at) => foldText(step.name) === steps[at])
}

/** The row's name is the last step, and the steps before it name ancestors in order, gaps allowed. */
function endsPath(tree: CategoryTree, row: Category, steps: readonly string[]): boolean {
  if (foldText(row.name) !== steps.at(-1)) return false
  let asked = 0
  for (const step of lineage(tree, row)) if (foldText(step.name) === steps[asked]) asked += 1
  return asked === steps.length
}

/** Suggestions for the last step of what was typed, below the earlier steps where those are known. */
function nearest(tree: CategoryTree, text: string): CategoryChoice[] {
  const steps = pathSteps(text)
  const above = steps.slice(0, -1)
  const below = tree.rows.filter((row) => {
    const names = lineage(tree, row).map((step) => foldText(step.name))
    return above.every((step) => names.slice(0, -1).includes(step))
  })
  const scored = ranked(tree, words(steps.at(-1) ?? ''), below.length > 0 ? below : tree.rows)
  const enough = Math.max(NEAR_ENOUGH, NEAR_BEST * (scored[0]?.score ?? 0))
  return scored
    .filter(({ score }) => score >= enough)
    .slice(0, MAX_SUGGESTIONS)
    .map(({ row }) => choice(tree, row))
}

/** Best first; goods before what is not physical, then higher in the tree, then by key, so the order is stable. */
function ranked(tree: CategoryTree, asked: readonly string[], rows: readonly Category[]) {
  return rows
    .map((row) => ({ row, score: nearness(tree, asked, row) }))
    .sort(
      (a, b) =>
        b.score - a.score ||
        Number(b.row.physical) - Number(a.row.physical) ||
        a.row.level - b.row.level ||
        (a.row.key < b.row.key ? -1 : 1),
    )
}

/**
 * How near a category is to the words asked for, 0 to 1. Word by word, because misspellings happen inside words while
 * people leave whole words out: each asked word takes its most similar word of the name (or, for less, of an ancestor),
 * and names with many further words rank behind shorter ones.
 */
function nearness(tree: CategoryTree, asked: readonly string[], row: Category): number {
  if (asked.length === 0) return 0
  const own = words(row.name)
  const above = lineage(tree, row)
    .slice(0, -1)
    .flatMap((step) => words(step.name))
  const best = (word: string, list: readonly string[]) => Math.max(0, ...list.map((other) => similarity(word, other)))
  const ownScore = asked.map((word) => best(word, own))
  const recall =
    asked.reduce((sum, word, at) => sum + Math.max(ownScore[at] ?? 0, ANCESTOR_WEIGHT * best(word, above)), 0) /
    asked.length
  const covered = own.reduce((sum, word) => sum + best(word, asked), 0) / Math.max(1, own.length)
  return ownScore.every((score) => score < NEAR_ENOUGH) ? 0 : recall * 0.8 + covered * 0.2
}

/** Dice coefficient over letter pairs with the ends of the word marked; a shared beginning counts as nearly equal. */
function similarity(a: string, b: string): number {
  if (a === b) return 1
  if (a.length >= 3 && b.startsWith(a)) return 0.9
  const pairsA = pairs(a)
  const pairsB = pairs(b)
  let shared = 0
  const left = [...pairsB]
  for (const pair of pairsA) {
    const at = left.indexOf(pair)
    if (at >= 0) {
      left.splice(at, 1)
      shared += 1
    }
  }
  return (2 * shared) / (pairsA.length + pairsB.length)
}

function pairs(word: string): string[] {
  const marked = `^${word}$`
  return Array.from({ length: marked.length - 1 }, (_, at) => marked.slice(at, at + 2))
}

const SMALL_WORDS: ReadonlySet<string> = new Set(['and', 'the', 'of', 'for'])

function words(text: string): string[] {
  const all = foldText(text).match(/[\p{L}\p{N}]+/gu) ?? []
  const telling = all.filter((word) => !SMALL_WORDS.has(word))
  return telling.length > 0 ? telling : all
}
