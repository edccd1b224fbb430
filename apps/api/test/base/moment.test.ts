import { expect, it } from 'vitest'
import { passedMs } from '../../src/base/moment.ts'

const then = { steadyMs: 1_000, wallMs: 1_700_000_000_000 }
const after = (steadyMs: number, wallMs: number) =>
  passedMs(then, { steadyMs: then.steadyMs + steadyMs, wallMs: then.wallMs + wallMs })

it('the clock that says more time has passed is believed', () => {
  expect(after(500, 500)).toBe(500)
  // The machine slept for an hour: the steady clock did not notice.
  expect(after(500, 3_600_500)).toBe(3_600_500)
  // The wall clock was set back by an hour.
  expect(after(26_000, -3_574_000)).toBe(26_000)
})

it('and no time is never negative', () => {
  expect(after(0, -1)).toBe(0)
})
