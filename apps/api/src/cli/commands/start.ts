/** gleaner start: everything up, a first collection to look at, then a worker until Ctrl-C. */

import { relative } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { type Command } from 'commander'
import { AppError } from '../../base/errors.ts'
import { toMicros } from '../../base/money.ts'
import { stateDir } from '../../deps.ts'
import { chooseAccounts } from '../../engine/accounts.ts'
import { DEFAULT_PORT, type Listening } from '../../http/server.ts'
import { loadCategories } from '../../runs/categories.ts'
import { requireCategory } from '../../runs/find-category.ts'
import { listRuns } from '../../runs/find-run.ts'
import type { RunSnapshot } from '../../runs/snapshot.ts'
import type { Worker } from '../../worker/worker.ts'
import { addCommand } from '../add-command.ts'
import { type Context, type Session, withSession } from '../context.ts'
import { counted, duration, readWhole } from '../format.ts'
import { type Interrupt, listenForInterrupt } from '../interrupt.ts'
import { actLine, actLines, exitOf, runJson, sayHowItStands, startCliWorker, VERSION } from '../join-run.ts'
import { createAndStart } from '../new-run.ts'
import { type Display, makeDisplay, type View } from '../progress.ts'
import { runTable } from '../run-table.ts'
import { openSandbox } from '../sandbox-for-run.ts'
import { paceSandbox, type Sandbox } from '../sandbox-process.ts'
import { serve } from '../serve.ts'
import { firstLink } from '../sign-in.ts'
import { addStopTimeout, type StopOptions, stopSaying, stopTimeoutMs, throwIfAsked } from '../stop.ts'
import { isGoingOn, lookThrough, makeWatcher } from '../watch.ts'

type StartOptions = StopOptions & Readonly<{ firstRun: boolean; once?: boolean; port: string }>

const EXAMPLES = `
Examples:
  gleaner start                    everything up; on a new database a first sandbox run, live
  gleaner start --no-first-run     only the worker
  gleaner start --once             end when the first collection has ended
  DATABASE_URL=postgresql://… gleaner start

It stays up as a worker: runs started elsewhere appear here. Ctrl-C finishes the calls in flight, books them and
leaves; running runs go on with the next start. A second Ctrl-C leaves at once.`

/** Adds the command. */
export function addStart(program: Command): void {
  const command = program
    .command('start')
    .description('bring everything up (database, sandbox, worker, API), show a first collection, and stay')
    .option('--no-first-run', 'no sandbox collection on a database without runs')
    .option('--once', 'end when no run is going on any more')
    .option(
      '--port <n>',
      'where the API listens, on this machine only; 0 takes any port that is free',
      String(DEFAULT_PORT),
    )
    .addHelpText('after', EXAMPLES)
  addStopTimeout(command)
  addCommand(command, (context, [given]) => {
    const options = given as StartOptions
    const timeoutMs = stopTimeoutMs(options)
    readWhole(options.port, '--port', 0, 65_535)
    return withSession(context, (session) => start(context, session, options, timeoutMs), {
      schema: 'apply',
      name: 'gleaner start',
    })
  })
}

async function start(context: Context, session: Session, options: StartOptions, timeoutMs: number): Promise<number> {
  const { db } = session
  const display = makeDisplay(context)
  const interrupt = listenForInterrupt(() => {
    if (!context.json)
      display.print('Stopping. Calls in flight are being finished and booked. Ctrl-C again stops at once.')
  })
  const steps = upSteps(context, session)
  const sandboxFrom = performance.now()
  const sandbox = await openSandbox(context, session)
  steps.say(`sandbox ${sandbox.origin}${sandbox.ours ? '' : ' (already up)'}`, performance.now() - sandboxFrom)
  const workerFrom = performance.now()
  const worker = await startCliWorker(context, db)
  steps.say(`worker ${worker.id.slice(-8)}, process ${process.pid}`, performance.now() - workerFrom)
  const apiFrom = performance.now()
  const api = await serveBeside(context, session, Number(options.port))
  steps.say(`API ${api.origin}, reference at /docs`, performance.now() - apiFrom)
  steps.ready(sandbox.origin, worker, api)
  const link = await firstLink(context, session, api.origin)
  if (!context.json) context.say(link.words.trimStart())
  try {
    const first = await firstRun(context, session, options, sandbox)
    const firstEnds = (): Promise<void> => paceSandbox(sandbox.origin, { ms: 0, jitterMs: 0 })
    const once = options.once === true
    return await stayUp(context, session, { display, interrupt, worker, first, firstEnds, once, timeoutMs })
  } finally {
    await api.stop()
    await worker.stop(timeoutMs)
    sandbox.leave()
    interrupt.dispose()
  }
}

