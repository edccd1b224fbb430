/**
 * Money is an integer number of micro-dollars (1 USD = 1,000,000). No float ever holds an amount: text is read digit by
 * digit, and cents are derived by rounding up, so a spend is never shown smaller than it is.
 */

declare const micros: unique symbol
/** An integer number of micro-dollars, safe up to 9 billion dollars. */
export type Micros = number & { readonly [micros]: true }

export const MICROS_PER_CENT = 10_000
export const MICROS_PER_DOLLAR = 1_000_000
export const ZERO = 0 as Micros

/** Brands `value` as micro-dollars. Throws a RangeError when it is not a safe integer. */
export function toMicros(value: number): Micros {
  if (!Number.isSafeInteger(value)) throw new RangeError(`not a whole number of micro-dollars: ${value}`)
  return value as Micros
}

/**
 * Reads a decimal dollar amount ("12", "12.5", "0.0005") exactly, without floats.
 * Returns null when the text is not a plain decimal, has more than six decimals, or is too large.
 */
export function parseDollars(text: string): Micros | null {
  const match = /^(-?)(\d{1,10})(?:\.(\d{1,6}))?$/.exec(text.trim())
  if (!match) return null
  const [, sign, whole, fraction = ''] = match
  const value = Number(whole) * MICROS_PER_DOLLAR + Number(fraction.padEnd(6, '0'))
  return toMicros(sign === '-' && value !== 0 ? -value : value)
}

/**
 * Reads a decimal price ("1,299.00", "$24.20", "19.99") as integer cents, exactly. Extra decimals must be zeros.
 * Returns null when the text is not such a price.
 */
export function parsePriceCents(text: string): number | null {
  const match = /^\$?\s*(\d{1,3}(?:,\d{3})+|\d{1,9})(?:\.(\d{1,2})0*)?$/.exec(text.trim())
  if (!match) return null
  const [, whole = '', fraction = ''] = match
  return Number(whole.replaceAll(',', '')) * 100 + Number(fraction.padEnd(2, '0'))
}

/** Micro-dollars as whole cents, rounded up: what the `*_cents` columns hold. */
export function centsUp(amount: Micros): number {
  return Math.ceil(amount / MICROS_PER_CENT)
}

/** Sum of amounts. Throws a RangeError past the safe range. */
export function addMicros(...amounts: readonly Micros[]): Micros {
  return toMicros(amounts.reduce<number>((sum, amount) => sum + amount, 0))
}

/** `count` times `unit`. Throws a RangeError when the result is not a safe integer. */
export function timesMicros(unit: Micros, count: number): Micros {
  return toMicros(unit * count)
}

/**
 * Exact dollars with a fixed number of decimals (2 to 6), e.g. `$11.605`. An amount finer than `decimals` shows all six
 * decimals rather than a rounded figure, because a spend is never rounded down.
 */
export function formatDollars(amount: Micros, decimals = 2): string {
  const abs = Math.abs(amount)
  const whole = Math.floor(abs / MICROS_PER_DOLLAR).toLocaleString('en-US')
  const fraction = String(abs % MICROS_PER_DOLLAR).padStart(6, '0')
  const shown = Math.max(decimals, fraction.replace(/0+$/, '').length)
  return `${amount < 0 ? '-' : ''}$${whole}.${fraction.slice(0, shown)}`
}
