/**
 * What is worth searching for in an Amazon title. Those titles are advertisements of up to 200 characters; as an AND query
 * nearly every further word loses true counterparts, so counts, sizes, filler and punctuation go first.
 */
import { cleanLine, decodeEntities } from '../base/text.ts'

/** A content word of a title, safe to send: begins and ends with a letter or digit and holds no eBay operator. */
export type TitleWord = Readonly<{
  text: string
  /** Before the first comma, dash, bracket, "with" or "for": where a title names the thing itself. */
  inHead: boolean
  /** Place among the content words, from 0. */
  at: number
}>

const STOP_WORDS = new Set(
  (
    'a an and or the of for with without to in on by from at as into up out off over under is are be was it its this that ' +
    'these those your our my you we us all any each per plus via vs w new newest latest upgraded upgrade version edition ' +
    'model release released updated original official genuine authentic best top great perfect ideal premium deluxe ' +
    'super ultimate quality high includes included including include compatible fit fits use used using suitable more ' +
    'most very gift gifts free sale seller bestseller pack packs pcs pc piece pieces count ct set sets pk qty size sizes ' +
    'all-new brand-new renewed refurbished must-have multipack ages years old different various assorted multiple ' +
    '用于 适用于 适用 兼容 包括 以及 升级 版本 非常'
  ).split(' '),
)

/** After a number these say how many or how large, and no seller writes them the same way. */
const UNITS =
  'packs?|pk|pcs?|pieces?|counts?|ct|cts|sets?|rolls?|sheets?|bags?|pairs?|tablets?|capsules?|loads?|' +
  'inch|inches|in|ft|feet|foot|cm|mm|m|yd|yards?|oz|ounces?|fl|ml|l|liters?|litres?|qt|quarts?|gal|gallons?|' +
  'lb|lbs|pounds?|g|kg|grams?|w|watts?|v|volts?|a|amps?|mah|hz|ghz|mhz|hours?|hrs?|minutes?|min|' +
  'years?|yrs?|months?|days?|x|btu|cfm|rpm|psi|mp|db|k|英寸|英尺|米|件|个|瓦|小时'
