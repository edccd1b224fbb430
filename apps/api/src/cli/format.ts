/** How numbers, money and time are written: one place, the rules of one design. Pure; the zone is the process's own. */

import { AppError } from '../base/errors.ts'
import { formatDollars, MICROS_PER_CENT, type Micros, parseDollars, toMicros } from '../base/money.ts'

/** Exact money of one run: `decimals` are fixed for the run by its cheapest call (`runDecimals`). */
export function exactMoney(amount: Micros, decimals: number): string {
  return formatDollars(amount, decimals)
}

/** The decimals at which every multiple of every price is exact: 2 to 6. */
export function runDecimals(prices: readonly number[]): number {
  const needed = prices.map(
    (price) =>
      String(price % 1_000_000)
        .padStart(6, '0')
        .replace(/0+$/, '').length,
  )
  return Math.max(2, ...needed)
}

/** Money in lists, rounded up to the cent: what is spent, held or suspect is never shown smaller than it is. */
export function moneyUp(amount: Micros): string {
  if (amount > 0 && amount < MICROS_PER_CENT) return '<$0.01'
  return formatDollars(toMicros(Math.ceil(amount / MICROS_PER_CENT) * MICROS_PER_CENT))
}

/** Money in lists, rounded down to the cent: what is left is never shown larger than it is. */
export function moneyDown(amount: Micros): string {
  if (amount > 0 && amount < MICROS_PER_CENT) return '<$0.01'
  return formatDollars(toMicros(Math.floor(amount / MICROS_PER_CENT) * MICROS_PER_CENT))
}

/** A price of one call: exact, or `free`, or `no price`: three different things. */
export function price(amount: number | null | undefined): string {
  if (amount === null || amount === undefined) return 'no price'
  return amount === 0 ? 'free' : formatDollars(toMicros(amount))
}

/** What one new seller cost, four decimals, rounded up; a dash before the first. */
export function perNewSeller(spent: Micros, sellers: number): string {
  if (sellers === 0) return '—'
  if (spent === 0) return 'free'
  const each = spent / sellers
  if (each < 100) return '<$0.0001'
  return formatDollars(toMicros(Math.ceil(each / 100) * 100), 4)
}

const numbers = new Intl.NumberFormat('en-US')

/** Full digits: 1,000,000. */
export function count(value: number): string {
  return numbers.format(value)
}

/** "1 seller", "2 sellers", "3 categories". */
export function counted(value: number, one: string, many: string = `${one}s`): string {
  return `${count(value)} ${value === 1 ? one : many}`
}

/** One decimal under 100, none above. */
export function rate(perSecond: number): string {
  return perSecond < 100 ? `${perSecond.toFixed(1)}/s` : `${count(Math.round(perSecond))}/s`
}

/** Rounded down; `<1 %` above zero; `100 %` only when nothing is left. */
export function percent(part: number, whole: number): string {
  if (whole <= 0) return '0 %'
  if (part >= whole) return '100 %'
  const down = Math.floor((part * 100) / whole)
  return part > 0 && down === 0 ? '<1 %' : `${down} %`
}

/** `820 ms`, `4.2 s`, `4 s`, `42 s`, `42 min`, `1 h 12 min`, `3 d 4 h`. */
export function duration(ms: number): string {
  if (ms < 1000) return `${Math.round(ms)} ms`
  if (ms < 9_950) return `${(ms / 1000).toFixed(1).replace('.0', '')} s`
  const seconds = Math.round(ms / 1000)
  if (seconds < 60) return `${seconds} s`
  const minutes = Math.floor(seconds / 60)
  if (minutes < 60) return `${minutes} min`
  const hours = Math.floor(minutes / 60)
  if (hours < 24) return minutes % 60 === 0 ? `${hours} h` : `${hours} h ${minutes % 60} min`
  return hours % 24 === 0 ? `${Math.floor(hours / 24)} d` : `${Math.floor(hours / 24)} d ${hours % 24} h`
}

/** A running clock: `0:42:07`. */
export function clock(ms: number): string {
  const seconds = Math.max(0, Math.floor(ms / 1000))
  const two = (value: number) => String(value).padStart(2, '0')
  return `${Math.floor(seconds / 3600)}:${two(Math.floor(seconds / 60) % 60)}:${two(seconds % 60)}`
}

const MONTHS = ['Jan', 'Feb', 'Mar', 'Apr', 'May', 'Jun', 'Jul', 'Aug', 'Sep', 'Oct', 'Nov', 'Dec']
const DAYS = ['Sun', 'Mon', 'Tue', 'Wed', 'Thu', 'Fri', 'Sat']

/** `14:02` in the zone of this process. */
export function timeOfDay(at: Date): string {
  return `${String(at.getHours()).padStart(2, '0')}:${String(at.getMinutes()).padStart(2, '0')}`
}

function day(at: Date): string {
  return `${at.getDate()} ${MONTHS[at.getMonth()] ?? ''}`
}

/** `just now`, `12 min ago`, `3 h ago`; after 24 h `22 Nov 14:02`, in other years with the year. */
export function moment(at: Date | null, now: Date = new Date()): string {
  if (at === null) return '—'
  const ago = now.getTime() - at.getTime()
  if (ago < 60_000 && ago > -60_000) return 'just now'
  if (ago > 0 && ago < 86_400_000) {
    const minutes = Math.floor(ago / 60_000)
    return minutes < 60 ? `${minutes} min ago` : `${Math.floor(minutes / 60)} h ago`
  }
  const year = at.getFullYear() === now.getFullYear() ? '' : ` ${at.getFullYear()}`
  return `${day(at)}${year} ${timeOfDay(at)}`
}

/** A moment to come: `14:40` today, `Thu 26 Nov` within half a year, else with the year. */
export function comingMoment(at: Date, now: Date = new Date()): string {
  if (at.getTime() - now.getTime() < 18 * 3_600_000) return timeOfDay(at)
  const year = at.getFullYear() === now.getFullYear() ? '' : ` ${at.getFullYear()}`
  return `${DAYS[at.getDay()] ?? ''} ${day(at)}${year}`
}

/** `22 Nov 14:02:11`, for lines of a log. */
export function fullMoment(at: Date): string {
  return `${day(at)} ${timeOfDay(at)}:${String(at.getSeconds()).padStart(2, '0')}`
}

/**
 * Dollars as a person types them ("25", "$12.50", "1,000"). Throws AppError `input.cap_invalid` for anything else; a
 * negative amount is read, so that the one check of caps can refuse it by name.
 */
export function readDollars(text: string): Micros {
  const amount = parseDollars(
    text
      .trim()
      .replace(/^(-?)\$/, '$1')
      .replace(/(?<=\d),(?=\d{3}(?:\D|$))/g, ''),
  )
  if (amount !== null) return amount
  throw new AppError('input.cap_invalid', `"${text}" is not an amount of dollars.`, {
    hint: 'Give dollars from 0 to $1,000,000.00 with at most six decimals, such as 25 or 12.50.',
  })
}

/** A whole number a person typed, within bounds. Throws AppError `input.invalid`. */
export function readWhole(text: string, what: string, least: number, most: number): number {
  const value = Number(text)
  if (/^\d{1,15}$/.test(text.trim()) && value >= least && value <= most) return value
  throw new AppError('input.invalid', `"${text}" is not possible for ${what}.`, {
    hint: `Give a whole number from ${count(least)} to ${count(most)}.`,
  })
}
