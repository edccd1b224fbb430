/** One pass of 256 claimers. Any number of passes: `npm run prove -- contention --passes 200`. */
import { expect, it } from 'vitest'
import { CLAIMERS, contentionRound } from '../proofs/contention.ts'
import { inRound, someSeed } from '../proofs/round.ts'

it('256 claimers never pass a cap that moves, nor runs the places of their organisation, and both are used up', async () => {
  const silent = (): void => {}
  const done = await inRound((seed, say) => contentionRound(seed, 1, say), someSeed(), 'contention --passes 1', silent)
  expect(done).toMatchObject({ passes: 1, claimers: CLAIMERS })
}, 300_000)
