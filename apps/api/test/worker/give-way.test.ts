import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { lanesToGiveUp, type OwnLane } from '../../src/worker/give-way.ts'

const lane = (runId: string, orgId: string, ageMs = 10_000, ready = true): OwnLane => ({ runId, orgId, ageMs, ready })
const org = (orgId: string, lanes: number, waiting: number) => ({ orgId, lanes, waiting })

describe('lanesToGiveUp', () => {
  it('gives up nothing when nobody waits, or no lane is ready', () => {
    expect(lanesToGiveUp([lane('a1', 'A')], [org('A', 1, 0)])).toEqual([])
    expect(lanesToGiveUp([lane('a1', 'A', 10, false)], [org('A', 1, 5)])).toEqual([])
  })

  it('gives a place to an organisation without any, from the one with the most, oldest first', () => {
    const own = [lane('a1', 'A', 5), lane('a2', 'A', 9), lane('b1', 'B', 99)]
    expect(lanesToGiveUp(own, [org('A', 2, 0), org('B', 1, 0), org('C', 0, 1)])).toEqual(['a2'])
  })

  it('does not take the only lane of an organisation for one that has as many', () => {
    expect(lanesToGiveUp([lane('b1', 'B')], [org('A', 3, 37), org('B', 1, 0)])).toEqual([])
    expect(lanesToGiveUp([lane('b1', 'B')], [org('A', 1, 37), org('B', 1, 0)])).toEqual([])
    expect(lanesToGiveUp([lane('b1', 'B')], [org('A', 0, 1), org('B', 1, 0)])).toEqual(['b1'])
  })

  it('lets runs of one organisation take turns', () => {
    const own = [lane('a1', 'A', 1), lane('a2', 'A', 2)]
    expect(lanesToGiveUp(own, [org('A', 2, 1)])).toEqual(['a2'])
    expect(lanesToGiveUp(own, [org('A', 2, 9)])).toEqual(['a2', 'a1'])
  })

  it('gives up at most one place for each run that waits, and only ready ones, whatever the numbers', () => {
    const lanes = fc.array(fc.record({ org: fc.nat(4), ageMs: fc.nat(20_000), ready: fc.boolean() }), { maxLength: 32 })
    const orgs = fc.array(fc.record({ lanes: fc.nat(40), waiting: fc.nat(40) }), { minLength: 5, maxLength: 5 })
    fc.assert(
      fc.property(lanes, orgs, (given, counts) => {
        const own = given.map(({ org: of, ageMs, ready }, at) => lane(`r${at}`, `o${of}`, ageMs, ready))
        const out = lanesToGiveUp(
          own,
          counts.map((count, at) => org(`o${at}`, count.lanes, count.waiting)),
        )
        expect(new Set(out).size).toBe(out.length)
        expect(out.length).toBeLessThanOrEqual(counts.reduce((sum, { waiting }) => sum + waiting, 0))
        expect(own.filter(({ runId }) => out.includes(runId)).every(({ ready }) => ready)).toBe(true)
      }),
    )
  })
})
