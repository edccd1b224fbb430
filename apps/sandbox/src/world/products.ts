/** Best sellers of a category: pure functions of seed and category, so any process makes the same ones. */
import { codeOf, hash53, type Random, randomOf } from '../random.ts'
import type { Category, CategoryTree } from './categories.ts'
import {
  ADJECTIVES,
  COLORS,
  capitalised,
  FEATURES,
  inventedWord,
  MATERIALS,
  NOUN_ENDINGS,
  NOUNS,
  SIZES,
  USES,
} from './words.ts'

export type Product = Readonly<{
  asin: string
  title: string
  brand: string
  /** What the list shows: null when Amazon hides the price. */
  priceCents: number | null
  /** What it costs, shown or not: the listings' prices are made from this. */
  trueCents: number
  /** 12 digits with a valid check digit, from the range reserved for shops' own use. */
  gtin: string | null
  /** Tenths, 35 to 50; null when unrated. */
  ratingTenths: number | null
  ratingsCount: number
  /** Home category, or `catalogue` for uploaded products. */
  home: string
}>

/** Own products of a category, whether or not all of them are in its list. */
export const OWN_PRODUCTS = 100
const BRANDS_PER_CATEGORY = 12
const BASE36 = '0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ'

/** The product number `index` (from 0) at home in `category`. */
export function ownProduct(seed: number, category: Category, index: number): Product {
  const text = `${seed}|product|${category.key}|${index}`
  const random = randomOf(text)
  const brand = capitalised(
    inventedWord(`${seed}|brand|${category.key}|${Math.floor(random.next() ** 1.6 * BRANDS_PER_CATEGORY)}`, 3),
  )
  const trueCents = priceOf(random)
  return {
    asin: asinOf(text, category, random),
    title: titleOf(random, text, brand, category),
    brand,
    priceCents: random.chance(0.06) ? null : trueCents,
    trueCents,
    gtin: random.chance(0.7) ? gtinOf(text) : null,
    ratingTenths: random.chance(0.03) ? null : random.int(35, 50),
    ratingsCount: Math.floor(10 ** (1 + random.next() * 4)),
    home: category.key,
  }
}

/** Places in a category's list: the category's own products, and some that are at home elsewhere. In rank order. */
export function listPlaces(
  seed: number,
  tree: CategoryTree,
  category: Category,
): readonly Readonly<{ home: Category; index: number }>[] {
  const random = randomOf(`${seed}|list|${category.key}`)
  const length = random.chance(0.75) ? 100 : random.int(38, 99)
  const lenders = lendersOf(seed, tree, category)
  const borrowedShare = category.level === 0 ? 0.3 : 0.08
  const places: { home: Category; index: number }[] = []
  const borrowed = new Set<string>()
  for (let rank = 0; rank < length; rank++) {
    if (lenders.length > 0 && random.chance(borrowedShare)) {
      const home = random.pick(lenders)
      const index = random.int(0, 39)
      if (!borrowed.has(`${home.key}#${index}`)) {
        borrowed.add(`${home.key}#${index}`)
        places.push({ home, index })
        continue
      }
    }
    places.push({ home: category, index: rank })
  }
  return places
}

/** At most four: a department's first children, otherwise the neighbours below the same parent. */
function lendersOf(seed: number, tree: CategoryTree, category: Category): Category[] {
  const children = tree.childrenOf(category)
  if (children.length > 0) return children.slice(0, 4)
  const siblings = tree.siblingsOf(category)
  const place = siblings.indexOf(category)
  const neighbours = [siblings[place - 1], siblings[place + 1]].filter((other) => other !== undefined)
  if (neighbours.length > 0) return neighbours
  const other = tree.all[hash53(`${seed}|lender|${category.key}`) % tree.all.length]
  return other === undefined || other.key === category.key ? [] : [other]
}

