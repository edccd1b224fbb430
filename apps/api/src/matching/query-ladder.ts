/**
 * The searches for one product, surest first. eBay joins words with AND and silently cuts a query at 100 characters, so a
 * rung holds few words and never half a word. The engine tries the next rung only when the one before brought too little.
 */

import { isbn13OfAsin, readGtin } from '../base/gtin.ts'
import type { ListedProduct, SearchQuery } from '../providers/types.ts'
import { brandWords, type TitleWord, titleWords } from './title-words.ts'

/** eBay Browse `q`: longer input is cut silently. */
export const MAX_QUERY_LENGTH = 100
/**
 * Words of the second rung. A full title as an AND query finds 6 to 41 % of true counterparts (Abt-Buy to Amazon-Google
 * matching sets), a brand with two words 45 to 71 %: five words keep a query apart from its neighbours and still match.
 */
const TITLE_WORDS = 5
/** With so many words of the part that names the thing, words of the description behind it only lose counterparts. */
const HEAD_ENOUGH = 3
const TELLING_WORDS = 2
/** Further back a title praises and lists; only a model number is looked for there. */
const TELLING_WITHIN = 10

/**
 * The rungs for `product`, at most three, all different: GTIN; the first content words of the title; the brand with two
 * telling words. Empty when nothing is searchable: no valid GTIN and no content word in the title. Pure and
 * deterministic. Queries hold only letters, digits, single spaces and - . & inside words: no eBay operator.
 */
export function ladder(product: ListedProduct): SearchQuery[] {
  const words = titleWords(product.title)
  const texts = [firstWords(words), brandAndTelling(product.brand, words)]
  const rungs: SearchQuery[] = []
  const gtin = gtinOf(product)
  if (gtin !== null) rungs.push({ kind: 'gtin', gtin })
  const seen = new Set<string>()
  for (const list of texts) {
    const fitting = fit(list)
    // AND does not care for order: the same words are the same search.
    const key = fitting
      .map((word) => word.toLowerCase())
      .sort()
      .join(' ')
    if (fitting.length === 0 || seen.has(key)) continue
    seen.add(key)
    rungs.push({ kind: 'text', text: fitting.join(' ') })
  }
  return rungs
}

function gtinOf(product: ListedProduct): string | null {
  for (const text of product.gtins ?? []) {
    const gtin = readGtin(text)
    if (gtin !== null) return gtin
  }
  return isbn13OfAsin(product.asin)
}

function firstWords(words: readonly TitleWord[]): string[] {
  return words
    .filter((word) => word.at < TITLE_WORDS && (word.inHead || word.at < HEAD_ENOUGH))
    .map((word) => word.text)
}

/** Without a known brand the title's first word stands for it: Amazon's title rules put the brand there. */
function brandAndTelling(brand: string | undefined, words: readonly TitleWord[]): string[] {
  const known = brandWords(brand ?? '')
  const named = known.length > 0 ? known : words.slice(0, 1).map((word) => word.text)
  const taken = new Set(named.map((word) => word.toLowerCase()))
  const telling = tellingWords(words.filter((word) => !taken.has(word.text.toLowerCase())))
  // A brand alone would find its whole catalogue.
  return telling.length > 0 ? [...named, ...telling] : []
}

/**
 * The words that tell most, in the order of the title. Without word counts of eBay at hand this goes by what such words
 * look like: a model number; else long words in the part that names the thing, its last word first, since an English
 * noun phrase ends with its noun. Words of advertising and colours come last. At most one model number: sellers
 * often write one, seldom two.
 */
function tellingWords(words: readonly TitleWord[]): string[] {
  const head = words.filter((word) => word.inHead)
  const noun = head.filter((word) => !isModel(word.text) && !isVague(word.text) && !/^\d/.test(word.text)).at(-1)
  const scored = words
    .filter((word) => word.at < TELLING_WITHIN || isModel(word.text))
    .map((word) => ({ word, score: telling(word, word === noun) }))
    .sort((a, b) => b.score - a.score || a.word.at - b.word.at)
  const chosen: TitleWord[] = []
  for (const { word } of scored) {
    if (chosen.length === TELLING_WORDS) break
    if (isModel(word.text) && chosen.some((other) => isModel(other.text))) continue
    chosen.push(word)
  }
  return chosen.sort((a, b) => a.at - b.at).map((word) => word.text)
}

/** Orders words, nothing more; the weights were set by reading the rungs of about two hundred best-seller titles. */
function telling(word: TitleWord, isNoun: boolean): number {
  const length = Math.min(word.text.length, 10)
  return (
    length +
    (isModel(word.text) ? 20 : 0) +
    (isNoun ? 15 : 0) +
    (word.inHead ? 8 : 0) -
    (isVague(word.text) ? 20 : 0) -
    (/^\d+$/.test(word.text) ? 10 : 0)
  )
}

/** Letters and digits mixed, at least four characters and two digits: `AX1800`, `VFD40M-08`; not `5G`, `128GB`, `1080p`. */
function isModel(text: string): boolean {
  if (text.length < 4 || !/\p{L}/u.test(text) || /^\d+[a-z]{1,2}$/i.test(text)) return false
  if (/^(?:ip|ipx|hdr|usb|ddr|spf|upf|[kmgt]b|led|lcd)\d/i.test(text)) return false
  return (text.match(/\d/g) ?? []).length >= 2
}

const VAGUE = new Set(
  (
    'black white blue red green grey gray pink purple silver gold brown beige orange yellow clear navy multicolor color ' +
    'colors assorted small medium large mini big long short heavy duty light lightweight portable adjustable rechargeable ' +
    'waterproof wireless cordless electric digital smart automatic professional outdoor indoor home kitchen office women ' +
    'womens men mens kids boys girls adults unisex baby soft strong durable fast quick easy multi multipurpose reusable ' +
    'disposable replacement accessories stainless steel plastic cotton natural organic bluetooth travel'
  ).split(' '),
)

function isVague(text: string): boolean {
  return VAGUE.has(text.toLowerCase())
}

/** As many of the words, each once, as fit into the limit; a word that cannot fit is left out, never cut. */
function fit(words: readonly string[]): string[] {
  const kept: string[] = []
  const seen = new Set<string>()
  let length = 0
  for (const word of words) {
    const more = word.length + (kept.length > 0 ? 1 : 0)
    if (length + more > MAX_QUERY_LENGTH || seen.has(word.toLowerCase())) continue
    seen.add(word.toLowerCase())
    kept.push(word)
    length += more
  }
  return kept
}
