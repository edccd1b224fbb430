/**
 * Text as other people write it, made fit to store, compare and show. Everything here is pure and total.
 */

/** Latin-1 entity names in code order from U+00A0; the rest of the common ones with their characters. */
const LATIN1 =
  'nbsp iexcl cent pound curren yen brvbar sect uml copy ordf laquo not shy reg macr deg plusmn sup2 sup3 acute micro ' +
  'para middot cedil sup1 ordm raquo frac14 frac12 frac34 iquest Agrave Aacute Acirc Atilde Auml Aring AElig Ccedil ' +
  'Egrave Eacute Ecirc Euml Igrave Iacute Icirc Iuml ETH Ntilde Ograve Oacute Ocirc Otilde Ouml times Oslash Ugrave ' +
  'Uacute Ucirc Uuml Yacute THORN szlig agrave aacute acirc atilde auml aring aelig ccedil egrave eacute ecirc euml ' +
  'igrave iacute icirc iuml eth ntilde ograve oacute ocirc otilde ouml divide oslash ugrave uacute ucirc uuml yacute ' +
  'thorn yuml'

const ENTITIES = new Map<string, string>([
  ...LATIN1.split(' ').map((name, at): [string, string] => [name, String.fromCodePoint(0xa0 + at)]),
  ...Object.entries({
    amp: '&',
    lt: '<',
    gt: '>',
    quot: '"',
    apos: "'",
    ndash: '–',
    mdash: '—',
    lsquo: '‘',
    rsquo: '’',
    sbquo: '‚',
    ldquo: '“',
    rdquo: '”',
    bdquo: '„',
    prime: '′',
    Prime: '″',
    hellip: '…',
    bull: '•',
    trade: '™',
    euro: '€',
    OElig: 'Œ',
    oelig: 'œ',
    Scaron: 'Š',
    scaron: 'š',
    ensp: ' ',
    emsp: ' ',
    thinsp: ' ',
  }),
])

/**
 * Decodes HTML entities (`&amp;`, `&#39;`, `&#x2019;`) once. Names outside Latin-1 and common punctuation, and numbers
 * that are no character, stay as they are: a title is data, and a wrong guess would be worse than an entity.
 */
export function decodeEntities(text: string): string {
  if (!text.includes('&')) return text
  return text.replace(
    /&(?:#(\d{1,7})|#[xX]([0-9a-fA-F]{1,6})|([A-Za-z][A-Za-z0-9]{1,30}));/g,
    (all, dec, hex, name) => {
      if (name !== undefined) return ENTITIES.get(name) ?? all
      const point = dec === undefined ? Number.parseInt(hex, 16) : Number(dec)
      const valid = point > 0 && point <= 0x10ffff && (point < 0xd800 || point > 0xdfff)
      return valid ? String.fromCodePoint(point) : all
    },
  )
}

/**
 * One line of storable text: well-formed Unicode (PostgreSQL refuses NUL and lone surrogates), NFC, without control
 * characters, byte-order marks and direction overrides (they make a row read as something it is not), white space
 * collapsed and trimmed. Idempotent.
 */
export function cleanLine(text: string): string {
  // Most text is plain ASCII and clean already; a list has millions of cells.
  if (/^(?:[!-~]+(?: [!-~]+)*)?$/.test(text)) return text
  return text
    .toWellFormed()
    .normalize('NFC')
    .replace(/[\u200b\u200e\u200f\u202a-\u202e\u2060\u2066-\u2069\ufeff\u00ad]/g, '')
    .replace(/[\p{Cc}\s]+/gu, ' ')
    .trim()
}

/** The first `limit` characters (code points, so no character is halved), without a trailing space. */
export function cutText(text: string, limit: number): string {
  if (text.length <= limit) return text
  const points = Array.from(text)
  return points.length <= limit ? text : points.slice(0, limit).join('').trimEnd()
}

/**
 * A key for comparing names as people type them: compatibility forms folded, case and diacritics dropped ("Home Décor"
 * and "home decor" are one), `&` is "and", white space collapsed. Not for identifiers. Idempotent.
 */
export function foldText(text: string): string {
  const bare = cleanLine(text)
    .normalize('NFKD')
    .replace(/\p{M}+/gu, '')
  return cleanLine(
    bare
      .toLowerCase()
      .replaceAll('&', ' and ')
      .normalize('NFKD')
      .replace(/\p{M}+/gu, ''),
  )
}
