/** Several workers and many runs: who gets a lane, and what losing the queue does. */
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest'
import { newId } from '../../src/base/ids.ts'
import type { Db } from '../../src/db/client.ts'
import { actorFor } from '../../src/engine/bootstrap.ts'
import { cancelRun } from '../../src/engine/run-acts.ts'
import { installQueue } from '../../src/queue/install.ts'
import { changeSettings } from '../../src/runs/settings.ts'
import { type RunSnapshot, runSnapshot } from '../../src/runs/snapshot.ts'
import { startWorker, type Worker, type WorkerOptions } from '../../src/worker/worker.ts'
import { type FreshDb, freshDb } from '../support/db.ts'
import { expectClean } from './arena.ts'
import { type Marketplace, makeMarketplace } from './sandbox-run.ts'
import { until } from './worker-process.ts'

const CAP = 60_000_000
const KEEP_MS = 2_000

let fresh: FreshDb
let db: Db
let market: Marketplace
let orgA: string
let orgB: string
const workers: Worker[] = []
const said: string[] = []
const hearing = new Set<() => void>()

beforeAll(async () => {
  fresh = await freshDb()
  db = await fresh.connect({ role: 'service_role', max: 20 })
  market = await makeMarketplace(fresh.db)
  orgA = (await actorFor(fresh.db)).orgId
  orgB = newId()
  await fresh.db.query('insert into orgs (id, name) values ($1, $2)', [orgB, 'Another agency'])
  for (const orgId of [orgA, orgB]) await changeSettings(fresh.db, orgId, { maxConcurrentRuns: 1_000 })
})
afterEach(async () => {
  const open = await fresh.db.query<{ id: string }>(`select id from collection_runs where status = 'running'`)
  for (const { id } of open.rows) await cancelRun(fresh.db, id)
  await market.sandbox.post('/sandbox/latency', { ms: 0, jitterMs: 0 })
  await Promise.all(workers.splice(0).map((worker) => worker.stop()))
  await expectClean(fresh.db, { billing: { origin: market.sandbox.url, exclusive: true } })
  said.length = 0
})
afterAll(async () => {
  await market?.sandbox.stop()
  await fresh?.close()
})

async function begin(options: Partial<WorkerOptions> = {}): Promise<Worker> {
  const log = (message: string): void => {
    said.push(message)
    for (const wake of hearing) wake()
  }
  const worker = await startWorker({ db, env: {}, version: 'test', keepMs: KEEP_MS, log, ...options })
  workers.push(worker)
  return worker
}

/** Resolves once that was logged so often; fails when it was said more often. */
async function saidTimes(text: string, times: number): Promise<void> {
  const count = (): number => said.filter((line) => line.startsWith(text)).length
  while (count() < times) await new Promise<void>((resolve) => hearing.add(resolve))
  expect(count()).toBe(times)
}

const slow = (ms: number) => market.sandbox.post('/sandbox/latency', { ms, jitterMs: 0 })

async function end(run: RunSnapshot): Promise<RunSnapshot> {
  await until(fresh.db, `select from collection_runs where id = $1 and status in ('completed', 'failed', 'paused')`, [
    run.id,
  ])
  return (await runSnapshot(fresh.db, run.id)) as RunSnapshot
}

const OPEN_LANE = 'select from collection_lanes where run_id = $1 and worker_id = $2 and closed_at is null'

describe('lanes', () => {
  it('of several workers share one run, and one worker has lanes on several runs', async () => {
    await slow(1_000)
    const runs = [await market.startOn({ products: 200, cap: CAP }), await market.startOn({ products: 200, cap: CAP })]
    const [first, second] = [await begin(), await begin()]
    for (const run of runs) for (const { id } of [first, second]) await until(fresh.db, OPEN_LANE, [run.id, id])
    await slow(0)
    for (const run of runs) expect(await end(run)).toMatchObject({ status: 'completed' })
    await until(
      fresh.db,
      'select where not exists (select from collection_lanes where closed_at is null and run_id = any($1))',
      [runs.map(({ id }) => id)],
    )
  })

  it('are as many as a worker may have, and no more', async () => {
    await slow(200)
    for (let at = 0; at < 6; at++) await market.startOn({ products: 60, cap: CAP })
    const worker = await begin({ maxLanes: 4, keepMs: 60_000 })
    await until(fresh.db, 'select from collection_lanes where worker_id = $1 having count(*) = 4', [worker.id])
    const helper = await begin({ maxLanes: 2, keepMs: 60_000 })
    // The two runs left over come first, before second lanes on others.
    await until(
      fresh.db,
      `select where (select count(distinct run_id) from collection_lanes where closed_at is null and worker_id = any($1)) = 6`,
      [[worker.id, helper.id]],
    )
    expect([worker.lanes(), helper.lanes()]).toEqual([4, 2])
  })

  it('are shared fairly: one run of a small organisation beside forty of a big one', async () => {
    await slow(100)
    const big: RunSnapshot[] = []
    for (let at = 0; at < 40; at++) big.push(await market.startOn({ products: 60, cap: CAP, orgId: orgA }))
    const worker = await begin({ maxLanes: 4 })
    await until(fresh.db, 'select from collection_lanes where worker_id = $1 having count(*) = 4', [worker.id])
    const small = await market.startOn({ products: 60, cap: CAP, orgId: orgB })
    await until(fresh.db, OPEN_LANE, [small.id, worker.id])
    const { rows } = await fresh.db.query<{ waited: number }>(
      `select extract(epoch from l.opened_at - r.started_at)::float8 * 1000 as waited
       from collection_lanes l join collection_runs r on r.id = l.run_id where r.id = $1`,
      [small.id],
    )
    expect(rows[0]?.waited).toBeLessThan(2 * KEEP_MS)
    // It keeps its only lane to its end, while those of the big one take turns.
    await until(
      fresh.db,
      `select from collection_lanes l join collection_runs r on r.id = l.run_id where l.worker_id = $1 and r.org_id = $2
       having count(*) >= 12`,
      [worker.id, orgA],
    )
    const gaveUp = await fresh.db.query(
      `select from collection_lanes l join collection_runs r on r.id = l.run_id
       where r.id = $1 and l.closed_at < coalesce(r.completed_at, 'infinity')`,
      [small.id],
    )
    expect(gaveUp.rowCount).toBe(0)
  })
})

