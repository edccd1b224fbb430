/**
 * A run while it goes: on a terminal a block that is redrawn in place, at most four times a second; elsewhere one plain
 * line at a time, a second or more apart.
 */
import type { Micros } from '../base/money.ts'
import type { Range } from '../runs/range.ts'
import { leftMicros, type RunSnapshot, TERMINAL } from '../runs/snapshot.ts'
import { budgetBar, MONTH_POST, SWATCH } from './budget-bar.ts'
import type { Context } from './context.ts'
import {
  clock,
  comingMoment,
  count,
  counted,
  duration,
  exactMoney,
  moneyUp,
  percent,
  perNewSeller,
  rate,
} from './format.ts'
import type { Pace } from './pace.ts'
import { cutTo, type Paint, widthOf } from './paint.ts'
import { type RunFacts, stateBadge, stateWords, unanswered } from './words.ts'

export type View = Readonly<{
  run: RunSnapshot
  facts: RunFacts
  pace: Pace
  nowMs: number
  workers: number
  /** What the organisation's month cap leaves, micro-dollars; null without one. */
  monthLeft: Micros | null
  /** What the run is heading for; null before 5 % of the work and when nothing is left to do. */
  forecast: Range<Micros> | null
}>

export type Display = Readonly<{
  /** Draws the newest state, when it is time for it. */
  update: (views: readonly View[]) => void
  /** Draws the last state, whatever the time, and leaves it standing. */
  finish: (views: readonly View[]) => void
  /** Writes a line above what is drawn. */
  print: (line: string) => void
}>

const REDRAW_MS = 250
const LINE_MS = 1_000

/** The display that fits where the output goes. */
export function makeDisplay(context: Context): Display {
  if (context.json || context.quiet) return { update: () => {}, finish: () => {}, print: () => {} }
  return context.live ? blockDisplay(context) : lineDisplay(context)
}

function blockDisplay({ paint, width, say }: Context): Display {
  let drawn = 0
  let lastMs = 0
  const erase = (): string => (drawn === 0 ? '' : `\r\u001b[${drawn}A\u001b[0J`)
  const draw = (views: readonly View[]): void => {
    const columns = width()
    const lines = views.flatMap((view, at) => [...(at > 0 ? [''] : []), ...blockOf(view, columns, paint)])
    // Hidden while it moves, so that it does not flicker over the lines.
    process.stdout.write(`\u001b[?25l${erase()}${lines.join('\n')}\n\u001b[?25h`)
    drawn = lines.length
    lastMs = performance.now()
  }
  return {
    update: (views) => {
      if (performance.now() - lastMs >= REDRAW_MS - 5) draw(views)
    },
    finish: (views) => {
      draw(views)
      drawn = 0
    },
    print: (line) => {
      process.stdout.write(erase())
      drawn = 0
      lastMs = 0
      say(line)
    },
  }
}

function lineDisplay({ say }: Context): Display {
  let lastMs = Number.NEGATIVE_INFINITY
  let last = ''
  const write = (views: readonly View[]): void => {
    const lines = views.map(lineOf).join('\n')
    if (lines === last) return
    last = lines
    lastMs = performance.now()
    if (lines) say(lines)
  }
  return {
    update: (views) => {
      if (performance.now() - lastMs >= LINE_MS) write(views)
    },
    finish: write,
    print: say,
  }
}

const LABEL = 9
const MARGIN = '  '

/** The block of one run: title, bar, four figures, searches, sellers, outcomes. Every line fits `columns`. */
export function blockOf(view: View, columns: number, paint: Paint): string[] {
  const { run, facts, pace, nowMs } = view
  const inner = Math.max(40, Math.min(columns - 1, 100)) - MARGIN.length
  const label = (text: string) => paint.dim(text.padEnd(LABEL))
  const took = clock(tookMs(run, nowMs) ?? 0)
  const state = stateBadge(run, paint)
  const chip = facts.sandbox ? `  ${paint.dim('SANDBOX')}` : ''
  const spare = inner + MARGIN.length - widthOf(state) - widthOf(chip) - took.length - 4
  const title = paint.bold(cutTo(`Run ${run.number}  ${run.name}`, spare))
  const lines = [`${title}  ${state}${chip}  ${paint.dim(took)}`]
  const month = nearerMonth(view)
  const bar = budgetBar(run, inner - 2 - LABEL, paint, month)
  lines.push(`${MARGIN}${label('Budget')}${bar}${paint.dim('┃')}`)
  lines.push(`${MARGIN}${label('')}${figures(run, facts, paint)}`)
  if (month !== null) lines.push(`${MARGIN}${label('')}${paint.warn(MONTH_POST)} ${monthWords(month, facts)}`)
  const heading = headingWords(view)
  if (heading) lines.push(`${MARGIN}${label('')}${paint.dim(heading)}`)
  lines.push(`${MARGIN}${label('Searched')}${searched(view)}${ending(pace, nowMs, paint)}`)
  lines.push(`${MARGIN}${label('Sellers')}${sellers(run, paint)}`)
  lines.push(`${MARGIN}${label('Outcomes')}${outcomes(run, paint)}`)
  return lines.map((line) => (widthOf(line) > columns - 1 ? cutTo(line, columns - 1) : line))
}

/** What the month leaves when that is less than what the run's own cap leaves: the nearer limit is the one that bites. */
function nearerMonth({ run, monthLeft }: View): Micros | null {
  if (TERMINAL.has(run.status) || monthLeft === null || monthLeft >= leftMicros(run)) return null
  return monthLeft
}

function monthWords(left: Micros, { decimals }: RunFacts): string {
  return `month: ${exactMoney(left, decimals)} left`
}

