/**
 * What a run is told as, in the words every door uses: its state, and the notice that says what stopped it, whether
 * something is wrong, whether it clears by itself and what can be done. Pure.
 */
import { MICROS_PER_DOLLAR, type Micros } from '../base/money.ts'
import type { Range } from '../runs/range.ts'
import { leftMicros, type RunSnapshot, TERMINAL } from '../runs/snapshot.ts'
import { comingMoment, count, counted, exactMoney, moneyUp, timeOfDay } from './format.ts'
import type { Paint } from './paint.ts'

/** What a notice needs beside the run itself. */
export type RunFacts = Readonly<{
  /** Decimals of this run's money (format.ts). */
  decimals: number
  /** The search account is a sandbox: its money is play money. */
  sandbox: boolean
  /** The price of one search, micro-dollars; null when unknown. */
  callPrice: Micros | null
  /** What it was estimated to cost when it was created; null when it was not. */
  estimate?: Range<Micros> | null
  /** Who paused it last, as shown; null when nobody did. */
  pausedBy?: string | null
  /** Of a pending run: its place in line from 1, and the names of those ahead. */
  line?: Readonly<{ place: number; places: number; ahead: readonly string[] }>
  /** Of an ended run: the run that retries it and has not ended. */
  openRetry?: number
}>

/** The state as words: the word first, then why. */
export function stateWords(run: RunSnapshot): string {
  switch (run.status) {
    case 'pending':
      return 'Pending'
    case 'running':
      return 'Running'
    case 'completed':
      return 'Completed'
    case 'failed':
      return 'Failed'
    case 'cancelled':
      return 'Cancelled'
    case 'paused':
      return pausedWords(run)
  }
}

function pausedWords(run: RunSnapshot): string {
  if (run.pauseReason === 'budget')
    return run.pauseLimit === 'month' ? 'Paused, month cap reached' : 'Paused, cap reached'
  if (run.pauseReason === 'quota')
    return run.resumeAt ? `Paused until ${timeOfDay(run.resumeAt)}` : 'Paused, quota used'
  if (run.pauseUnserved) return 'Paused, no credentials'
  if (run.pauseReason === 'provider') return 'Paused, provider trouble'
  return 'Paused by operator'
}

/** The state with its mark and colour; the words alone say the same. */
export function stateBadge(run: RunSnapshot, paint: Paint): string {
  const words = stateWords(run)
  if (run.status === 'running') return paint.accent(`● ${words}`)
  if (run.status === 'completed') return paint.good(`✓ ${words}`)
  if (run.status === 'failed') return paint.bad(`✗ ${words}`)
  if (run.status === 'paused') {
    const needsYou = run.pauseReason === 'operator' || run.pauseReason === 'budget' || run.pauseUnserved
    return needsYou ? paint.warn(`‖ ${words}`) : `‖ ${words}`
  }
  return run.status === 'cancelled' ? `– ${words}` : `○ ${words}`
}

/** Searches that ended without an answer: never counted as none. */
export function unanswered(run: RunSnapshot): number {
  return run.blockedItems + run.driftItems + run.rejectedItems
}

export type Notice = Readonly<{ text: string; acts: readonly string[] }>

/** What there is to say about the run as it stands, most important first. Acts are commands to copy. */
export function noticesOf(run: RunSnapshot, facts: RunFacts): Notice[] {
  const state = stateNotice(run, facts)
  return [
    ...(state ? [state] : []),
    ...breachNotice(run),
    ...contradictedNotice(run),
    ...unansweredNotices(run, facts),
    ...suspectNotice(run, facts),
  ]
}

function stateNotice(run: RunSnapshot, facts: RunFacts): Notice | null {
  if (run.status === 'pending') return pendingNotice(run, facts)
  if (run.status === 'paused') return pausedNotice(run, facts)
  if (run.status === 'failed') {
    const reason = (run.failureReason ?? 'no reason was given').replace(/\.$/, '')
    const text = `Failed: ${lowerFirst(reason)}. ${kept(run)} ${moneyUp(run.spentMicros)} spent.`
    return { text, acts: ['gleaner doctor', ...retryAct(run, facts)] }
  }
  if (run.status === 'cancelled') {
    const left = run.pendingItems
    const rest = left > 0 ? `${counted(left, 'product stays', 'products stay')} unsearched. ` : ''
    return {
      text: `Cancelled. ${rest}${kept(run)} A cancelled run cannot go on; a new run can collect the rest.`,
      acts: left + run.openCategories + run.blockedItems + run.driftItems > 0 ? retryAct(run, facts) : [],
    }
  }
  if (run.status === 'running' && run.softWarnedAt !== null) return softNotice(run)
  return null
}

