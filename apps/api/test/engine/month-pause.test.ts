/** A run that meets the cap of its organisation's month: it pauses, and goes on by itself when it can. */
import { beforeEach, describe, expect, it } from 'vitest'
import { newId } from '../../src/base/ids.ts'
import { toMicros } from '../../src/base/money.ts'
import { withTxRetry } from '../../src/db/client.ts'
import { changeOrgSettings } from '../../src/engine/change-settings.ts'
import { mayClimb } from '../../src/engine/claim.ts'
import { changeCap, pauseRun, resumeRun } from '../../src/engine/run-acts.ts'
import { resumeDue, startRun, startWaiting } from '../../src/engine/start.ts'
import { claimCategories, claimItems } from '../../src/ledger/claim.ts'
import { monthOf } from '../../src/ledger/month.ts'
import type { RunSnapshot } from '../../src/runs/snapshot.ts'
import { type Arena, expectClean, found, LIST_PRICE, PRICE, searchWith, work } from './arena.ts'
import { book, claim, finished } from './by-hand.ts'
import { useArena } from './use-arena.ts'

const arena = useArena()

let orgId: string
beforeEach(async () => {
  const [org] = await arena.rows<{ id: string }>(`insert into orgs (name) values ('Org') returning id`)
  orgId = org?.id ?? ''
  await changeOrgSettings(arena.db, { ...arena.actor, orgId }, { maxConcurrentRuns: 1000 })
})

const answers = searchWith(() => found(['anna']))
const makeRun = (input: Parameters<Arena['makeRun']>[0] = {}) => arena.makeRun({ products: 10, ...input, orgId })
const setCap = (micros: number | null) =>
  changeOrgSettings(arena.db, { ...arena.actor, orgId }, { monthCapMicros: micros === null ? null : toMicros(micros) })

async function pausedByMonth(cap: number): Promise<RunSnapshot> {
  await setCap(cap)
  const run = await work(arena, { run: await makeRun(), search: answers })
  expect(run).toMatchObject({ status: 'paused', pauseReason: 'budget', pauseLimit: 'month' })
  return run
}

it('pauses until the next month begins, and says so', async () => {
  const run = await pausedByMonth(4 * PRICE + 1)
  expect(run).toMatchObject({ spentMicros: 4 * PRICE, pendingItems: 6 })
  const [next] = await arena.rows<{ at: Date; day: string }>(
    `select date_trunc('month', now() at time zone 'UTC') at time zone 'UTC' + interval '1 month' as at,
       to_char(date_trunc('month', now() at time zone 'UTC') + interval '1 month', 'FMDD FMMonth') as day`,
  )
  expect(run.resumeAt).toEqual(next?.at)
  expect(run.pauseNote).toBe(
    `The month cap of $0.004001 leaves less than one call. It starts anew on ${next?.day ?? ''}.`,
  )
  const events = await arena.rows<{ data: unknown }>(
    `select data from collection_events where run_id = $1 and type = 'run.paused'`,
    [run.id],
  )
  expect(events).toMatchObject([{ data: { reason: 'budget', limit: 'month', note: run.pauseNote } }])
  expect(await resumeDue(arena.db)).toEqual([])
  await expect(resumeRun(arena.db, run.id, { callPriceMicros: PRICE })).rejects.toMatchObject({
    code: 'month.cap_reached',
    message: 'The month cap leaves $0.000001, less than one call ($0.001).',
  })
  // The next month: nothing of this one counts there.
  await arena.db.query(`update collection_runs set resume_at = now() where id = $1`, [run.id])
  expect(await resumeDue(arena.db)).toEqual([run.id])
  expect(await arena.look(run.id)).toMatchObject({ status: 'running', pauseLimit: null, resumeAt: null })
  await expectClean(arena.db)
})

it.each([
  ['raised', 4 * PRICE + 10 * PRICE],
  ['switched off', null],
])('goes on by itself when the cap is %s', async (_, cap) => {
  const run = await pausedByMonth(4 * PRICE)
  // Not enough for one call.
  await setCap(5 * PRICE - 1)
  expect(await resumeDue(arena.db)).toEqual([])
  await setCap(cap)
  expect(await resumeDue(arena.db)).toEqual([run.id])
  expect(await work(arena, { run, search: answers })).toMatchObject({ status: 'completed', spentMicros: 10 * PRICE })
  await expectClean(arena.db)
})

