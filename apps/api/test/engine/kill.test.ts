/**
 * Workers are killed, frozen and cut off from the database while they work; the sandbox's bill says what really happened.
 * GLEANER_KILLS sets the number of kills, GLEANER_ZOMBIES that of frozen workers.
 */
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest'
import type { RunSnapshot } from '../../src/runs/snapshot.ts'
import { runSnapshot } from '../../src/runs/snapshot.ts'
import { type FreshDb, freshDb } from '../support/db.ts'
import { expectClean } from './arena.ts'
import { type Marketplace, makeMarketplace } from './sandbox-run.ts'
import { startWorkerProcess, until, type WorkerProcess } from './worker-process.ts'

const KILLS = Number(process.env['GLEANER_KILLS'] ?? 8)
const ZOMBIES = Number(process.env['GLEANER_ZOMBIES'] ?? 2)
const CAP = 60_000_000

let fresh: FreshDb
let market: Marketplace
const workers: WorkerProcess[] = []

beforeAll(async () => {
  fresh = await freshDb()
  market = await makeMarketplace(fresh.db)
})
afterEach(async ({ task }) => {
  if (task.result?.state === 'fail') console.error(workers.map((worker) => worker.said()).join('\n'))
  await Promise.all(
    workers.splice(0).map((worker) => {
      worker.thaw()
      return worker.kill()
    }),
  )
})
afterAll(async () => {
  await market?.sandbox.stop()
  await fresh?.close()
})

async function begin(): Promise<WorkerProcess> {
  const worker = await startWorkerProcess(fresh.url)
  workers.push(worker)
  return worker
}

async function kill(worker: WorkerProcess): Promise<void> {
  workers.splice(workers.indexOf(worker), 1)
  await worker.kill()
}

const latency = (ms: number, jitterMs = 0) => market.sandbox.post('/sandbox/latency', { ms, jitterMs })
const slots = (most: number) => fresh.db.query('update provider_accounts set max_in_flight = $1', [most])

async function end(run: RunSnapshot): Promise<RunSnapshot> {
  await until(
    fresh.db,
    `select from collection_runs where id = $1 and status in ('completed', 'failed', 'cancelled', 'paused')`,
    [run.id],
    60_000,
  )
  return (await runSnapshot(fresh.db, run.id)) as RunSnapshot
}

/** The bill equals what is settled, plus what is suspect and was charged; and never passes the caps. */
async function expectBillAgrees(runs: readonly RunSnapshot[]): Promise<void> {
  await expectClean(fresh.db, { billing: { origin: market.sandbox.url, exclusive: true } })
  const bill = await market.bill()
  const { rows } = await fresh.db.query<{ id: string; state: string; charge: number | null }>(
    'select id, state, charge_micros as charge from collection_calls',
  )
  const billed = new Map(bill.map(({ requestId, micros }) => [requestId, micros]))
  expect(billed.size).toBe(bill.length)
  const settled = rows.reduce((sum, { charge }) => sum + (charge ?? 0), 0)
  const suspect = rows
    .filter(({ state }) => state === 'suspect')
    .reduce((sum, { id }) => sum + (billed.get(id) ?? 0), 0)
  expect(await market.billed()).toBe(settled + suspect)
  for (const run of runs) expect(run.spentMicros + run.suspectMicros).toBeLessThanOrEqual(run.capMicros)
}

/** Whatever was asked more than once had a call in flight when its worker died. */
async function expectRepeatsExplained(): Promise<void> {
  const { rows } = await fresh.db.query(
    `select coalesce(item_id, category_id) as target, rung, request ->> 'step' as step, count(*)::int as calls,
       count(*) filter (where error_code = 'worker_lost')::int as lost
     from collection_calls where outcome <> 'unsent' group by 1, 2, 3
     having count(*) > 1 + count(*) filter (where error_code = 'worker_lost')`,
  )
  expect(rows).toEqual([])
}