describe('losing the queue', () => {
  it('as a schema, in the middle of a run, loses nothing; it is said once, and once more when it is back', async () => {
    await slow(1_000)
    const run = await market.startOn({ products: 300, cap: CAP })
    const first = await begin()
    await until(fresh.db, 'select from collection_runs where id = $1 and settled_calls > 0', [run.id])
    await fresh.db.query('drop schema gleaner_queue cascade')
    const heir = await begin()
    await until(fresh.db, OPEN_LANE, [run.id, heir.id])
    await saidTimes('no queue', 2) // once for each worker
    await first.stop()
    const later = await market.startOn({ products: 20, cap: CAP })
    await slow(0)
    expect(await end(run)).toMatchObject({ status: 'completed' })
    expect(await end(later)).toMatchObject({ status: 'completed' })
    await installQueue(fresh.db)
    await saidTimes('the queue is back', 1)
    const last = await market.startOn({ products: 20, cap: CAP })
    expect(await end(last)).toMatchObject({ status: 'completed' })
  })

  it('as its tickets loses nothing: they are sent again', async () => {
    await slow(1_000)
    const run = await market.startOn({ products: 300, cap: CAP })
    const first = await begin()
    await until(fresh.db, 'select from collection_runs where id = $1 and settled_calls > 0', [run.id])
    await fresh.db.query('delete from gleaner_queue.job')
    await until(fresh.db, 'select from gleaner_queue.job where singleton_key = $1', [orgA])
    const heir = await begin()
    await until(fresh.db, OPEN_LANE, [run.id, heir.id])
    await first.stop()
    await slow(0)
    expect(await end(run)).toMatchObject({ status: 'completed' })
    expect(said.filter((line) => line.startsWith('no queue'))).toEqual([])
  })

  it('leaves no ticket behind when nothing runs', async () => {
    const run = await market.startOn({ products: 20, cap: CAP })
    await begin()
    await end(run)
    await until(fresh.db, 'select where not exists (select from gleaner_queue.job)')
  })
})

describe('a heart', () => {
  const DEAD_AFTER_MS = 1_000
  const alive = (worker: Worker, beats: number) =>
    until(
      fresh.db,
      `select from collection_workers where id = $1 and heartbeat_at > started_at + $2 * interval '1 ms'
         and heartbeat_at > now() - $3 * interval '1 ms'`,
      [worker.id, beats * DEAD_AFTER_MS, DEAD_AFTER_MS],
    )

  it('beats while lanes hold every connection', async () => {
    const narrow = await fresh.connect({ role: 'service_role', max: 1 })
    const worker = await begin({ db: narrow, deadAfterMs: DEAD_AFTER_MS })
    const held = await narrow.pool.connect()
    await alive(worker, 3)
    held.release()
  })

  it('beats until the last call is booked: a worker that is leaving is not dead', async () => {
    await slow(4 * DEAD_AFTER_MS)
    const run = await market.startOn({ products: 20, cap: CAP })
    const leaving = await begin({ deadAfterMs: DEAD_AFTER_MS })
    await until(fresh.db, 'select from collection_runs where id = $1 and held_calls > 0', [run.id])
    const stopped = leaving.stop()
    await begin({ deadAfterMs: DEAD_AFTER_MS }) // would rescue what the dead left
    expect(await stopped).toBe('booked')
    const rescued = `select from collection_events where run_id = $1 and type = 'calls.rescued'`
    expect((await fresh.db.query(rescued, [run.id])).rowCount).toBe(0)
    expect((await runSnapshot(fresh.db, run.id))?.settledCalls).toBeGreaterThan(0)
    await slow(0)
    expect(await end(run)).toMatchObject({ status: 'completed' })
  })
})

describe('leaving in haste', () => {
  it('uses no attempt of a product up and does not blame the provider, however often it happens', async () => {
    await market.sandbox.post('/sandbox/faults', [{ kind: 'hang_after', provider: 'ebay' }])
    const run = await market.startOn({ products: 10, cap: CAP })
    for (let round = 0; round < 4; round++) {
      const worker = await begin()
      await until(fresh.db, 'select from collection_runs where id = $1 and held_calls = 10', [run.id])
      expect(await worker.stop(100)).toBe('gave_up')
      expect(await runSnapshot(fresh.db, run.id)).toMatchObject({ status: 'running', heldCalls: 0, pendingItems: 10 })
    }
    await market.sandbox.post('/sandbox/faults', [])
    await begin()
    expect(await end(run)).toMatchObject({ status: 'completed', blockedItems: 0, suspectCalls: 40 })
  })
})
