/** One row of a product list: a product, or what is wrong with it. Pure. */
import { isIsbn10, readGtin } from '../base/gtin.ts'
import { parsePriceCents } from '../base/money.ts'
import { cleanLine, cutText, decodeEntities } from '../base/text.ts'
import type { ListedProduct } from '../providers/types.ts'
import type { Columns, ListField } from './list-columns.ts'

/** Amazon itself stops at 200 to 250 characters; what is longer is a description in the wrong column. */
export const MAX_TITLE_LENGTH = 500
const MAX_BRAND_LENGTH = 100
const MAX_URL_LENGTH = 2048
/** A million dollars: beyond it a column has been misread. */
const MAX_PRICE_CENTS = 100_000_000
const MAX_RANK = 1_000_000_000

/** What was put right or left out while the row was kept. */
export type RowNote =
  | 'price_missing'
  | 'title_cut'
  | 'asin_zero_restored'
  | 'gtin_unreadable'
  | 'rank_unreadable'
  | 'url_unreadable'

/** `value` is the cell as read, cut to 80 characters. */
export type RowProblem = Readonly<{ column: ListField; value: string; problem: string }>

export type RowAnswer =
  | Readonly<{ ok: true; product: ListedProduct; notes: readonly RowNote[] }>
  | Readonly<{ ok: false; problems: readonly RowProblem[] }>

type Cell = (field: ListField) => string

/**
 * Reads one row. The row is refused with every problem named when the ASIN is none, the title is empty, the price is
 * malformed or not in US dollars. What is only missing (price, rank, address) is null or left out, with a note.
 */
export function readRow(cells: readonly string[], columns: Columns): RowAnswer {
  const problems: RowProblem[] = []
  const notes: RowNote[] = []
  const cell: Cell = (field) => cleanLine(cells[columns[field][0] ?? -1] ?? '')
  const refuse = (column: ListField, value: string, problem: string) => {
    problems.push({ column, value: cutText(value, 80), problem })
  }

  const asin = readAsin(cell('asin'))
  if (asin.problem !== undefined) refuse('asin', cell('asin'), asin.problem)
  if (asin.restored) notes.push('asin_zero_restored')

  const fullTitle = cleanLine(decodeEntities(cell('title')))
  const title = cutText(fullTitle, MAX_TITLE_LENGTH)
  if (title === '') refuse('title', '', 'The title is empty.')
  if (title !== fullTitle) notes.push('title_cut')

  const price = readPrice(cell)
  if (price.problem !== undefined) refuse(price.column, cell(price.column), price.problem)
  else if (price.cents === null) notes.push('price_missing')

  if (problems.length > 0) return { ok: false, problems }
  const product = { asin: asin.value, title, priceCents: price.cents, ...readRest(cells, columns, cell, notes) }
  return { ok: true, product, notes }
}

/** Spreadsheets guard codes as `="0306406152"`, and strip leading zeros off what they take for a number. */
function readAsin(text: string): { value: string; restored: boolean; problem?: string } {
  const value = text
    .normalize('NFKC')
    .replace(/^="?(.*?)"?$/, '$1')
    .trim()
    .toUpperCase()
  if (/^[A-Z0-9]{10}$/.test(value)) return { value, restored: false }
  const padded = value.padStart(10, '0')
  if (/^\d{6,8}[\dX]$/.test(value) && isIsbn10(padded)) return { value: padded, restored: true }
  if (value === '') return { value, restored: false, problem: 'The ASIN is missing.' }
  return { value, restored: false, problem: 'An ASIN has ten letters and digits.' }
}

type Price = Readonly<{ cents: number | null; column: ListField; problem?: string }>

