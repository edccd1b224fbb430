/**
 * Seller names. eBay compares user names without regard to case and to nothing else, so the key folds case and character
 * width and nothing more: `a.b`, `a_b` and `ab` are three people, and merging two would poison the list for good.
 */

/** A user name typed by a person, lower-cased: eBay's rules for names, old two-character accounts included. */
const TYPED_NAME = /^[a-z0-9*][a-z0-9._*-]{0,62}[a-z0-9*]$/
/** What eBay may send: old accounts break today's rules, so only length and white space are held against it. */
const MAX_NAME_LENGTH = 64

export type SellerName = Readonly<{
  /** As to be shown: trimmed, otherwise as it came. */
  displayName: string
  /** What `sellers.normalized_name` holds: equal for two spellings of one eBay user name, and only then. */
  normalizedName: string
}>

/**
 * The key of a user name: NFKC (full-width letters become plain ones), trimmed, one leading `@` and everything around
 * the name in a profile address (`https://www.ebay.com/usr/NAME`) removed, lower-cased. Idempotent. Dots, dashes,
 * underscores and stars are kept. A store address (`/str/...`) is no user name and is not read as one.
 * Lower-casing is Unicode's own, without a language: no Turkish surprises.
 */
export function normaliseSellerName(name: string): string {
  let key = name.toWellFormed().normalize('NFKC').toLowerCase().normalize('NFKC')
  // Once is not enough: an address may follow an "@", and what is stripped may bare white space.
  for (let before = ''; before !== key; ) {
    before = key
    key = nameInProfileUrl(key.trim()).replace(/^@/, '').trim()
  }
  return key
}

/** Lower-cased text in, the name in `/usr/<name>` out; the text itself when it is no eBay profile address. */
function nameInProfileUrl(text: string): string {
  const match = /^(?:https?:\/\/)?(?:[a-z0-9-]+\.)*ebay\.[a-z.]{2,6}\/usr\/([^/?#\s]+)/.exec(text)
  if (match === null) return text.replace(/^\/usr\/([^/?#\s]+).*$/s, '$1')
  const name = match[1] ?? ''
  try {
    return decodeURIComponent(name).toWellFormed().normalize('NFKC').toLowerCase().normalize('NFKC')
  } catch {
    return name
  }
}

/**
 * The name a provider's answer carries, as it is to be stored. Null when it is no user name at all: empty, longer than 64
 * characters, or with white space or control characters inside (then it is a store title or a misread page).
 */
export function readSellerName(username: string): SellerName | null {
  const displayName = username.trim()
  const normalizedName = normaliseSellerName(displayName)
  if (!usable(displayName) || !usable(normalizedName)) return null
  return { displayName, normalizedName }
}

function usable(name: string): boolean {
  return name.length > 0 && name.length <= MAX_NAME_LENGTH && name.isWellFormed() && !/[\s\p{C}]/u.test(name)
}

export type TypedSellerName =
  | Readonly<{ ok: true; name: SellerName }>
  /** One sentence for the person who typed it. */
  | Readonly<{ ok: false; problem: string }>

/**
 * A name typed or imported by a person, held to eBay's published rules, because here a mistake is likelier than an odd
 * account. `@name`, any case and profile addresses are accepted; store names, store addresses and e-mail addresses are
 * refused with the reason, never turned into a guess.
 */
export function checkTypedSellerName(text: string): TypedSellerName {
  const name = normaliseSellerName(text)
  const refuse = (problem: string): TypedSellerName => ({ ok: false, problem })
  if (name === '') return refuse('The seller name is empty.')
  if (/(^|\/)str\//.test(name)) {
    return refuse(
      'This is the address of a store; a store name is not a user name. Open the store and copy the seller.',
    )
  }
  if (/\s/.test(name)) return refuse('A user name has no spaces; this looks like a store name.')
  if (name.includes('@')) return refuse('This looks like an e-mail address, not a user name.')
  if (name.includes('/')) return refuse('This is an address without a user name in it (ebay.com/usr/NAME).')
  if (name.length > MAX_NAME_LENGTH) return refuse(`A user name has at most ${MAX_NAME_LENGTH} characters.`)
  if (!TYPED_NAME.test(name)) {
    return refuse('A user name has letters, digits and . _ - * and begins and ends with a letter, digit or *.')
  }
  return { ok: true, name: { displayName: name, normalizedName: name } }
}
