/**
 * A worker: takes turns and takes part in the runs they give, beats its heart, and keeps house (rescues what dead workers
 * left, resumes what is due, starts what waits, sends tickets that are missing). Any number of workers may do so on one
 * database.
 */
import { hostname } from 'node:os'
import { setTimeout as sleep } from 'node:timers/promises'
import { newId } from '../base/ids.ts'
import { momentNow } from '../base/moment.ts'
import { connect, type Db } from '../db/client.ts'
import { eraseDue } from '../engine/erase.ts'
import { keepListLoop } from '../engine/keep-list.ts'
import { makeExportsLoop } from '../engine/make-exports.ts'
import { makeHeart } from '../engine/may-send.ts'
import { notifyLoop } from '../engine/notify.ts'
import { readDays } from '../engine/read-days.ts'
import { reconcileAtRest } from '../engine/reconcile.ts'
import { retainDue } from '../engine/retain.ts'
import { DEAD_AFTER_MS } from '../ledger/rescue.ts'
import { credentialNames } from '../queue/credentials.ts'
import { forgetOld } from '../queue/lanes.ts'
import { forgetActs } from '../sellers/acts.ts'
import { keepHouse } from './keep-house.ts'
import { allLeft, fillLanes, giveWay, type Lanes, makeLanes, searchAccounts } from './lanes.ts'

export type WorkerOptions = Readonly<{
  db: Db
  env: NodeJS.ProcessEnv
  version: string
  name?: string
  /** A worker that has been silent for so long is dead, ms; its heart beats six times as often. The same for all workers. */
  deadAfterMs?: number
  /** Runs it takes part in at a time, at most; 32 unless told. */
  maxLanes?: number
  /** How long a lane may keep its place while runs wait, ms; 10 s unless told. */
  keepMs?: number
  log: (message: string, facts?: Record<string, unknown>) => void
}>

export type Worker = Readonly<{
  id: string
  /** Runs this worker takes part in now. */
  lanes: () => number
  /**
   * Aborted when the worker was asked to leave by way of the database; the reason says why. It takes no new turns then, and
   * is to be stopped.
   */
  asked: AbortSignal
  /**
   * Claims nothing more, books what is in flight, and leaves: within `timeoutMs` (30 s unless told), and the few seconds it
   * takes to book what was given up. Stopping twice is stopping once.
   */
  stop: (timeoutMs?: number) => Promise<Stopped>
}>

/**
 * How a worker left. `booked`: all it had sent was answered and booked. `gave_up`: the time was up, the requests still in
 * flight were given up and booked as that, so their money is suspect unless they were surely not sent. `left`: not even that
 * could be booked in time; others find those calls and make them suspect.
 */
export type Stopped = 'booked' | 'gave_up' | 'left'

const BEATS_BEFORE_DEATH = 6
const LOOK_MS = 250
/** Suspect calls are held against the usage reports of accounts at rest. */
const RECONCILE_MS = 60_000
/** Whether the provider's count of the day is to be read is looked at so often by those who use the account. */
const READ_DAYS_MS = 60_000
const HOUSEKEEPING_MS = 1_000
/** An erasure has an hour. */
const ERASE_MS = 5_000
/** Each organisation is looked through once an hour; this is how often one is looked for. */
const RETAIN_MS = 60_000
const MAX_LANES = 32
const KEEP_MS = 10_000
/** Silent workers are forgotten after this long. */
const FORGET_AFTER_DAYS = 7
const FORGET_EVERY_MS = 60_000
/** How long a worker may take to leave, ms. */
export const STOP_TIMEOUT_MS = 30_000
/** What was given up is booked within this, or not by this worker. */
const BOOK_GIVEN_UP_MS = 5_000
/** Saying that it has left is not worth waiting longer for. */
const FAREWELL_MS = 2_000

type State = Readonly<{
  options: WorkerOptions
  id: string
  name: string
  deadAfterMs: number
  /** A connection for the heart alone: waiting for one behind busy lanes would look like death. */
  heart: Db
  lanes: Lanes
  stopping: AbortController
  asked: AbortController
  giveUp: AbortController
}>

