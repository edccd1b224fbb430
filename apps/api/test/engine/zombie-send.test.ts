/**
 * Workers that are frozen with calls in hand, claimed and not sent, and wake up when those are nobody's any more: nothing of it
 * is sent. The sandbox's bill says so.
 */
import { setTimeout as sleep } from 'node:timers/promises'
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest'
import { actorFor } from '../../src/engine/bootstrap.ts'
import { rescueRuns } from '../../src/engine/rescue.ts'
import { resolveCalls } from '../../src/engine/resolve-calls.ts'
import type { RunSnapshot } from '../../src/runs/snapshot.ts'
import { makeScene, type Scene } from '../proofs/scene.ts'
import type { Fate } from './fate.ts'
import { DEAD_AFTER_MS, frozen, startWorkerProcess, until, type WorkerProcess } from './worker-process.ts'

const CAP = 60_000_000
const PRODUCTS = 5
/** Calls wait for their slots only where there is a rate. */
const PER_SECOND = 100
/** A call leaves within this after its claim was asked for (engine/may-send.ts), ms. */
const LEAVES_WITHIN_MS = 25_000
/** So long eBay may take for a token (providers/ebay-token.ts), ms. */
const TOKEN_MS = 15_000
const CLAIMED: Fate = { point: 'claim.committed', nth: 1, signal: 'SIGSTOP' }

let scene: Scene
let zombie: WorkerProcess | undefined
beforeAll(async () => {
  scene = await makeScene()
})
afterEach(async () => {
  zombie?.thaw()
  await zombie?.kill()
  zombie = undefined
})
afterAll(() => scene.close())

type Call = Readonly<{ id: string; state: string; outcome: string | null; resolved: boolean; overruled: boolean }>

async function callsOf(run: RunSnapshot): Promise<readonly Call[]> {
  const { rows } = await scene.fresh.db.query<Call>(
    `select c.id, c.state, c.outcome, overruled_at is not null as overruled,
       exists (select from collection_call_resolutions r where r.call_id = c.id) as resolved
     from collection_calls c where run_id = $1 order by id`,
    [run.id],
  )
  return rows
}

async function setRate(perSecond: number | null): Promise<void> {
  await scene.fresh.db.query(`update provider_accounts set max_per_second = $1 where adapter = 'ebay_browse'`, [
    perSecond,
  ])
}

/** A run whose first claim has been committed by a worker that is frozen before it sends; and the calls it holds. */
async function frozenWithCalls(fate: Fate, deadAfterMs: number): Promise<{ run: RunSnapshot; held: readonly Call[] }> {
  const run = await scene.market.startOn({ products: PRODUCTS, cap: CAP })
  zombie = await startWorkerProcess(scene.fresh.url, fate, deadAfterMs)
  await frozen(zombie.pid)
  const held = await callsOf(run)
  expect(held.length).toBeGreaterThan(0)
  expect(held.every(({ state }) => state === 'held')).toBe(true)
  return { run, held }
}

/** A run whose worker is frozen while it asks for its token, with so many calls held; the sandbox keeps the token back. */
async function frozenWithoutToken(products: number, held: number): Promise<RunSnapshot> {
  const { sandbox } = scene.market
  await setRate(null)
  await sandbox.post('/sandbox/faults', [{ provider: 'ebay', operation: 'token', kind: 'hang', times: 1 }])
  const run = await scene.market.startOn({ products, cap: CAP })
  zombie = await startWorkerProcess(scene.fresh.url)
  while (((await sandbox.get('/sandbox/stats')) as { held: number }).held === 0) await sleep(20)
  await until(scene.fresh.db, 'select from collection_runs where id = $1 and held_calls = $2', [run.id, held])
  zombie.freeze()
  await frozen(zombie.pid)
  return run
}