function asinOf(text: string, category: Category, random: Random): string {
  if (category.slug === 'books' && random.chance(0.2)) return isbn10(hash53(`${text}|isbn`) % 1_000_000)
  return `B0${codeOf(`${text}|asin`, BASE36, 8)}`
}

/** An ISBN-10 with a valid check digit in the group 999, which is not assigned to any country. */
function isbn10(number: number): string {
  const digits = `999${String(number).padStart(6, '0')}`
  const sum = [...digits].reduce((total, digit, place) => total + Number(digit) * (10 - place), 0)
  const check = (11 - (sum % 11)) % 11
  return digits + (check === 10 ? 'X' : String(check))
}

/** A UPC-A starting with 4 (reserved for use inside a shop) with a valid check digit. */
function gtinOf(text: string): string {
  const digits = `4${codeOf(`${text}|gtin`, '0123456789', 10)}`
  const sum = [...digits].reduce((total, digit, place) => total + Number(digit) * (place % 2 === 0 ? 3 : 1), 0)
  return digits + String((10 - (sum % 10)) % 10)
}

function priceOf(random: Random): number {
  const dollars = Math.floor(6 * 10 ** (random.next() * random.next() * 1.6 + 0.25))
  return dollars * 100 + random.pick([99, 99, 99, 95, 49, 0])
}

function titleOf(random: Random, text: string, brand: string, category: Category): string {
  const noun = random.pick(nounsOf(category))
  const line = capitalised(inventedWord(`${text}|line`, random.int(2, 3)))
  const model = `${inventedWord(`${text}|model`, 1).slice(0, 2).toUpperCase()}${random.int(100, 9899)}`
  const adjective = random.pick(ADJECTIVES)
  const material = random.pick(MATERIALS)
  const first = random.int(0, FEATURES.length - 1)
  const second = FEATURES[(first + random.int(1, FEATURES.length - 1)) % FEATURES.length]
  const features = [FEATURES[first], second, random.pick(USES), random.pick(SIZES)]
  const color = random.pick(COLORS)
  const shape = random.next()
  if (shape < 0.12) return `${brand} ${line} ${noun}`
  if (shape < 0.5) return `${brand} ${line} ${adjective} ${noun} ${model}, ${features.slice(0, 2).join(', ')}, ${color}`
  if (shape < 0.78) {
    return `${brand} ${adjective} ${material} ${noun} - ${line} ${model} - ${features[0]} ${features[2]} (${color}, ${features[3]})`
  }
  if (shape < 0.9) {
    return `${brand} ${line} ${noun} ${model} with ${features[0]}, ${adjective} ${material} ${noun} ${features[2]}, ${features[1]} & ${random.pick(FEATURES)}, ${random.pick(FEATURES)}, ${features[3]}, ${color} – Crème Édition`
  }
  if (shape < 0.95) return `${adjective} ${material} ${noun} by ${brand}, ${line} ${model}, ${features[0]}, ${color}`
  return `${brand} ${noun} ${model} "${line}" ${features[3]}, ${features[0]}`
}

/** Nouns from the category's own name (`Dog Beds & Furniture`: Dog Bed, Furniture), or general ones for a department. */
function nounsOf(category: Category): readonly string[] {
  if (category.level === 0) return NOUNS
  const own = category.name
    .split(/,| & | and /)
    .map((part) => singular(part.replace(/[^\p{L}\p{N} -]/gu, '').trim()))
    .filter((part) => part.length > 2)
  if (own.length === 0) return NOUNS
  const extra = NOUN_ENDINGS[hash53(category.key) % NOUN_ENDINGS.length] ?? 'Kit'
  return [...own, ...own, `${own[0]} ${extra}`]
}

function singular(words: string): string {
  if (/(ss|us|is)$/i.test(words)) return words
  if (/ies$/i.test(words)) return words.replace(/ies$/i, 'y')
  if (/(ches|shes|xes|sses)$/i.test(words)) return words.replace(/es$/i, '')
  return words.replace(/s$/i, '')
}
