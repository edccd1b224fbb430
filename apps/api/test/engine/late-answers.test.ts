/** Answers that come late, doubled or not at all: money is booked whatever happened, results only where they are waited for. */
import { describe, expect, it } from 'vitest'
import { newId } from '../../src/base/ids.ts'
import { withTxRetry } from '../../src/db/client.ts'
import { bookListStep, type FinishedStep } from '../../src/engine/book-list.ts'
import { rescueRuns } from '../../src/engine/rescue.ts'
import { cancelRun } from '../../src/engine/run-acts.ts'
import { bookCalls } from '../../src/ledger/book.ts'
import { type ClaimedCategory, claimCategories } from '../../src/ledger/claim.ts'
import type { ListAnswer } from '../../src/providers/types.ts'
import type { RunSnapshot } from '../../src/runs/snapshot.ts'
import { CHARGED, expectClean, FREE, failed, found, LIST_PRICE, listed, PRICE, product, UNKNOWN } from './arena.ts'
import { book, claim, finished, lose } from './by-hand.ts'
import { three, useArena } from './use-arena.ts'

const arena = useArena()

async function item(run: RunSnapshot): Promise<Record<string, unknown>> {
  const [row] = await arena.rows<Record<string, unknown>>(
    `select status, outcome, epoch, cost_micros, not_before,
       (select count(*)::int from collection_sightings s where s.item_id = i.id) as evidence
     from collection_items i where run_id = $1 and item_type = 'amazon_product' order by id limit 1`,
    [run.id],
  )
  return row ?? {}
}

