/** A product list on its way into a run: what is said about it, and what the sandbox has to know. */
import { AppError } from '../base/errors.ts'
import type { Account } from '../engine/accounts.ts'
import type { ListedProduct } from '../providers/types.ts'
import { type ColumnMapping, LIST_FIELDS, type ListField } from '../runs/list-columns.ts'
import type { ProductList } from '../runs/product-list.ts'
import { count, counted } from './format.ts'
import type { Paint } from './paint.ts'

const ERRORS_SHOWN = 5

/** The counts of the list, its first errors line by line, and its warnings. */
export function listNotes(list: ProductList, paint: Paint): string[] {
  const bad = new Set(list.errors.map((error) => error.line)).size
  const repeated = list.duplicates.reduce((sum, one) => sum + one.lines.length - 1, 0)
  const parts = [`${counted(list.rowCount, 'row')}: ${counted(list.rows.length, 'product')}`]
  if (repeated > 0) parts.push(`${counted(repeated, 'repeated row')} left out (${duplicateWords(list)})`)
  if (bad > 0) parts.push(paint.warn(`${counted(bad, 'row')} with errors left out`))
  const lines = [`${parts.join(', ')}.`]
  for (const { line, column, value, problem } of list.errors.slice(0, ERRORS_SHOWN)) {
    lines.push(`  line ${count(line)}, ${column}${value ? ` "${value}"` : ''}: ${problem}`)
  }
  if (list.errors.length > ERRORS_SHOWN) lines.push(`  and ${count(list.errors.length - ERRORS_SHOWN)} more`)
  for (const warning of list.warnings) lines.push(`  ${warning.message}`)
  return lines
}

function duplicateWords({ duplicates }: ProductList): string {
  const [first] = duplicates
  if (!first) return ''
  const more = duplicates.length > 1 ? `, and ${counted(duplicates.length - 1, 'other ASIN')}` : ''
  return `${first.asin} on lines ${first.lines.slice(0, 4).map(count).join(', ')}${more}`
}

/** `asin=Code,title=Name` as a mapping. Throws AppError `input.invalid` for a field there is not. */
export function readColumns(text: string): ColumnMapping {
  const mapping: Partial<Record<ListField, string>> = {}
  for (const part of text.split(',')) {
    const at = part.indexOf('=')
    const field = part.slice(0, Math.max(0, at)).trim().toLowerCase()
    const name = part.slice(at + 1).trim()
    if (at < 1 || name === '' || !(LIST_FIELDS as readonly string[]).includes(field)) {
      throw new AppError('input.invalid', `--columns does not understand "${part.trim()}".`, {
        hint: `Write field=column, separated by commas; fields are ${LIST_FIELDS.join(', ')}.`,
      })
    }
    mapping[field as ListField] = name
  }
  return mapping
}

const UPLOAD_MOST = 20_000

/** Tells the sandbox of these products, so that somebody sells them there. */
export async function uploadToSandbox(account: Account, products: readonly ListedProduct[]): Promise<void> {
  const { origin } = new URL(account.baseUrl)
  for (let from = 0; from < products.length; from += UPLOAD_MOST) {
    const rows = products.slice(from, from + UPLOAD_MOST).map(({ asin, title, priceCents, gtins }) => ({
      asin,
      title,
      priceCents,
      gtin: gtins?.[0] ?? null,
    }))
    const response = await fetch(`${origin}/sandbox/catalogue`, {
      method: 'POST',
      body: JSON.stringify({ products: rows }),
    })
    if (response.ok) continue
    throw new AppError('provider.unreachable', `The sandbox refused the product list: ${await response.text()}`)
  }
}
