/**
 * Workers are killed and frozen while they work; the sandbox's bill says what really happened. Any number of them:
 * `npm run prove -- kills --count 300`, `npm run prove -- zombies --count 25`.
 */
import { expect, it } from 'vitest'
import { killRound } from '../proofs/kills.ts'
import { inRound, someSeed } from '../proofs/round.ts'
import { zombieRound } from '../proofs/zombies.ts'

const silent = (): void => {}

it('25 kills, at every named point and at random, lose no work, double none, and leave the bill and the ledger equal', async () => {
  const done = await inRound((seed, say) => killRound(seed, 25, say), someSeed(), 'kills --count 25', silent)
  expect(done).toMatchObject({ kills: 25 })
}, 600_000)

it('5 workers frozen past their death come back: their money is booked, their results are not', async () => {
  const done = await inRound((seed, say) => zombieRound(seed, 5, say), someSeed(), 'zombies --count 5', silent)
  expect(done).toMatchObject({ zombies: 5 })
}, 600_000)
