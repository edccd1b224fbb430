/** How sellers write a product's title: copied, shortened, rewritten, or so that hardly anybody finds it. */
import type { Random } from '../random.ts'
import { COMMON_WORDS, FILLERS, STOP_WORDS, SYNONYMS, tokensOf } from './words.ts'

/** eBay's limit for a listing's title. */
export const TITLE_LIMIT = 80

export type TitleStyle = 'copied' | 'shortened' | 'rewritten' | 'careless'

/** What a title is made of, read from the title alone, so that uploaded products are treated like generated ones. */
export type TitleParts = Readonly<{
  words: readonly string[]
  brand: string
  /** Up to three words that tell this product from others, the most telling first. */
  telling: readonly string[]
  noun: string
}>

export function partsOf(title: string, brand: string | null): TitleParts {
  const words = title.split(/[\s,()"–&;|/]+/).filter((word) => /[\p{L}\p{N}]/u.test(word))
  const first = brand ?? words[0] ?? title
  const brandTokens = new Set(tokensOf(first))
  const telling = words
    .map((word, place) => ({ word, weight: tellingWeight(word, place) }))
    .filter(({ word }) => !tokensOf(word).some((token) => brandTokens.has(token)))
    .sort((a, b) => b.weight - a.weight)
    .slice(0, 3)
    .map(({ word }) => word)
  const head = title.split(/,| - | with | for |\(/)[0] ?? title
  const headWords = head.split(/\s+/).filter((word) => /^\p{L}[\p{L}-]+$/u.test(word))
  return { words, brand: first, telling: [...new Set(telling)], noun: headWords.at(-1) ?? first }
}

/** Model numbers and long words near the front tell most, words of everyday less; measurements, fillers and stop words nothing. */
function tellingWeight(word: string, place: number): number {
  const token = word.toLowerCase()
  if (STOP_WORDS.has(token) || FILLERS.has(token) || /^\d/.test(token) || token.length < 3) return 0
  const model = /\p{L}/u.test(token) && /\d/.test(token) ? 8 : 0
  const common = COMMON_WORDS.has(token) ? 3 : 0
  return model - common + Math.min(token.length, 9) / 2 - Math.min(place, 12) / 3
}

export function writeTitle(parts: TitleParts, title: string, style: TitleStyle, random: Random): string {
  switch (style) {
    case 'copied':
      return cut(title)
    case 'shortened':
      return cut(shortened(parts, random).join(' '))
    case 'rewritten':
      return cut(rewritten(parts, random).join(' '))
    case 'careless':
      return cut(careless(parts, random).join(' '))
  }
}

function core(parts: TitleParts): Set<string> {
  return new Set([parts.brand, ...parts.telling, parts.noun])
}

function shortened(parts: TitleParts, random: Random): string[] {
  const kept = core(parts)
  const words = parts.words.filter((word) => kept.has(word) || random.chance(0.25))
  return words.includes(parts.brand) ? words : [parts.brand, ...words]
}

function rewritten(parts: TitleParts, random: Random): string[] {
  const kept = core(parts)
  const others = parts.words
    .filter((word) => !kept.has(word) && random.chance(0.45))
    .map((word) => (random.chance(0.6) ? (SYNONYMS.get(word.toLowerCase()) ?? word) : word))
  const ending = random.pick([
    ['NEW'],
    ['Brand', 'New', 'in', 'Box'],
    ['Fast', 'Free', 'Shipping'],
    ['USA', 'Seller'],
    [],
  ])
  return [parts.brand, parts.noun, ...parts.telling, ...others.slice(0, 4), ...ending].filter(
    (word, place, all) => all.indexOf(word) === place,
  )
}

/** Leaves out the brand or the telling words: only an article number leads here. */
function careless(parts: TitleParts, random: Random): string[] {
  const hidden = new Set(random.chance(0.5) ? [parts.brand] : parts.telling)
  const words = parts.words.filter((word) => !hidden.has(word) && random.chance(0.5))
  return ['New', parts.noun, ...words.slice(0, 6)]
}

/** At a word boundary within the limit. */
function cut(title: string): string {
  if (title.length <= TITLE_LIMIT) return title
  const part = title.slice(0, TITLE_LIMIT + 1)
  const end = part.lastIndexOf(' ')
  return (end > 20 ? part.slice(0, end) : part.slice(0, TITLE_LIMIT)).replace(/[\s,\-–(]+$/, '')
}
