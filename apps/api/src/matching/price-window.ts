/** What an eBay price must be, seen from an Amazon price. All in integer cents and per cent; nothing here is a float. */

export type PriceWindow = Readonly<{ min: number; max: number }>

/**
 * The window of eBay prices for an Amazon price in cents, inclusive, in cents: the lower bound rounded down and the upper
 * up, so that rounding never shuts out a price the per cents let in. Null when the product has no price (missing or
 * zero): then it is searched without bounds. Throws a RangeError for anything but whole numbers with
 * 0 < minPercent <= maxPercent.
 */
export function priceWindow(priceCents: number | null, minPercent: number, maxPercent: number): PriceWindow | null {
  if (![minPercent, maxPercent].every(Number.isSafeInteger) || minPercent <= 0 || maxPercent < minPercent) {
    throw new RangeError(`not a price window in per cent: ${minPercent} to ${maxPercent}`)
  }
  if (priceCents === null || priceCents === 0) return null
  if (!Number.isSafeInteger(priceCents) || priceCents < 0) throw new RangeError(`not a price in cents: ${priceCents}`)
  const price = BigInt(priceCents)
  return {
    min: Number((price * BigInt(minPercent)) / 100n),
    max: Number((price * BigInt(maxPercent) + 99n) / 100n),
  }
}

export type SaleTerms = Readonly<{
  /** eBay's final value fee on the total the buyer pays, sales tax included, in hundredths of a per cent. */
  feeHundredths: number
  /** eBay's fee per order, cents. */
  feeFixedCents: number
  /** Sales tax the buyer pays; the seller never sees it, but the fee is taken on it too. Per cent. */
  buyerTaxPercent: number
  /** Sales tax on the purchase from Amazon; 0 for a reseller with an exemption. Per cent. */
  purchaseTaxPercent: number
  /** Cashback on the purchase. Per cent. */
  cashbackPercent: number
}>

/** A sale in most categories on eBay in the US: 13.25 % and $0.40, 8 % buyer's tax, bought without tax or cashback. */
export const USUAL_TERMS: SaleTerms = {
  feeHundredths: 1325,
  feeFixedCents: 40,
  buyerTaxPercent: 8,
  purchaseTaxPercent: 0,
  cashbackPercent: 0,
}

/**
 * The lowest eBay price in cents, free shipping, at which an item bought on Amazon for `priceCents` does not lose money:
 * `price * (1 + purchase tax) * (1 - cashback) + fixed fee = sale * (1 - fee * (1 + buyer's tax))`, rounded up.
 * With the usual terms that is 1.17 to 1.20 times the Amazon price from $15 up, 1.11 to 1.14 times with 5 % cashback,
 * 1.27 to 1.29 times with 8 % purchase tax; for cheap goods the fixed fee weighs more. It is a line on the screen, not a
 * filter. Throws a RangeError when the price is no whole number of cents or the fee would eat the whole sale.
 */
export function breakEvenCents(priceCents: number, terms: SaleTerms = USUAL_TERMS): number {
  if (!Number.isSafeInteger(priceCents) || priceCents < 0) throw new RangeError(`not a price in cents: ${priceCents}`)
  // Both sides times 10^6: the fee has four decimals and the tax two.
  const kept = 1_000_000n - BigInt(terms.feeHundredths) * BigInt(100 + terms.buyerTaxPercent)
  if (kept <= 0n) throw new RangeError('the fee leaves nothing of the sale')
  const paid =
    BigInt(priceCents) * BigInt(100 + terms.purchaseTaxPercent) * BigInt(100 - terms.cashbackPercent) +
    BigInt(terms.feeFixedCents) * 10_000n
  return Number((paid * 100n + kept - 1n) / kept)
}