function readPrice(cell: Cell): Price {
  const inCents = !isBlank(cell('price_cents'))
  const column = inCents ? 'price_cents' : 'price'
  const text = cell(column).normalize('NFKC')
  if (isBlank(text)) return { cents: null, column }
  const currency = cell('currency').toUpperCase()
  if (!isBlank(currency) && !['USD', '$', 'US$', 'US DOLLAR', 'US DOLLARS'].includes(currency)) {
    return { cents: null, column: 'currency', problem: 'Prices must be in US dollars.' }
  }
  const cents = inCents ? parseWholeCents(text) : parseDollarText(text)
  if (cents === null) {
    const wanted = inCents ? 'a whole number of cents, such as 2420' : 'a price in dollars, such as 24.20'
    return { cents: null, column, problem: `This is not ${wanted}.` }
  }
  if (cents > MAX_PRICE_CENTS) return { cents: null, column, problem: 'The price is above $1,000,000.' }
  // Zero and Keepa's -1 say "no offer".
  return { cents: cents > 0 ? cents : null, column }
}

/** `2420`, and `2420.0` as data tools write whole numbers of a column with gaps; -1 means none. */
function parseWholeCents(text: string): number | null {
  const match = /^(-1|\d{1,12})(?:\.0+)?$/.exec(text)
  return match === null ? null : Number(match[1])
}

function parseDollarText(text: string): number | null {
  const bare = text.replace(/^(?:US ?\$|USD ?\$?|\$) ?/i, '').replace(/ ?(?:USD|\$)$/i, '')
  return parsePriceCents(bare)
}

function isBlank(text: string): boolean {
  return /^(?:|-+|–|—|\?|n\/?a|#n\/a|null|none|nan|nil|unavailable|currently unavailable\.?)$/i.test(text)
}

function readRest(cells: readonly string[], columns: Columns, cell: Cell, notes: RowNote[]) {
  const rank = readRank(cell('rank'), notes)
  const brand = isBlank(cell('brand')) ? '' : cutText(cleanLine(decodeEntities(cell('brand'))), MAX_BRAND_LENGTH)
  const gtins = readGtins(
    columns.gtin.map((at) => cleanLine(cells[at] ?? '')),
    notes,
  )
  const url = readUrl(cell('url'), notes)
  const imageUrl = readUrl(cell('image_url'), notes)
  return {
    rank,
    ...(brand === '' ? {} : { brand }),
    ...(gtins.length === 0 ? {} : { gtins }),
    ...(imageUrl === null ? {} : { imageUrl }),
    ...(url === null ? {} : { url }),
  }
}

function readRank(text: string, notes: RowNote[]): number | null {
  if (isBlank(text)) return null
  const match = /^#?(\d{1,3}(?:,\d{3})+|\d{1,10})(?:\.0+)?$/.exec(text)
  const rank = Number(match?.[1]?.replaceAll(',', '') ?? 0)
  if (rank >= 1 && rank <= MAX_RANK) return rank
  notes.push('rank_unreadable')
  return null
}

/** Valid numbers only, each once; an eleven-digit one is a UPC that lost its leading zero, if that makes it valid. */
function readGtins(texts: readonly string[], notes: RowNote[]): string[] {
  const parts = texts.flatMap((text) => text.split(/[,;|/]|\s(?=\S{8})/)).map((part) => part.replace(/[\s-]/g, ''))
  const given = parts.filter((part) => !isBlank(part)).map((part) => part.replace(/^="?(.*?)"?$/, '$1'))
  const gtins = new Set<string>()
  for (const part of given) {
    const gtin = readGtin(/^\d{11}$/.test(part) ? `0${part}` : part.replace(/\.0+$/, ''))
    if (gtin !== null) gtins.add(gtin)
  }
  if (given.length > 0 && gtins.size === 0) notes.push('gtin_unreadable')
  return [...gtins]
}

/** Web addresses only: others would become links that do something else. */
function readUrl(text: string, notes: RowNote[]): string | null {
  if (isBlank(text)) return null
  if (/^https?:\/\//i.test(text) && text.length <= MAX_URL_LENGTH && URL.canParse(text)) return text
  if (!notes.includes('url_unreadable')) notes.push('url_unreadable')
  return null
}
