/** From a run's filter settings to what one product's listings must be. */
import { AppError } from '../base/errors.ts'
import type { ListedProduct, SearchFilters } from '../providers/types.ts'
import { priceWindow } from './price-window.ts'

export type FilterSettings = Readonly<{
  freeShipping: boolean
  /** ISO 3166 alpha-2, upper case; null for anywhere. */
  locatedIn: string | null
  /** Bounds of the eBay price in per cent of the Amazon price, whole numbers. */
  minPercent: number
  maxPercent: number
}>

/** New, fixed price, free shipping, located in the US, 0.80 to 1.60 times the Amazon price. */
export const DEFAULT_FILTERS: FilterSettings = { freeShipping: true, locatedIn: 'US', minPercent: 80, maxPercent: 160 }

/** Ten times the Amazon price finds anything; more is a slip of the finger. */
const MAX_PERCENT = 1000

/**
 * Settings as a person gave them, missing ones from the defaults, the country in upper case.
 * Throws AppError `input.invalid` for a country that is no two letters and for bounds that are no whole numbers from 1 to
 * 1,000 or the wrong way round.
 */
export function checkFilterSettings(given: Partial<FilterSettings>): FilterSettings {
  const settings = { ...DEFAULT_FILTERS, ...given }
  const locatedIn = settings.locatedIn === null ? null : settings.locatedIn.trim().toUpperCase()
  if (locatedIn !== null && !/^[A-Z]{2}$/.test(locatedIn)) {
    throw new AppError('input.invalid', `"${settings.locatedIn}" is not a country code.`, {
      hint: 'Use two letters, such as US, or leave the location open.',
    })
  }
  const { minPercent, maxPercent } = settings
  const whole = [minPercent, maxPercent].every((percent) => Number.isInteger(percent) && percent >= 1)
  if (!whole || maxPercent > MAX_PERCENT || minPercent > maxPercent) {
    throw new AppError('input.invalid', `A price window of ${minPercent} to ${maxPercent} per cent is not possible.`, {
      hint: `Use whole per cents of the Amazon price from 1 to ${MAX_PERCENT}, the lower first, such as 80 and 160.`,
    })
  }
  return { ...settings, locatedIn }
}

/**
 * What the listings of `product` must be under `settings`. Without an Amazon price there is no price window. Throws a
 * RangeError for settings that `checkFilterSettings` would refuse.
 */
export function buildFilters(product: Pick<ListedProduct, 'priceCents'>, settings: FilterSettings): SearchFilters {
  return {
    conditionId: '1000',
    freeShipping: settings.freeShipping,
    locatedIn: settings.locatedIn,
    buyingOption: 'FIXED_PRICE',
    priceCents: priceWindow(product.priceCents, settings.minPercent, settings.maxPercent),
    currency: 'USD',
  }
}
