/** Ctrl-C: the first one asks to stop cleanly, the second stops at once. */
import { EXIT } from './print-error.ts'

export type Interrupt = Readonly<{
  /** Aborted by the first signal. */
  signal: AbortSignal
  /** Gives the signals back to Node. */
  dispose: () => void
}>

const SIGNALS = ['SIGINT', 'SIGTERM', 'SIGHUP'] as const
/** npm passes on what the terminal has already sent us: two signals this close are one key press. */
const ONE_PRESS_MS = 300

/** Listens for SIGINT, SIGTERM and SIGHUP. `onFirst` is called at once, e.g. to say what is being waited for. */
export function listenForInterrupt(onFirst: () => void): Interrupt {
  const controller = new AbortController()
  let firstAt = 0
  const listener = (): void => {
    if (controller.signal.aborted) {
      if (performance.now() - firstAt < ONE_PRESS_MS) return
      process.stdout.write(process.stdout.isTTY ? '\u001b[?25h\n' : '')
      process.exit(EXIT.interrupted)
    }
    firstAt = performance.now()
    controller.abort()
    onFirst()
  }
  for (const signal of SIGNALS) process.on(signal, listener)
  return {
    signal: controller.signal,
    dispose: () => {
      for (const signal of SIGNALS) process.off(signal, listener)
    },
  }
}
