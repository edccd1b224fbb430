/** The database fails under busy workers: connections end, the server crashes, the answer to COMMIT is lost. */
import { expect } from 'vitest'
import type { RunSnapshot } from '../../src/runs/snapshot.ts'
import { until } from '../engine/worker-process.ts'
import { type Wire, wireTo } from '../support/proxy.ts'
import { type OwnServer, ownServer } from './own-server.ts'
import { makeRandom, type Random } from './random.ts'
import type { Done } from './round.ts'
import { endAll, makeScene, type Scene } from './scene.ts'

const CAP = 60_000_000
const WORKERS = 2

/** Faults in one round, with a server of its own. */
export const FAULTS_A_ROUND = 40

const FAULTS = {
  'all connections end': ({ scene }: Round) => terminate(scene, 1_000),
  'one connection ends': ({ scene }: Round) => terminate(scene, 1),
  'the server crashes': ({ server }: Round) => server.crash(),
  'the answer to a COMMIT is lost': ({ wire }: Round) => wire.cutAt('commit', 'after forwarding'),
  'a COMMIT is lost': ({ wire }: Round) => wire.cutAt('commit', 'before forwarding'),
} as const
type Fault = keyof typeof FAULTS

type Round = Readonly<{ server: OwnServer; scene: Scene; wire: Wire; random: Random; runs: RunSnapshot[] }>

/**
 * One round of faults while workers work. No worker is ever lost, so nothing may stay suspect: every answer is booked once
 * the database is back. After every fault the work goes on, and at the end all runs are completed and the bill agrees.
 */
export async function databaseRound(seed: number, faults: number, say: (line: string) => void): Promise<Done> {
  const random = makeRandom(seed)
  const server = await ownServer()
  const wire = await wireTo(server.fresh.url)
  const scene = await makeScene({ db: server.fresh, workerUrl: wire.url })
  const round: Round = { server, scene, wire, random, runs: [] }
  try {
    await scene.slots(8)
    await scene.latency(20, 20)
    await Promise.all(Array.from({ length: WORKERS }, () => scene.begin()))
    // Each once, before chance decides.
    const first = random.shuffled(Object.keys(FAULTS) as Fault[])
    for (let number = 1; number <= faults; number++) {
      const fault = first.pop() ?? random.pick(Object.keys(FAULTS) as Fault[])
      await strike(round, fault)
      say(`fault ${number}: ${fault}`)
    }
    await scene.latency(0)
    await scene.slots(50)
    for (const run of await endAll(scene, round.runs, CAP)) {
      expect(run).toMatchObject({ status: 'completed', heldCalls: 0, suspectCalls: 0, blockedItems: 0 })
    }
    await Promise.all([...scene.workers].map((worker) => worker.stop()))
    await scene.check()
    await expectAskedOnce(scene)
    const { rows } = await scene.fresh.db.query<{ calls: number }>(
      'select count(*)::int as calls from collection_calls',
    )
    return { faults, runs: round.runs.length, calls: rows[0]?.calls ?? 0, checks: faults + 1 }
  } finally {
    await Promise.all([...scene.workers].map(scene.kill))
    await wire.close()
    await scene.close()
  }
}

async function strike(round: Round, fault: Fault): Promise<void> {
  const { scene, random } = round
  await haveWork(round)
  await until(scene.fresh.db, `select from collection_calls where state = 'held' limit 1`)
  await new Promise((resolve) => setTimeout(resolve, random.below(200)))
  await FAULTS[fault](round)
  const { rows } = await scene.fresh.db.query<{ at: string }>('select clock_timestamp()::text as at')
  await haveWork(round)
  await until(scene.fresh.db, `select from collection_calls where held_at > $1 and booked_at is not null limit 1`, [
    rows[0]?.at,
  ])
  await scene.checkBusy()
}

async function haveWork({ scene, runs }: Round): Promise<void> {
  const { rows } = await scene.fresh.db.query<{ waiting: number }>(
    `select coalesce(sum(pending_items), 0)::int as waiting from collection_runs where status = 'running'`,
  )
  if ((rows[0]?.waiting ?? 0) < 60) runs.push(await scene.market.startOn({ products: 300, cap: CAP }))
}

function terminate(scene: Scene, most: number) {
  return scene.fresh.db.query(
    `select pg_terminate_backend(pid) from (
       select pid from pg_stat_activity
       where datname = current_database() and application_name = 'gleaner worker' order by random() limit $1) p`,
    [most],
  )
}

/**
 * Nothing that was answered was asked again, unless a worker was taken for dead because the server was away for longer than
 * its heart may be silent.
 */
async function expectAskedOnce(scene: Scene): Promise<void> {
  const { rows } = await scene.fresh.db.query(
    `select item_id, rung from collection_calls c where outcome <> 'unsent'
       and not exists (select from collection_events e where e.run_id = c.run_id and e.type = 'calls.rescued')
     group by 1, 2 having count(*) > 1`,
  )
  expect(rows).toEqual([])
}
