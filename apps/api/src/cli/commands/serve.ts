/** gleaner serve: the HTTP API, and nothing else. */
import { once } from 'node:events'
import type { Command } from 'commander'
import { DEFAULT_PORT } from '../../http/server.ts'
import { addCommand } from '../add-command.ts'
import { withSession } from '../context.ts'
import { readWhole } from '../format.ts'
import { listenForInterrupt } from '../interrupt.ts'
import { serve } from '../serve.ts'
import { firstLink } from '../sign-in.ts'

const MORE = `
Examples:
  gleaner serve
  gleaner serve --host 0.0.0.0 --port 8080
  DATABASE_URL=postgresql://… gleaner serve

It works on no run: workers do (gleaner worker). /docs shows the API, /metrics is for this machine, or for who sends
GLEANER_METRICS_TOKEN. One JSON line per request goes to stdout. The first Ctrl-C or SIGTERM takes no new requests and finishes
those under way, for 10 s at most.`

/** Adds the command. */
export function addServe(program: Command): void {
  const command = program
    .command('serve')
    .description('serve the HTTP API until Ctrl-C')
    .option('--host <address>', 'where to listen; only this machine when left out', '127.0.0.1')
    .option('--port <n>', 'the port; 0 takes any that is free', String(DEFAULT_PORT))
    .addHelpText('after', MORE)
  addCommand(command, (context, [given]) => {
    const options = given as { host: string; port: string }
    const port = readWhole(options.port, '--port', 0, 65_535)
    return withSession(
      context,
      async (session) => {
        const interrupt = listenForInterrupt(() => context.note('Stopping. Requests under way are being finished.'))
        const listening = await serve(context, session, { host: options.host, port })
        try {
          const link = await firstLink(context, session, listening.origin)
          if (context.json) process.stdout.write(`${JSON.stringify({ api: listening.origin, ...link.json })}\n`)
          else
            context.say(
              `API at ${listening.origin}, reference at ${listening.origin}/docs. Ctrl-C stops it.${link.words}`,
            )
          if (!interrupt.signal.aborted) await once(interrupt.signal, 'abort')
          return 0
        } finally {
          await listening.stop()
          interrupt.dispose()
        }
      },
      { name: 'gleaner serve' },
    )
  })
}
