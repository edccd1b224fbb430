/**
 * Whether a claimed call may still be sent. A worker that was frozen, or whose machine slept, wakes up with calls in hand that
 * others have taken for lost meanwhile. Sent then, such a call is charged: for a product another worker has searched, and,
 * when a person has settled it as not charged, without anybody counting it. So every call is asked about right before its
 * request leaves (docs/adr/0017).
 */
import { type Moment, momentNow, passedMs } from '../base/moment.ts'
import { NOT_CHARGED } from '../providers/charges.ts'
import { failure } from '../providers/failures.ts'
import { type Failure, TOO_LATE } from '../providers/types.ts'

/**
 * A lease outlives the call's own time limit by this much, ms: the time a call may wait to be sent, and a finished one for its
 * booking.
 */
export const LEASE_MARGIN_MS = 30_000
/**
 * A call leaves within this after its claim was asked for, ms. Its time limit then ends before its lease does, with something
 * to spare: as long as the provider may still charge it, nobody may settle it.
 */
const LEAVES_WITHIN_MS = LEASE_MARGIN_MS - 5_000

/** What a worker knows of its own heart: others take its calls when it was silent for too long. */
export type Heart = Readonly<{
  /** A heartbeat asked for at `askedAt` has reached the database. */
  beaten: (askedAt: Moment) => void
  /** True when nobody can have taken this worker for dead at any time since `then`. */
  heldSince: (then: Moment) => boolean
}>

/** A heart that has not beaten yet, of a worker that counts as dead after `deadAfterMs`. */
export function makeHeart(deadAfterMs: number): Heart {
  let lastAt: Moment | null = null
  let unbrokenSince: Moment | null = null
  return {
    beaten: (askedAt) => {
      // Asked, not answered: the beat the database has is not older than that. Silent in between, it may have been taken for dead.
      if (!lastAt || passedMs(lastAt) >= deadAfterMs) unbrokenSince = askedAt
      lastAt = askedAt
    },
    heldSince: (then) =>
      lastAt !== null &&
      unbrokenSince !== null &&
      then.steadyMs >= unbrokenSince.steadyMs &&
      passedMs(lastAt) < deadAfterMs,
  }
}

/**
 * Whether calls of a claim may still leave. `askedAt` is from before its transaction began, so that this is over before the
 * lease in the database is.
 */
export function maySendUntil(askedAt: Moment, heart: Heart | undefined): () => boolean {
  return () => {
    const now = momentNow()
    return passedMs(askedAt, now) < LEAVES_WITHIN_MS && (heart?.heldSince(askedAt) ?? true)
  }
}

/** What becomes of a call that may not be sent any more: surely not charged. */
export function tooLate(): Failure {
  return failure(
    'unreachable',
    NOT_CHARGED,
    TOO_LATE,
    'It was not sent: when its turn came, its lease was nearly over.',
  )
}
