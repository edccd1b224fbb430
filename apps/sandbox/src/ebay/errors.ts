/** eBay's error and warning bodies, and the texts of the codes the sandbox uses. */
import { json, type Reply } from '../exchange.ts'

export type EbayError = Readonly<{
  errorId: number
  domain: string
  category: 'REQUEST' | 'APPLICATION' | 'BUSINESS'
  message: string
  longMessage?: string
  parameters?: readonly Readonly<{ name: string; value: string }>[]
}>

const MESSAGES: Readonly<Record<number, string>> = {
  11001: 'The specified item Id was not found.',
  12000: 'Internal error.',
  12001:
    'The call must have a q, category_ids, epid, gtin or charity_ids parameter; q cannot be used with gtin or epid.',
  12002: 'A value of the filter is invalid. For the valid values, refer to the API call documentation.',
  12003: 'A seller in the sellers filter was not found.',
  12004: 'The offset value cannot be less than 0.',
  12005: 'The offset value must be an integer.',
  12006: 'The limit value should be between 1 and 200 (inclusive).',
  12007: 'The limit value must be an integer.',
  12008: "The 'sort' value is invalid. For the valid values, refer to the API call documentation.",
  12011: 'The delivery postal code needs the delivery country.',
  12012: 'The price filter needs the priceCurrency filter, and the other way round. The filter was ignored.',
  12014: 'The sellerAccountTypes filter is not supported on this marketplace.',
  12029: 'The offset value should be less than 10,000.',
  12032: 'The number of sellers exceeds the maximum of 250.',
  12515: 'The offset value must be 0 or a multiple of the limit value.',
  12517: 'Use either itemLocationCountry or itemLocationRegion, not both.',
}

export function browseError(errorId: number, parameters?: EbayError['parameters']): EbayError {
  const category = errorId === 12000 ? 'APPLICATION' : 'REQUEST'
  const message = MESSAGES[errorId] ?? 'The request is invalid.'
  return { errorId, domain: 'API_BROWSE', category, message, ...(parameters ? { parameters } : {}) }
}

export function errorReply(status: number, error: EbayError, headers: Readonly<Record<string, string>> = {}): Reply {
  return json(status, { errors: [error] }, headers)
}

export const INVALID_TOKEN: EbayError = {
  errorId: 1001,
  domain: 'OAuth',
  category: 'REQUEST',
  message: 'Invalid access token',
  longMessage: 'Invalid access token. Check the value of the Authorization HTTP request header.',
}

export const MISSING_TOKEN: EbayError = {
  errorId: 1002,
  domain: 'OAuth',
  category: 'REQUEST',
  message: 'Missing access token',
  longMessage: 'Access token is missing in the Authorization HTTP request header.',
}

export const ACCESS_DENIED: EbayError = {
  errorId: 1100,
  domain: 'ACCESS',
  category: 'REQUEST',
  message: 'Access denied',
  longMessage: 'Insufficient permissions to fulfill the request.',
}

export const TOO_MANY: EbayError = {
  errorId: 2001,
  domain: 'ACCESS',
  category: 'REQUEST',
  message: 'Too many requests.',
  longMessage: 'The request limit has been reached for the resource.',
}
