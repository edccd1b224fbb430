/**
 * The provider governor's rules, as pure functions: what a handful of answers does to the window of calls in flight, to
 * the rest a provider asks for, and to the breaker. Times are milliseconds since 1970 by the database's clock.
 */

/** What one call says about its provider. */
export type Sign = Readonly<{
  /**
   * - usable: an answer, also one that refuses this very request as wrong
   * - unusable: an answer nobody can use: a blocked page, another shape than expected
   * - missed: no answer through the provider's or the network's fault
   * - throttled: too fast
   * - quota: the account's quota is used up
   */
  kind: 'usable' | 'unusable' | 'missed' | 'throttled' | 'quota'
  durationMs: number
  retryAfterMs?: number
  /** Of a usable answer: the account has nothing left to spend for so long. */
  restMs?: number
  /** When a used-up quota begins anew, as the provider said. */
  resetAt?: Date
  /** Of a trouble: what was said, one sentence. */
  note?: string
}>

export type Health = 'healthy' | 'testing' | 'stopped'

export type GovernorState = Readonly<{
  windowCalls: number
  steepBelow: number
  cutAtMs: number
  latencyMs: number | null
  latencyFloorMs: number | null
  restUntilMs: number
  throttlesInRow: number
  quotaUntilMs: number
  health: Health
  /** The last 40 calls, oldest first: + usable, o unusable, x missed, - throttled. */
  recent: string
  stopsInRow: number
  stoppedAtMs: number | null
  probeAtMs: number | null
  trouble: string | null
  troubleAtMs: number | null
}>

/** A provider is met with so few calls at first; every answer adds one. */
export const FIRST_WINDOW = 10
/** The window is cut at most so often, ms: answers to calls sent before a cut tell nothing about the time after it. */
const CUT_EVERY_MS = 1_000
const RECENT_MOST = 40
/** So many calls in a row without an answer, and the provider is in trouble: stop rather than burn attempts. */
const MISSES_IN_ROW = 10
/** Of the last forty calls, so many without an answer. */
const MISSES_OF_RECENT = 20
/** Usable answers while testing that make an account healthy again. */
const TESTS = 3
/** A 429 that does not say how long: full jitter up to this, doubled with every one in a row, ms. */
const THROTTLE_BASE_MS = 1_000
const THROTTLE_MOST_MS = 60_000
/** Stopped accounts are probed after a quarter of a minute, half a minute, and then every minute. */
const PROBE_FIRST_MS = 15_000
const PROBE_MOST_MS = 60_000
/** Blocked pages are paid for, and no free probe tells when they end: the wait grows to a quarter of an hour. */
const BLOCKED_MOST_MS = 900_000
/** A quota whose reset is not told: ask again after a quarter of an hour. And never sooner than after a minute. */
const QUOTA_UNTOLD_MS = 900_000
const QUOTA_LEAST_MS = 60_000

/** The state after `signs`, in order, at `nowMs`. `random` in [0, 1) spreads waits over the fleet. */
export function nextState(before: GovernorState, signs: readonly Sign[], nowMs: number, random: number): GovernorState {
  return signs.reduce((state, sign) => afterSign(state, sign, nowMs, random), before)
}

function afterSign(before: GovernorState, sign: Sign, nowMs: number, random: number): GovernorState {
  // What was in flight when the account was stopped tells nothing new.
  if (before.health === 'stopped') return sign.kind === 'quota' ? withQuota(before, sign, nowMs) : before
  const state = remembered(before, sign, nowMs)
  switch (sign.kind) {
    case 'usable':
      return spent(tested(grown({ ...state, throttlesInRow: 0 }, sign.durationMs, nowMs)), sign, nowMs)
    case 'unusable':
      return stoppedIfNeeded(state, nowMs, random)
    case 'missed':
      return stoppedIfNeeded(cut(state, nowMs), nowMs, random)
    case 'throttled':
      return rested(state, sign, nowMs, random)
    case 'quota':
      return withQuota(state, sign, nowMs)
  }
}

const MARKS = { usable: '+', unusable: 'o', missed: 'x', throttled: '-', quota: '' } as const

function remembered(state: GovernorState, sign: Sign, nowMs: number): GovernorState {
  const recent = (state.recent + MARKS[sign.kind]).slice(-RECENT_MOST)
  if (sign.kind === 'usable') return { ...state, recent }
  return { ...state, recent, trouble: sign.note ?? state.trouble, troubleAtMs: nowMs }
}

/** One wider with every answer while the window is small; later one wider in a window of answers. Not while answers slow down. */
function grown(state: GovernorState, durationMs: number, nowMs: number): GovernorState {
  const latencyMs = state.latencyMs === null ? durationMs : state.latencyMs * 0.95 + durationMs * 0.05
  // The floor forgets slowly, so that a provider that became slower for good is not held against a better past.
  const latencyFloorMs = Math.min(durationMs, (state.latencyFloorMs ?? durationMs) * 1.0005 + 0.01)
  const slow = latencyMs > 3 * latencyFloorMs + 100
  const timed = { ...state, latencyMs, latencyFloorMs }
  if (slow) {
    const verySlow = latencyMs > 6 * latencyFloorMs + 400
    return verySlow && nowMs - state.cutAtMs >= CUT_EVERY_MS
      ? { ...timed, windowCalls: Math.max(FIRST_WINDOW, state.windowCalls * 0.9), cutAtMs: nowMs }
      : timed
  }
  const by = state.windowCalls < state.steepBelow ? 1 : 1 / state.windowCalls
  return { ...timed, windowCalls: state.windowCalls + by }
}

