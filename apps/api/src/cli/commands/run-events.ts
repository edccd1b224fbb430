/** gleaner run events: what was written down about a run. */
import { setTimeout as sleep } from 'node:timers/promises'
import type { Command } from 'commander'
import type { Micros } from '../../base/money.ts'
import { type RunEvent, readEvents } from '../../events/read-events.ts'
import { findRun } from '../../runs/find-run.ts'
import { runSnapshot, TERMINAL } from '../../runs/snapshot.ts'
import { addCommand } from '../add-command.ts'
import { withSession } from '../context.ts'
import { count, counted, fullMoment, moneyUp, readWhole } from '../format.ts'
import { listenForInterrupt } from '../interrupt.ts'

const EVENTS_AT_ONCE = 500
const FOLLOW_MS = 300

/** Adds `run events`. */
export function addRunEvents(group: Command): void {
  const command = group
    .command('events')
    .description('the numbered facts of a run, in order')
    .argument('<ref>', 'the run')
    .option('--after <n>', 'only those after this number', '0')
    .option('--follow', 'wait for more until the run has ended')
    .addHelpText(
      'after',
      '\nWith --json: one JSON object a line.\n\nExamples:\n  gleaner run events last --follow\n  gleaner run events 3 --after 120 --json',
    )
  addCommand(command, (context, [ref, given]) => {
    const options = given as { after: string; follow?: boolean }
    let after = readWhole(options.after, '--after', 0, 1e15)
    return withSession(context, async ({ db, actor }) => {
      const run = await findRun(db, actor.orgId, String(ref))
      const interrupt = listenForInterrupt(() => {})
      try {
        while (!interrupt.signal.aborted) {
          // Asked before the events: once it has ended, those read next are all there will be.
          const ended = TERMINAL.has((await runSnapshot(db, run.id))?.status ?? 'completed')
          const events = await readEvents(db, run.id, after, EVENTS_AT_ONCE)
          for (const event of events) {
            context.say(context.json ? JSON.stringify(event) : eventLine(event))
            after = event.seq
          }
          if (events.length === EVENTS_AT_ONCE) continue
          if (!options.follow || ended) return
          await sleep(FOLLOW_MS, undefined, { signal: interrupt.signal }).catch(() => {})
        }
      } finally {
        interrupt.dispose()
      }
    })
  })
}

function eventLine(event: RunEvent): string {
  return `${String(event.seq).padStart(6)}  ${fullMoment(event.at)}  ${event.type.padEnd(16)}  ${eventWords(event)}`
}

/** What an event says, in a few words. */
function eventWords(event: RunEvent): string {
  const { type, data } = event
  const number = (key: string) => Number(data[key] ?? 0)
  const money = (key: string) => moneyUp(number(key) as Micros)
  const text = (key: string) => String(data[key] ?? '')
  switch (type) {
    case 'calls.booked': {
      const outcomes = Object.entries((data['outcomes'] ?? {}) as Record<string, number>)
      const parts = outcomes.map(([outcome, times]) => `${outcome} ${count(times)}`).join(', ')
      return `${counted(number('calls'), 'call')}: ${parts}; spent ${money('spent_micros')}, held ${money('held_micros')}`
    }
    case 'calls.rescued':
      return `a worker was lost: ${counted(number('calls'), 'call')} suspect`
    case 'calls.resolved': {
      const as = text('verdict') === 'charged' ? `charged ${money('charged_micros')}` : 'not charged'
      return `${counted(number('calls'), 'suspect call')} settled as ${as}`
    }
    case 'calls.contradicted':
      return `${counted(number('calls'), 'answer')} came after all and cost ${money('micros')} more than was settled`
    case 'category.listed':
      return `${text('name')}: ${counted(number('products'), 'product')}, ${count(number('added'))} of them new to the run`
    case 'category.failed':
      return `${text('name')}: ${text('message')}`
    case 'run.paused':
      return [text('reason'), data['note'] ? text('note') : ''].filter(Boolean).join(': ')
    case 'run.resumed':
      return data['by'] === 'itself' ? 'by itself' : ''
    case 'run.cap_changed':
      return `from ${money('from_micros')} to ${money('to_micros')}`
    case 'run.soft_warning':
      return `${text('percent')} % of the cap is used`
    case 'run.failed':
      return text('reason')
    case 'run.created':
    case 'run.retried':
      return retryWords(event)
    case 'run.completed':
      return `${counted(number('products'), 'product')}, ${count(number('unanswered'))} unanswered, ${counted(number('sellers'), 'seller')}`
    default:
      return ''
  }
}

/** "retries run 3" of the new run, "continued in run 5" of the old one. */
function retryWords({ type, data }: RunEvent): string {
  const other = (data[type === 'run.retried' ? 'run' : 'retry_of'] ?? null) as Readonly<{ number: number }> | null
  if (!other) return ''
  return type === 'run.retried' ? `continued in run ${other.number}` : `retries run ${other.number}`
}
