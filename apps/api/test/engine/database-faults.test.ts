/** The database fails under busy workers. For longer: `npm run prove -- database --minutes 60`. */
import { expect, it } from 'vitest'
import { databaseRound } from '../proofs/database.ts'
import { inRound, someSeed } from '../proofs/round.ts'

it('ended connections, a crash of the server and lost COMMITs cost no answer and no money', async () => {
  const silent = (): void => {}
  const done = await inRound((seed, say) => databaseRound(seed, 5, say), someSeed(), 'database --minutes 0', silent)
  expect(done).toMatchObject({ faults: 5 })
}, 300_000)
