/**
 * The one table that says what each outcome of a call does: to its money, to the item it was made for, and to the run.
 * Adapters tell what happened; nothing else in the engine decides by outcome.
 */
import type { Micros } from '../base/money.ts'
import type { CallOutcome, CallState } from '../ledger/book.ts'
import { type Charge, type Failure, type FailureKind, GIVEN_UP, TOO_LATE } from '../providers/types.ts'

export type ItemFate =
  | Readonly<{ kind: 'answered' }>
  /** Back to the queue after `delayMs`; `counts` when this attempt uses one up. */
  | Readonly<{ kind: 'retry'; delayMs: number; counts: boolean }>
  | Readonly<{ kind: 'failed'; outcome: 'blocked' | 'drift' | 'rejected' }>

export type RunFate = Readonly<{ kind: 'go_on' }> | Readonly<{ kind: 'fail'; reason: string }>

export type MoneyFate = Readonly<{ state: CallState; chargeMicros: Micros | null }>

export type Consequence = Readonly<{ money: MoneyFate; outcome: CallOutcome; item: ItemFate; run: RunFate }>

type Rule = Readonly<{
  /** How often an item may come to this before it fails, and as what. */
  attempts: number
  failsAs: 'blocked' | 'drift' | 'rejected'
  counts: boolean
  run: (failure: Failure) => RunFate
}>

const goOn = (): RunFate => ({ kind: 'go_on' })

const RULES: Readonly<Record<FailureKind, Rule>> = {
  blocked: { attempts: 3, failsAs: 'blocked', counts: true, run: goOn },
  drift: { attempts: 1, failsAs: 'drift', counts: true, run: goOn },
  rejected: { attempts: 1, failsAs: 'rejected', counts: true, run: goOn },
  fault: { attempts: 4, failsAs: 'blocked', counts: true, run: goOn },
  lost: { attempts: 3, failsAs: 'blocked', counts: true, run: goOn },
  unreachable: { attempts: Infinity, failsAs: 'blocked', counts: false, run: goOn },
  // What these two mean for everybody else at the account, the governor decides (governor/next-state.ts).
  throttled: { attempts: Infinity, failsAs: 'blocked', counts: false, run: goOn },
  quota: { attempts: Infinity, failsAs: 'blocked', counts: false, run: goOn },
  credentials: {
    attempts: Infinity,
    failsAs: 'blocked',
    counts: false,
    run: (failure) => ({ kind: 'fail', reason: failure.message }),
  },
}

/** What the charge of an answer does to the hold. */
export function moneyFate(charge: Charge): MoneyFate {
  if (charge.kind === 'charged') return { state: 'settled', chargeMicros: charge.micros }
  return { state: charge.kind === 'not_charged' ? 'released' : 'suspect', chargeMicros: null }
}

/** What a usable answer does. Found or none, the item has been answered. */
export function consequenceOfAnswer(charge: Charge, outcome: 'found' | 'none'): Consequence {
  return { money: moneyFate(charge), outcome, item: { kind: 'answered' }, run: { kind: 'go_on' } }
}

/**
 * What a failure does on the `attempt`-th try of an item (from 1); a call we gave up ourselves uses no attempt up. `random` in [0, 1) spreads the
 * retries.
 */
export function consequenceOfFailure(failure: Failure, attempt: number, random: number): Consequence {
  const rule = RULES[failure.kind]
  const givenUp = failure.code === GIVEN_UP
  const item: ItemFate =
    attempt >= rule.attempts && !givenUp
      ? { kind: 'failed', outcome: rule.failsAs }
      : { kind: 'retry', delayMs: retryDelayMs(failure, attempt, random), counts: rule.counts && !givenUp }
  const outcome = failure.code === TOO_LATE ? 'unsent' : failure.kind
  return { money: moneyFate(failure.charge), outcome, item, run: rule.run(failure) }
}

const BACKOFF_BASE_MS = 500
const BACKOFF_MOST_MS = 60_000

/** Exponential back-off with full jitter (0 to 0.5 s, 1 s, 2 s, ... at most a minute), never before Retry-After. */
function retryDelayMs(failure: Failure, attempt: number, random: number): number {
  const ceiling = Math.min(BACKOFF_MOST_MS, BACKOFF_BASE_MS * 2 ** Math.min(attempt - 1, 10))
  return Math.max(failure.retryAfterMs ?? 0, Math.round(ceiling * random))
}
