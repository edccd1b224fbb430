/** Everything at once: faults of all kinds, dying workers, an operator who pauses, resumes and moves caps, caps that bite. */
import { setTimeout as sleep } from 'node:timers/promises'
import { expect } from 'vitest'
import { toMicros } from '../../src/base/money.ts'
import { cancelRun, changeCap, pauseRun, resumeRun } from '../../src/engine/run-acts.ts'
import type { RunSnapshot } from '../../src/runs/snapshot.ts'
import { until } from '../engine/worker-process.ts'
import { makeRandom, type Random } from './random.ts'
import type { Done } from './round.ts'
import { makeScene, overspend, type Scene } from './scene.ts'

const WORKERS = 3
/** Runs that go on at the same time. */
const RUNS = 4
/** A round, seconds; the storm itself, without the calm after it. */
export const STORM_SECONDS = 90

const chance = (provider: string, kind: string, probability: number, more: object = {}) => ({
  provider,
  kind,
  when: { probability },
  ...more,
})

/** No price above the list: what a provider overcharges is outside the promise, and has its case in providers.ts. */
const FAULTS = [
  chance('ebay', 'throttled', 0.02),
  chance('ebay', 'throttled', 0.01, { retryAfterS: 1 }),
  chance('ebay', 'server_error', 0.02, { status: 503 }),
  chance('ebay', 'reset_before', 0.01),
  chance('ebay', 'reset_after', 0.01),
  chance('ebay', 'truncated', 0.01),
  chance('ebay', 'garbage', 0.005),
  chance('ebay', 'empty_body', 0.005),
  chance('ebay', 'slow', 0.02, { ms: 500 }),
  chance('ebay', 'drip', 0.01, { ms: 1 }),
  chance('ebay', 'hang', 0.002),
  chance('ebay', 'hang_after', 0.002),
  chance('ebay', 'drift_json', 0.01),
  chance('ebay', 'bad_request', 0.01),
  chance('ebay', 'ignored_filters_silent', 0.02),
  chance('ebay', 'renamed_sellers', 0.05),
  chance('ebay', 'quota', 1, { when: { nth: 700 } }),
  chance('oxylabs', 'captcha', 0.1),
  chance('oxylabs', 'server_error', 0.05),
  chance('oxylabs', 'target_status', 0.05, { status: 613 }),
  chance('oxylabs', 'reset_after', 0.05),
  chance('oxylabs', 'drift_json', 0.02),
]

type Storm = {
  readonly scene: Scene
  readonly random: Random
  readonly runs: RunSnapshot[]
  readonly say: (line: string) => void
  kills: number
  acts: number
}

/**
 * One storm and the calm after it. In the end every run has ended or is paused with a reason, no provider has billed more
 * than the cap of any run, and the ledger equals the bill, call by call.
 */
export async function stormRound(seed: number, seconds: number, say: (line: string) => void): Promise<Done> {
  const scene = await makeScene()
  const storm: Storm = { scene, random: makeRandom(seed), runs: [], say, kills: 0, acts: 0 }
  try {
    await scene.slots(12)
    await scene.latency(20, 30)
    await scene.market.sandbox.post('/sandbox/faults', FAULTS)
    await Promise.all(Array.from({ length: WORKERS }, () => scene.begin()))
    const end = performance.now() + seconds * 1_000
    while (performance.now() < end) {
      await blow(storm)
      await scene.checkBusy()
    }
    return await calm(storm)
  } finally {
    await scene.close()
  }
}

/** One thing happens. */
async function blow(storm: Storm): Promise<void> {
  const { scene, random } = storm
  const { rows } = await scene.fresh.db.query<{ running: number }>(
    `select count(*)::int as running from collection_runs where status = 'running'`,
  )
  if ((rows[0]?.running ?? 0) < RUNS) await startAnother(storm)
  await sleep(100 + random.below(600))
  if (random.below(3) === 0) await loseWorkers(storm)
  else await operate(storm)
}

/** Half of them with a cap that will bite. */
async function startAnother({ scene, random, runs, say }: Storm): Promise<void> {
  const cap = random.below(2) === 0 ? 60_000_000 : 200_000 + random.below(1_000_000)
  const work = random.below(2) === 0 ? { categories: 1 + random.below(4) } : { products: 50 + random.below(250) }
  runs.push(await scene.market.startOn({ ...work, cap }))
  say(`run ${runs.length}: ${JSON.stringify(work)}, cap ${cap}`)
}

async function loseWorkers(storm: Storm): Promise<void> {
  const { scene, random } = storm
  const lost = random.shuffled([...scene.workers]).slice(0, random.pick([1, 1, 2, 3]))
  await Promise.all(lost.map(scene.kill))
  storm.kills += lost.length
  await Promise.all(lost.map(() => scene.begin()))
  storm.say(`${lost.length} killed, ${storm.kills} in all`)
}

/** Refusals are an answer too: what was possible a moment ago need not be now. */
async function operate(storm: Storm): Promise<void> {
  const { scene, random, runs } = storm
  const { db } = scene.fresh
  const { id } = random.pick(runs)
  const acts: readonly (() => Promise<unknown>)[] = [
    () => pauseRun(db, id, { reason: 'operator' }),
    () => resumeRun(db, id),
    () => resumeRun(db, id),
    () => changeCap(db, id, toMicros(random.below(3_000_000))),
    () => changeCap(db, id, toMicros(30_000_000)),
    ...(random.below(5) === 0 ? [() => cancelRun(db, id)] : []),
  ]
  storm.acts += 1
  await random
    .pick(acts)()
    .catch((error: { code?: unknown }) => {
      if (typeof error.code !== 'string' || !error.code.startsWith('run.')) throw error
    })
}

/** The faults end; what is paused and may go on goes on; everything comes to rest. */
async function calm({ scene, runs, kills, acts }: Storm): Promise<Done> {
  const { db } = scene.fresh
  await scene.market.sandbox.post('/sandbox/reset')
  await scene.slots(50)
  for (const { id } of runs) {
    await resumeRun(db, id).catch((error: { code?: unknown }) => {
      if (typeof error.code !== 'string' || !error.code.startsWith('run.')) throw error
    })
  }
  // A retry may wait a minute for its moment, a hanging call half a one for its end.
  const resting = `select where not exists (select from collection_runs where status in ('pending', 'running'))`
  await until(db, resting, [], { withinMs: 240_000 })
  await Promise.all([...scene.workers].map((worker) => worker.stop()))
  await scene.check()
  const { rows } = await db.query<{ calls: number; suspect: number; ended: number; paused: number; billed: number }>(
    `select (select count(*)::int from collection_calls) as calls,
       (select count(*)::int from collection_calls where state = 'suspect') as suspect,
       count(*) filter (where status in ('completed', 'failed', 'cancelled'))::int as ended,
       count(*) filter (where status = 'paused' and pause_reason is not null)::int as paused from collection_runs`,
  )
  const { calls = 0, suspect = 0, ended = 0, paused = 0 } = rows[0] ?? {}
  expect(ended + paused).toBe(runs.length)
  const billed = await scene.market.billed()
  const over = await overspend(scene)
  expect(over).toBe(0)
  return {
    storms: 1,
    runs: runs.length,
    ended,
    'paused with a reason': paused,
    kills,
    'acts of an operator': acts,
    calls,
    suspect,
    'micro-dollars billed': billed,
    'micro-dollars over a cap': over,
    checks: acts + kills + 1,
  }
}