function softNotice(run: RunSnapshot): Notice {
  const left = run.pendingItems + run.processingItems
  const rest =
    left > 0 ? ` ${counted(left, 'product is', 'products are')} left, likely ${moneyUp(likelyRest(run))}.` : ''
  return {
    text: `${run.softWarningPercent} % of the cap is used. Nothing stops.${rest}`,
    acts: [`gleaner run cap ${run.number} <dollars>`],
  }
}

function pendingNotice(run: RunSnapshot, { line }: RunFacts): Notice {
  if (!line) return { text: 'Not started yet.', acts: [`gleaner run resume ${run.number}`] }
  const behind = line.ahead.length > 0 ? `, behind ${line.ahead.join(' and ')}` : ''
  return {
    text: `Waits for one of ${counted(line.places, 'place')}: ${ordinal(line.place)} in line${behind}. Starts by itself.`,
    acts: [`gleaner run cancel ${run.number}`],
  }
}

function pausedNotice(run: RunSnapshot, facts: RunFacts): Notice {
  const { number } = run
  const cancel = `gleaner run cancel ${number}`
  const note = run.pauseNote ?? ''
  if (run.pauseLimit === 'month') return { text: note, acts: ['gleaner settings set month-cap=<dollars>', cancel] }
  const justSampled = run.sampledAt !== null && run.sampledAt.getTime() === run.pausedAt?.getTime()
  if (run.pauseReason === 'budget' && justSampled) return sampleNotice(run)
  if (run.pauseReason === 'budget') return budgetNotice(run, facts)
  if (run.pauseReason === 'operator') {
    const at = run.pausedAt ? ` at ${timeOfDay(run.pausedAt)}` : ''
    const text = `${facts.pausedBy ?? 'The operator'} paused this run${at}. It stays paused until someone resumes it.`
    return { text, acts: [`gleaner run resume ${number}`, cancel] }
  }
  if (run.pauseUnserved) return { text: `${note} The run goes on by itself then.`, acts: ['gleaner workers', cancel] }
  if (!run.resumeAt) {
    const text = `${note} The run is paused and no such call is sent until the price is corrected.`.trim()
    return { text, acts: ['gleaner accounts price <account> <kind>=<dollars>', `gleaner run resume ${number}`] }
  }
  const at = comingMoment(run.resumeAt)
  const clock = isPacificMidnight(run.resumeAt) ? `${at} (midnight Pacific)` : at
  const text = `${note} The run goes on by itself at ${clock} while a worker is up. Nothing to do.`.trim()
  return { text, acts: ['gleaner start', cancel] }
}

/** A sampled run that waits for a word, not for money. */
function sampleNotice(run: RunSnapshot): Notice {
  const left = counted(run.pendingItems, 'product')
  return {
    text: `${run.pauseNote ?? 'The sample is through.'} ${left} and ${counted(run.openCategories, 'list')} wait. It goes on when its cap is raised.`,
    acts: [`gleaner run cap ${run.number} ${enoughCap(run)} --resume`, `gleaner run cancel ${run.number}`],
  }
}

function budgetNotice(run: RunSnapshot, { decimals, callPrice }: RunFacts): Notice {
  const left = exactMoney(leftMicros(run), decimals)
  const why =
    callPrice === null ? `${left} is left.` : `${left} is left and one call costs ${exactMoney(callPrice, decimals)}.`
  const waiting = run.pendingItems + run.processingItems
  const lists = run.openCategories > 0 ? `${counted(run.openCategories, 'category', 'categories')} to list` : ''
  const products = waiting > 0 ? counted(waiting, 'product') : ''
  const rest = [products, lists].filter((part) => part !== '').join(' and ')
  const verb = waiting + run.openCategories === 1 ? 'waits' : 'wait'
  const likely = likelyRest(run)
  const cost = likely > 0 ? `; likely ${moneyUp(likely)} finishes them` : ''
  return {
    text: `The cap is reached: ${why} Everything collected is kept.${rest ? ` ${rest} ${verb}${cost}.` : ''}`,
    acts: [`gleaner run cap ${run.number} ${enoughCap(run)} --resume`, `gleaner run cancel ${run.number}`],
  }
}

/** A cap that likely lets the run end, as it is typed: half as much again as the rest needs, at least a dollar more. */
function enoughCap(run: RunSnapshot): string {
  const used = run.spentMicros + run.heldMicros + run.suspectMicros
  const more = Math.max(likelyRest(run) * 1.5, MICROS_PER_DOLLAR)
  return String(Math.ceil((used + more) / MICROS_PER_DOLLAR))
}

