/**
 * How long ago something was, for decisions that must not err on the short side: is a lease over, did this process stand
 * still. No single clock of a machine says that:
 *
 * - the steady clock (performance.now; CLOCK_MONOTONIC on Linux) never jumps, and stands still while the machine is suspended;
 * - the wall clock goes on while it is suspended, and may be set back or forth at any time.
 *
 * So both are read, and the one that says more time has passed is believed. Wrong by too much costs a call that is not sent;
 * wrong by too little could cost money nobody counts. Left over: a machine that slept and whose wall clock was then set back by
 * as much.
 */

/** One moment by both clocks, ms. Worth something in this process only. */
export type Moment = Readonly<{ steadyMs: number; wallMs: number }>

/** Now. */
export function momentNow(): Moment {
  return { steadyMs: performance.now(), wallMs: Date.now() }
}

/** The most time that can have passed from `then` to `now`, ms; never negative. */
export function passedMs(then: Moment, now: Moment = momentNow()): number {
  return Math.max(0, now.steadyMs - then.steadyMs, now.wallMs - then.wallMs)
}
