import { describe, expect, it } from 'vitest'
import { makePace } from '../../src/engine/pace.ts'

describe('makePace', () => {
  it('lets no more calls through in any second than the rate, with one gathered', () => {
    let at = 0
    const pace = makePace(5, () => at)
    const sentAt: number[] = []
    for (at = 0; at <= 10_000; at += 10) {
      const free = pace.available()
      pace.take(free)
      for (let k = 0; k < free; k++) sentAt.push(at)
    }
    const inWindow = (from: number): number => sentAt.filter((t) => t >= from && t < from + 1000).length
    expect(Math.max(...sentAt.map(inWindow))).toBeLessThanOrEqual(6)
    expect(sentAt.length).toBeGreaterThanOrEqual(49)
    expect(sentAt.length).toBeLessThanOrEqual(51)
  })

  it('gathers no burst while nothing is sent', () => {
    let at = 0
    const pace = makePace(100, () => at)
    at = 60_000
    expect(pace.available()).toBe(10)
  })

  it('is no limit without a rate', () => {
    expect(makePace(null).available()).toBe(Infinity)
  })
})
