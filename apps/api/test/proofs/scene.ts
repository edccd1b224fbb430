/**
 * Where workers are killed, frozen and cut off: a database and a sandbox of its own, worker processes, and what must be true
 * of them. The sandbox's bill is the truth.
 */
import { expect } from 'vitest'
import { actorFor } from '../../src/engine/bootstrap.ts'
import { changeCap, resumeRun } from '../../src/engine/run-acts.ts'
import { changeSettings } from '../../src/runs/settings.ts'
import { type RunSnapshot, runSnapshot } from '../../src/runs/snapshot.ts'
import { expectClean } from '../engine/arena.ts'
import type { Fate } from '../engine/fate.ts'
import { type Marketplace, makeMarketplace } from '../engine/sandbox-run.ts'
import { startWorkerProcess, until, type WorkerProcess } from '../engine/worker-process.ts'
import { type FreshDb, freshDb } from '../support/db.ts'

export type Scene = Readonly<{
  fresh: FreshDb
  market: Marketplace
  /** Workers of this scene that were not killed or stopped by it. */
  workers: ReadonlySet<WorkerProcess>
  begin: (fate?: Fate) => Promise<WorkerProcess>
  kill: (worker: WorkerProcess) => Promise<void>
  latency: (ms: number, jitterMs?: number) => Promise<unknown>
  /** Calls in flight at each account, at most. */
  slots: (most: number) => Promise<unknown>
  look: (run: RunSnapshot) => Promise<RunSnapshot>
  /** Resolves when the run has ended or is paused; with the run. */
  end: (run: RunSnapshot) => Promise<RunSnapshot>
  /** Every invariant, I2 and I4 against the bill; for when no worker works. */
  check: () => Promise<void>
  /** The same while workers work: what the bill has more may be for calls made a moment ago. */
  checkBusy: () => Promise<void>
  close: () => Promise<void>
}>

export type SceneOptions = Readonly<{
  /** Another address for workers, e.g. one that can be cut. */
  workerUrl?: string
  db?: FreshDb
}>

export async function makeScene(options: SceneOptions = {}): Promise<Scene> {
  const fresh = options.db ?? (await freshDb())
  const market = await makeMarketplace(fresh.db)
  const actor = await actorFor(fresh.db)
  await changeSettings(fresh.db, actor.orgId, { maxConcurrentRuns: 1000 })
  const workers = new Set<WorkerProcess>()
  const said: string[] = []
  const look = async (run: RunSnapshot): Promise<RunSnapshot> => (await runSnapshot(fresh.db, run.id)) as RunSnapshot
  const kill = async (worker: WorkerProcess): Promise<void> => {
    workers.delete(worker)
    worker.thaw()
    await worker.kill()
    said.push(worker.said())
  }
  return {
    fresh,
    market,
    workers,
    look,
    kill,
    begin: async (fate) => {
      const worker = await startWorkerProcess(options.workerUrl ?? fresh.url, fate)
      workers.add(worker)
      void worker.ended.then(() => workers.delete(worker))
      return worker
    },
    latency: (ms, jitterMs = 0) => market.sandbox.post('/sandbox/latency', { ms, jitterMs }),
    slots: (most) => fresh.db.query('update provider_accounts set max_in_flight = $1', [most]),
    end: async (run) => {
      const ended = `select from collection_runs where id = $1 and status in ('completed', 'failed', 'cancelled', 'paused')`
      await until(fresh.db, ended, [run.id]).catch((error: unknown) => {
        const words = [...said, ...[...workers].map((worker) => worker.said())].join('\n')
        throw new Error(`run ${run.number} does not end; its workers said: ${words.slice(-4_000)}`, { cause: error })
      })
      return look(run)
    },
    check: () => expectBillAgrees(fresh, market),
    checkBusy: () => expectClean(fresh.db, { billing: { origin: market.sandbox.url } }),
    close: async () => {
      await Promise.all([...workers].map(kill))
      await market.sandbox.stop()
      await fresh.close()
    },
  }
}

/**
 * The bill equals what is settled, plus what is suspect or in flight and was charged; and no run is billed beyond its cap.
 * `verify` says the same call by call; this says it once more from the sums.
 */
export async function expectBillAgrees(fresh: FreshDb, market: Marketplace): Promise<void> {
  await expectClean(fresh.db, { billing: { origin: market.sandbox.url, exclusive: true } })
  const { rows } = await fresh.db.query<{ id: string; run: string; state: string; charge: number | null }>(
    'select id, run_id as run, state, charge_micros as charge from collection_calls',
  )
  const bill = await market.bill()
  const billed = new Map(bill.map(({ requestId, micros }) => [requestId, micros]))
  expect(billed.size).toBe(bill.length)
  const perRun = new Map<string, number>()
  for (const { id, run, state, charge } of rows) {
    const micros = billed.get(id) ?? 0
    if (state === 'settled' || state === 'released') expect([id, micros]).toEqual([id, charge ?? 0])
    perRun.set(run, (perRun.get(run) ?? 0) + micros)
  }
  const caps = await fresh.db.query<{ id: string; most: number; used: number }>(
    `select id, cap_micros + breach_micros as most, spent_micros + held_micros + suspect_micros as used from collection_runs`,
  )
  for (const { id, most, used } of caps.rows) {
    expect(perRun.get(id) ?? 0).toBeLessThanOrEqual(used)
    expect(used).toBeLessThanOrEqual(most)
  }
}

/** What the sandbox billed beyond the caps of runs, summed over them, micro-dollars. */
export async function overspend({ fresh, market }: Scene): Promise<number> {
  const { rows } = await fresh.db.query<{ id: string; run: string; cap: number }>(
    `select c.id, c.run_id as run, r.cap_micros as cap from collection_calls c join collection_runs r on r.id = c.run_id`,
  )
  const callsOf = new Map(rows.map((call) => [call.id, call]))
  const left = new Map(rows.map(({ run, cap }) => [run, cap]))
  for (const { requestId, micros } of await market.bill()) {
    const call = callsOf.get(requestId ?? '')
    if (call) left.set(call.run, (left.get(call.run) ?? 0) - micros)
  }
  return [...left.values()].reduce((sum, one) => sum + Math.max(0, -one), 0)
}

/** Whatever was asked more than once had a call in flight when its worker died. */
export async function expectRepeatsExplained(fresh: FreshDb): Promise<void> {
  const { rows } = await fresh.db.query(
    `select coalesce(item_id, category_id) as target, rung, request ->> 'step' as step, count(*)::int as calls,
       count(*) filter (where error_code = 'worker_lost')::int as lost
     from collection_calls where outcome <> 'unsent' group by 1, 2, 3
     having count(*) > 1 + count(*) filter (where error_code = 'worker_lost')`,
  )
  expect(rows).toEqual([])
}

/** Runs that pause at their cap are given more and go on, until every one has ended. */
export async function endAll(scene: Scene, runs: readonly RunSnapshot[], cap: number): Promise<RunSnapshot[]> {
  const ended: RunSnapshot[] = []
  for (const run of runs) {
    let now = await scene.end(run)
    if (now.status === 'paused' && now.pauseReason === 'budget') {
      await changeCap(scene.fresh.db, run.id, cap as never)
      await resumeRun(scene.fresh.db, run.id)
      now = await scene.end(run)
    }
    ended.push(now)
  }
  return ended
}
