/** The `filter` parameter: parsed, its mistakes warned about and ignored as eBay does, and applied to rows. */
import type { Listing } from '../world/listings.ts'
import { browseError, type EbayError } from './errors.ts'

export type FilterSet = {
  conditionIds?: ReadonlySet<string>
  buyingOptions?: ReadonlySet<string>
  locationCountry?: string
  deliveryCountry?: string
  freeShipping?: boolean
  priceCents?: { min: number; max: number }
  sellers?: ReadonlySet<string>
  excludeSellers?: ReadonlySet<string>
}

export type ParsedFilters = Readonly<{ filters: FilterSet; warnings: readonly EbayError[]; error: EbayError | null }>

const GROUPS: Readonly<Record<string, readonly string[]>> = {
  NEW: ['1000', '1500', '1750'],
  USED: ['2000', '2010', '2020', '2030', '2500', '2750', '3000', '4000', '5000', '6000'],
}
const BUYING_OPTIONS = new Set(['FIXED_PRICE', 'AUCTION', 'BEST_OFFER', 'CLASSIFIED_AD'])
const MAX_SELLERS = 250
/** Known to eBay, of no effect here. */
const WITHOUT_EFFECT = new Set(
  'bidCount charityOnly deliveryOptions excludeCategoryIds guaranteedDeliveryInDays itemStartDate itemEndDate paymentMethods pickupCountry pickupPostalCode pickupRadius pickupRadiusUnit priorityListing qualifiedPrograms returnsAccepted searchInDescription'.split(
    ' ',
  ),
)

export function parseFilters(text: string): ParsedFilters {
  const given = new Map(splitOutside(text).map(pair))
  const filters: FilterSet = {}
  const warnings: EbayError[] = []
  let error: EbayError | null = null
  const warn = (errorId: number): void => {
    warnings.push(browseError(errorId, [{ name: 'filter', value: text }]))
  }
  for (const [name, value] of given) {
    const verdict = readFilter(name, value, filters)
    if (verdict === 'too_many') error ??= browseError(12032, [{ name: 'filter', value: name }])
    else if (typeof verdict === 'number') warn(verdict)
  }
  readPrice(given.get('price'), given.get('priceCurrency'), filters, warn)
  if (given.has('itemLocationCountry') && given.has('itemLocationRegion')) error ??= browseError(12517)
  if (given.has('deliveryPostalCode') && !given.has('deliveryCountry')) warn(12011)
  return { filters, warnings, error }
}

/** Undefined = fine; a number = the warning; `too_many` = the request is refused. */
function readFilter(name: string, value: string, filters: FilterSet): number | 'too_many' | undefined {
  switch (name) {
    case 'conditionIds':
      filters.conditionIds = new Set(items(value))
      return items(value).every((id) => /^\d{4}$/.test(id)) ? undefined : ignore(filters, 'conditionIds', 12002)
    case 'conditions':
      filters.conditionIds = new Set(items(value).flatMap((group) => GROUPS[group] ?? []))
      return filters.conditionIds.size > 0 ? undefined : ignore(filters, 'conditionIds', 12002)
    case 'buyingOptions':
      filters.buyingOptions = new Set(items(value))
      return items(value).every((option) => BUYING_OPTIONS.has(option))
        ? undefined
        : ignore(filters, 'buyingOptions', 12002)
    case 'itemLocationCountry':
      filters.locationCountry = value
      return /^[A-Z]{2}$/.test(value) ? undefined : ignore(filters, 'locationCountry', 12002)
    case 'deliveryCountry':
      filters.deliveryCountry = value
      return /^[A-Z]{2}$/.test(value) ? undefined : ignore(filters, 'deliveryCountry', 12002)
    case 'maxDeliveryCost':
      if (!/^0(\.0+)?$/.test(value)) return 12002
      filters.freeShipping = true
      return undefined
    case 'sellers':
    case 'excludeSellers': {
      const names = items(value).map((seller) => seller.toLowerCase())
      if (names.length > MAX_SELLERS) return 'too_many'
      filters[name] = new Set(names)
      return undefined
    }
    case 'sellerAccountTypes':
      return 12014
    case 'price':
    case 'priceCurrency':
    case 'itemLocationRegion':
    case 'deliveryPostalCode':
      return undefined
    default:
      return WITHOUT_EFFECT.has(name) ? undefined : 12002
  }
}

function ignore(filters: FilterSet, name: keyof FilterSet, warning: number): number {
  delete filters[name]
  return warning
}

function readPrice(
  range: string | undefined,
  currency: string | undefined,
  filters: FilterSet,
  warn: (errorId: number) => void,
): void {
  if (range === undefined && currency === undefined) return
  if (range === undefined || currency === undefined) return warn(12012)
  const match = /^\[(\d+(?:\.\d{1,2})?)?(\.\.)?(\d+(?:\.\d{1,2})?)?\]$/.exec(range)
  if (!match || currency !== 'USD') return warn(12002)
  const [, min, , max] = match
  filters.priceCents = {
    min: min === undefined ? 0 : cents(min),
    max: max === undefined ? Number.POSITIVE_INFINITY : cents(max),
  }
}

function cents(text: string): number {
  const [whole = '0', fraction = ''] = text.split('.')
  return Number(whole) * 100 + Number(fraction.padEnd(2, '0'))
}

/** Splits at commas outside braces and brackets. */
function splitOutside(text: string): string[] {
  const parts: string[] = []
  let depth = 0
  let start = 0
  for (let i = 0; i < text.length; i++) {
    const char = text[i]
    if (char === '{' || char === '[') depth++
    else if (char === '}' || char === ']') depth--
    else if (char === ',' && depth === 0) {
      parts.push(text.slice(start, i))
      start = i + 1
    }
  }
  parts.push(text.slice(start))
  return parts.map((part) => part.trim()).filter(Boolean)
}

function pair(text: string): [string, string] {
  const colon = text.indexOf(':')
  return colon < 0 ? [text, ''] : [text.slice(0, colon), text.slice(colon + 1)]
}

function items(value: string): string[] {
  return value
    .replace(/^\{|\}$/g, '')
    .split('|')
    .map((item) => item.trim())
    .filter(Boolean)
}

/** A row without condition passes no condition filter; calculated shipping is not free shipping. */
export function passes(row: Listing, filters: FilterSet): boolean {
  if (filters.conditionIds && !(row.conditionId !== null && filters.conditionIds.has(row.conditionId))) return false
  const options = filters.buyingOptions
  if (options ? !row.buyingOptions.some((option) => options.has(option)) : !row.buyingOptions.includes('FIXED_PRICE')) {
    return false
  }
  if (filters.locationCountry && row.country !== filters.locationCountry) return false
  if (filters.deliveryCountry && filters.deliveryCountry !== 'US' && filters.deliveryCountry !== row.country)
    return false
  if (filters.freeShipping && row.shipping.cents !== 0) return false
  if (filters.priceCents && (row.cents < filters.priceCents.min || row.cents > filters.priceCents.max)) return false
  if (filters.sellers && !filters.sellers.has(row.seller.key)) return false
  return !filters.excludeSellers?.has(row.seller.key)
}
