/** Stopping a worker from the command line: within a time, and saying how it went. */
import type { Command } from 'commander'
import { AppError } from '../base/errors.ts'
import { STOP_TIMEOUT_MS, type Stopped, type Worker } from '../worker/worker.ts'
import type { Context } from './context.ts'
import { readWhole } from './format.ts'
import { EXIT } from './print-error.ts'

export type StopOptions = Readonly<{ stopTimeout?: string }>

/** The option --stop-timeout, in seconds. */
export function addStopTimeout(command: Command): Command {
  return command.option(
    '--stop-timeout <seconds>',
    'on Ctrl-C or SIGTERM, give up calls that are not answered by then',
    String(STOP_TIMEOUT_MS / 1000),
  )
}

/** What --stop-timeout says, ms. Throws AppError input.invalid. */
export function stopTimeoutMs({ stopTimeout }: StopOptions): number {
  return stopTimeout === undefined ? STOP_TIMEOUT_MS : readWhole(stopTimeout, '--stop-timeout', 0, 86_400) * 1000
}

const SAID: Readonly<Record<Exclude<Stopped, 'booked'>, string>> = {
  gave_up:
    'The time was up: calls still in flight were given up. Their money is suspect, their products are asked again.',
  left: 'The time was up and the database did not answer: the calls in flight are left to other workers, as suspect.',
}

/** Stops the worker and says what had to be given up. Returns the exit status, 0 when nothing. */
export async function stopSaying(context: Context, worker: Worker, timeoutMs: number): Promise<number> {
  const stopped = await worker.stop(timeoutMs)
  if (stopped === 'booked') return EXIT.done
  context.note(SAID[stopped])
  // Closing would wait for the database that does not answer.
  if (stopped === 'left') process.exit(EXIT.gaveUp)
  return EXIT.gaveUp
}

/** Throws the refusal of a worker that was asked to leave by way of the database; does nothing for any other. */
export function throwIfAsked(worker: Worker): void {
  if (!worker.asked.aborted) return
  throw new AppError('db.schema_ahead', `this worker was asked to leave: ${String(worker.asked.reason)}`, {
    hint: 'Everything in flight is booked. Start the newer version of Gleaner.',
  })
}