describe(`${KILLS} kills`, () => {
  it(
    'lose no work, double none, and leave the bill and the ledger equal',
    async () => {
      await slots(8)
      await latency(60, 40)
      const runs = [await market.startOn({ categories: 10, cap: CAP })]
      await begin()
      await begin()
      for (let kills = 0; kills < KILLS; ) {
        const current = runs.at(-1) as RunSnapshot
        await until(
          fresh.db,
          `select from collection_runs r where id = $1 and (status <> 'running' or held_calls > 0)`,
          [current.id],
        )
        await new Promise((resolve) => setTimeout(resolve, Math.random() * 400))
        if ((await runSnapshot(fresh.db, current.id))?.status !== 'running') {
          runs.push(await market.startOn({ categories: 10, cap: CAP }))
          continue
        }
        await kill(workers[Math.floor(Math.random() * workers.length)] as WorkerProcess)
        kills += 1
        await begin()
      }
      await latency(0)
      await slots(50)
      const ended = await Promise.all(runs.map(end))
      for (const run of ended) {
        expect(run).toMatchObject({
          status: 'completed',
          heldCalls: 0,
          pendingItems: 0,
          processingItems: 0,
          blockedItems: 0,
        })
      }
      await expectBillAgrees(ended)
      await expectRepeatsExplained()
      const { rows } = await fresh.db.query(`select from collection_calls where error_code = 'worker_lost' limit 1`)
      expect(rows).not.toEqual([]) // or the kills hit nothing
    },
    60_000 + KILLS * 5_000,
  )
})

describe(`${ZOMBIES} zombies`, () => {
  it.each(
    Array.from({ length: ZOMBIES }, (_, index) => [
      index % 2 === 0 ? 'when its successor is done' : 'while its successor works',
    ]),
  )(
    'a worker frozen past its death comes back %s: its money is booked, its results are not',
    async (when) => {
      await slots(10)
      await latency(1_300)
      const run = await market.startOn({ products: 10, cap: CAP })
      const zombie = await begin()
      await until(fresh.db, 'select from collection_runs where id = $1 and held_calls = 10', [run.id])
      zombie.freeze()
      const heir = await begin()
      await until(
        fresh.db,
        `select from collection_calls where run_id = $1 and worker_id = $2 and state = 'held' limit 1`,
        [run.id, heir.id],
      )
      expect(await runSnapshot(fresh.db, run.id)).toMatchObject({ suspectCalls: 10 })
      if (when === 'when its successor is done') {
        await latency(0)
        expect(await end(run)).toMatchObject({ status: 'completed' })
      }
      zombie.thaw()
      await until(fresh.db, 'select from collection_runs where id = $1 and suspect_calls = 0', [run.id])
      await latency(0)
      const ended = await end(run)
      expect(ended).toMatchObject({ status: 'completed', suspectMicros: 0, heldMicros: 0 })
      await zombie.stop()
      await heir.stop()
      workers.length = 0
      const late = `select from collection_calls where run_id = $1 and worker_id = $2 and state = 'settled'`
      expect((await fresh.db.query(late, [run.id, zombie.id])).rowCount).toBeGreaterThanOrEqual(10)
      const doubled = await fresh.db.query(
        `select from collection_sightings s join collection_items i on i.id = s.item_id join collection_calls c on c.id = s.call_id
         where i.run_id = $1 and c.epoch = 1 and i.epoch > 1 and s.rung = 1`,
        [run.id],
      )
      expect(doubled.rowCount).toBe(0)
      await expectBillAgrees([ended])
    },
    40_000,
  )
})

describe('a database that drops every connection', () => {
  it('is waited for: the run completes and nothing is asked twice', async () => {
    await slots(8)
    await latency(20, 20)
    const run = await market.startOn({ products: 300, cap: CAP })
    const worker = await begin()
    for (let at = 0; at < 6; at++) {
      await until(fresh.db, `select from collection_runs where id = $1 and (held_calls > 0 or status <> 'running')`, [
        run.id,
      ])
      await new Promise((resolve) => setTimeout(resolve, Math.random() * 200))
      await fresh.db.query(
        `select pg_terminate_backend(pid) from pg_stat_activity
         where datname = current_database() and application_name = 'gleaner worker'`,
      )
    }
    const ended = await end(run)
    expect(ended).toMatchObject({ status: 'completed', suspectCalls: 0, blockedItems: 0 })
    const { rows } = await fresh.db.query(
      `select item_id, rung from collection_calls where run_id = $1 and outcome <> 'unsent' group by 1, 2 having count(*) > 1`,
      [run.id],
    )
    expect(rows).toEqual([])
    await worker.stop()
    workers.length = 0
    await expectBillAgrees([ended])
  }, 60_000)
})