/** The API at the port asked for; when somebody has the one nobody asked for, at any other: it is no reason not to start. */
async function serveBeside(context: Context, session: Session, port: number): Promise<Listening> {
  const at = (one: number) => serve(context, session, { host: '127.0.0.1', port: one, quietly: true })
  if (port !== DEFAULT_PORT) return at(port)
  try {
    return await at(port)
  } catch (error) {
    if (!(error instanceof AppError)) throw error
    return at(0)
  }
}

/** Says what is up, and how long each part took. */
function upSteps(context: Context, { db, embedded, applied, took }: Session) {
  const { paint } = context
  const say = (text: string, ms: number): void => {
    if (context.json || context.quiet) return
    context.say(`  ${paint.good('✓')} ${text.padEnd(58)} ${paint.dim(duration(ms).padStart(7))}`)
  }
  if (!context.json && !context.quiet) context.say(`${paint.bold('Gleaner')} ${VERSION}`)
  const version = `${Math.trunc(db.serverVersion / 10_000)}.${db.serverVersion % 10_000}`
  const here = relative(process.cwd(), stateDir(context.config))
  const place = here.startsWith('..') ? stateDir(context.config) : here || '.'
  const where = embedded ? `, embedded in ${place}${embedded.created ? ' (made new)' : ''}` : ' at DATABASE_URL'
  say(`PostgreSQL ${version}${where}`, took.databaseMs)
  say(
    applied.length > 0 ? `schema, ${counted(applied.length, 'migration')} applied` : 'schema is current',
    took.migrationsMs,
  )
  return {
    say,
    ready: (origin: string, worker: Worker, api: Listening): void => {
      const upMs = process.uptime() * 1000
      if (context.json)
        process.stdout.write(
          `${JSON.stringify({ listening: origin, api: api.origin, worker: worker.id, upMs: Math.round(upMs) })}\n`,
        )
      else if (!context.quiet) context.say(`Listening for runs, ready after ${duration(upMs)}.`)
    },
  }
}

/** Three lists that differ, small enough to be watched to their end. */
const FIRST_CATEGORIES = ['kitchen/289754', 'toys-and-games', 'pet-supplies']
/** The high end of their estimate at the sandbox's prices is $4.98. */
const FIRST_CAP = toMicros(5_000_000)

const FAR_AWAY = { ms: 200, jitterMs: 150 }

/** Starts the first collection on a database without any run; shows the last ones otherwise. */
async function firstRun(
  context: Context,
  session: Session,
  options: StartOptions,
  sandbox: Sandbox,
): Promise<RunSnapshot | null> {
  const { db, actor } = session
  const known = await listRuns(db, actor.orgId, { limit: 5 })
  if (known.length > 0) {
    if (!context.json && !context.quiet) context.say(`\n${await runTable(context, db, known)}\n`)
    return null
  }
  if (!options.firstRun) return null
  // On this machine it would be over before it could be read: for this once it answers like hosts far away.
  if (context.live && sandbox.ours) await paceSandbox(sandbox.origin, FAR_AWAY)
  const tree = await loadCategories()
  const run = await createAndStart(session, {
    collect: { kind: 'categories', categories: FIRST_CATEGORIES.map((key) => requireCategory(tree, key)) },
    accounts: await chooseAccounts(db, { list: 'sandbox-oxylabs', search: 'sandbox-ebay' }),
    name: 'First collection (sandbox)',
    capMicros: FIRST_CAP,
  }).catch((error: unknown) => {
    // A month cap that was set before is no reason not to come up.
    if (!(error instanceof AppError) || !error.code.startsWith('month.')) throw error
    context.note(`No first collection: ${error.message}`)
    return null
  })
  if (!run) return null
  if (!context.json && !context.quiet) {
    context.say()
    context.tell(
      'A first collection, from the sandbox: a generated marketplace on this machine. Nothing of it costs money.',
    )
  }
  return run
}

