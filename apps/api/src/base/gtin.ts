/** Trade item numbers (UPC, EAN, ISBN): the surest way to one product, when the number is real. */

/**
 * The number as eBay's `gtin` parameter takes it, or null when it is none: 8, 12, 13 or 14 digits with a right GS1 check
 * digit, not all zeros. Spaces and dashes are dropped. A GTIN-14 is unpacked to 13 digits when its first digit is 0; any
 * other first digit names an outer carton, not the product.
 */
export function readGtin(text: string): string | null {
  const digits = text.replace(/[\s-]/g, '')
  if (!/^(?:\d{8}|\d{12,14})$/.test(digits) || /^0+$/.test(digits)) return null
  if (!gs1Valid(digits)) return null
  if (digits.length < 14) return digits
  return digits.startsWith('0') ? digits.slice(1) : null
}

/** GS1 General Specifications, 7.9: weights 3 and 1 from the right, the sum is a multiple of ten. */
function gs1Valid(digits: string): boolean {
  const sum = [...digits].reverse().reduce((total, digit, at) => total + Number(digit) * (at % 2 === 0 ? 1 : 3), 0)
  return sum % 10 === 0
}

/** Whether the text is an ISBN-10 with a right check digit (weights 10 to 1, a multiple of eleven; X is ten). */
export function isIsbn10(text: string): boolean {
  if (!/^\d{9}[\dX]$/.test(text)) return false
  const sum = [...text].reduce((total, digit, at) => total + (10 - at) * (digit === 'X' ? 10 : Number(digit)), 0)
  return sum % 11 === 0
}

/**
 * The ISBN-13 of a book whose ASIN is its ISBN-10, or null: Amazon gives books published under an ISBN-10 that number
 * as ASIN, so the ASIN of a book says what its bar code is.
 */
export function isbn13OfAsin(asin: string): string | null {
  if (!isIsbn10(asin)) return null
  const body = `978${asin.slice(0, 9)}`
  const sum = [...body].reduce((total, digit, at) => total + Number(digit) * (at % 2 === 0 ? 1 : 3), 0)
  return `${body}${(10 - (sum % 10)) % 10}`
}