describe('a late answer', () => {
  it('to an item nobody has claimed since takes effect', async () => {
    const run = await arena.makeRun({ products: 1 })
    const worker = await arena.makeWorker()
    const [call] = await claim(arena, run, worker)
    await lose(arena, worker)
    expect(await arena.look(run.id)).toMatchObject({ suspectMicros: PRICE, heldMicros: 0, pendingItems: 1 })
    await book(arena, run, finished(call, found(three)))
    expect(await item(run)).toMatchObject({ status: 'completed', outcome: 'found', cost_micros: PRICE, evidence: 1 })
    expect(await arena.look(run.id)).toMatchObject({ suspectMicros: 0, spentMicros: PRICE, sellerItems: 3 })
    await expectClean(arena.db, { runIds: [run.id] })
  })

  it.each(['before', 'after', 'together with'] as const)(
    'to an item claimed anew, booked %s the new answer, books its money and not its result',
    async (when) => {
      const run = await arena.makeRun({ products: 1 })
      const worker = await arena.makeWorker()
      const [old] = await claim(arena, run, worker)
      await lose(arena, worker)
      const [current] = await claim(arena, run, await arena.makeWorker())
      const late = finished(old, found(['late-one', 'late-two', 'late-three']))
      const answer = finished(current, found([...three, `new-${when.replace(/ .*/, '')}`]))
      if (when === 'before') {
        await book(arena, run, late)
        expect(await item(run)).toMatchObject({ status: 'processing', epoch: 2, cost_micros: PRICE, evidence: 0 })
        await book(arena, run, answer)
      } else if (when === 'after') {
        await book(arena, run, answer)
        await book(arena, run, late)
      } else await book(arena, run, late, answer)
      expect(await item(run)).toMatchObject({
        status: 'completed',
        outcome: 'found',
        cost_micros: 2 * PRICE,
        evidence: 1,
      })
      expect(await arena.look(run.id)).toMatchObject({
        spentMicros: 2 * PRICE,
        suspectMicros: 0,
        heldMicros: 0,
        sellerItems: 4,
      })
      expect(await arena.rows(`select from sellers where normalized_name like 'late-%'`)).toEqual([])
      await expectClean(arena.db, { runIds: [run.id] })
    },
  )

  it.each([
    ['none and none', found([]), found([])],
    ['blocked and found', failed('blocked', CHARGED), found(three)],
    ['found and lost', found(three), failed('lost', UNKNOWN)],
  ])('and the new one in one booking, %s: each books its own money', async (_what, first, second) => {
    for (const order of ['old first', 'new first']) {
      const run = await arena.makeRun({ products: 1 })
      const worker = await arena.makeWorker()
      const [old] = await claim(arena, run, worker)
      await lose(arena, worker)
      const [current] = await claim(arena, run, await arena.makeWorker())
      const both = [finished(old, first), finished(current, second)]
      await book(arena, run, ...(order === 'old first' ? both : both.reverse()))
      const { status, outcome } = await item(run)
      if (!second.ok) expect(status).toBe('pending')
      else
        expect({ status, outcome }).toEqual({
          status: 'completed',
          outcome: second.listings.length > 0 ? 'found' : 'none',
        })
      expect(await arena.look(run.id)).toMatchObject({ heldCalls: 0, processingItems: 0 })
      await expectClean(arena.db, { runIds: [run.id] })
      await cancelRun(arena.db, run.id)
    }
  })

  it('that says nothing of its charge leaves the money suspect, and is the answer all the same', async () => {
    const run = await arena.makeRun({ products: 1 })
    const worker = await arena.makeWorker()
    const [call] = await claim(arena, run, worker)
    await lose(arena, worker)
    const answer = finished(call, { ...found(three), charge: UNKNOWN })
    await book(arena, run, answer)
    await book(arena, run, answer)
    expect(await item(run)).toMatchObject({ status: 'completed', outcome: 'found', cost_micros: 0, evidence: 1 })
    expect(await arena.look(run.id)).toMatchObject({ suspectMicros: PRICE, suspectCalls: 1 })
    await expectClean(arena.db, { runIds: [run.id] })
  })

  it('does not cut short the pause before the next try', async () => {
    const run = await arena.makeRun({ products: 1 })
    const worker = await arena.makeWorker()
    const [old] = await claim(arena, run, worker)
    await lose(arena, worker)
    const [current] = await claim(arena, run, await arena.makeWorker())
    await book(arena, run, finished(current, failed('fault', FREE, { retryAfterMs: 60_000 })))
    await book(arena, run, finished(old, failed('blocked', CHARGED)))
    const { not_before: notBefore } = await item(run)
    expect((notBefore as Date).getTime()).toBeGreaterThan(Date.now() + 50_000)
  })

  it('after the run ended books its money', async () => {
    const run = await arena.makeRun({ products: 2 })
    const worker = await arena.makeWorker()
    const [held, lost] = await claim(arena, run, worker, 2)
    await cancelRun(arena.db, run.id)
    await lose(arena, worker)
    await book(arena, run, finished(held, found(three)), finished(lost, failed('fault', FREE)))
    expect(await arena.look(run.id)).toMatchObject({
      status: 'cancelled',
      spentMicros: PRICE,
      suspectMicros: 0,
      releasedCalls: 1,
      foundItems: 1,
    })
    await expectClean(arena.db, { runIds: [run.id] })
  })

  it('is booked once, however often it is brought', async () => {
    const run = await arena.makeRun({ products: 1 })
    const [call] = await claim(arena, run, await arena.makeWorker())
    const answer = finished(call, found(three))
    await Promise.all([book(arena, run, answer), book(arena, run, answer), book(arena, run, answer)])
    await book(arena, run, finished(call, failed('lost', UNKNOWN)))
    expect(await item(run)).toMatchObject({ status: 'completed', cost_micros: PRICE })
    expect(await arena.look(run.id)).toMatchObject({ spentMicros: PRICE, suspectMicros: 0, settledCalls: 1 })
    await expectClean(arena.db, { runIds: [run.id] })
  })
})

describe('rescue', () => {
  it('takes back what stopped, unknown and late workers hold, and nobody else', async () => {
    const run = await arena.makeRun({ products: 4 })
    const [alive, stopped] = [await arena.makeWorker(), await arena.makeWorker()]
    await claim(arena, run, alive)
    await claim(arena, run, stopped)
    await claim(arena, run, newId())
    const [late] = await claim(arena, run, alive)
    await arena.db.query('update collection_workers set stopped_at = now() where id = $1', [stopped])
    await arena.db.query(`update collection_calls set lease_until = now() - interval '1 ms' where id = $1`, [
      late?.callId,
    ])
    const rescued = await Promise.all([rescueRuns(arena.db), rescueRuns(arena.db), rescueRuns(arena.db)])
    expect(rescued.flat().reduce((sum, { calls }) => sum + calls, 0)).toBe(3)
    expect(await arena.look(run.id)).toMatchObject({
      heldCalls: 1,
      suspectCalls: 3,
      pendingItems: 3,
      processingItems: 1,
    })
    await expectClean(arena.db, { runIds: [run.id] })
  })
})

