/** The one way from commander to a command: global options become a context, an exit status ends the process. */
import type { Command } from 'commander'
import { type Context, type GlobalOptions, makeContext } from './context.ts'

/** What a command's action gets from commander: its arguments in order, then its options. */
export type CommandInput = readonly unknown[]

/** Runs `action` for `command`. It returns the exit status, 0 when it returns none. */
export function addCommand(
  command: Command,
  action: (context: Context, input: CommandInput) => Promise<number | void>,
): void {
  command.action(async (...all: unknown[]) => {
    const given = all.slice(0, -1) // the last one is the command itself
    const context = makeContext(command.optsWithGlobals<GlobalOptions>())
    process.exitCode = (await action(context, given)) ?? 0
  })
}
