/** Measures one side of bench/engine.ts once: a database of its own, jobs put there, processes started, the work checked. */
import { type ChildProcess, fork } from 'node:child_process'
import { once } from 'node:events'
import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import type { Db } from '../../apps/api/src/db/client.ts'
import { runSnapshot } from '../../apps/api/src/runs/snapshot.ts'
import { FLOOR_BATCH, floorScript, loadFloorSource } from '../engine-floor.ts'
import { type BenchRun, checkWork, makeRun, makeWorker, PRICE } from '../support/run.ts'
import type { Place, Stage } from '../support/stage.ts'
import type { Ended, Order } from './side.ts'
import type { Job, Setting, Side } from './types.ts'

const SIDE = fileURLToPath(new URL('./side.ts', import.meta.url))
const LOOK_MS = 25
/** A side that books nothing for so long is stuck. */
const STUCK_MS = 60_000

export type Measured = Readonly<{ perSecond: number; cpu: number; rssMb: number }>

/** Measures `side` in a database of its own, on a run of `products` products. */
export async function measureSide(stage: Stage, side: Side, setting: Setting, products: number): Promise<Measured> {
  const place = await stage.fresh()
  try {
    return await measureRun(place, side, setting, await makeRun(place.db, { products }))
  } finally {
    await place.close()
  }
}

/**
 * Products a second of `side` on `run`, from its first hold to its last finished job, by the database's clock. With `upTo`
 * the side is stopped when so many products are booked; what it had in flight is booked, too, but not timed.
 */
export async function measureRun(
  { url, db }: Place,
  side: Side,
  setting: Setting,
  run: BenchRun,
  upTo: number = run.products,
): Promise<Measured> {
  const children: ChildProcess[] = []
  try {
    const job: Job = { ...run, url, workerId: await makeWorker(db), setting }
    if (side.enqueue) await enqueue(db, side, job)
    for (let count = 0; count < setting.processes; count++)
      children.push(begin({ side: side.name, job, enqueue: null }))
    const broken = Promise.race(children.map((child) => once(child, 'exit')))
    const failed = broken.then(() => Promise.reject(new Error(`a process of ${side.name} ended too early`)))
    failed.catch(() => {})
    const { done, seconds } = await Promise.race([untilDone(db, side, run.runId, upTo), failed])
    const ended = await Promise.all(children.map(stop))
    const left = upTo < run.products
    if (left) await Promise.all(children.map(async (child) => child.exitCode ?? (await once(child, 'exit'))))
    const processed = left ? ((await runSnapshot(db, run.runId))?.processedItems ?? 0) : run.products
    await checkWork(db, { ...run, products: processed })
    const sum = (pick: (end: Ended) => number): number => ended.reduce((total, end) => total + pick(end), 0)
    return {
      perSecond: done / seconds,
      cpu: sum((end) => end.cpuSeconds) / seconds,
      rssMb: sum((end) => end.rssMb),
    }
  } finally {
    for (const child of children) child.kill('SIGKILL')
  }
}

/** The same rows by SQL alone, `batch` products in a transaction. */
export async function measureFloor(stage: Stage, products: number, batch: number = FLOOR_BATCH): Promise<Measured> {
  const place: Place = await stage.fresh()
  try {
    await loadFloorSource(place.db, products)
    const run = await makeRun(place.db, { products })
    const startedAt = performance.now()
    await place.db.query(floorScript(run.runId, run.accountId, products, PRICE, batch))
    const seconds = (performance.now() - startedAt) / 1000
    await checkWork(place.db, run)
    return { perSecond: products / seconds, cpu: 0, rssMb: 0 }
  } finally {
    await place.close()
  }
}

function begin(order: Order): ChildProcess {
  // DBOS makes the driver warn, time and again.
  const execArgv = ['--disable-warning=DeprecationWarning']
  const child = fork(SIDE, [], { execArgv, stdio: ['ignore', 'ignore', 'inherit', 'ipc'] })
  child.send(order)
  return child
}

async function enqueue(db: Db, side: Side, job: Job): Promise<void> {
  const { rows } = await db.query<{ id: string }>(
    `select id from collection_items where run_id = $1 and item_type = 'amazon_product' order by id`,
    [job.runId],
  )
  const child = begin({ side: side.name, job, enqueue: rows.map(({ id }) => id) })
  const [code] = (await once(child, 'exit')) as [number | null]
  if (code !== 0) throw new Error(`${side.name} could not put its jobs into the queue`)
  await db.query('vacuum analyze')
  await db.query('checkpoint')
}

/** Waits until `upTo` products are booked and no job is left. How many were booked then, and the seconds since the first hold. */
async function untilDone(db: Db, side: Side, runId: string, upTo: number): Promise<{ done: number; seconds: number }> {
  let movedAt = performance.now()
  for (let processed = -1; ; await sleep(LOOK_MS)) {
    const { rows } = await db.query<{ done: number; now: string }>(
      'select processed_items as done, clock_timestamp()::text as now from collection_runs where id = $1',
      [runId],
    )
    const { done = 0, now = '' } = rows[0] ?? {}
    if (done >= upTo && (await jobsLeft(db, side)) === 0) return { done, seconds: await secondsSince(db, runId, now) }
    if (done !== processed) movedAt = performance.now()
    else if (performance.now() - movedAt > STUCK_MS) throw new Error(`${side.name} is stuck at ${done} products`)
    processed = done
  }
}

async function secondsSince(db: Db, runId: string, now: string): Promise<number> {
  const { rows } = await db.query<{ seconds: number }>(
    `select extract(epoch from $2::timestamptz - min(held_at))::float8 as seconds from collection_calls where run_id = $1`,
    [runId, now],
  )
  return rows[0]?.seconds ?? Number.NaN
}

async function jobsLeft(db: Db, { leftSql }: Side): Promise<number> {
  if (leftSql === null) return 0
  const { rows } = await db.query<{ left: number }>(leftSql)
  return rows[0]?.left ?? 0
}

async function stop(child: ChildProcess): Promise<Ended> {
  const told = once(child, 'message')
  child.send('stop')
  const [ended] = (await told) as [Ended]
  return ended
}
