import { expect, it } from 'vitest'
import { consequenceOfFailure } from '../../src/engine/consequences.ts'
import { type Failure, GIVEN_UP } from '../../src/providers/types.ts'

const lost = (code: string): Failure => ({
  ok: false,
  kind: 'lost',
  charge: { kind: 'unknown' },
  code,
  message: 'Lost.',
})

it('a call we gave up ourselves fails no product, on whatever attempt, and its money is suspect all the same', () => {
  for (const attempt of [1, 2, 3]) {
    expect(consequenceOfFailure(lost(GIVEN_UP), attempt, 0)).toMatchObject({
      item: { kind: 'retry', counts: false },
      money: { state: 'suspect' },
    })
  }
  expect(consequenceOfFailure(lost('http.reset'), 3, 0)).toMatchObject({ item: { kind: 'failed', outcome: 'blocked' } })
})
