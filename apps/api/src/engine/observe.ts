/** Observing: tells an account's governor what its answers were, many at a time and outside the booking's transaction. */
import { type Db, withTxRetry } from '../db/client.ts'
import type { Sign } from '../governor/next-state.ts'
import { noteSigns } from '../governor/store.ts'
import { type Failure, type FailureKind, OWN_DOING } from '../providers/types.ts'

export type Observer = Readonly<{
  /** Notes an answer. Trouble is told at once, the rest within a tenth of a second. */
  note: (answer: Readonly<{ ok: true; restMs?: number }> | Failure, durationMs: number) => void
  /** Resolves when all that was noted has been told, or could not be. */
  flush: () => Promise<void>
}>

const TELL_AFTER_MS = 100

const SIGNS: Readonly<Record<FailureKind, Sign['kind']>> = {
  blocked: 'unusable',
  drift: 'unusable',
  // The provider understood and said no to this request: it is well.
  rejected: 'usable',
  throttled: 'throttled',
  quota: 'quota',
  credentials: 'unusable',
  fault: 'missed',
  unreachable: 'missed',
  lost: 'missed',
}

/** An observer of one account. What cannot be told, because the database is away, is dropped: it is old news by then. */
export function makeObserver(
  db: Db,
  accountId: string,
  log: (message: string, facts?: Record<string, unknown>) => void,
): Observer {
  let signs: Sign[] = []
  let timer: NodeJS.Timeout | undefined
  let telling: Promise<void> = Promise.resolve()

  const tell = async (): Promise<void> => {
    clearTimeout(timer)
    timer = undefined
    const told = signs
    signs = []
    if (told.length === 0) return
    try {
      const noted = await withTxRetry(db, (tx) => noteSigns(tx, accountId, told, Math.random()))
      if (noted && noted.after.health !== noted.before.health) {
        log('the governor of an account changed', {
          accountId,
          health: noted.after.health,
          trouble: noted.after.trouble,
        })
      }
    } catch (error) {
      log('the governor could not be told', { accountId, error: String(error) })
    }
  }
  const flush = (): Promise<void> => {
    telling = telling.then(tell)
    return telling
  }
  return {
    note: (answer, durationMs) => {
      // A worker that leaves in haste, or slept, says nothing about the provider.
      if (!answer.ok && OWN_DOING.has(answer.code)) return
      signs.push(toSign(answer, durationMs))
      if (answer.ok) timer ??= setTimeout(() => void flush(), TELL_AFTER_MS)
      else void flush()
    },
    flush,
  }
}

function toSign(answer: Readonly<{ ok: true; restMs?: number }> | Failure, durationMs: number): Sign {
  if (answer.ok)
    return { kind: 'usable', durationMs, ...(answer.restMs === undefined ? {} : { restMs: answer.restMs }) }
  return {
    kind: SIGNS[answer.kind],
    durationMs,
    note: answer.message,
    ...(answer.retryAfterMs === undefined ? {} : { retryAfterMs: answer.retryAfterMs }),
    ...(answer.resetAt === undefined ? {} : { resetAt: answer.resetAt }),
  }
}