function cut(state: GovernorState, nowMs: number): GovernorState {
  if (nowMs - state.cutAtMs < CUT_EVERY_MS) return state
  const windowCalls = Math.max(1, state.windowCalls / 2)
  return { ...state, windowCalls, steepBelow: windowCalls, cutAtMs: nowMs }
}

function rested(before: GovernorState, sign: Sign, nowMs: number, random: number): GovernorState {
  const fresh = nowMs - before.cutAtMs >= CUT_EVERY_MS
  const throttlesInRow = before.throttlesInRow + (fresh ? 1 : 0)
  const ceilingMs = Math.min(THROTTLE_MOST_MS, THROTTLE_BASE_MS * 2 ** Math.min(throttlesInRow, 10))
  const waitMs = sign.retryAfterMs ?? THROTTLE_BASE_MS / 2 + Math.round(ceilingMs * random)
  // Answers to calls sent before the first refusal do not lengthen the rest it began.
  const restUntilMs =
    sign.retryAfterMs === undefined && !fresh ? before.restUntilMs : Math.max(before.restUntilMs, nowMs + waitMs)
  return { ...cut(before, nowMs), throttlesInRow, restUntilMs }
}

/** An account whose tokens are used up rests until there are some; for long, that is a quota used up. */
function spent(state: GovernorState, { restMs }: Sign, nowMs: number): GovernorState {
  if (restMs === undefined) return state
  if (restMs <= QUOTA_LEAST_MS) return { ...state, restUntilMs: Math.max(state.restUntilMs, nowMs + restMs) }
  const trouble = 'Its tokens are used up for now.'
  return { ...state, quotaUntilMs: Math.max(state.quotaUntilMs, nowMs + restMs), trouble, troubleAtMs: nowMs }
}

function withQuota(state: GovernorState, sign: Sign, nowMs: number): GovernorState {
  const told = sign.resetAt?.getTime() ?? nowMs + (sign.retryAfterMs ?? QUOTA_UNTOLD_MS)
  if (sign.retryAfterMs !== undefined && sign.retryAfterMs <= QUOTA_LEAST_MS) {
    const restUntilMs = Math.max(state.restUntilMs, nowMs + sign.retryAfterMs)
    return { ...state, restUntilMs, trouble: sign.note ?? state.trouble, troubleAtMs: nowMs }
  }
  // A reset that lies in the past, or at once, is a clock that differs: asking again each second would only burn calls.
  const quotaUntilMs = Math.max(state.quotaUntilMs, nowMs + QUOTA_LEAST_MS, told)
  return { ...state, quotaUntilMs, trouble: sign.note ?? state.trouble, troubleAtMs: nowMs }
}

/** While testing: healthy again after a few usable answers. */
function tested(state: GovernorState): GovernorState {
  if (state.health !== 'testing' || count(state.recent, '+') < TESTS) return state
  return { ...state, health: 'healthy', windowCalls: FIRST_WINDOW, stopsInRow: 0, stoppedAtMs: null, probeAtMs: null }
}

function stoppedIfNeeded(state: GovernorState, nowMs: number, random: number): GovernorState {
  const trouble = reasonToStop(state)
  if (trouble === null) return state
  const stopsInRow = state.stopsInRow + 1
  const mostMs = state.recent.includes('x') ? PROBE_MOST_MS : BLOCKED_MOST_MS
  const waitMs = Math.min(mostMs, PROBE_FIRST_MS * 2 ** Math.min(stopsInRow - 1, 20)) * (0.9 + 0.2 * random)
  return {
    ...state,
    health: 'stopped',
    windowCalls: 1,
    recent: '',
    stopsInRow,
    stoppedAtMs: nowMs,
    probeAtMs: nowMs + Math.round(waitMs),
    trouble: state.trouble ? `${trouble} The last one said: ${state.trouble}` : trouble,
  }
}

function reasonToStop({ health, recent }: GovernorState): string | null {
  const missed = count(recent, 'x')
  if (health === 'testing') {
    if (missed > 0) return 'It failed again when it was tried.'
    return count(recent, 'o') >= TESTS ? 'Its answers could still not be used when it was tried.' : null
  }
  if (recent.replaceAll('-', '').endsWith('x'.repeat(MISSES_IN_ROW))) {
    return `${MISSES_IN_ROW} calls in a row came back without an answer.`
  }
  if (recent.length < RECENT_MOST) return null
  if (missed >= MISSES_OF_RECENT) return `${missed} of the last ${RECENT_MOST} calls came back without an answer.`
  if (!recent.includes('+') && count(recent, 'o') >= MISSES_OF_RECENT) {
    return `None of the last ${RECENT_MOST} answers could be used.`
  }
  return null
}

function count(text: string, mark: string): number {
  return text.split(mark).length - 1
}

/** How long after a failed probe the next one comes, ms, for an account stopped `stopsInRow` times in a row. */
export function nextProbeMs(stopsInRow: number, random: number): number {
  const waitMs = Math.min(PROBE_MOST_MS, PROBE_FIRST_MS * 2 ** Math.min(Math.max(stopsInRow, 1), 20))
  return Math.round(waitMs * (0.9 + 0.2 * random))
}
