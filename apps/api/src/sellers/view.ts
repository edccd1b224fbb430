/** Which sellers of the list are meant: a closed set of filters, each of which the database can answer by an index. */
import { AppError } from '../base/errors.ts'
import { leastWeight, MATCH_WEIGHT_LEAST, MATCH_WEIGHT_MOST } from './score.ts'

export const FLAGS = ['promising', 'contacted', 'rejected', 'wrong_match'] as const
export type Flag = (typeof FLAGS)[number]

/** A range, both ends included; either may be left out. */
export type Range<T> = Readonly<{ from?: T; to?: T }>

export type SellerView = Readonly<{
  /** Part of the name, in any case; with one or two characters its beginning. */
  search?: string
  /** With one of these flags; `any` with a flag, `none` without. */
  flag?: readonly Flag[] | 'any' | 'none'
  score?: Range<number>
  matched?: Range<number>
  runs?: Range<number>
  /** Lowest price seen against the Amazon price, in thousandths. */
  ratioPermille?: Range<number>
  feedback?: Range<number>
  items?: Range<number>
  firstSeen?: Range<Date>
  lastSeen?: Range<Date>
  /** Seen in this run. */
  runId?: string
  /** Brought to the organisation by this run. */
  newInRunId?: string
  /** Listed after this number (`seller_list.listed_seq`): what an export profile has not had yet. */
  listedAfter?: number
  /** Those taken off the list, and only those. */
  removed?: boolean
  /** Only these; at most 10,000. */
  ids?: readonly string[]
  /** All but these; at most 10,000. */
  except?: readonly string[]
}>

export const SORTS = {
  score: { column: 'match_weight', type: 'int', nullable: false },
  matched: { column: 'matched_count', type: 'int', nullable: false },
  runs: { column: 'run_count', type: 'int', nullable: false },
  ratio: { column: 'ratio_low_permille', type: 'int', nullable: true },
  feedback: { column: 'feedback_score', type: 'int', nullable: true },
  items: { column: 'listing_count', type: 'int', nullable: true },
  'first-seen': { column: 'first_seen_at', type: 'timestamptz', nullable: false },
  'last-seen': { column: 'last_seen_at', type: 'timestamptz', nullable: false },
  name: { column: 'name', type: 'text', nullable: false },
} as const satisfies Record<string, Readonly<{ column: string; type: string; nullable: boolean }>>

export type SellerSortKey = keyof typeof SORTS

/** The index on parts of names knows parts of three characters. */
const PART_LEAST = 3

/** Ids a view may name. */
export const IDS_MOST = 10_000

/** Values of a statement as they are added. */
export type Values = Readonly<{ list: unknown[]; add: (value: unknown) => string }>

/** An empty list of values; `add` returns the placeholder. */
export function makeValues(first: readonly unknown[] = []): Values {
  const list = [...first]
  return { list, add: (value) => `$${list.push(value)}` }
}

/** Where a statement reads the sellers from, and the conditions on each; `f` is the row of the list. */
export type Conditions = Readonly<{
  /** Always needed, and answered by every index: the organisation, and that it is on the list. */
  base: readonly string[]
  /** The filters, without the search on a part of the name. */
  filters: readonly string[]
  /** That search, row by row; null when there is none, or the name only has to begin with it (that is a filter). */
  search: string | null
  /** What the filters say about the sort key: true for all they let through, so a walk along the key may begin there. */
  implied: readonly string[]
  /** Its pattern as a placeholder, where the index on parts of names can answer it. */
  pattern: string | null
}>

/** `probe`: each row is asked on its own; `set`: the filter is the smaller side, rows are found from it. */
export type Access = 'probe' | 'set'

/**
 * The conditions of `view` on the list of `orgId`. Throws AppError `input.invalid` when too many ids are named.
 */
export function conditionsOf(
  view: SellerView,
  orgId: string,
  values: Values,
  options: Readonly<{ access: Access; sort?: SellerSortKey }>,
): Conditions {
  const { add } = values
  const org = add(orgId)
  const base = [`f.org_id = ${org}`, `f.removed_at is ${view.removed ? 'not null' : 'null'}`]
  const like = partPattern(view)
  const pattern = like === null ? null : add(like)
  const filters = [
    ...rangesOf(view, add),
    ...beginningOf(view, add),
    ...marksOf(view, add),
    ...runsOf(view, add, options.access),
    ...namedIds(view, add),
  ]
  if (view.listedAfter !== undefined) filters.push(`f.listed_seq > ${add(view.listedAfter)}`)
  return {
    base,
    filters,
    implied: options.sort ? impliedBy(view, options.sort, org, add) : [],
    search: pattern === null ? null : `f.name like ${pattern}`,
    // Those who were removed are not in the index.
    pattern: view.removed ? null : pattern,
  }
}

type Add = Values['add']

function rangesOf(view: SellerView, add: Add): string[] {
  const weight: Range<number> | undefined = view.score && {
    ...(view.score.from === undefined ? {} : { from: leastWeight(view.score.from) }),
    ...(view.score.to === undefined || view.score.to >= 100 ? {} : { to: leastWeight(view.score.to + 1) - 1 }),
  }
  return [
    ...range('f.match_weight', weight, add),
    ...range('f.matched_count', view.matched, add),
    ...range('f.run_count', view.runs, add),
    ...range('f.ratio_low_permille', view.ratioPermille, add),
    ...range('f.feedback_score', view.feedback, add),
    ...range('f.listing_count', view.items, add),
    ...range('f.first_seen_at', view.firstSeen, add),
    ...range('f.last_seen_at', view.lastSeen, add),
  ]
}

