/**
 * The shapes of the providers' answers: tolerant of whatever is extra or missing and not used, strict on what is. Rows are
 * read one by one with `safeParse`, so that one strange row does not cost the others. Sources: eBay Browse API 1.20.4;
 * Oxylabs Go SDK types and recorded envelopes; Keepa Java client structs (2026).
 */
import * as z from 'zod'

const text = z.string()
const optionalText = z.string().nullish()

// ---- eBay -------------------------------------------------------------------------------------------------------

/** Error objects and warnings share one form. */
const ebayError = z.object({
  errorId: z.number(),
  message: optionalText,
  parameters: z.array(z.object({ name: optionalText, value: optionalText })).nullish(),
})

export const ebayErrorBody = z.object({ errors: z.array(ebayError).min(1) })

export const ebayToken = z.object({ access_token: text.min(1), expires_in: z.number().positive().max(10_000_000) })

/** `itemSummaries` is absent, not empty, when nothing matched; `total` is always there and tells a search answer from `{}`. */
export const ebaySearch = z.object({
  /** The search it is the answer to. */
  href: optionalText.catch(null),
  total: z.number().nonnegative(),
  itemSummaries: z.array(z.unknown()).nullish(),
  warnings: z.array(ebayError).nullish(),
})

const ebayAmount = z.object({ value: text, currency: text })

export const ebayRow = z.object({
  itemId: optionalText,
  legacyItemId: optionalText,
  title: text.min(1),
  price: ebayAmount.nullish(),
  conditionId: optionalText,
  buyingOptions: z.array(text).nullish(),
  itemLocation: z.object({ country: optionalText }).nullish(),
  shippingOptions: z.array(z.object({ shippingCost: z.object({ value: text }).nullish() })).nullish(),
  seller: z
    .object({
      username: optionalText,
      feedbackScore: z.number().nullish(),
      feedbackPercentage: optionalText,
    })
    .nullish(),
})

export type EbayErrorObject = z.infer<typeof ebayError>
export type EbayRow = z.infer<typeof ebayRow>

// ---- Oxylabs ----------------------------------------------------------------------------------------------------

/** `status_code` is the target page's, or Oxylabs' own 6xx; it decides what is charged, so it is never optional. */
export const oxylabsEnvelope = z.object({
  results: z.array(z.object({ status_code: z.number().int(), content: z.unknown(), url: optionalText.catch(null) })),
})

export const oxylabsMessage = z.object({ message: text })

export const oxylabsBestsellers = z.object({
  parse_status_code: z.number().nullish(),
  results: z.array(z.unknown()).nullish(),
})

/** `price` arrives as its source text (see `parseJson`) or as a string. */
export const oxylabsBestseller = z.object({
  pos: z.number().int().positive().nullish(),
  asin: optionalText,
  title: optionalText,
  url: optionalText,
  price: optionalText,
  price_str: optionalText,
  currency: optionalText,
})

// ---- Keepa ------------------------------------------------------------------------------------------------------

/** In every answer, errors included. `tokensConsumed` is money and must be there; the limit is far above any real call. */
export const keepaEnvelope = z.object({
  tokensConsumed: z.number().int().min(0).max(1_000_000),
  tokensLeft: z.number().nullish(),
  refillIn: z.number().nullish(),
  refillRate: z.number().nullish(),
  error: z.object({ type: optionalText, message: optionalText }).nullish(),
})

const asinList = z.array(text).nullish()

/** The list is under `bestSellersList`, or at the top level as one client in production reports. */
export const keepaBestsellers = z.object({ bestSellersList: z.object({ asinList }).nullish(), asinList })

export const keepaProducts = z.object({ products: z.array(z.unknown()) })

const series = z.array(z.number()).nullish()
const gtins = z.array(text).nullish()

export const keepaProduct = z.object({
  asin: text.min(1),
  title: optionalText,
  brand: optionalText,
  productType: z.number().nullish(),
  images: z.array(z.object({ l: optionalText, m: optionalText })).nullish(),
  imagesCSV: optionalText,
  eanList: gtins,
  upcList: gtins,
  gtinList: gtins,
  stats: z.object({ current: z.array(z.number().nullable()).nullish() }).nullish(),
  csv: z.array(series).nullish(),
})

export type KeepaEnvelope = z.infer<typeof keepaEnvelope>
export type KeepaProduct = z.infer<typeof keepaProduct>
