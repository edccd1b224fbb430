/**
 * Recovery: workers are killed with SIGKILL while they have calls in flight. How long until the run makes its next call,
 * and how long until everything the dead worker held is asked again by others.
 */
import { setTimeout as sleep } from 'node:timers/promises'
import type { Db } from '../apps/api/src/db/client.ts'
import { cancelRun } from '../apps/api/src/engine/run-acts.ts'
import { readArgs } from './support/args.ts'
import { type BenchWorker, type Fleet, makeFleet } from './support/fleet.ts'
import { markdownTable, median, progress, rounded, whereMeasured } from './support/report.ts'
import { type BenchRun, expectSound, makeRun } from './support/run.ts'
import { onStage, type Place } from './support/stage.ts'

const args = readArgs('Recovery: from kill -9 to the next call of the run, and to the last item of the dead worker.', {
  kills: { default: 50, help: 'workers killed' },
  workers: { default: 2, help: 'workers that are up when one is killed; another is started at once' },
  'in-flight': { default: 20, help: 'calls in flight of the account (max_in_flight)' },
  'latency-ms': { default: 1_500, help: 'time the provider takes for an answer' },
})
/** Longer than this, and something is broken: an item would never come back. */
const GIVE_UP_MS = 60_000
const LOOK_MS = 100
/** Products of a run: more than a few recoveries can use up, so that there is always a next call to be made. */
const PRODUCTS = 4_000

/** Seconds from a kill: to the run's next call, to the first and to the last item of the dead worker claimed again. */
type Recovery = Readonly<{ call: number; first: number; last: number; items: number }>

await onStage(async (stage) => {
  const place = await stage.fresh()
  const fleet = await makeFleet(stage, place)
  await fleet.sandbox.post('/sandbox/latency', { ms: args['latency-ms'], jitterMs: args['latency-ms'] / 2 })
  await place.db.query('update provider_accounts set max_in_flight = $1', [args['in-flight']])
  const workers: BenchWorker[] = []
  while (workers.length < args.workers) workers.push(await fleet.startWorker())
  const recoveries: Recovery[] = []
  let run = await makeRun(place.db, { products: PRODUCTS, accountId: fleet.accountId })
  while (recoveries.length < args.kills) {
    run = await enoughLeft(place.db, run, fleet)
    const recovery = await killOne(place, fleet, run, workers)
    recoveries.push(recovery)
    const { call, last, items } = recovery
    progress(
      `kill ${recoveries.length}: next call after ${rounded(call, 2)} s, its ${items} items after ${rounded(last, 2)} s`,
    )
  }
  await cancelRun(place.db, run.runId)
  await fleet.stopWorkers()
  await expectSound(place.db, fleet.sandbox.url)
  report(recoveries)
  console.log(
    `\n${args.kills} kills, ${args.workers} workers, ${args['in-flight']} calls in flight at an answer time of ${args['latency-ms']} ms; ${await whereMeasured(stage.admin)}`,
  )
})

/** Kills a worker that has calls in flight, starts another, and waits until others have claimed all it held. */
async function killOne(place: Place, fleet: Fleet, run: BenchRun, workers: BenchWorker[]): Promise<Recovery> {
  const { db } = place
  const victim = workers.splice(Math.floor(Math.random() * workers.length), 1)[0] as BenchWorker
  const holds = `select from collection_calls where worker_id = $1 and run_id = $2 and state = 'held' limit 1`
  await untilRow(db, holds, [victim.id, run.runId])
  // Anywhere in the life of a call, not only just after its claim.
  await sleep(Math.random() * args['latency-ms'])
  await untilRow(db, holds, [victim.id, run.runId])
  const { rows } = await db.query<{ at: string }>('select clock_timestamp()::text as at')
  const killedAt = rows[0]?.at
  await victim.kill()
  const starting = fleet.startWorker()
  const held = await db.query<{ ids: string[] }>(
    `select coalesce(array_agg(item_id), '{}') as ids from collection_calls where worker_id = $1 and state = 'held'`,
    [victim.id],
  )
  const items = held.rows[0]?.ids ?? []
  workers.push(await starting)
  // It booked its last calls in the moment it was killed: that is no kill with work to recover.
  if (items.length === 0) return killOne(place, fleet, run, workers)
  const again = `from collection_calls where worker_id <> $1 and run_id = $2 and held_at > $3::timestamptz`
  const values = [victim.id, run.runId, killedAt]
  const ofItems = `${again} and item_id = any($4)`
  await untilRow(db, `select ${ofItems} having count(distinct item_id) = cardinality($4::uuid[])`, [...values, items])
  const times = await db.query<Omit<Recovery, 'items'>>(
    `with firsts as (select item_id, min(held_at) as at ${ofItems} group by item_id)
     select extract(epoch from (select min(held_at) ${again}) - $3::timestamptz)::float8 as call,
       extract(epoch from min(at) - $3::timestamptz)::float8 as first,
       extract(epoch from max(at) - $3::timestamptz)::float8 as last
     from firsts`,
    [...values, items],
  )
  const time = times.rows[0]
  if (!time) throw new Error('the calls are gone')
  return { ...time, items: items.length }
}

/** The run, or a new one when it has no work left for another recovery. */
async function enoughLeft(db: Db, run: BenchRun, fleet: Fleet): Promise<BenchRun> {
  const { rows } = await db.query<{ left: number }>('select pending_items as left from collection_runs where id = $1', [
    run.runId,
  ])
  if ((rows[0]?.left ?? 0) > PRODUCTS / 2) return run
  await cancelRun(db, run.runId)
  return makeRun(db, { products: PRODUCTS, accountId: fleet.accountId })
}

async function untilRow(db: Db, sql: string, values: readonly unknown[]): Promise<void> {
  const end = performance.now() + GIVE_UP_MS
  while ((await db.query(sql, values)).rowCount === 0) {
    if (performance.now() > end) throw new Error(`in vain for ${GIVE_UP_MS} ms: ${sql}`)
    await sleep(LOOK_MS)
  }
}

function report(recoveries: readonly Recovery[]): void {
  const row = (name: string, pick: (recovery: Recovery) => number) => {
    const seconds = recoveries.map(pick)
    return [name, rounded(median(seconds), 2), rounded(Math.max(...seconds), 2), rounded(Math.min(...seconds), 2)]
  }
  console.log(
    markdownTable(
      ['from kill -9 to', 'median, s', 'worst, s', 'best, s'],
      [
        row('the next call of the run, by any worker', ({ call }) => call),
        row('the first item of the dead worker asked again', ({ first }) => first),
        row('the last item of the dead worker asked again', ({ last }) => last),
      ],
    ),
  )
  const items = recoveries.reduce((sum, recovery) => sum + recovery.items, 0)
  console.log(
    `\n${items} calls were in flight in the workers that were killed; verify found nothing broken, the bill included.`,
  )
}
