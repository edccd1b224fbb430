import { expect, it } from 'vitest'
import { daysLeft } from '../../src/engine/pause-if-barred.ts'

const midnight = new Date('2026-11-23T08:00:00Z')
const run = (pendingItems: number, processedItems: number, settledCalls: number) => ({
  pendingItems,
  processedItems,
  settledCalls,
})

it('counts the days a quota still takes, at the calls a product took so far', () => {
  expect(daysLeft(run(7_000, 2_500, 5_000), 5_000, midnight)).toBe(
    ' About 14000 calls are left to make: 3 more days, the last about 2026-11-25.',
  )
  expect(daysLeft(run(100, 0, 0), 5_000, midnight)).toContain(
    '100 calls are left to make: 1 more day, the last about 2026-11-23',
  )
})

it('says nothing without a quota, or with nothing left to search', () => {
  expect(daysLeft(run(100, 10, 10), null, midnight)).toBe('')
  expect(daysLeft(run(0, 10, 10), 5_000, midnight)).toBe('')
})
