/** The lanes of one worker: takes turns while it has places free, works, and gives places up when others wait. */
import { setTimeout as sleep } from 'node:timers/promises'
import { AppError } from '../base/errors.ts'
import type { Db } from '../db/client.ts'
import type { Heart } from '../engine/may-send.ts'
import { openRunLane } from '../engine/open-run-lane.ts'
import { readDays } from '../engine/read-days.ts'
import { pauseRun } from '../engine/run-acts.ts'
import { type Turn, takeTurn, takeTurnWithoutTicket } from '../engine/take-turn.ts'
import { workRun } from '../engine/work-run.ts'
import { QueueTrouble } from '../queue/boss.ts'
import { type Asking, busyRuns, closedLane, lanesByOrg } from '../queue/lanes.ts'
import type { RunSnapshot } from '../runs/snapshot.ts'
import { lanesToGiveUp } from './give-way.ts'

export type LanesOptions = Readonly<{
  db: Db
  env: NodeJS.ProcessEnv
  workerId: string
  deadAfterMs: number
  /** Names of the credentials in `env`: only runs whose accounts it can use get a lane. */
  credentials: readonly string[]
  heart: Heart
  /** Runs a worker takes part in at a time, at most. */
  maxLanes: number
  /** Aborted when requests in flight are to be given up. */
  giveUp: AbortSignal
  /** How long a lane may keep its place while runs wait, ms. */
  keepMs: number
  log: (message: string, facts?: Record<string, unknown>) => void
}>

type OwnLane = {
  readonly run: RunSnapshot
  readonly openedAt: number
  /** Since when it has had nothing in flight, as far as was looked; null = it has. performance.now. */
  idleSince: number | null
  readonly leave: AbortController
  readonly done: Promise<void>
}

export type Lanes = LanesOptions & {
  readonly own: Map<string, OwnLane>
  /** Runs left alone until a moment (performance.now), because their lane broke. */
  readonly resting: Map<string, number>
  /** Turns are taken without tickets until this moment. */
  queueBackAt: number
  /** How long a ticket rests that gave nothing. */
  restMs: number
}

/** A lane that broke is tried again after this long. */
const BROKEN_LANE_MS = 2_000
/** A run whose account has no credentials in this process is looked at again after this long. */
const NO_CREDENTIALS_MS = 30_000
/** Having nothing in flight for so long, a lane gives its place to a run that waits before its time is over. */
const IDLE_LANE_MS = 1_000
/** A queue that cannot be used is tried again after this long. */
const QUEUE_AWAY_MS = 5_000
/** A ticket that gave nothing rests so long at least, and 5 ms for each organisation: a fleet takes 200 a second at most. */
const REST_MS = 250
const REST_PER_ORG_MS = 5

/** No lanes yet. */
export function makeLanes(options: LanesOptions): Lanes {
  return { ...options, own: new Map(), resting: new Map(), queueBackAt: 0, restMs: REST_MS }
}

/** Sets how long tickets rest, for a fleet with this many organisations at work. */
export function setRest(lanes: Lanes, organisations: number): void {
  lanes.restMs = Math.max(REST_MS, organisations * REST_PER_ORG_MS)
}

/** Opens lanes as long as there are places free and turns give one. */
export async function fillLanes(lanes: Lanes, signal: AbortSignal): Promise<void> {
  while (!signal.aborted && lanes.own.size < lanes.maxLanes) {
    const turn = await nextTurn(lanes)
    if (turn.kind === 'none') return
    if (turn.kind === 'lane') open(lanes, turn, signal)
  }
}

async function nextTurn(lanes: Lanes): Promise<Turn> {
  const asking = askingOf(lanes)
  if (performance.now() < lanes.queueBackAt) return takeTurnWithoutTicket(lanes.db, asking)
  try {
    const turn = await takeTurn(lanes.db, asking, lanes.restMs)
    queueWorks(lanes)
    return turn
  } catch (error) {
    if (!(error instanceof QueueTrouble)) throw error
    queueBroke(lanes, error)
    return { kind: 'none' }
  }
}

/** Turns are taken without tickets for a while. Said once, until the queue is back. */
export function queueBroke(lanes: Lanes, error: QueueTrouble): void {
  if (lanes.queueBackAt === 0) {
    lanes.log('no queue: runs are looked for without tickets. gleaner migrate makes it anew', { error: error.message })
  }
  lanes.queueBackAt = performance.now() + QUEUE_AWAY_MS
}

