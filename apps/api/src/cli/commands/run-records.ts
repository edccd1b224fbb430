/** gleaner run events and gleaner run calls: what was written down about a run. */
import { setTimeout as sleep } from 'node:timers/promises'
import { type Command, Option } from 'commander'
import type { Micros } from '../../base/money.ts'
import { type RunEvent, readEvents } from '../../events/read-events.ts'
import { type CallRow, listCalls } from '../../ledger/list-calls.ts'
import { findRun } from '../../runs/find-run.ts'
import { runSnapshot, TERMINAL } from '../../runs/snapshot.ts'
import { addCommand } from '../add-command.ts'
import { withSession } from '../context.ts'
import { factsOf } from '../facts.ts'
import { count, counted, duration, exactMoney, fullMoment, moneyUp, readWhole } from '../format.ts'
import { listenForInterrupt } from '../interrupt.ts'
import { table } from '../table.ts'

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

/** Adds `run calls`. */
export function addRunCalls(group: Command): void {
  const command = group
    .command('calls')
    .description('the ledger of a run: every request, what was held and charged for it')
    .argument('<ref>', 'the run')
    .addOption(
      new Option('--state <state>', 'only calls in this state').choices(['held', 'settled', 'released', 'suspect']),
    )
    .option('--limit <n>', 'at most so many, newest first', '50')
    .addHelpText(
      'after',
      '\nExamples:\n  gleaner run calls last --state suspect\n  gleaner run calls 3 --limit 1000 --json',
    )
  addCommand(command, (context, [ref, given]) => {
    const options = given as { state?: string; limit: string }
    const limit = readWhole(options.limit, '--limit', 1, 1_000_000)
    return withSession(context, async ({ db, actor }) => {
      const run = await findRun(db, actor.orgId, String(ref))
      const calls = await listCalls(db, run.id, { limit, ...(options.state ? { state: options.state } : {}) })
      if (context.json) return context.sayJson(calls)
      if (calls.length === 0) {
        return context.say(
          options.state ? `No call of run ${run.number} is ${options.state}.` : 'No call was made yet.',
        )
      }
      const { decimals } = await factsOf(db, run)
      const money = (amount: number | null) => (amount === null ? '—' : exactMoney(amount as Micros, decimals))
      const drawn = table<CallRow>(
        context,
        [
          { head: 'Call', spare: 5, cell: (call) => call.id },
          { head: 'State', cell: (call) => (call.state === 'suspect' ? context.paint.warn(call.state) : call.state) },
          { head: 'For', cell: (call) => call.target },
          { head: 'Rung', spare: 2, right: true, cell: (call) => String(call.rung ?? '') },
          { head: 'Try', spare: 3, right: true, cell: (call) => String(call.attempt) },
          { head: 'Outcome', cell: (call) => call.outcome ?? '' },
          { head: 'Held', right: true, cell: (call) => money(call.holdMicros) },
          { head: 'Charged', right: true, cell: (call) => money(call.chargeMicros) },
          { head: 'Sent', cell: (call) => fullMoment(call.heldAt) },
          {
            head: 'Took',
            spare: 4,
            right: true,
            cell: (call) => (call.durationMs === null ? '—' : duration(call.durationMs)),
          },
          { head: 'Error', spare: 1, gives: 16, cell: (call) => call.errorMessage ?? '' },
        ],
        calls,
      )
      context.say(drawn)
    })
  })
}