describe('a late list', () => {
  async function claimList(run: RunSnapshot, workerId: string): Promise<ClaimedCategory> {
    const [category] = await arena.rows<{ id: string }>('select id from collection_run_categories where run_id = $1', [
      run.id,
    ])
    const wanted = [{ id: category?.id ?? '', priceMicros: LIST_PRICE }]
    const options = { runId: run.id, workerId, accountId: arena.list.id, callIds: [newId()], leaseMs: 60_000 }
    const slice = await withTxRetry(arena.db, (tx) => claimCategories(tx, options, wanted))
    const [claimed] = slice.claimed
    if (!claimed) throw new Error('nothing was claimed')
    return claimed
  }
  const bookList = (run: RunSnapshot, claimed: ClaimedCategory, answer: ListAnswer) => {
    const step: FinishedStep = { ...claimed, answer, durationMs: 1 }
    return withTxRetry(arena.db, (tx) => bookListStep(tx, run, step))
  }
  const category = (run: RunSnapshot) =>
    arena.rows('select status, epoch, product_count from collection_run_categories where run_id = $1', [run.id])

  it('of a category claimed anew books its money and adds nothing', async () => {
    const run = await arena.makeRun({ categories: ['a'] })
    const worker = await arena.makeWorker()
    const old = await claimList(run, worker)
    await lose(arena, worker)
    const current = await claimList(run, await arena.makeWorker())
    await bookList(run, old, listed([product(1, 1), product(2, 2)]))
    expect(await category(run)).toEqual([{ status: 'processing', epoch: 2, product_count: 0 }])
    expect(await arena.look(run.id)).toMatchObject({ spentMicros: LIST_PRICE, heldMicros: LIST_PRICE, totalItems: 0 })
    await bookList(run, current, listed([product(3, 1)]))
    expect(await arena.look(run.id)).toMatchObject({ spentMicros: 2 * LIST_PRICE, totalItems: 1, openCategories: 0 })
    await expectClean(arena.db, { runIds: [run.id] })
  })

  it('of a category nobody has claimed since takes effect, and only once', async () => {
    const run = await arena.makeRun({ categories: ['a'] })
    const worker = await arena.makeWorker()
    const old = await claimList(run, worker)
    await lose(arena, worker)
    const next = { kind: 'page', page: 2 } as const
    expect(await bookList(run, old, listed([product(1, 1)], next))).not.toBeNull()
    // A second page waits now, under the same epoch: what comes again must not move it.
    expect(await bookList(run, old, listed([product(1, 1)], next))).toBeNull()
    expect(await category(run)).toEqual([{ status: 'pending', epoch: 1, product_count: 1 }])
    expect(await arena.look(run.id)).toMatchObject({ spentMicros: LIST_PRICE, totalItems: 1, suspectMicros: 0 })
    await expectClean(arena.db, { runIds: [run.id] })
  })
})

describe('a call', () => {
  it('that is booked is left as it is', async () => {
    const run = await arena.makeRun({ products: 3 })
    const calls = await claim(arena, run, await arena.makeWorker(), 3)
    const answers = [found(three), failed('fault', FREE), failed('lost', UNKNOWN)]
    await book(arena, run, ...calls.map((call, index) => finished(call, answers[index] ?? found([]))))
    const again = calls.map(({ callId }) => ({
      callId,
      state: 'suspect' as const,
      chargeMicros: null,
      outcome: 'drift' as const,
      durationMs: 9,
    }))
    expect(await withTxRetry(arena.db, (tx) => bookCalls(tx, again))).toEqual(new Set())
    expect(await arena.calls(run.id)).toEqual({ settled: 1, released: 1, suspect: 1 })
    expect(await arena.rows(`select from collection_calls where run_id = $1 and outcome = 'drift'`, [run.id])).toEqual(
      [],
    )
  })
})