function queueWorks(lanes: Lanes): void {
  if (lanes.queueBackAt !== 0) lanes.log('the queue is back')
  lanes.queueBackAt = 0
}

function askingOf(lanes: Lanes): Asking {
  for (const [runId, until] of lanes.resting) if (performance.now() >= until) lanes.resting.delete(runId)
  const { workerId, deadAfterMs, credentials } = lanes
  return { workerId, deadAfterMs, credentials, except: [...lanes.own.keys(), ...lanes.resting.keys()] }
}

function open(lanes: Lanes, { run }: Extract<Turn, { kind: 'lane' }>, signal: AbortSignal): void {
  const leave = new AbortController()
  const done = work(lanes, run, AbortSignal.any([signal, leave.signal]))
  lanes.own.set(run.id, { run, openedAt: performance.now(), idleSince: null, leave, done })
}

async function work(lanes: Lanes, run: RunSnapshot, signal: AbortSignal): Promise<void> {
  await workOn(lanes, run, signal)
  lanes.own.delete(run.id)
  await closedLane(lanes.db, lanes.workerId, run.id).catch(() => {}) // a stopped worker's lanes count no longer
}

/** Works on one run until it ends or the lane is to leave. Never throws: what breaks is logged and tried again later. */
async function workOn(lanes: Lanes, run: RunSnapshot, signal: AbortSignal): Promise<void> {
  try {
    const lane = await openRunLane({ ...lanes, run })
    await readDays(lanes, [lane.search.id])
    await workRun({ ...lane, giveUp: lanes.giveUp, heart: lanes.heart }, signal)
  } catch (error) {
    lanes.log('a lane broke', {
      run: run.number,
      error: error instanceof Error ? (error.stack ?? error.message) : String(error),
    })
    const restMs = await settleBroken(lanes, run, error).catch(() => BROKEN_LANE_MS)
    lanes.resting.set(run.id, performance.now() + restMs)
  }
}

/**
 * What follows from a lane that broke, and how long to leave the run alone, ms. Credentials may be missing in this process
 * only, so the run is left to others; what else a person has to put right (no price) pauses it until they did.
 */
async function settleBroken({ db }: Lanes, run: RunSnapshot, error: unknown): Promise<number> {
  if (!(error instanceof AppError)) return BROKEN_LANE_MS
  if (error.code === 'provider.no_credentials') return NO_CREDENTIALS_MS
  const note = `${error.message} ${error.hint ?? ''}`.trim()
  await pauseRun(db, run.id, { reason: 'provider', note })
  return BROKEN_LANE_MS
}

/** Gives places up for runs that wait, when all are taken. The lanes take no new calls; their places are free once all is booked. */
export async function giveWay(lanes: Lanes): Promise<void> {
  if (lanes.own.size < lanes.maxLanes) return
  const orgs = await lanesByOrg(lanes.db, lanes)
  if (!orgs.some((org) => org.waiting > 0)) return
  const busy = await busyRuns(lanes.db, lanes.workerId)
  const now = performance.now()
  const staying = [...lanes.own.values()].filter((lane) => !lane.leave.signal.aborted)
  for (const lane of staying) lane.idleSince = busy.has(lane.run.id) ? null : (lane.idleSince ?? now)
  const own = staying.map((lane) => ({
    runId: lane.run.id,
    orgId: lane.run.orgId,
    ageMs: now - lane.openedAt,
    ready: now - lane.openedAt >= lanes.keepMs || (lane.idleSince !== null && now - lane.idleSince >= IDLE_LANE_MS),
  }))
  // Places that are being given up already are on their way to somebody.
  const leaving = lanes.own.size - staying.length
  const wanted = orgs.reduce((sum, org) => sum + org.waiting, 0) - leaving
  for (const runId of lanesToGiveUp(own, orgs).slice(0, Math.max(0, wanted))) lanes.own.get(runId)?.leave.abort()
}

/** The accounts this worker's lanes search with, once each. */
export function searchAccounts(lanes: Lanes): string[] {
  const ids = [...lanes.own.values()].flatMap(({ run }) => run.searchAccountId ?? [])
  return [...new Set(ids)]
}

/** Resolves when every lane has booked what it sent. The lanes must have been told to leave. */
export async function allLeft(lanes: Lanes): Promise<void> {
  while (lanes.own.size > 0) {
    await Promise.all([...lanes.own.values()].map((lane) => lane.done))
    await sleep(0)
  }
}
