/** A late answer of exactly the claim a product waited for last, when the product has ended without it. */
import { expect, it } from 'vitest'
import { withTxRetry } from '../../src/db/client.ts'
import { finishClimbers } from '../../src/runs/items.ts'
import { expectClean, found, PRICE } from './arena.ts'
import { book, claim, finished, lose } from './by-hand.ts'
import { useArena } from './use-arena.ts'

const arena = useArena()

it('books its money and changes nothing about the product', async () => {
  const run = await arena.makeRun({ products: 1, rungs: 2 })
  const [first] = await claim(arena, run, await arena.makeWorker())
  await book(arena, run, finished(first, found(['early'])))
  const lost = await arena.makeWorker()
  const [second] = await claim(arena, run, lost)
  expect(second).toMatchObject({ rung: 2 })
  await lose(arena, lost)
  // What it had is enough when the money is gone.
  expect(await withTxRetry(arena.db, (tx) => finishClimbers(tx, run.id))).toBe(1)
  expect(await arena.look(run.id)).toMatchObject({ foundItems: 1, suspectCalls: 1, spentMicros: PRICE })

  await book(arena, run, finished(second, found(['late', 'later'])))
  expect(await arena.look(run.id)).toMatchObject({
    foundItems: 1,
    suspectCalls: 0,
    spentMicros: 2 * PRICE,
    sellerItems: 1,
  })
  await expectClean(arena.db)
})
