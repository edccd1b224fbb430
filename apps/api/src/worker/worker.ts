/**
 * A worker: finds runs that are running and takes part in them, beats its heart, and keeps house (rescues what dead
 * workers left, resumes what is due, starts what waits). Any number of workers may do so on one database.
 */
import { hostname } from 'node:os'
import { setTimeout as sleep } from 'node:timers/promises'
import { AppError } from '../base/errors.ts'
import { newId } from '../base/ids.ts'
import type { Db } from '../db/client.ts'
import { openRunLane } from '../engine/open-run-lane.ts'
import { rescueRuns } from '../engine/rescue.ts'
import { pauseRun } from '../engine/run-acts.ts'
import { resumeDue, startWaiting } from '../engine/start.ts'
import { workRun } from '../engine/work-run.ts'
import { DEAD_AFTER_MS } from '../ledger/rescue.ts'
import { type RunSnapshot, SNAPSHOT_COLUMNS } from '../runs/snapshot.ts'

export type WorkerOptions = Readonly<{
  db: Db
  env: NodeJS.ProcessEnv
  version: string
  name?: string
  /** A worker that has been silent for so long is dead, ms; its heart beats five times as often. The same for all workers. */
  deadAfterMs?: number
  log: (message: string, facts?: Record<string, unknown>) => void
}>

export type Worker = Readonly<{
  id: string
  /** Runs this worker takes part in now. */
  lanes: () => number
  /** Claims nothing more, books what is in flight, and leaves. Resolves when all is booked. */
  stop: () => Promise<void>
}>

const BEATS_BEFORE_DEATH = 5
const LOOK_MS = 250
const HOUSEKEEPING_MS = 1_000
/** A lane that broke is tried again after this long. */
const BROKEN_LANE_MS = 2_000
/** A run whose account has no credentials in this process is looked at again after this long. */
const NO_CREDENTIALS_MS = 30_000

type State = WorkerOptions & {
  readonly id: string
  readonly name: string
  readonly deadAfterMs: number
  readonly lanes: Map<string, Promise<void>>
  readonly stopping: AbortController
}

/** Registers a worker and sets it to work. */
export async function startWorker(options: WorkerOptions): Promise<Worker> {
  const id = newId()
  const name = options.name ?? `${hostname()}:${process.pid}`
  const deadAfterMs = options.deadAfterMs ?? DEAD_AFTER_MS
  const state: State = { ...options, id, name, deadAfterMs, lanes: new Map(), stopping: new AbortController() }
  await beat(state)
  const loops = [
    every(state, heartbeatMs(state), () => beat(state)),
    every(state, HOUSEKEEPING_MS, () => keepHouse(state)),
    every(state, LOOK_MS, () => openLanes(state)),
  ]
  let stopped: Promise<void> | undefined
  return {
    id,
    lanes: () => state.lanes.size,
    stop: () => {
      stopped ??= stopWorker(state, loops)
      return stopped
    },
  }
}

async function stopWorker(state: State, loops: readonly Promise<void>[]): Promise<void> {
  state.stopping.abort()
  // The heart goes on beating until the last call is booked, or others would take our calls for lost.
  const beating = setInterval(() => void beat(state).catch(() => {}), heartbeatMs(state))
  await Promise.all(loops)
  await Promise.all(state.lanes.values())
  clearInterval(beating)
  await state.db.query('update collection_workers set stopped_at = now() where id = $1', [state.id])
}

async function every(state: State, pauseMs: number, work: () => Promise<void>): Promise<void> {
  const { signal } = state.stopping
  while (!signal.aborted) {
    // A database that is away is no reason to die: the lanes wait for it, and so do we.
    await work().catch((error: unknown) => state.log('worker: tried in vain', { error: String(error) }))
    await sleep(pauseMs, undefined, { signal }).catch(() => {})
  }
}

function heartbeatMs(state: State): number {
  return state.deadAfterMs / BEATS_BEFORE_DEATH
}

/** Inserts again what somebody deleted: calls of a worker nobody knows count as lost. */
async function beat(state: State): Promise<void> {
  await state.db.query(
    `insert into collection_workers (id, name, version) values ($1, $2, $3)
     on conflict (id) do update set heartbeat_at = now()`,
    [state.id, state.name, state.version],
  )
}

async function keepHouse(state: State): Promise<void> {
  for (const rescued of await rescueRuns(state.db, state.deadAfterMs))
    state.log('rescued calls of a lost worker', rescued)
  await resumeDue(state.db)
  await startWaiting(state.db)
}

async function openLanes(state: State): Promise<void> {
  const { rows } = await state.db.query<RunSnapshot>(
    `select ${SNAPSHOT_COLUMNS} from collection_runs where status = 'running' order by number`,
  )
  const fresh = rows.filter((run) => !state.lanes.has(run.id))
  for (const run of fresh) {
    const lane = workOn(state, run, rows.length).finally(() => state.lanes.delete(run.id))
    state.lanes.set(run.id, lane)
  }
}

/** Works on one run until it ends or the worker stops. Never throws: what breaks is logged and tried again later. */
async function workOn(state: State, run: RunSnapshot, running: number): Promise<void> {
  try {
    const lane = await openRunLane({ ...state, workerId: state.id, run, share: running })
    await workRun(lane, state.stopping.signal)
  } catch (error) {
    state.log('a lane broke', {
      run: run.number,
      error: error instanceof Error ? (error.stack ?? error.message) : String(error),
    })
    const restMs = await settleBroken(state, run, error).catch(() => BROKEN_LANE_MS)
    await sleep(restMs, undefined, { signal: state.stopping.signal }).catch(() => {})
  }
}

/**
 * What follows from a lane that broke, and how long to leave the run alone, ms. Credentials may be missing in this process
 * only, so the run is left to others; what else a person has to put right (no price) pauses it until they did.
 */
async function settleBroken(state: State, run: RunSnapshot, error: unknown): Promise<number> {
  if (!(error instanceof AppError)) return BROKEN_LANE_MS
  if (error.code === 'provider.no_credentials') return NO_CREDENTIALS_MS
  const note = `${error.message} ${error.hint ?? ''}`.trim()
  await pauseRun(state.db, run.id, { reason: 'provider', note })
  return BROKEN_LANE_MS
}
