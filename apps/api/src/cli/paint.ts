/** Colours for terminals. What is painted must read the same without: a colour never carries a meaning alone. */
import { stripVTControlCharacters } from 'node:util'

export type Paint = Readonly<{
  on: boolean
  bold: (text: string) => string
  dim: (text: string) => string
  accent: (text: string) => string
  good: (text: string) => string
  warn: (text: string) => string
  bad: (text: string) => string
}>

/** Paints when `on`, leaves text as it is otherwise. Only the sixteen basic colours, so that every theme stays readable. */
export function makePaint(on: boolean): Paint {
  const with_ = (open: number, close: number) => (text: string) =>
    on && text !== '' ? `\u001b[${open}m${text}\u001b[${close}m` : text
  return {
    on,
    bold: with_(1, 22),
    dim: with_(2, 22),
    accent: with_(34, 39),
    good: with_(32, 39),
    warn: with_(33, 39),
    bad: with_(31, 39),
  }
}

/** Columns `text` takes on a terminal: of its longest line, without escape sequences, wide characters counted twice. */
export function widthOf(text: string): number {
  return Math.max(...stripVTControlCharacters(text).split('\n').map(widthOfLine))
}

function widthOfLine(line: string): number {
  let width = 0
  for (const character of line) {
    const point = character.codePointAt(0) ?? 0
    if (/\p{M}/u.test(character)) continue
    width += isWide(point) ? 2 : 1
  }
  return width
}

/** Hangul, CJK, kana, full-width forms and emoji (Unicode TR 11, in rough blocks). */
function isWide(point: number): boolean {
  return (
    (point >= 0x1100 && point <= 0x115f) ||
    (point >= 0x2e80 && point <= 0xa4cf) ||
    (point >= 0xac00 && point <= 0xd7a3) ||
    (point >= 0xf900 && point <= 0xfaff) ||
    (point >= 0xfe30 && point <= 0xfe6f) ||
    (point >= 0xff00 && point <= 0xff60) ||
    (point >= 0x1f300 && point <= 0x1faff)
  )
}

/** `text` without paint, cut to `width` columns with an ellipsis. */
export function cutTo(text: string, width: number): string {
  if (widthOf(text) <= width) return text
  let cut = ''
  let used = 0
  for (const character of stripVTControlCharacters(text)) {
    used += widthOf(character)
    if (used > Math.max(0, width - 1)) break
    cut += character
  }
  return `${cut.trimEnd()}…`
}

/** `text` in lines of at most `width` columns, broken between words. */
export function wrap(text: string, width: number): string {
  const lines: string[] = []
  let line = ''
  for (const word of text.split(' ')) {
    if (line !== '' && widthOf(line) + 1 + widthOf(word) > width) {
      lines.push(line)
      line = word
    } else line = line === '' ? word : `${line} ${word}`
  }
  return [...lines, line].join('\n')
}