/** What the products that wait will likely cost, going by those that are done; zero when nothing is known. */
export function likelyRest(run: RunSnapshot): Micros {
  const answered = run.foundItems + run.noneItems + run.failedItems
  if (answered === 0) return 0 as Micros
  const products = run.pendingItems + run.processingItems + run.openCategories * PRODUCTS_PER_CATEGORY
  return Math.ceil((run.spentMicros / answered) * products) as Micros
}

const PRODUCTS_PER_CATEGORY = 100

function breachNotice(run: RunSnapshot): Notice[] {
  if (run.breachMicros === 0 || run.status === 'paused') return []
  const text = `A provider charged ${moneyUp(run.breachMicros)} above its list price.`
  return [{ text, acts: [`gleaner run calls ${run.number}`] }]
}

/** A person said "not charged", and the answer said otherwise: shown like a breach, for it is beyond the cap the same way. */
function contradictedNotice(run: RunSnapshot): Notice[] {
  if (run.contradictedMicros === 0) return []
  const money = moneyUp(run.contradictedMicros)
  const text = `${money} was charged for calls that a person had settled as less: their answers came after all. It is booked, beyond the cap if need be.`
  return [{ text, acts: [`gleaner calls ${run.number} --state settled`] }]
}

/** The command that collects what an ended run has no answer to, or shows the run that is doing so. */
function retryAct(run: RunSnapshot, { openRetry }: RunFacts): string[] {
  return [openRetry === undefined ? `gleaner run retry ${run.number}` : `gleaner run show ${openRetry}`]
}

function unansweredNotices(run: RunSnapshot, facts: RunFacts): Notice[] {
  const notices: Notice[] = []
  // Of a failed or cancelled run, the notice of its state has said it.
  const ended = run.status === 'completed' ? retryAct(run, facts) : []
  const acts = TERMINAL.has(run.status) ? ended : [`gleaner run show ${run.number}`]
  const { blockedItems: blocked, driftItems: drift } = run
  if (blocked > 0) {
    const were = blocked === 1 ? '1 search was' : `${count(blocked)} searches were`
    const text = `${were} blocked: the provider's page refused us. They are not counted as none.`
    notices.push({ text, acts })
  }
  if (drift > 0) {
    const text = `${counted(drift, 'answer')} no longer ${drift === 1 ? 'has' : 'have'} the expected shape. Other searches are fine.`
    notices.push({ text, acts })
  }
  return notices
}

function suspectNotice(run: RunSnapshot, { decimals }: RunFacts): Notice[] {
  if (run.suspectCalls === 0) return []
  const calls = run.suspectCalls === 1 ? '1 call was' : `${count(run.suspectCalls)} calls were`
  const they = run.suspectCalls === 1 ? 'It' : 'They'
  const counts = run.suspectCalls === 1 ? 'it counts' : 'they count'
  const text =
    `${exactMoney(run.suspectMicros, decimals)} suspect: ${calls} sent and no answer came. ${they} may have been ` +
    `charged, so ${counts} against the cap until the provider's report or an admin settles ${they === 'It' ? 'it' : 'them'}.`
  const resolve = `gleaner calls resolve ${run.number} --all --charged|--not-charged --note <text>`
  return [{ text, acts: [`gleaner calls ${run.number} --state suspect`, resolve] }]
}

function kept(run: RunSnapshot): string {
  return `${counted(run.foundItems + run.noneItems, 'result is', 'results are')} kept.`
}

function ordinal(value: number): string {
  const last = value % 10
  const teen = Math.floor(value / 10) % 10 === 1
  if (!teen && last >= 1 && last <= 3) return `${value}${['st', 'nd', 'rd'][last - 1] ?? 'th'}`
  return `${value}th`
}

function lowerFirst(text: string): string {
  // A name or an abbreviation keeps its capital.
  return /^[A-Z][a-z]+ [a-z]/.test(text) && !/^(Oxylabs|Keepa|Amazon)/.test(text)
    ? text.charAt(0).toLowerCase() + text.slice(1)
    : text
}

function isPacificMidnight(at: Date): boolean {
  const format = new Intl.DateTimeFormat('en-US', {
    timeZone: 'America/Los_Angeles',
    hour: '2-digit',
    minute: '2-digit',
    hourCycle: 'h23',
  })
  return format.format(at) === '00:00'
}
