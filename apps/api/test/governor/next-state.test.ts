import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { FIRST_WINDOW, type GovernorState, nextProbeMs, nextState, type Sign } from '../../src/governor/next-state.ts'

const NOW = 1_800_000_000_000

const fresh: GovernorState = {
  windowCalls: FIRST_WINDOW,
  steepBelow: 1_000_000,
  cutAtMs: 0,
  latencyMs: null,
  latencyFloorMs: null,
  restUntilMs: 0,
  throttlesInRow: 0,
  quotaUntilMs: 0,
  health: 'healthy',
  recent: '',
  stopsInRow: 0,
  stoppedAtMs: null,
  probeAtMs: null,
  trouble: null,
  troubleAtMs: null,
}

const usable: Sign = { kind: 'usable', durationMs: 300 }
const missed: Sign = { kind: 'missed', durationMs: 5, note: 'It answered 503.' }
const unusable: Sign = { kind: 'unusable', durationMs: 300, note: 'A captcha.' }
const throttled: Sign = { kind: 'throttled', durationMs: 5 }
const times = (count: number, sign: Sign): Sign[] => Array.from({ length: count }, () => sign)
const after = (signs: readonly Sign[], state = fresh, nowMs = NOW, random = 0.5) =>
  nextState(state, signs, nowMs, random)

describe('the window', () => {
  it('doubles with every round of answers at first, and grows by one a round after trouble', () => {
    expect(after(times(FIRST_WINDOW, usable)).windowCalls).toBe(2 * FIRST_WINDOW)
    const cut = after([missed], { ...fresh, windowCalls: 40 })
    expect(cut.windowCalls).toBe(20)
    expect(after(times(20, usable), cut).windowCalls).toBeCloseTo(21, 0)
  })

  it('is cut once for all calls that were in flight together, and never below one', () => {
    const state = after(times(5, missed), { ...fresh, windowCalls: 64 })
    expect(state.windowCalls).toBe(32)
    expect(after([missed], state, NOW + 1_001).windowCalls).toBe(16)
    expect(after([missed], { ...fresh, windowCalls: 1 }).windowCalls).toBe(1)
  })

  it('stops growing while answers take several times as long as they did, and gives way when they crawl', () => {
    const known = { ...fresh, windowCalls: 50, latencyMs: 100, latencyFloorMs: 100 }
    const slow = after(times(60, { kind: 'usable', durationMs: 600 }), known)
    expect(slow.windowCalls).toBeLessThan(90)
    const crawling = after(times(200, { kind: 'usable', durationMs: 5_000 }), known)
    expect(crawling.windowCalls).toBeLessThan(slow.windowCalls)
    const steady = after(times(200, { kind: 'usable', durationMs: 110 }), known)
    expect(steady.windowCalls).toBe(250)
  })
})

describe('a rest', () => {
  it('lasts as long as the provider said', () => {
    expect(after([{ ...throttled, retryAfterMs: 7_000 }]).restUntilMs).toBe(NOW + 7_000)
    const longer = after([
      { ...throttled, retryAfterMs: 7_000 },
      { ...throttled, retryAfterMs: 2_000 },
    ])
    expect(longer.restUntilMs).toBe(NOW + 7_000)
  })

  it('doubles with every refusal in a row where it did not say, and is spread over the fleet', () => {
    let state = fresh
    const waits: number[] = []
    for (let nowMs = NOW, turn = 0; turn < 8; turn++) {
      state = nextState(state, [throttled], nowMs, 0.999)
      waits.push(state.restUntilMs - nowMs)
      nowMs = state.restUntilMs + 1_000
    }
    for (let turn = 1; turn < 5; turn++) expect(waits[turn]).toBeGreaterThan(1.5 * (waits[turn - 1] ?? 0))
    expect(Math.max(...waits)).toBeLessThanOrEqual(60_500)
    expect(after([throttled], fresh, NOW, 0).restUntilMs).toBeLessThan(after([throttled], fresh, NOW, 0.9).restUntilMs)
    expect(after([usable], state).throttlesInRow).toBe(0)
  })

  it('is not lengthened by the answers to calls sent before it began', () => {
    const first = after([throttled])
    expect(after(times(30, throttled), first, NOW + 50).restUntilMs).toBe(first.restUntilMs)
  })
})

describe('a quota', () => {
  it('bars until the provider says, but a reset in the past still bars for a minute', () => {
    const tomorrow = new Date(NOW + 86_400_000)
    expect(after([{ kind: 'quota', durationMs: 1, resetAt: tomorrow }]).quotaUntilMs).toBe(NOW + 86_400_000)
    expect(after([{ kind: 'quota', durationMs: 1, resetAt: new Date(0) }]).quotaUntilMs).toBe(NOW + 60_000)
    expect(after([{ kind: 'quota', durationMs: 1 }]).quotaUntilMs).toBe(NOW + 900_000)
  })
})

