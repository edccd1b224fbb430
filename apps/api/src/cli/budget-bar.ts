/** The budget of a run in a row of characters: spent, held, suspect, left, always in that order. Pure. */
import type { Micros } from '../base/money.ts'
import type { RunSnapshot } from '../runs/snapshot.ts'
import { leftMicros } from '../runs/snapshot.ts'
import type { Paint } from './paint.ts'

/** Each part has a character of its own: the bar reads the same without colour. */
export const SWATCH = { spent: '█', held: '▓', suspect: '▒', left: '░' } as const

/** Stands in the bar where the organisation's month cap ends it, when that is nearer than the run's own cap. */
export const MONTH_POST = '╎'

type Part = keyof typeof SWATCH

/**
 * The bar, `width` columns for the whole cap: a full bar means that nothing more can be spent. A part above zero gets at
 * least one column, taken from the widest; the rest by largest remainder. `monthLeft`: what the month leaves, when that is
 * less than the run's cap leaves; a post stands where it ends.
 */
export function budgetBar(run: RunSnapshot, width: number, paint: Paint, monthLeft: Micros | null = null): string {
  const amounts: Record<Part, number> = {
    spent: run.spentMicros,
    held: run.heldMicros,
    suspect: run.suspectMicros,
    left: leftMicros(run),
  }
  const columns = shares(amounts, width)
  const paints: Record<Part, (text: string) => string> = {
    spent: paint.accent,
    held: paint.accent,
    suspect: paint.warn,
    left: paint.dim,
  }
  const draw = (part: Part, length = columns[part]) => paints[part](SWATCH[part].repeat(length))
  const used = `${draw('spent')}${draw('held')}${draw('suspect')}`
  if (monthLeft === null || columns.left === 0) return `${used}${draw('left')}`
  const before = Math.min(columns.left - 1, Math.floor((columns.left * monthLeft) / Math.max(1, amounts.left)))
  return `${used}${draw('left', before)}${paint.warn(MONTH_POST)}${draw('left', columns.left - before - 1)}`
}

function shares(amounts: Readonly<Record<Part, number>>, width: number): Record<Part, number> {
  const parts = Object.keys(amounts) as Part[]
  const total = parts.reduce((sum, part) => sum + amounts[part], 0)
  const columns: Record<Part, number> = { spent: 0, held: 0, suspect: 0, left: 0 }
  if (total === 0) return { ...columns, left: width }
  for (const part of parts) columns[part] = Math.floor((amounts[part] * width) / total)
  const byRest = parts.toSorted((a, b) => ((amounts[b] * width) % total) - ((amounts[a] * width) % total))
  let missing = width - parts.reduce((sum, part) => sum + columns[part], 0)
  for (const part of byRest) if (missing-- > 0) columns[part] += 1
  for (const part of parts) {
    if (amounts[part] === 0 || columns[part] > 0) continue
    const widest = parts.reduce((a, b) => (columns[b] > columns[a] ? b : a))
    if (columns[widest] < 2) continue
    columns[widest] -= 1
    columns[part] = 1
  }
  return columns
}
