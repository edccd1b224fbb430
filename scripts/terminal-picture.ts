/**
 * Turns what a terminal showed (ANSI colours on standard input) into an SVG on standard output, so that pictures in the
 * documentation are real output and not drawings.
 *
 *   script -qec "./gleaner run show last" /dev/null | node scripts/terminal-picture.ts './gleaner run show last' > docs/cli.svg
 */
import { text } from 'node:stream/consumers'

/** Colours of the design (screens: dark surface, money states, run states). */
const COLOURS: Readonly<Record<number, string>> = {
  30: '#222832',
  31: '#FF8A7E',
  32: '#4FCB9F',
  33: '#F2B755',
  34: '#5E95FF',
  35: '#F2A24E',
  36: '#7AA7FF',
  37: '#E7EAEF',
  90: '#A4AEBC',
}
const TEXT = '#E7EAEF'
const CHAR = 7.83
const LINE = 18
const PAD = 20

type Style = { fill: string; bold: boolean; dim: boolean }
type Span = Style & { column: number; text: string }

const command = process.argv[2] ?? ''
// biome-ignore lint: escape sequences other than colours only move the cursor
// oxlint-disable-next-line no-control-regex -- escape sequences are what is looked for
const raw = (await text(process.stdin)).replaceAll('\r', '').replace(/\u001b\[[0-9;?]*[A-HJKSTfhl]/g, '')
const lines = [`\u001b[32m$\u001b[0m ${command}`, ...raw.trimEnd().split('\n')].map(spansOf)
const columns = Math.max(...lines.flat().map((span) => span.column + [...span.text].length), 60)
const width = Math.ceil(columns * CHAR) + 2 * PAD
const height = lines.length * LINE + 2 * PAD + 16

process.stdout.write(
  `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${width} ${height}" width="${width}" height="${height}" role="img" aria-label="${escape(command)}">
<rect width="${width}" height="${height}" rx="8" fill="#171B22"/>
${['#FF8A7E', '#F2B755', '#4FCB9F'].map((fill, n) => `<circle cx="${PAD + n * 16}" cy="16" r="5" fill="${fill}"/>`).join('')}
<g font-family="ui-monospace, SFMono-Regular, Menlo, Consolas, 'DejaVu Sans Mono', monospace" font-size="13" xml:space="preserve">
${lines.map((spans, row) => spans.map((span) => drawn(span, row)).join('')).join('\n')}
</g>
</svg>
`,
)

function drawn(span: Span, row: number): string {
  if (span.text.trim() === '') return ''
  const x = (PAD + span.column * CHAR).toFixed(1)
  const y = PAD + 16 + (row + 1) * LINE - 5
  const length = ([...span.text].length * CHAR).toFixed(1)
  const weight = span.bold ? ' font-weight="600"' : ''
  const opacity = span.dim ? ' opacity="0.65"' : ''
  return `<text x="${x}" y="${y}" textLength="${length}" fill="${span.fill}"${weight}${opacity}>${escape(span.text)}</text>`
}

function spansOf(line: string): Span[] {
  const spans: Span[] = []
  let style: Style = { fill: TEXT, bold: false, dim: false }
  let column = 0
  // oxlint-disable-next-line no-control-regex -- escape sequences are what is looked for
  for (const part of line.split(/(\u001b\[[0-9;]*m)/)) {
    if (part.startsWith('\u001b[')) style = restyled(style, part.slice(2, -1).split(';').map(Number))
    else if (part !== '') {
      spans.push({ ...style, column, text: part })
      column += [...part].length
    }
  }
  return spans
}

function restyled(style: Style, codes: readonly number[]): Style {
  let next = { ...style }
  for (const code of codes) {
    if (code === 0) next = { fill: TEXT, bold: false, dim: false }
    else if (code === 1) next.bold = true
    else if (code === 2) next.dim = true
    else if (code === 22) next = { ...next, bold: false, dim: false }
    else if (code === 39) next.fill = TEXT
    else if (COLOURS[code]) next.fill = COLOURS[code]
  }
  return next
}

function escape(plain: string): string {
  return plain.replace(/[&<>"]/g, (sign) => `&#${sign.charCodeAt(0)};`)
}
