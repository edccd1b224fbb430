/** Measures one side of bench/engine.ts once: a database of its own, jobs put there, processes started, the work checked. */
import { type ChildProcess, fork } from 'node:child_process'
import { once } from 'node:events'
import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import type { Db } from '../../apps/api/src/db/client.ts'
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

/** Products a second of `side`, from its first hold to its last finished job, by the database's clock. */
export async function measureSide(stage: Stage, side: Side, setting: Setting, products: number): Promise<Measured> {
  const place = await stage.fresh()
  const children: ChildProcess[] = []
  try {
    const run = await makeRun(place.db, { products })
    const job: Job = { ...run, url: place.url, workerId: await makeWorker(place.db), setting }
    if (side.enqueue) await enqueue(place.db, side, job)
    for (let count = 0; count < setting.processes; count++)
      children.push(begin({ side: side.name, job, enqueue: null }))
    const broken = Promise.race(children.map((child) => once(child, 'exit')))
    const failed = broken.then(() => Promise.reject(new Error(`a process of ${side.name} ended too early`)))
    failed.catch(() => {})
    const seconds = await Promise.race([untilDone(place.db, side, run), failed])
    const ended = await Promise.all(children.map(stop))
    await checkWork(place.db, run)
    const sum = (pick: (end: Ended) => number): number => ended.reduce((total, end) => total + pick(end), 0)
    return {
      perSecond: products / seconds,
      cpu: sum((end) => end.cpuSeconds) / seconds,
      rssMb: sum((end) => end.rssMb),
    }
  } finally {
    for (const child of children) child.kill('SIGKILL')
    await place.close()
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

/** Seconds from the first hold until every product is booked and no job is left. */
async function untilDone(db: Db, side: Side, run: BenchRun): Promise<number> {
  let movedAt = performance.now()
  for (let processed = -1; ; await sleep(LOOK_MS)) {
    const { rows } = await db.query<{ done: number }>(
      'select processed_items as done from collection_runs where id = $1',
      [run.runId],
    )
    const done = rows[0]?.done ?? 0
    if (done === run.products && (await jobsLeft(db, side)) === 0) break
    if (done !== processed) movedAt = performance.now()
    else if (performance.now() - movedAt > STUCK_MS) throw new Error(`${side.name} is stuck at ${done} products`)
    processed = done
  }
  const { rows } = await db.query<{ seconds: number }>(
    `select extract(epoch from clock_timestamp() - min(held_at))::float8 as seconds from collection_calls where run_id = $1`,
    [run.runId],
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
