/** gleaner worker: one more pair of hands. */
import { once } from 'node:events'
import type { Command } from 'commander'
import { addCommand } from '../add-command.ts'
import { withSession } from '../context.ts'
import { listenForInterrupt } from '../interrupt.ts'
import { startCliWorker } from '../join-run.ts'
import { openSandbox } from '../sandbox-for-run.ts'

/** Adds the command. */
export function addWorker(program: Command): void {
  const command = program
    .command('worker')
    .description('take part in every running run until Ctrl-C; any number of them may, on any machine')
    .option('--sandbox', 'start the sandbox when it is not up; done by itself with the embedded database')
    .addHelpText('after', '\nExamples:\n  gleaner worker\n  DATABASE_URL=postgresql://… gleaner worker')
  addCommand(command, (context, [options]) =>
    withSession(
      context,
      async (session) => {
        const stop = new AbortController()
        const interrupt = listenForInterrupt(() => {
          context.note('Stopping. Calls in flight are being finished and booked.')
          stop.abort()
        })
        const wantsSandbox = (options as { sandbox?: boolean }).sandbox || session.embedded !== null
        const sandbox = wantsSandbox ? await openSandbox(context, session) : null
        const worker = await startCliWorker(context, session.db)
        try {
          if (context.json) process.stdout.write(`${JSON.stringify({ worker: worker.id })}\n`)
          else context.say(`Worker ${worker.id.slice(-8)} is up. Ctrl-C stops it.`)
          // A timer keeps the process alive while it waits.
          const alive = setInterval(() => {}, 60_000)
          if (!stop.signal.aborted) await once(stop.signal, 'abort')
          clearInterval(alive)
        } finally {
          await worker.stop()
          sandbox?.leave()
          interrupt.dispose()
        }
      },
      { name: 'gleaner worker' },
    ),
  )
}
