/** What is given back is given back of one's own claim only: a product that was claimed anew belongs to the new claim. */
import { expect, it } from 'vitest'
import { withTxRetry } from '../../src/db/client.ts'
import { rescueRuns } from '../../src/engine/rescue.ts'
import { releaseUnsent } from '../../src/ledger/book.ts'
import { expectClean } from '../engine/arena.ts'
import { claim, lose } from '../engine/by-hand.ts'
import { useArena } from '../engine/use-arena.ts'

const arena = useArena()

it('a call that was never sent does not take its product from whoever claimed it meanwhile', async () => {
  const run = await arena.makeRun({ products: 1 })
  const lost = await arena.makeWorker()
  const [first] = await claim(arena, run, lost)
  await lose(arena, lost)
  const [second] = await claim(arena, run, await arena.makeWorker())
  expect(second).toMatchObject({ itemId: first?.itemId, epoch: 2 })

  expect(await withTxRetry(arena.db, (tx) => releaseUnsent(tx, [first?.callId ?? '']))).toBe(1)
  expect(await arena.look(run.id)).toMatchObject({
    processingItems: 1,
    pendingItems: 0,
    heldCalls: 1,
    releasedCalls: 1,
  })
  await expectClean(arena.db)
})

it('rescuing a call does not take a product from a claim after it', async () => {
  const run = await arena.makeRun({ products: 1 })
  const lost = await arena.makeWorker()
  const [first] = await claim(arena, run, lost)
  // Nothing of ours claims a product whose call is held; rescue does not rely on it.
  await arena.db.query('update collection_items set epoch = epoch + 1 where id = $1', [first?.itemId])
  await arena.db.query(`update collection_workers set heartbeat_at = now() - interval '1 minute' where id = $1`, [lost])
  await rescueRuns(arena.db)
  expect(await arena.look(run.id)).toMatchObject({ processingItems: 1, pendingItems: 0, suspectCalls: 1 })
})