describe('tokens', () => {
  it('that are used up are waited for: a moment as a rest, longer as a quota', () => {
    const rested = after([{ ...usable, restMs: 12_000 }])
    expect(rested).toMatchObject({ restUntilMs: NOW + 12_000, quotaUntilMs: 0 })
    expect(after([{ ...usable, restMs: 600_000 }])).toMatchObject({ restUntilMs: 0, quotaUntilMs: NOW + 600_000 })
    const refused = after([{ kind: 'quota', durationMs: 1, retryAfterMs: 12_000, resetAt: new Date(NOW + 12_000) }])
    expect(refused).toMatchObject({ restUntilMs: NOW + 12_000, quotaUntilMs: 0 })
    expect(refused.windowCalls).toBe(FIRST_WINDOW)
  })
})

describe('the breaker', () => {
  it('stops after ten calls in a row without an answer, not after nine', () => {
    expect(after(times(9, missed)).health).toBe('healthy')
    const stopped = after(times(10, missed))
    expect(stopped).toMatchObject({ health: 'stopped', windowCalls: 1, stopsInRow: 1 })
    expect(stopped.trouble).toBe('10 calls in a row came back without an answer. The last one said: It answered 503.')
    expect((stopped.probeAtMs ?? 0) - NOW).toBeCloseTo(15_000, -2)
    expect(after([...times(9, missed), usable, ...times(9, missed)]).health).toBe('healthy')
  })

  it('stops when half of the last forty calls brought no answer', () => {
    const mixed = Array.from({ length: 40 }, (_, index) => (index % 2 === 1 ? missed : usable))
    expect(after(mixed.slice(0, 39)).health).toBe('healthy')
    expect(after(mixed)).toMatchObject({ health: 'stopped' })
  })

  it('stops when none of the last forty answers could be used: blocked pages are paid for', () => {
    expect(after([usable, ...times(39, unusable)]).health).toBe('healthy')
    expect(after(times(40, unusable)).health).toBe('stopped')
  })

  it('tests with one call at a time: three answers and it is healthy, one miss and it is stopped for longer', () => {
    const testing: GovernorState = { ...fresh, health: 'testing', windowCalls: 1, stopsInRow: 2, recent: '' }
    expect(after(times(2, usable), testing).health).toBe('testing')
    expect(after(times(3, usable), testing)).toMatchObject({ health: 'healthy', stopsInRow: 0 })
    const again = after([usable, missed], testing)
    expect(again).toMatchObject({ health: 'stopped', stopsInRow: 3 })
    expect((again.probeAtMs ?? 0) - NOW).toBeGreaterThan(50_000)
  })

  it('learns nothing from answers that come after it stopped', () => {
    const stopped = after(times(10, missed))
    expect(after([...times(5, missed), ...times(5, usable), throttled], stopped, NOW + 100)).toEqual(stopped)
  })

  it('probes every minute at most', () => {
    for (let stops = 1; stops < 50; stops++) {
      expect(nextProbeMs(stops, 0.999)).toBeLessThanOrEqual(66_000)
      expect(nextProbeMs(stops, 0)).toBeGreaterThanOrEqual(13_500)
    }
  })
})

it('whatever comes, the numbers stay in their ranges and nothing is barred for ever', () => {
  const sign = fc.record({
    kind: fc.constantFrom('usable', 'unusable', 'missed', 'throttled', 'quota'),
    durationMs: fc.nat(60_000),
    retryAfterMs: fc.option(fc.nat(86_400_000), { nil: undefined }),
  })
  fc.assert(
    fc.property(fc.array(sign, { maxLength: 200 }), fc.double({ min: 0, max: 0.999, noNaN: true }), (signs, random) => {
      let nowMs = NOW
      let state = fresh
      for (const one of signs) {
        state = nextState(state, [one as Sign], nowMs, random)
        nowMs += 97
        expect(state.windowCalls).toBeGreaterThanOrEqual(1)
        expect(state.recent).toMatch(/^[+ox-]{0,40}$/)
        if (state.health === 'stopped') expect(state.probeAtMs).toBeGreaterThan(NOW)
        expect(state.restUntilMs - nowMs).toBeLessThanOrEqual(86_400_000)
        expect(state.quotaUntilMs - nowMs).toBeLessThanOrEqual(86_400_000)
      }
    }),
    { numRuns: 200 },
  )
})
