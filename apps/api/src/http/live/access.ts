/** Whether somebody may go on watching: asked at the start, and again every few seconds. */
import { setTimeout as sleep } from 'node:timers/promises'
import { AppError } from '../../base/errors.ts'

/** With what a question takes, whoever lost access is cut within 10 s. */
const ASK_MS = 3_000
/** So long without an answer is as good as a no. */
const UNSURE_MS = 9_000

export type Cut = Readonly<{ code: string; mayReturn: boolean }>

/**
 * Asks `check` again and again until `signal` is aborted. Calls `cut` once when it throws an AppError, or when it could not
 * be answered for 9 s (then with `mayReturn`). `check` was answered with yes just before.
 */
export async function keepAsking(
  check: () => Promise<void>,
  cut: (why: Cut) => void,
  signal: AbortSignal,
): Promise<void> {
  let deadline = startDeadline(cut)
  try {
    for (;;) {
      // Not all at the same moment.
      await sleep(ASK_MS * (0.7 + 0.3 * Math.random()), undefined, { signal })
      try {
        await check()
      } catch (error) {
        if (isRefusal(error)) {
          cut({ code: error.code, mayReturn: false })
          return
        }
        continue
      }
      clearTimeout(deadline)
      deadline = startDeadline(cut)
    }
  } catch {
    // Nobody watches any more.
  } finally {
    clearTimeout(deadline)
  }
}

function startDeadline(cut: (why: Cut) => void): NodeJS.Timeout {
  return setTimeout(() => cut({ code: 'server.busy', mayReturn: true }), UNSURE_MS)
}

/** A no, as against a question nobody answered. */
function isRefusal(error: unknown): error is AppError {
  return error instanceof AppError && !/^(db|server)\./.test(error.code)
}
