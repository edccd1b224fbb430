/** Every fault of the sandbox once, through real workers. All of them together: `npm run prove -- storm --minutes 20`. */
import { expect, it } from 'vitest'
import { everyFault, FAULT_CASES } from '../proofs/providers.ts'

it('every fault of a provider comes to the outcome it should, and the ledger equals the bill', async () => {
  expect(await everyFault(FAULT_CASES, () => {})).toMatchObject({ faults: FAULT_CASES.length })
}, 240_000)
