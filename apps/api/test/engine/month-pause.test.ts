/** A run that meets the cap of its organisation's month: it pauses, and goes on by itself when it can. */
import { beforeEach, expect, it } from 'vitest'
import { toMicros } from '../../src/base/money.ts'
import { changeOrgSettings } from '../../src/engine/change-settings.ts'
import { changeCap, pauseRun, resumeRun } from '../../src/engine/run-acts.ts'
import { resumeDue, startRun } from '../../src/engine/start.ts'
import { monthOf } from '../../src/ledger/month.ts'
import type { RunSnapshot } from '../../src/runs/snapshot.ts'
import { type Arena, expectClean, found, PRICE, searchWith, work } from './arena.ts'
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

it('starts under a month that is used up, and pauses at once', async () => {
  await setCap(PRICE - 1)
  const pending = await makeRun({ start: false })
  expect(await startRun(arena.db, pending.id)).toMatchObject({ status: 'running' })
  const asked: string[] = []
  const run = await work(arena, {
    run: pending,
    search: searchWith((_, { callId }) => {
      asked.push(callId)
      return found([])
    }),
  })
  expect(run).toMatchObject({ status: 'paused', pauseLimit: 'month', spentMicros: 0 })
  expect(asked).toEqual([])
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