it('goes on by itself when money of the month comes back', async () => {
  const other = await makeRun()
  const worker = await arena.makeWorker()
  const [call] = await claim(arena, other, worker)
  await arena.db.query(
    `update collection_calls set state = 'suspect', outcome = 'lost', booked_at = now() where id = $1`,
    [call?.callId],
  )
  const run = await pausedByMonth(3 * PRICE)
  expect(run).toMatchObject({ spentMicros: 2 * PRICE })
  expect(await resumeDue(arena.db)).toEqual([])
  await book(arena, other, finished(call, { ...found([]), charge: { kind: 'not_charged' } }))
  expect(await resumeDue(arena.db)).toEqual([run.id])
})

describe('a start when the month leaves less than one call', () => {
  it('is refused, and starts once it leaves one', async () => {
    await setCap(PRICE - 1)
    const pending = await makeRun({ start: false })
    await expect(startRun(arena.db, pending.id)).rejects.toMatchObject({
      code: 'month.cap_reached',
      message: 'The month cap leaves $0.000999, less than one call ($0.001).',
      hint: expect.stringMatching(/^It starts anew on 1 [A-Z][a-z]+\. Or raise the cap/),
    })
    expect(await arena.look(pending.id)).toMatchObject({ status: 'pending', eventSeq: 1 })
    // Nor does it stand in line: nobody has asked for it.
    expect(await startWaiting(arena.db)).not.toContain(pending.id)
    await setCap(PRICE)
    expect(await startRun(arena.db, pending.id)).toMatchObject({ status: 'running' })
  })

  it('counts the call it would begin with: of a list, not of a search', async () => {
    await setCap(LIST_PRICE - 1)
    const lists = await makeRun({ categories: ['a'], products: 0, start: false })
    await expect(startRun(arena.db, lists.id)).rejects.toMatchObject({ code: 'month.cap_reached' })
    await setCap(LIST_PRICE)
    expect(await startRun(arena.db, lists.id)).toMatchObject({ status: 'running' })
  })

  it('is not refused to a run that waits in line meanwhile: it starts, and pauses without a call', async () => {
    await changeOrgSettings(arena.db, { ...arena.actor, orgId }, { maxConcurrentRuns: 1 })
    const first = await makeRun({ products: 2 })
    const second = await makeRun({ start: false })
    expect(await startRun(arena.db, second.id)).toMatchObject({ status: 'pending' })
    await setCap(2 * PRICE)
    expect(await work(arena, { run: first, search: answers })).toMatchObject({ status: 'completed' })
    expect(await startWaiting(arena.db)).toContain(second.id)
    const asked: string[] = []
    const run = await work(arena, {
      run: second,
      search: searchWith((_, { callId }) => {
        asked.push(callId)
        return found([])
      }),
    })
    expect(run).toMatchObject({ status: 'paused', pauseLimit: 'month', spentMicros: 0 })
    expect(asked).toEqual([])
  })
})

describe('a second query', () => {
  it.each([
    ['the month leaves too little for it', 12 * PRICE, 1_000 * PRICE],
    ['the cap of the run does', 1_000 * PRICE, 12 * PRICE],
  ])('is not asked for when %s, so that every product is asked for once', async (_, month, ofRun) => {
    await setCap(month)
    const one = searchWith(() => found(['anna']))
    const run = await work(arena, { run: await makeRun({ rungs: 3, cap: ofRun }), search: one, slots: 1 })
    expect(run).toMatchObject({ status: 'completed', foundItems: 10, pendingItems: 0 })
    expect(run.spentMicros).toBeLessThanOrEqual(12 * PRICE)
    const [climbed] = await arena.rows<{ count: number }>(
      `select count(*)::int as count from collection_items where run_id = $1 and item_type = 'amazon_product' and rung > 1`,
      [run.id],
    )
    // Two or three: a call more may be in flight when the first is booked. Without the look at the cap all ten would.
    expect(climbed?.count).toBeGreaterThan(0)
    expect(climbed?.count).toBeLessThan(6)
  })

  it('looks at what the month left after the last claim', () => {
    const run = {
      capMicros: 100,
      spentMicros: 0,
      heldMicros: 0,
      suspectMicros: 0,
      pendingItems: 2,
      sampleProducts: null,
    }
    const lane = (monthLeftMicros: number | null) =>
      mayClimb({ run: run as never, searchPrice: toMicros(10), monthLeftMicros: monthLeftMicros as never })
    expect([null, 30, 29, 0].map(lane)).toEqual([true, true, false, false])
  })

  it('is told by every claim, also of lists, what the month leaves', async () => {
    const run = await makeRun({ categories: ['a'], products: 3 })
    const workerId = await arena.makeWorker()
    const [list] = await arena.rows<{ id: string }>('select id from collection_run_categories where run_id = $1', [
      run.id,
    ])
    const claimOf = (count: number) => ({
      runId: run.id,
      workerId,
      callIds: Array.from({ length: count }, newId),
      leaseMs: 60_000,
    })
    const search = (count: number) =>
      withTxRetry(arena.db, (tx) =>
        claimItems(tx, { ...claimOf(count), accountId: arena.search.id, priceMicros: PRICE }),
      )
    expect(await search(1)).toMatchObject({ monthLeftMicros: null })
    await setCap(20 * PRICE)
    expect(await search(2)).toMatchObject({ monthLeftMicros: 17 * PRICE })
    const wanted = [{ id: list?.id ?? '', priceMicros: LIST_PRICE }]
    const step = await withTxRetry(arena.db, (tx) =>
      claimCategories(tx, { ...claimOf(1), accountId: arena.list.id }, wanted),
    )
    expect(step).toMatchObject({ claimed: [{}], monthLeftMicros: 17 * PRICE - LIST_PRICE })
    await pauseRun(arena.db, run.id, { reason: 'operator' })
    expect((await search(1)).monthLeftMicros).toBeUndefined()
  })
})

