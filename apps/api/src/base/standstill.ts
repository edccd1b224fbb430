/**
 * Whether this process stood still: frozen, suspended with its machine, or too busy to read what had arrived. What it missed
 * meanwhile (a time limit, a connection the other side gave up) is its own doing and tells nothing about anybody else.
 */
import { type Moment, momentNow, passedMs } from './moment.ts'

/** So often a process that is watched shows that it moves, ms. */
const BEAT_MS = 500
/** Without a sign of life for so long it stood still, ms. A busy machine is late by less. */
export const STILL_MS = 2_000

export type Watch = Readonly<{
  /** True when the process stood still at some time since the watch began. */
  stoodStill: () => boolean
  /** To be called once; a process nobody watches does not beat. */
  end: () => void
}>

let watches = 0
let beating: NodeJS.Timeout | undefined
let lastBeat: Moment = momentNow()
/** When that was found out last, performance.now. */
let stoodStillAt = Number.NEGATIVE_INFINITY

function beat(): void {
  const now = momentNow()
  if (passedMs(lastBeat, now) >= STILL_MS) stoodStillAt = now.steadyMs
  lastBeat = now
}

/** Watches from now on. */
export function watchStandstill(): Watch {
  watches += 1
  if (watches === 1) {
    lastBeat = momentNow()
    beating = setInterval(beat, BEAT_MS).unref()
  } else beat()
  const beganAt = performance.now()
  return {
    stoodStill: () => {
      // What comes first after a standstill may be asked before the next beat.
      beat()
      return stoodStillAt >= beganAt
    },
    end: () => {
      watches -= 1
      if (watches === 0) clearInterval(beating)
    },
  }
}
