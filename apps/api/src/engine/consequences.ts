/**
 * The one table that says what each outcome of a call does: to its money, to the item it was made for, and to the run.
 * Adapters tell what happened; nothing else in the engine decides by outcome.
 */
import type { Micros } from '../base/money.ts'
import type { CallOutcome, CallState } from '../ledger/book.ts'
import type { Charge, Failure, FailureKind } from '../providers/types.ts'

export type ItemFate =
  | Readonly<{ kind: 'answered' }>
  /** Back to the queue after `delayMs`; `counts` when this attempt uses one up. */
  | Readonly<{ kind: 'retry'; delayMs: number; counts: boolean }>
  | Readonly<{ kind: 'failed'; outcome: 'blocked' | 'drift' | 'rejected' }>

export type RunFate =
  | Readonly<{ kind: 'go_on' }>
  /** The account wants to be left alone for a while: nothing is sent to it until then. */
  | Readonly<{ kind: 'wait'; delayMs: number }>
  | Readonly<{ kind: 'pause'; reason: 'quota' | 'provider'; resumeAt: Date; note: string }>
  | Readonly<{ kind: 'fail'; reason: string }>

export type MoneyFate = Readonly<{ state: CallState; chargeMicros: Micros | null }>

export type Consequence = Readonly<{ money: MoneyFate; outcome: CallOutcome; item: ItemFate; run: RunFate }>

type Rule = Readonly<{
  /** How often an item may come to this before it fails, and as what. */
  attempts: number
  failsAs: 'blocked' | 'drift' | 'rejected'
  counts: boolean
  run: (failure: Failure, now: Date) => RunFate
}>

const goOn = (): RunFate => ({ kind: 'go_on' })

/** A 429 without Retry-After: one second, long enough for every per-second limit in providers/README.md. */
const DEFAULT_THROTTLE_MS = 1_000
/** A used-up quota whose reset the provider did not tell: ask again after a quarter of an hour. */
const DEFAULT_QUOTA_MS = 15 * 60_000

const RULES: Readonly<Record<FailureKind, Rule>> = {
  blocked: { attempts: 3, failsAs: 'blocked', counts: true, run: goOn },
  drift: { attempts: 1, failsAs: 'drift', counts: true, run: goOn },
  rejected: { attempts: 1, failsAs: 'rejected', counts: true, run: goOn },
  fault: { attempts: 4, failsAs: 'blocked', counts: true, run: goOn },
  lost: { attempts: 3, failsAs: 'blocked', counts: true, run: goOn },
  unreachable: { attempts: Infinity, failsAs: 'blocked', counts: false, run: goOn },
  throttled: {
    attempts: Infinity,
    failsAs: 'blocked',
    counts: false,
    run: (failure) => ({ kind: 'wait', delayMs: failure.retryAfterMs ?? DEFAULT_THROTTLE_MS }),
  },
  quota: {
    attempts: Infinity,
    failsAs: 'blocked',
    counts: false,
    run: (failure, now) => ({
      kind: 'pause',
      reason: 'quota',
      resumeAt: failure.resetAt ?? new Date(now.getTime() + (failure.retryAfterMs ?? DEFAULT_QUOTA_MS)),
      note: failure.message,
    }),
  },
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

/** What a failure does on the `attempt`-th try of an item (from 1). `random` in [0, 1) spreads the retries. */
export function consequenceOfFailure(failure: Failure, attempt: number, now: Date, random: number): Consequence {
  const rule = RULES[failure.kind]
  const item: ItemFate =
    attempt >= rule.attempts
      ? { kind: 'failed', outcome: rule.failsAs }
      : { kind: 'retry', delayMs: retryDelayMs(failure, attempt, random), counts: rule.counts }
  return { money: moneyFate(failure.charge), outcome: failure.kind, item, run: rule.run(failure, now) }
}

const BACKOFF_BASE_MS = 500
const BACKOFF_MOST_MS = 60_000

/** Exponential back-off with full jitter (0 to 0.5 s, 1 s, 2 s, ... at most a minute), never before Retry-After. */
function retryDelayMs(failure: Failure, attempt: number, random: number): number {
  const ceiling = Math.min(BACKOFF_MOST_MS, BACKOFF_BASE_MS * 2 ** Math.min(attempt - 1, 10))
  return Math.max(failure.retryAfterMs ?? 0, Math.round(ceiling * random))
}