/** Storage sizes (`128GB`) are missing on purpose: they tell products apart and sellers do write them. */
const MEASURE = new RegExp(`^(?:\\d+(?:[-.,/]\\d+)*-?(?:${UNITS})|\\d+-in-\\d+|(?:${UNITS})-\\d+)$`, 'iu')
const UNIT = new RegExp(`^(?:${UNITS})$`, 'iu')
const NUMBER = /^\d+(?:[-.,/]\d+)*$/
const STORAGE = /^[kmgt]b$/i
/** Directly behind a number: inches, feet, per cent, degrees. */
const MEASURE_SIGN = /^["″”“'′%°]/
const SPACELESS = /[\p{Script=Han}\p{Script=Hiragana}\p{Script=Katakana}]/u
/** So many words in a script with spaces are enough to search by, and eBay's US listings are written in one. */
const ENOUGH_SPACED_WORDS = 2

type Token = Readonly<{ text: string /** Punctuation other than a space stands before it. */; breakBefore: boolean }>

/**
 * The content words of a title in its order, each once (compared without case). Chinese and Japanese have no spaces: where
 * such a title also has Latin words (brand and model nearly always are), those alone are used, because that is what a
 * listing located in the US is written in; otherwise it is cut into words by ICU's dictionary, which Node brings along.
 */
export function titleWords(title: string): TitleWord[] {
  const tokens = tokenise(title)
  const spaced = contentWords(tokens.filter((token, at) => !SPACELESS.test(token.text) && !isCounted(tokens, at)))
  if (spaced.length >= ENOUGH_SPACED_WORDS) return spaced
  return contentWords(tokens.flatMap(cutSpaceless))
}

/** Content words of a brand name, in order. */
export function brandWords(brand: string): string[] {
  // "Visit the X Store" and "Brand: X" are how Amazon pages label a brand.
  const name = cleanLine(decodeEntities(brand)).replace(/^(?:visit the (.+) store|brand:\s*(.+))$/i, '$1$2')
  if (/^(?:generic|unknown|unbranded|n\/a|none|no brand)$/i.test(name)) return []
  const words = tokenise(name).map((token) => token.text)
  const telling = words.filter((word) => !STOP_WORDS.has(word.toLowerCase()))
  return telling.length > 0 ? telling : words
}

function tokenise(title: string): Token[] {
  const text = cleanLine(decodeEntities(title).replace(/[™®©℠]/g, ' '))
    .normalize('NFKC')
    .replace(/[’‘`´]/g, "'")
  const tokens: Token[] = []
  let end = 0
  let breaks = false
  // A word may hold - . & between letters or digits (USB-C, 5.3, AT&T); an apostrophe is read over: Men's is Mens.
  for (const match of text.matchAll(
    /[\p{L}\p{N}](?:[\p{L}\p{N}\p{M}]|[-.'](?=[\p{L}\p{N}])|(?<=\p{L})&(?=\p{L}))*/gu,
  )) {
    breaks ||= /[,;:|()[\]{}【】–—•·-]/.test(text.slice(end, match.index))
    end = match.index + match[0].length
    const word = match[0].replaceAll("'", '')
    const last = tokens.at(-1)
    if (NUMBER.test(word) && MEASURE_SIGN.test(text.slice(end, end + 1))) continue
    if (STORAGE.test(word) && last !== undefined && NUMBER.test(last.text)) {
      tokens[tokens.length - 1] = { ...last, text: `${last.text}${word}` }
      continue
    }
    tokens.push({ text: word, breakBefore: breaks })
    breaks = false
  }
  return tokens.flatMap(splitScripts)
}

/** `适用于Lenovo` is a Chinese word and a brand: scripts without spaces and with them are parted. */
function splitScripts(token: Token): Token[] {
  if (!SPACELESS.test(token.text)) return [token]
  const runs = token.text.match(
    /[\p{Script=Han}\p{Script=Hiragana}\p{Script=Katakana}ー]+|[^\p{Script=Han}\p{Script=Hiragana}\p{Script=Katakana}ー]+/gu,
  )
  return (runs ?? [])
    .map((run) => run.replace(/^[^\p{L}\p{N}]+|[^\p{L}\p{N}]+$/gu, ''))
    .filter((run) => run !== '')
    .map((text, at) => ({ text, breakBefore: at === 0 && token.breakBefore }))
}

const segmenters = {
  ja: new Intl.Segmenter('ja', { granularity: 'word' }),
  zh: new Intl.Segmenter('zh', { granularity: 'word' }),
}

function cutSpaceless(token: Token): Token[] {
  if (!SPACELESS.test(token.text)) return [token]
  const language = /[\p{Script=Hiragana}\p{Script=Katakana}]/u.test(token.text) ? 'ja' : 'zh'
  const parts = Array.from(segmenters[language].segment(token.text), (part) => part.segment)
  // Single characters are mostly particles; if there is nothing else, the run itself is the word.
  const words = parts.filter((part) => part.length > 1 && !/^\p{Script=Hiragana}+$/u.test(part))
  return (words.length > 0 ? words : [token.text]).map((text, at) => ({
    text,
    breakBefore: at === 0 && token.breakBefore,
  }))
}

function contentWords(tokens: readonly Token[]): TitleWord[] {
  const words: TitleWord[] = []
  const seen = new Set<string>()
  let inHead = true
  for (let at = 0; at < tokens.length; at++) {
    const token = tokens[at] as Token
    const lower = token.text.toLowerCase()
    if (words.length > 0 && (token.breakBefore || lower === 'with' || lower === 'for')) inHead = false
    const skipped = countLength(tokens, at)
    if (skipped > 0) {
      at += skipped - 1
      continue
    }
    if (!isContent(token, lower, words.length > 0 && keptBefore(tokens, at))) continue
    if (seen.has(lower)) continue
    seen.add(lower)
    words.push({ text: token.text, inHead, at: words.length })
  }
  return words
}

/** A number before a word without spaces is a count of it (`100 张`). */
function isCounted(tokens: readonly Token[], at: number): boolean {
  return NUMBER.test(tokens[at]?.text ?? '') && SPACELESS.test(tokens[at + 1]?.text ?? '')
}

/** How many tokens from `at` state a count or a size: "36 Inch", "Pack of 6", "120Pcs", "2-Pack"; 0 when none do. */
function countLength(tokens: readonly Token[], at: number): number {
  const [first, second, third] = [tokens[at]?.text ?? '', tokens[at + 1]?.text ?? '', tokens[at + 2]?.text ?? '']
  if (MEASURE.test(first)) return 1
  if (/^(?:pack|set|box|case|bundle|lot)s?$/i.test(first) && /^of$/i.test(second) && NUMBER.test(third)) return 3
  if (NUMBER.test(first) && UNIT.test(second) && !tokens[at + 1]?.breakBefore) return 2
  return 0
}

function keptBefore(tokens: readonly Token[], at: number): boolean {
  const before = tokens[at - 1]
  return before !== undefined && !STOP_WORDS.has(before.text.toLowerCase()) && !NUMBER.test(before.text)
}

/** A bare number counts only as part of a name it directly follows: "WiFi 6", "PlayStation 5"; not "with 8 outlets". */
function isContent(token: Token, lower: string, followsWord: boolean): boolean {
  if (STOP_WORDS.has(lower)) return false
  if (NUMBER.test(token.text)) return followsWord && !token.breakBefore && token.text.length <= 5
  return token.text.length > 1
}