/** Others take the calls for lost, their leases are over, and a person says that they were not charged. */
async function callNotCharged(run: RunSnapshot, calls: readonly Call[]): Promise<void> {
  const { db } = scene.fresh
  await rescueRuns(db, 1)
  await db.query(`update collection_calls set lease_until = now() - interval '1 s' where run_id = $1`, [run.id])
  const { userId } = await actorFor(db)
  const verdict = { kind: 'not_charged' } as const
  const note = 'the invoice does not name them'
  const resolved = await resolveCalls(db, {
    runId: run.id,
    actorId: userId,
    calls: 'all',
    verdict,
    note,
    deadAfterMs: 1,
  })
  expect(resolved.calls).toBe(calls.length)
}

/** The zombie is back and ends the run; none of `calls` was sent, and nothing contradicts the person. */
async function expectNothingSent(run: RunSnapshot, calls: readonly Call[]): Promise<void> {
  zombie?.thaw()
  expect(await scene.end(run)).toMatchObject({ status: 'completed', pauseReason: null })
  await zombie?.stop()
  const ids = new Set(calls.map(({ id }) => id))
  const bill = await scene.market.bill()
  expect(bill.filter(({ requestId }) => ids.has(requestId ?? ''))).toEqual([])
  const now = (await callsOf(run)).filter(({ id }) => ids.has(id))
  expect(now.every(({ state, resolved, overruled }) => state === 'released' && resolved && !overruled)).toBe(true)
  expect(await scene.look(run)).toMatchObject({ contradictedMicros: 0, suspectMicros: 0, heldMicros: 0 })
  await scene.check()
}

describe('calls a frozen worker had claimed and not sent', { timeout: 120_000 }, () => {
  it('are not sent when it was silent for so long that others took them over, waiting for their slots', async () => {
    await setRate(PER_SECOND)
    const { run, held } = await frozenWithCalls(CLAIMED, DEAD_AFTER_MS)
    await sleep(DEAD_AFTER_MS)
    await callNotCharged(run, held)
    await expectNothingSent(run, held)
  })

  it('are not sent when their leases are nearly over, however alive it takes itself for', async () => {
    await setRate(PER_SECOND)
    const { run, held } = await frozenWithCalls(CLAIMED, 10 * LEAVES_WITHIN_MS)
    await callNotCharged(run, held)
    await sleep(LEAVES_WITHIN_MS)
    await expectNothingSent(run, held)
  })

  it('are not sent when it was frozen asking for its token, which comes when it is back', async () => {
    const run = await frozenWithoutToken(PRODUCTS, PRODUCTS)
    const held = await callsOf(run)
    await sleep(DEAD_AFTER_MS)
    await callNotCharged(run, held)
    await scene.market.sandbox.post('/sandbox/faults/release')
    await expectNothingSent(run, held)
  })

  it('are no misses of the provider when it was frozen longer than a token may take, which came meanwhile', async () => {
    await scene.fresh.db.query(`update provider_governors set recent = '', window_calls = 10`)
    const run = await frozenWithoutToken(12, 10)
    await scene.market.sandbox.post('/sandbox/faults/release')
    await sleep(TOKEN_MS)
    zombie?.thaw()
    expect(await scene.end(run)).toMatchObject({ status: 'completed', pauseReason: null, suspectCalls: 0 })
    const { rows } = await scene.fresh.db.query(`select recent from provider_governors where recent like '%x%'`)
    expect(rows).toEqual([])
    await zombie?.stop()
    await scene.check()
  })

  it('are given back when nobody has settled them: it knows that they were not sent', async () => {
    const { run, held } = await frozenWithCalls(CLAIMED, DEAD_AFTER_MS)
    await sleep(DEAD_AFTER_MS)
    expect(await rescueRuns(scene.fresh.db, 1)).toMatchObject([{ calls: held.length }])
    zombie?.thaw()
    expect(await scene.end(run)).toMatchObject({ status: 'completed', suspectCalls: 0 })
    await zombie?.stop()
    const ids = new Set(held.map(({ id }) => id))
    const now = (await callsOf(run)).filter(({ id }) => ids.has(id))
    expect(now.map(({ state, outcome }) => ({ state, outcome }))).toEqual(
      held.map(() => ({ state: 'released', outcome: 'unsent' })),
    )
    await scene.check()
  })
})