it('what a provider overcharged makes no room for a lower month cap', async () => {
  const run = await makeRun()
  const [call] = await claim(arena, run, await arena.makeWorker())
  await setCap(PRICE)
  await book(arena, run, finished(call, found([], 3 * PRICE)))
  expect(await monthOf(arena.db, orgId)).toMatchObject({ spentMicros: 3 * PRICE, leftMicros: -2 * PRICE })
  // The row itself would bear it: three spent, two of them beyond the price list.
  await expect(setCap(2 * PRICE)).rejects.toMatchObject({ code: 'month.cap_too_low' })
  await setCap(PRICE) // as it is: no change
  await setCap(3 * PRICE)
  await expectClean(arena.db)
})

it('waits, rather than pause, while another run may leave some of its hold', async () => {
  await setCap(2 * PRICE)
  const [other, run] = [await makeRun(), await makeRun({ products: 1 })]
  const worker = await arena.makeWorker()
  const calls = await claim(arena, other, worker, 2)
  const seen: unknown[] = []
  const working = work(arena, { run, search: answers })
  // Looked at it several times by then.
  for (let look = 0; look < 20; look++) seen.push((await arena.look(run.id)).status)
  expect(new Set(seen)).toEqual(new Set(['running']))
  const cheap = { ...found([]), charge: { kind: 'charged' as const, micros: toMicros(PRICE / 2) } }
  await book(arena, other, ...calls.map((call) => finished(call, cheap)))
  expect(await working).toMatchObject({ status: 'completed', spentMicros: PRICE })
  expect(await monthOf(arena.db, orgId)).toMatchObject({ spentMicros: 2 * PRICE, heldMicros: 0 })
})

it('names the cap of the run where both are reached: it would stop it in the next month too', async () => {
  await setCap(3 * PRICE)
  const run = await work(arena, { run: await makeRun({ cap: 3 * PRICE }), search: answers })
  expect(run).toMatchObject({ status: 'paused', pauseReason: 'budget', pauseLimit: 'run', resumeAt: null })
  await changeCap(arena.db, run.id, toMicros(10 * PRICE))
  await setCap(null)
  expect(await resumeDue(arena.db)).toEqual([])
})

it('two runs share what a month leaves, and both pause', async () => {
  await setCap(7 * PRICE)
  const runs = await Promise.all([makeRun(), makeRun()])
  const ended = await Promise.all(runs.map((run) => work(arena, { run, search: answers, slots: 3 })))
  expect(ended.map(({ status, pauseLimit }) => [status, pauseLimit])).toEqual([
    ['paused', 'month'],
    ['paused', 'month'],
  ])
  expect(ended.reduce((sum, { spentMicros }) => sum + spentMicros, 0)).toBe(7 * PRICE)
  await expectClean(arena.db)
})

it('an operator who pauses it first is not overruled by the month', async () => {
  const run = await makeRun()
  await pauseRun(arena.db, run.id, { reason: 'operator' })
  await setCap(100 * PRICE)
  expect(await resumeDue(arena.db)).toEqual([])
})