function range<T>(column: string, bounds: Range<T> | undefined, add: Add): string[] {
  const parts: string[] = []
  if (bounds?.from !== undefined) parts.push(`${column} >= ${add(bounds.from)}`)
  if (bounds?.to !== undefined) parts.push(`${column} <= ${add(bounds.to)}`)
  return parts
}

/** Names are stored folded as eBay compares them. */
function folded(text: string): string {
  return text.trim().normalize('NFKC').toLowerCase().normalize('NFKC')
}

function partPattern(view: SellerView): string | null {
  const text = folded(view.search ?? '')
  return [...text].length < PART_LEAST ? null : `%${text.replace(/[\\%_]/g, '\\$&')}%`
}

/** Too short for an index on parts: names that begin with it, which is a range in the order of code points. */
function beginningOf(view: SellerView, add: Add): string[] {
  const text = folded(view.search ?? '')
  if (text === '' || [...text].length >= PART_LEAST) return []
  return [`f.name >= ${add(text)}`, `f.name < ${add(`${text}\u{10ffff}`)}`]
}

function marksOf(view: SellerView, add: Add): string[] {
  if (view.flag === undefined) return []
  const org = `m.org_id = f.org_id`
  if (view.flag === 'none') {
    return [`not exists (select from seller_marks m where m.seller_id = f.seller_id and m.flag is not null)`]
  }
  const flags = view.flag === 'any' ? FLAGS : view.flag
  return [
    `exists (select from seller_marks m where m.seller_id = f.seller_id and ${org} and m.flag = any (${add(flags)}))`,
  ]
}

function runsOf(view: SellerView, add: Add, access: Access): string[] {
  const parts: string[] = []
  if (view.newInRunId !== undefined) parts.push(`f.first_run_id = ${add(view.newInRunId)}`)
  if (view.runId === undefined) return parts
  const items = `from collection_items i where i.run_id = ${add(view.runId)} and i.item_type = 'ebay_seller'`
  // The names of items have another collation, and an index answers to its own only.
  if (access === 'set') parts.push(`f.name in (select i.external_id collate "C" ${items})`)
  else parts.push(`exists (select ${items} and i.external_id = f.name collate "default")`)
  return parts
}

function namedIds(view: SellerView, add: Add): string[] {
  if ((view.ids?.length ?? 0) > IDS_MOST || (view.except?.length ?? 0) > IDS_MOST) {
    throw new AppError('input.invalid', `At most ${IDS_MOST} sellers can be named one by one.`, {
      hint: 'Choose by filter instead, with exceptions.',
    })
  }
  const parts: string[] = []
  if (view.ids) parts.push(`f.seller_id = any (${add(view.ids)}::uuid[])`)
  if (view.except?.length) parts.push(`f.seller_id <> all (${add(view.except)}::uuid[])`)
  return parts
}

/**
 * What the filters say about the key the list is sorted by. Where a filter and the order contradict each other (new sellers,
 * those seen in most runs first) a walk along the order would pass nearly everybody before it met the first. Each bound
 * follows from what the columns mean, so none can leave out a seller the filters let through.
 */
function impliedBy(view: SellerView, sort: SellerSortKey, org: string, add: Add): string[] {
  const parts: string[] = []
  const run = view.newInRunId ?? view.runId
  if (sort === 'score') {
    // Each match weighs between 0.4 and 1.
    if (view.matched?.from !== undefined) parts.push(`f.match_weight >= ${add(view.matched.from * MATCH_WEIGHT_LEAST)}`)
    if (view.matched?.to !== undefined) parts.push(`f.match_weight <= ${add(view.matched.to * MATCH_WEIGHT_MOST)}`)
  }
  if (sort === 'matched') {
    if (view.score?.from !== undefined) {
      parts.push(`f.matched_count >= ${add(Math.ceil(leastWeight(view.score.from) / MATCH_WEIGHT_MOST))}`)
    }
    if (view.score?.to !== undefined && view.score.to < 100) {
      parts.push(`f.matched_count <= ${add(Math.floor(leastWeight(view.score.to + 1) / MATCH_WEIGHT_LEAST))}`)
    }
  }
  if (sort === 'last-seen') {
    if (view.firstSeen?.from !== undefined) parts.push(`f.last_seen_at >= ${add(view.firstSeen.from)}`)
    if (run) parts.push(`f.last_seen_at >= (select r.created_at from collection_runs r where r.id = ${add(run)})`)
  }
  if (sort === 'first-seen') {
    if (view.lastSeen?.to !== undefined) parts.push(`f.first_seen_at <= ${add(view.lastSeen.to)}`)
    if (run) {
      parts.push(
        // A late answer may still be booked when the run has ended.
        `f.first_seen_at <= (select coalesce(r.completed_at, now()) + interval '1 day' from collection_runs r where r.id = ${add(run)})`,
      )
    }
    if (view.newInRunId) {
      parts.push(`f.first_seen_at >= (select r.created_at from collection_runs r where r.id = ${add(view.newInRunId)})`)
    }
  }
  if (sort === 'runs' && view.firstSeen?.from !== undefined) {
    // Seen in no more runs than were going on since then, and the day before for late answers.
    parts.push(
      `f.run_count <= (select count(*) from collection_runs r where r.org_id = ${org}
         and coalesce(r.completed_at, 'infinity') >= ${add(view.firstSeen.from)}::timestamptz - interval '1 day')`,
    )
  }
  return parts
}
