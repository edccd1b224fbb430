/** The columns an export may have. Values come from the database as text and stay text: nothing is parsed to be written. */

/** Of `f` (seller_list), `x` (sellers) and `m` (seller_marks). */
export type ExportColumn = Readonly<{ sql: string; kind: 'text' | 'number' | 'time' }>

const tenths = (column: string): string => `(${column} / 10) || '.' || (${column} % 10)`
const thousandths = (column: string): string => `(${column} / 1000) || '.' || lpad((${column} % 1000)::text, 3, '0')`

export const EXPORT_COLUMNS = {
  seller: { sql: 'x.display_name', kind: 'text' },
  name: { sql: 'f.name', kind: 'text' },
  profile: { sql: `'https://www.ebay.com/usr/' || f.name`, kind: 'text' },
  score: { sql: 'round(100.0 * f.match_weight / (f.match_weight + 2000))', kind: 'number' },
  products_matched: { sql: 'f.matched_count', kind: 'number' },
  runs_seen: { sql: 'f.run_count', kind: 'number' },
  ratio_low: { sql: thousandths('f.ratio_low_permille'), kind: 'number' },
  ratio_high: { sql: thousandths('f.ratio_high_permille'), kind: 'number' },
  feedback_score: { sql: 'f.feedback_score', kind: 'number' },
  feedback_percent: { sql: tenths('x.feedback_permille'), kind: 'number' },
  listings: { sql: 'f.listing_count', kind: 'number' },
  first_seen: { sql: 'f.first_seen_at', kind: 'time' },
  last_seen: { sql: 'f.last_seen_at', kind: 'time' },
  flag: { sql: 'm.flag', kind: 'text' },
  flagged_at: { sql: 'm.flagged_at', kind: 'time' },
  note: { sql: 'm.note', kind: 'text' },
  platform_id: { sql: 'x.platform_id', kind: 'text' },
  id: { sql: 'f.seller_id', kind: 'text' },
} as const satisfies Record<string, ExportColumn>

export type ExportColumnName = keyof typeof EXPORT_COLUMNS

export const EXPORT_COLUMN_NAMES = Object.keys(EXPORT_COLUMNS) as readonly ExportColumnName[]

export const DEFAULT_EXPORT_COLUMNS: readonly ExportColumnName[] = [
  'seller',
  'score',
  'products_matched',
  'runs_seen',
  'ratio_low',
  'ratio_high',
  'feedback_score',
  'feedback_percent',
  'listings',
  'first_seen',
  'last_seen',
  'flag',
]

/** A time as PostgreSQL writes it in UTC (`2026-11-22 14:02:11.482123+00`) as ISO 8601 with milliseconds. */
export function isoTime(text: string): string {
  const [day = '', rest = ''] = text.split(' ')
  const clock = rest.replace(/[+-].*$/, '')
  return `${day}T${clock.slice(0, 8)}.${clock.slice(9, 12).padEnd(3, '0')}Z`
}