/** The estimate as it was at the start, and from 5 % of the work on what the run is heading for. */
function headingWords({ run, facts: { estimate }, forecast }: View): string {
  const open = run.status === 'running' || run.status === 'paused' || run.status === 'pending'
  if (!open || !estimate || estimate.high === 0) return ''
  const said = `estimate ${moneyUp(estimate.low)} to ${moneyUp(estimate.high)}`
  return forecast ? `${forecastWords(forecast, run)} (${said})` : said
}

/** "heading for $14.30 to $14.90". */
function forecastWords({ low, likely, high }: Range<Micros>, run: RunSnapshot): string {
  const range = moneyUp(low) === moneyUp(high) ? moneyUp(high) : `${moneyUp(low)} to ${moneyUp(high)}`
  return `heading for ${range}${likely > run.capMicros ? ', likely more than the cap' : ''}`
}

function figures(run: RunSnapshot, { decimals }: RunFacts, paint: Paint): string {
  const room = exactMoney(run.capMicros, decimals).length
  const figure = (swatch: string, name: string, amount: string) => `${swatch} ${name} ${amount.padEnd(room)}`
  const left = run.status === 'completed' || run.status === 'cancelled' || run.status === 'failed' ? 'unspent' : 'left'
  return [
    figure(paint.accent(SWATCH.spent), 'spent', exactMoney(run.spentMicros, decimals)),
    figure(paint.accent(SWATCH.held), 'held', exactMoney(run.heldMicros, decimals)),
    figure(paint.warn(SWATCH.suspect), 'suspect', exactMoney(run.suspectMicros, decimals)),
    figure(paint.dim(SWATCH.left), left, exactMoney(leftMicros(run), decimals)),
  ].join(' ')
}

function searched({ run, pace }: View): string {
  const lists = run.openCategories > 0 ? `, ${counted(run.openCategories, 'category', 'categories')} to list` : ''
  const speed = run.status === 'running' && pace.perSecond !== null ? `  ${rate(pace.perSecond).padStart(7)}` : ''
  const done = `${count(run.processedItems)} of ${counted(run.totalItems, 'product')}`
  return `${done}${lists}  ${progressPercent(run)}${speed}`
}

/** While lists are still to come the whole is not known: then their products are counted in as a hundred each. */
function progressPercent(run: RunSnapshot): string {
  return percent(run.processedItems, run.totalItems + run.openCategories * 100)
}

function ending({ end }: Pace, nowMs: number, paint: Paint): string {
  if (!end) return ''
  const now = new Date(nowMs)
  const from = comingMoment(end.from, now)
  const until = end.until ? comingMoment(end.until, now) : from
  return paint.dim(from === until ? `  ends about ${from}` : `  ends ${from} to ${until}`)
}

function sellers(run: RunSnapshot, paint: Paint): string {
  const cost = perNewSeller(run.spentMicros, run.newSellers)
  const each = cost === '—' ? '— no new seller yet' : cost === 'free' ? 'free' : `${cost} per new seller`
  return `${count(run.sellerItems)}, ${count(run.newSellers)} new  ${paint.dim(each)}`
}

function outcomes(run: RunSnapshot, paint: Paint): string {
  const part = (name: string, value: number, strong: (text: string) => string) => {
    const text = `${name} ${count(value)}`
    return value === 0 ? paint.dim(text) : strong(text)
  }
  const plain = (text: string) => text
  const answered = [part('found', run.foundItems, paint.good), part('none', run.noneItems, plain)]
  const others = [
    part('blocked', run.blockedItems, paint.bad),
    part('drift', run.driftItems, paint.warn),
    part('rejected', run.rejectedItems, plain),
    part('skipped', run.skippedItems, plain),
  ]
  return `${answered.join('  ')}   ${paint.dim('│')}   ${others.join('  ')}`
}

/** One run in one line, for logs and pipes. */
export function lineOf(view: View): string {
  const { run, facts, pace, nowMs, forecast } = view
  const month = nearerMonth(view)
  const money = (name: string, amount: number) =>
    `${name} ${exactMoney(amount as RunSnapshot['capMicros'], facts.decimals)}`
  const parts = [
    `run ${run.number} ${stateWords(run).toLowerCase()}`,
    `searched ${count(run.processedItems)} of ${count(run.totalItems)} (${progressPercent(run)})`,
    `sellers ${count(run.sellerItems)}, ${count(run.newSellers)} new`,
    [
      money('spent', run.spentMicros),
      money('held', run.heldMicros),
      money('suspect', run.suspectMicros),
      money('left', leftMicros(run)),
      ...(month === null ? [] : [monthWords(month, facts)]),
    ].join(', '),
  ]
  if (run.status === 'running' && forecast && forecast.high > 0) parts.push(forecastWords(forecast, run))
  if (unanswered(run) > 0) parts.push(`unanswered ${count(unanswered(run))}`)
  if (run.status === 'running' && pace.perSecond !== null) parts.push(rate(pace.perSecond))
  const end = pace.end ? `ends about ${comingMoment(pace.end.from, new Date(nowMs))}` : ''
  return `${[...parts, ...(end ? [end] : [])].join(' | ')}${facts.sandbox ? ' [SANDBOX]' : ''}`
}

/** From the start to the end, to the pause, or to now, ms; null before the start. Earlier pauses count in. */
export function tookMs(run: RunSnapshot, nowMs: number): number | null {
  if (!run.startedAt) return null
  return ((run.completedAt ?? run.pausedAt)?.getTime() ?? nowMs) - run.startedAt.getTime()
}

/** How long the run took so far, in words. */
export function tookWords(run: RunSnapshot): string {
  const ms = tookMs(run, Date.now())
  return ms === null ? '—' : duration(Math.max(0, ms))
}
