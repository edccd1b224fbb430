/** Who sells: pools shared by the whole world, each seller a pure function of seed, pool and number. */
import { codeOf, randomOf } from '../random.ts'
import { capitalised, inventedWord } from './words.ts'

export type SellerKind = 'arbitrage' | 'retailer' | 'specialist' | 'one_off' | 'background'

export type Seller = Readonly<{
  /** As registered. Listings of a seller whose case varies may show another case; the key is the lower-cased name. */
  username: string
  key: string
  /** Never changes, mixed case, 11 characters. */
  userId: string
  kind: SellerKind
  feedbackScore: number
  /** Tenths of a per cent; null where eBay sends none. */
  feedbackPermille: number | null
  caseVaries: boolean
}>

export const POOL_SIZES = { arbitrage: 240, retailer: 160, specialist: 24, background: 2500 } as const

const SUFFIXES =
  'deals store goods mart supply outlet shop trading finds direct warehouse depot bargains emporium'.split(' ')
const BASE62 = '0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz'
const cache = new Map<string, Seller>()

/**
 * The seller number `index` of `pool`, where pool is a kind or `specialist|<category key>` or `one_off|<asin>`.
 * About one arbitrage seller or retailer in sixteen has a twin whose name differs only by a dot: two sellers, two ids.
 */
export function sellerOf(seed: number, kind: SellerKind, pool: string, index: number): Seller {
  const id = `${seed}|${pool}|${index}`
  const known = cache.get(id)
  if (known) return known
  const random = randomOf(`${seed}|seller|${pool}|${index}`)
  const username = usernameOf(seed, pool, index)
  const seller: Seller = {
    username,
    key: username.toLowerCase(),
    userId: codeOf(`${seed}|user|${pool}|${index}`, BASE62, 11),
    kind,
    feedbackScore: Math.floor(kind === 'one_off' ? random.next() * 400 : 10 ** (1.5 + random.next() * 3.6)),
    feedbackPermille: random.chance(0.01) ? null : random.chance(0.02) ? 0 : random.int(930, 1000),
    caseVaries: random.chance(0.06),
  }
  if (!pool.includes('|')) cache.set(id, seller)
  return seller
}

/** The name as one listing shows it. */
export function shownName(seller: Seller, roll: number): string {
  if (!seller.caseVaries || roll < 0.5) return seller.username
  return roll < 0.75 ? capitalised(seller.username) : seller.username.toUpperCase()
}

function usernameOf(seed: number, pool: string, index: number): string {
  const twinned = (pool === 'arbitrage' || pool === 'retailer') && index % 16 === 1
  if (!twinned) return plainName(seed, pool, index)
  const twin = plainName(seed, pool, index - 1)
  return twin.includes('.') ? twin.replace('.', '') : `${twin.slice(0, 3)}.${twin.slice(3)}`
}

function plainName(seed: number, pool: string, index: number): string {
  const text = `${seed}|name|${pool}|${index}`
  const random = randomOf(text)
  const root = inventedWord(text, pool.includes('|') ? 3 : random.int(2, 3))
  const shape = random.next()
  if (shape < 0.3) return `${root}_${random.pick(SUFFIXES)}${random.int(1, 99)}`
  if (shape < 0.5) return `${root}.${random.pick(SUFFIXES)}${random.int(1, 99)}`
  if (shape < 0.65) return `${root}-${random.pick(SUFFIXES)}${random.int(1, 99)}`
  if (shape < 0.85) return `${root}${random.pick(SUFFIXES)}${random.int(1, 999)}`
  return `${root}${random.int(100, 99999)}`
}
