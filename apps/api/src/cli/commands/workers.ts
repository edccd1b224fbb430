/** gleaner workers: who is alive, and what each does. */
import type { Command } from 'commander'
import { DEAD_AFTER_MS } from '../../ledger/rescue.ts'
import { listWorkers, type WorkerRow } from '../../queue/workers.ts'
import { addCommand } from '../add-command.ts'
import { type Context, withSession } from '../context.ts'
import { count, counted, duration } from '../format.ts'
import { actLine } from '../join-run.ts'
import { type Column, table } from '../table.ts'

/** Adds the command. */
export function addWorkers(program: Command): void {
  const command = program
    .command('workers')
    .description('list workers: state, version, runs, calls in flight; silent and stopped ones for an hour')
    .addHelpText('after', '\nExamples:\n  gleaner workers\n  gleaner workers --json')
  addCommand(command, (context) =>
    withSession(context, async ({ db }) => {
      const workers = await listWorkers(db, DEAD_AFTER_MS)
      if (context.json) return context.sayJson(workers)
      context.tell(verdict(workers))
      if (!workers.some(({ state }) => state === 'alive')) context.say(actLine(context, 'gleaner worker'))
      if (workers.length > 0) context.say(`\n${workersTable(context, workers)}`)
    }),
  )
}

function verdict(workers: readonly WorkerRow[]): string {
  const alive = workers.filter(({ state }) => state === 'alive')
  const silent = workers.filter(({ state }) => state === 'silent')
  const inFlight = alive.reduce((sum, { callsInFlight }) => sum + callsInFlight, 0)
  const lost = silent.map(({ name, silentMs }) => ` ${name} fell silent ${duration(silentMs)} ago.`).join('')
  if (alive.length === 0) return `No worker is alive. Runs wait, nothing is lost.${lost} Start one:`
  return `${counted(alive.length, 'worker is', 'workers are')} alive, ${counted(inFlight, 'call')} in flight.${lost}`
}

const BADGES = { alive: '● Alive', silent: '✕ Silent', stopped: '○ Stopped' } as const

function workersTable(context: Context, workers: readonly WorkerRow[]): string {
  const { paint } = context
  const badge = ({ state }: WorkerRow): string => {
    if (state === 'alive') return paint.good(BADGES.alive)
    return state === 'silent' ? paint.bad(BADGES.silent) : paint.dim(BADGES.stopped)
  }
  const columns: Column<WorkerRow>[] = [
    { head: 'Worker', cell: ({ name }) => name },
    { head: 'State', cell: badge },
    { head: 'Seen', right: true, cell: ({ state, silentMs }) => (state === 'alive' ? 'now' : duration(silentMs)) },
    { head: 'Up', right: true, spare: 1, cell: ({ upMs }) => duration(upMs) },
    { head: 'Version', spare: 2, cell: ({ version }) => version },
    { head: 'Doing', gives: 12, cell: doing },
    { head: 'In flight', right: true, cell: ({ callsInFlight }) => count(callsInFlight) },
  ]
  return table(context, columns, workers)
}

/** Runs named in the table; the others are counted. */
const NAMED_MOST = 2

function doing({ state, runs }: WorkerRow): string {
  if (runs.length === 0) return '–'
  const names = runs.slice(0, NAMED_MOST).map(({ number, name }) => `${number} ${name}`)
  const more = runs.length - names.length
  return `${state === 'alive' ? '' : 'was '}${names.join(' · ')}${more > 0 ? ` and ${count(more)} more` : ''}`
}
