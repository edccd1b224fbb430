/** The command line. */
import { enableCompileCache } from 'node:module'
import type { GlobalOptions } from './context.ts'

// Before anything else is loaded: later starts find what this one compiled. Measured: 0.69 s without it, 0.38 s with it.
enableCompileCache()
const { printError } = await import('./print-error.ts')
const { makeProgram } = await import('./program.ts')

// A reader that has seen enough (`gleaner runs | head`) is no error. A command with calls in flight books them first, as
// on Ctrl-C; any other ends.
let isUnread = false
function onUnread(error: NodeJS.ErrnoException): void {
  // EIO is what a terminal says that was closed.
  if (error.code !== 'EPIPE' && error.code !== 'EIO') throw error
  if (isUnread) return
  isUnread = true
  if (process.listenerCount('SIGTERM') > 0) process.kill(process.pid, 'SIGTERM')
  else process.exit(0)
}
process.stdout.on('error', onUnread)
process.stderr.on('error', onUnread)

const program = makeProgram()
try {
  await program.parseAsync()
} catch (error) {
  process.exitCode = printError(error, program.opts<GlobalOptions>())
}