/** Registers a worker and sets it to work. */
export async function startWorker(options: WorkerOptions): Promise<Worker> {
  const { db, env, log } = options
  const id = newId()
  const name = options.name ?? `${hostname()}:${process.pid}`
  const deadAfterMs = options.deadAfterMs ?? DEAD_AFTER_MS
  const [maxLanes, keepMs] = [options.maxLanes ?? MAX_LANES, options.keepMs ?? KEEP_MS]
  const giveUp = new AbortController()
  const credentials = credentialNames(env, db.secrets?.keyId)
  const state: State = {
    options,
    id,
    name,
    deadAfterMs,
    heart: await connect(db.url, { name: 'gleaner heart', max: 1, role: 'service_role' }),
    lanes: makeLanes({
      db,
      env,
      credentials,
      log,
      workerId: id,
      deadAfterMs,
      heart: makeHeart(deadAfterMs),
      maxLanes,
      keepMs,
      giveUp: giveUp.signal,
    }),
    stopping: new AbortController(),
    asked: new AbortController(),
    giveUp,
  }
  await beat(state).catch(async (error: unknown) => {
    await state.heart.close()
    throw error
  })
  const turnsEnd = AbortSignal.any([state.stopping.signal, state.asked.signal])
  const loops = [
    every(state, heartbeatMs(state), () => beat(state)),
    every(state, HOUSEKEEPING_MS, () => keepHouse(state.lanes)),
    every(state, HOUSEKEEPING_MS, () => giveWay(state.lanes)),
    every(state, LOOK_MS, () => fillLanes(state.lanes, turnsEnd)),
    notifyLoop({ db, log }, state.stopping.signal),
    every(state, ERASE_MS, async () => void (await eraseDue({ db, log }))),
    every(state, RETAIN_MS, async () => void (await retainDue({ db, log, signal: state.stopping.signal }))),
    keepListLoop({ db, log }, state.stopping.signal),
    makeExportsLoop({ db, log }, state.stopping.signal),
    every(state, RECONCILE_MS, async () => {
      for (const one of await reconcileAtRest(db, env))
        log('suspect calls settled by the report of their provider', one)
    }),
    every(state, READ_DAYS_MS, () => readDays(state.lanes, searchAccounts(state.lanes))),
    every(state, FORGET_EVERY_MS, () => forgetOld(db, FORGET_AFTER_DAYS)),
    every(state, FORGET_EVERY_MS, () => forgetActs(db)),
  ]
  let stopped: Promise<Stopped> | undefined
  return {
    id,
    lanes: () => state.lanes.own.size,
    asked: state.asked.signal,
    stop: (timeoutMs = STOP_TIMEOUT_MS) => {
      stopped ??= stopWorker(state, loops, timeoutMs)
      return stopped
    },
  }
}

async function stopWorker(state: State, loops: readonly Promise<void>[], timeoutMs: number): Promise<Stopped> {
  state.stopping.abort()
  // The heart goes on beating until the last call is booked, or others would take our calls for lost.
  const beating = setInterval(() => void beat(state).catch(() => {}), heartbeatMs(state))
  const allDone = Promise.all([...loops, allLeft(state.lanes)])
  const stopped = await leave(state, allDone, timeoutMs)
  clearInterval(beating)
  const { db, log } = state.options
  if (stopped !== 'booked') log('stopped before every call was answered', { stopped })
  // From here on, held calls of this worker are anybody's to rescue.
  const farewell = db.query('update collection_workers set stopped_at = now() where id = $1', [state.id])
  await within(FAREWELL_MS, farewell)
  await within(FAREWELL_MS, state.heart.close())
  return stopped
}

async function leave(state: State, allDone: Promise<unknown>, timeoutMs: number): Promise<Stopped> {
  if (await within(timeoutMs, allDone)) return 'booked'
  state.giveUp.abort()
  return (await within(BOOK_GIVEN_UP_MS, allDone)) ? 'gave_up' : 'left'
}

/** True when `work` has ended, well or not, within that time. It goes on otherwise. */
async function within(ms: number, work: Promise<unknown>): Promise<boolean> {
  const timer = new AbortController()
  const late = sleep(ms, false, { signal: timer.signal }).catch(() => false)
  const done = await Promise.race([work.then(() => true).catch(() => true), late])
  timer.abort()
  return done
}

async function every(state: State, pauseMs: number, work: () => Promise<void>): Promise<void> {
  const { signal } = state.stopping
  while (!signal.aborted) {
    // A database that is away is no reason to die: the lanes wait for it, and so do we.
    await work().catch((error: unknown) => state.options.log('worker: tried in vain', { error: String(error) }))
    await sleep(pauseMs, undefined, { signal }).catch(() => {})
  }
}

function heartbeatMs(state: State): number {
  return state.deadAfterMs / BEATS_BEFORE_DEATH
}

/** Inserts again what somebody deleted: calls of a worker nobody knows count as lost. */
async function beat(state: State): Promise<void> {
  const askedAt = momentNow()
  const { rows } = await state.heart.query<{ because: string | null }>(
    `insert into collection_workers (id, name, version, credentials) values ($1, $2, $3, $4)
     on conflict (id) do update set heartbeat_at = now() returning stop_because as because`,
    [state.id, state.name, state.options.version, state.lanes.credentials],
  )
  state.lanes.heart.beaten(askedAt)
  const because = rows[0]?.because
  if (because && !state.asked.signal.aborted) state.asked.abort(because)
}
