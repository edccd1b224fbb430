/** gleaner worker: one more pair of hands. */
import { once } from 'node:events'
import type { Command } from 'commander'
import { addCommand } from '../add-command.ts'
import { type Context, type Session, withSession } from '../context.ts'
import { listenForInterrupt } from '../interrupt.ts'
import { startCliWorker } from '../join-run.ts'
import { openSandbox } from '../sandbox-for-run.ts'
import { addStopTimeout, type StopOptions, stopSaying, stopTimeoutMs, throwIfAsked } from '../stop.ts'

type WorkerCommandOptions = StopOptions & Readonly<{ sandbox?: boolean }>

const MORE = `
Examples:
  gleaner worker
  DATABASE_URL=postgresql://… gleaner worker --stop-timeout 60

It joins with DATABASE_URL from any machine; what its clock says does not matter. The first Ctrl-C or SIGTERM takes no new
calls, books those in flight and leaves; a second one leaves at once, and other workers take over after 6 seconds.
Exit status: 0 all booked, 5 the schema is not that of this version, 9 calls were given up, 130 second signal.`

/** Adds the command. */
export function addWorker(program: Command): void {
  const command = program
    .command('worker')
    .description('take part in running runs until Ctrl-C; any number of them may, on any machine')
    .option('--sandbox', 'start the sandbox when it is not up; done by itself with the embedded database')
    .addHelpText('after', MORE)
  addStopTimeout(command)
  addCommand(command, (context, [given]) => {
    const options = given as WorkerCommandOptions
    const timeoutMs = stopTimeoutMs(options)
    return withSession(context, (session) => work(context, session, options, timeoutMs), { name: 'gleaner worker' })
  })
}

async function work(
  context: Context,
  session: Session,
  options: WorkerCommandOptions,
  timeoutMs: number,
): Promise<number> {
  const interrupt = listenForInterrupt(() => context.note('Stopping. Calls in flight are being finished and booked.'))
  const sandbox = options.sandbox || session.embedded !== null ? await openSandbox(context, session) : null
  const worker = await startCliWorker(context, session.db)
  try {
    if (context.json) process.stdout.write(`${JSON.stringify({ worker: worker.id })}\n`)
    else context.say(`Worker ${worker.id.slice(-8)} is up. Ctrl-C stops it.`)
    const end = AbortSignal.any([interrupt.signal, worker.asked])
    // A timer keeps the process alive while it waits.
    const alive = setInterval(() => {}, 60_000)
    if (!end.aborted) await once(end, 'abort')
    clearInterval(alive)
    const status = await stopSaying(context, worker, timeoutMs)
    throwIfAsked(worker)
    return status
  } finally {
    await worker.stop(timeoutMs)
    sandbox?.leave()
    interrupt.dispose()
  }
}
