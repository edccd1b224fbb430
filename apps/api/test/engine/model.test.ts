/**
 * Random acts against the engine and the database, compared after every step with a plain model of what is promised, and
 * with the invariants. Any number of them: `npm run prove -- model --runs 10000 --seed 42`.
 */
import { expect, it } from 'vitest'
import { modelRound } from '../proofs/model.ts'
import { inRound, someSeed } from '../proofs/round.ts'

const RUNS = 100

it('random acts do what the model says, and every invariant holds after each', async () => {
  const done = await inRound(
    (seed) => modelRound(seed, RUNS),
    someSeed(),
    `model --runs ${RUNS}`,
    () => {},
  )
  expect(done).toMatchObject({ 'model runs': RUNS })
}, 600_000)
