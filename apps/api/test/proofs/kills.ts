/** Worker processes are killed with SIGKILL at every named point of the flow and at random, alone and several at once. */
import { expect } from 'vitest'
import type { RunSnapshot } from '../../src/runs/snapshot.ts'
import type { Point } from '../engine/fate.ts'
import { until, type WorkerProcess } from '../engine/worker-process.ts'
import { makeRandom, type Random } from './random.ts'
import type { Done } from './round.ts'
import { endAll, expectRepeatsExplained, makeScene, type Scene } from './scene.ts'

const CAP = 60_000_000
/** A search of the sandbox, micro-dollars. */
const SEARCH = 5_000

/** Every named point, and what has to be there for a worker to come to it. */
const POINTS: readonly Readonly<{ point: Point; needs: 'lists' | 'searches' | 'cap' | 'orphans' | 'end' }>[] = [
  { point: 'claim-list.before_commit', needs: 'lists' },
  { point: 'claim-list.committed', needs: 'lists' },
  { point: 'book-list.before_commit', needs: 'lists' },
  { point: 'book-list.committed', needs: 'lists' },
  { point: 'claim.before_commit', needs: 'searches' },
  { point: 'claim.at_commit', needs: 'searches' },
  { point: 'claim.committed', needs: 'searches' },
  { point: 'send.sent', needs: 'searches' },
  { point: 'send.answered', needs: 'searches' },
  { point: 'book.inside', needs: 'searches' },
  { point: 'book.before_commit', needs: 'searches' },
  { point: 'book.at_commit', needs: 'searches' },
  { point: 'book.committed', needs: 'searches' },
  { point: 'pause.before_commit', needs: 'cap' },
  { point: 'pause.committed', needs: 'cap' },
  { point: 'rescue.before_commit', needs: 'orphans' },
  { point: 'rescue.committed', needs: 'orphans' },
  { point: 'complete.before_commit', needs: 'end' },
  { point: 'complete.committed', needs: 'end' },
]

/** Kills in one round, with a database and a sandbox of its own. */
export const KILLS_A_ROUND = 25

/**
 * One round: workers die at every named point once, the rest at random, now and then several at once. After every death
 * all invariants hold against the bill; at the end all runs are completed. Returns what was done.
 */
export async function killRound(seed: number, kills: number, say: (line: string) => void): Promise<Done> {
  const random = makeRandom(seed)
  const scene = await makeScene()
  try {
    await scene.slots(8)
    await scene.latency(25, 20)
    const round: Round = { scene, random, runs: [], kills: 0, checks: 0, say }
    const named = random.shuffled(POINTS).slice(0, kills)
    while (round.kills < kills) {
      const next = named.pop()
      if (next) await dieAt(round, next)
      else await dieAtRandom(round, Math.min(kills - round.kills, random.pick([1, 1, 3])))
      await scene.check()
      round.checks += 1
    }
    await recover(round)
    return summary(round)
  } finally {
    await scene.close()
  }
}

type Round = {
  readonly scene: Scene
  readonly random: Random
  readonly runs: RunSnapshot[]
  kills: number
  checks: number
  readonly say: (line: string) => void
}

async function dieAt(round: Round, { point, needs }: (typeof POINTS)[number]): Promise<void> {
  const { scene, random } = round
  // Seldom points are met once; of the others one of the first few.
  const nth = needs === 'searches' ? 1 + random.below(4) : 1
  if (needs === 'lists') await startRun(round, { categories: 2 })
  else if (needs === 'cap') await startRun(round, { products: 9, cap: 4 * SEARCH })
  else if (needs === 'end') await startRun(round, { products: 2 })
  else await haveWork(round)
  if (needs === 'orphans') {
    await fall(round, await scene.begin({ point: 'send.sent', nth: 2, signal: 'SIGKILL' }), 'send.sent')
  }
  const worker = await scene.begin({ point, nth, signal: 'SIGKILL' })
  await fall(round, worker, point)
  round.kills += 1
  round.say(`kill ${round.kills}: ${point}, time ${nth}`)
}

/** The worker dies by itself, at its point and not of something else. */
async function fall(round: Round, worker: WorkerProcess, point: Point): Promise<void> {
  let waited = false
  const late = setTimeout(() => {
    waited = true
    void round.scene.kill(worker)
  }, 60_000)
  const signal = await worker.ended
  clearTimeout(late)
  if (waited || signal !== 'SIGKILL') {
    throw new Error(`a worker did not come to ${point} (${signal}); it said: ${worker.said().slice(-2_000)}`)
  }
}

/** Workers that share the work die, each after a while of its own. */
async function dieAtRandom(round: Round, many: number): Promise<void> {
  const { scene, random } = round
  await haveWork(round)
  const workers = await Promise.all(Array.from({ length: many }, () => scene.begin()))
  await until(scene.fresh.db, `select from collection_calls where state = 'held' limit 1`)
  const delays = workers.map(() => random.below(many === 1 ? 400 : 150))
  await Promise.all(
    workers.map(async (worker, index) => {
      await new Promise((resolve) => setTimeout(resolve, delays[index]))
      await scene.kill(worker)
    }),
  )
  round.kills += many
  round.say(`kill ${round.kills}: ${many} of ${many} after ${delays.join(', ')} ms`)
}

async function startRun(round: Round, input: Readonly<{ categories?: number; products?: number; cap?: number }>) {
  const run = await round.scene.market.startOn({ cap: CAP, ...input })
  round.runs.push(run)
  return run
}

/** At least 60 products wait to be searched. */
async function haveWork(round: Round): Promise<void> {
  const { rows } = await round.scene.fresh.db.query<{ waiting: number }>(
    `select coalesce(sum(pending_items), 0)::int as waiting from collection_runs where status = 'running'`,
  )
  if ((rows[0]?.waiting ?? 0) < 60) await startRun(round, { products: 150 })
}

/** Two healthy workers bring every run to its end. */
async function recover(round: Round): Promise<void> {
  const { scene, runs } = round
  await scene.latency(0)
  await scene.slots(50)
  await Promise.all([scene.begin(), scene.begin()])
  for (const run of await endAll(scene, runs, CAP)) {
    expect(run).toMatchObject({
      status: 'completed',
      heldCalls: 0,
      pendingItems: 0,
      processingItems: 0,
      blockedItems: 0,
    })
  }
  await Promise.all([...scene.workers].map((worker) => worker.stop()))
  await scene.check()
  round.checks += 1
  await expectRepeatsExplained(scene.fresh)
}

async function summary({ scene, kills, runs, checks }: Round): Promise<Done> {
  const { rows } = await scene.fresh.db.query<{ calls: number; lost: number; suspect: number }>(
    `select count(*)::int as calls, count(*) filter (where error_code = 'worker_lost')::int as lost,
       count(*) filter (where state = 'suspect')::int as suspect from collection_calls`,
  )
  const { calls = 0, lost = 0, suspect = 0 } = rows[0] ?? {}
  expect(lost).toBeGreaterThan(0) // or the kills hit nothing
  return {
    kills,
    runs: runs.length,
    calls,
    'calls lost with their worker': lost,
    'suspect at the end': suspect,
    checks,
  }
}
