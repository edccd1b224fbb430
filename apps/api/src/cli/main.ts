/** The command line. */
import type { GlobalOptions } from './context.ts'
import { printError } from './print-error.ts'
import { makeProgram } from './program.ts'

// A reader that has seen enough (`gleaner runs | head`) is no error.
process.stdout.on('error', (error: NodeJS.ErrnoException) => {
  if (error.code === 'EPIPE') process.exit(0)
  throw error
})

const program = makeProgram()
try {
  await program.parseAsync()
} catch (error) {
  process.exitCode = printError(error, program.opts<GlobalOptions>())
}