type Stay = Readonly<{
  display: Display
  interrupt: Interrupt
  worker: Worker
  first: RunSnapshot | null
  /** Called when the first collection has ended. */
  firstEnds: () => Promise<void>
  once: boolean
  timeoutMs: number
}>

const LOOK_MS = 250

/** Shows every run that is going on until Ctrl-C (or, with `once`, until none is). Returns the exit status. */
async function stayUp(context: Context, session: Session, stay: Stay): Promise<number> {
  const { db, actor } = session
  const { display, interrupt, first } = stay
  const watcher = makeWatcher(db)
  const going = new Set<string>()
  const end = AbortSignal.any([interrupt.signal, stay.worker.asked])
  let status = 0
  let idle = false
  while (!end.aborted) {
    const views = await lookThrough(async () => {
      const runs = await listRuns(db, actor.orgId, { limit: 20 })
      return watcher.look(runs.filter((run) => isGoingOn(run) || going.has(run.id)).reverse())
    }, end)
    if (!views) break
    for (const view of views.filter(({ run }) => !isGoingOn(run))) {
      going.delete(view.run.id)
      display.finish([view])
      tellEnd(context, view, first)
      if (view.run.id === first?.id) await stay.firstEnds()
      status = exitOf(view.run)
      idle = false
    }
    const open = views.filter(({ run }) => isGoingOn(run))
    for (const { run } of open) going.add(run.id)
    if (open.length > 0) display.update(open)
    else if (stay.once) return status
    else if (!idle) {
      idle = true
      if (!context.json && !context.quiet) context.say(`\n${context.paint.dim('Waiting for runs. Ctrl-C stops.')}`)
    }
    await sleep(LOOK_MS, undefined, { signal: end }).catch(() => {})
  }
  const stopped = await stopSaying(context, stay.worker, stay.timeoutMs)
  throwIfAsked(stay.worker)
  await tellLeft(context, session, stopped === 0, end)
  return stopped
}

function tellEnd(context: Context, view: View, first: RunSnapshot | null): void {
  if (context.json) {
    process.stdout.write(`${JSON.stringify({ run: runJson(view.run) })}\n`)
    return
  }
  if (context.quiet) return
  sayHowItStands(context, view)
  if (view.run.id !== first?.id || view.run.status !== 'completed') return
  context.say('\nWhat next')
  const acts = actLines(context, [
    ['gleaner sellers list', 'who was found, most products matched first'],
    ['gleaner sellers export --out sellers.csv', 'all of them, for a spreadsheet'],
    [`gleaner run show ${view.run.number}`, 'where the money went'],
    ['gleaner categories coffee', 'find a category'],
    ['gleaner collect kitchen/289742 --cap 5', 'collect from it'],
  ])
  for (const act of acts) context.say(act)
}

/** After Ctrl-C: what stays running, and how it goes on. */
async function tellLeft(
  context: Context,
  { db, actor }: Session,
  booked: boolean,
  stopping: AbortSignal,
): Promise<void> {
  if (context.json || context.quiet) return
  const left = await lookThrough(() => listRuns(db, actor.orgId, { statuses: ['running'] }), stopping)
  if (!left) return context.say('Stopped. The database does not answer: what was running goes on with the next worker.')
  context.say(left.length === 0 || !booked ? 'Stopped.' : 'Stopped. Everything that was in flight is booked.')
  for (const run of left) {
    context.say(`Run ${run.number}, ${run.name}, is still running: it goes on with the next worker.`)
  }
  if (left.length > 0) context.say(actLine(context, 'gleaner start'))
}
