/** 256 claimers, each on a connection of its own, on one run whose cap fits a tenth of the work; and runs that want places. */
import { setTimeout as sleep } from 'node:timers/promises'
import { expect } from 'vitest'
import { newId } from '../../src/base/ids.ts'
import { toMicros } from '../../src/base/money.ts'
import type { Db } from '../../src/db/client.ts'
import { cancelRun, changeCap, pauseRun, resumeRun } from '../../src/engine/run-acts.ts'
import { startRun, startWaiting } from '../../src/engine/start.ts'
import { changeSettings } from '../../src/runs/settings.ts'
import type { RunSnapshot } from '../../src/runs/snapshot.ts'
import { type Arena, CHARGED, expectClean, FREE, failed, found, makeArena, PRICE, UNKNOWN } from '../engine/arena.ts'
import { bookAnswers, claimSearches, finished } from '../engine/by-hand.ts'
import { ownServer } from './own-server.ts'
import { makeRandom, type Random } from './random.ts'
import type { Done } from './round.ts'

export const CLAIMERS = 256
const PRODUCTS = 1_000
/** What the cap fits in the end: a tenth of the work. */
const FITS = 100
const MOVES = 12
const CONTENDERS = 24
/** Between two looks, ms: looking all the time would be what everybody else waits for. */
const LOOK_MS = 3

/** Passes on one server. */
export const PASSES_A_ROUND = 20

/** So many passes. In each the caps and places are exact at every look, and all invariants hold at its end. */
export async function contentionRound(seed: number, passes: number, say: (line: string) => void): Promise<Done> {
  const random = makeRandom(seed)
  const { fresh } = await ownServer(`max_connections = ${CLAIMERS + 50}\n`)
  const arena = await makeArena(fresh)
  try {
    const crowd = await fresh.connect({ max: CLAIMERS, role: 'service_role' })
    const total = { claims: 0, looks: 0 }
    for (let pass = 1; pass <= passes; pass++) {
      const one = await claimPass({ arena, crowd, random })
      total.claims += one.claims
      total.looks += one.looks + (await placesPass({ arena, crowd, random }))
      say(`pass ${pass}: ${one.claims} claims, cap ${one.cap}, ${one.looks} looks`)
    }
    return { passes, claimers: CLAIMERS * passes, ...total, checks: 2 * passes }
  } finally {
    await arena.close()
  }
}

type Ring = Readonly<{ arena: Arena; crowd: Db; random: Random }>

/** Reads again and again while `work` goes on, and keeps what should never be seen. */
async function watched(arena: Arena, sql: string, values: readonly unknown[], work: () => Promise<unknown>) {
  let over = false
  let looks = 0
  const seen: object[] = []
  const watch = async (): Promise<void> => {
    while (!over) {
      seen.push(...(await arena.rows(sql, values)))
      looks += 1
      await sleep(LOOK_MS)
    }
  }
  const watching = watch()
  try {
    await work()
  } finally {
    over = true
    await watching
  }
  expect(seen).toEqual([])
  return looks
}

const BEYOND = `select id, spent_micros, held_micros, suspect_micros, cap_micros from collection_runs
  where id = $1 and spent_micros + held_micros + suspect_micros > cap_micros`

/** Everybody claims, some book, while the cap moves and the run pauses and goes on. */
async function claimPass({ arena, crowd, random }: Ring) {
  await changeSettings(arena.db, arena.actor.orgId, { maxConcurrentRuns: 1_000 })
  const run = await arena.makeRun({ products: PRODUCTS, cap: 20 * PRICE })
  const cap = FITS * PRICE + random.below(PRICE)
  const plans = Array.from({ length: CLAIMERS }, () => ({ slots: 1 + random.below(7), books: random.below(3) === 0 }))
  const moves = Array.from({ length: MOVES }, () => random.below(FITS * PRICE))
  let claims = 0
  const work = async ({ slots, books }: (typeof plans)[number], times: number): Promise<void> => {
    const workerId = newId()
    for (let time = 0; time < times; time++) {
      const wanted = { runId: run.id, workerId, accountId: arena.search.id, slots, priceMicros: PRICE }
      const claimed = await claimSearches(crowd, wanted)
      claims += claimed.length
      if (books && claimed[0]) await bookAnswers(crowd, run, [finished(claimed[0], answerOf(random))], false)
    }
  }
  const looks = await watched(arena, BEYOND, [run.id], async () => {
    await Promise.all([...plans.map((plan) => work(plan, 3)), moveCap(arena, run, moves)])
    await changeCap(arena.db, run.id, toMicros(cap))
    await Promise.all(plans.map((plan) => work(plan, 1)))
    // What a booking gave back when everybody had claimed.
    await work({ slots: FITS, books: false }, 1)
  })
  const end = await arena.look(run.id)
  const used = end.spentMicros + end.heldMicros + end.suspectMicros
  expect(used).toBeLessThanOrEqual(cap)
  // Exactly: not one more call would have fitted.
  expect(used + PRICE).toBeGreaterThan(cap)
  expect(end.pendingItems).toBeGreaterThan(0)
  await expectRefusals(arena, end)
  await expectClean(arena.db, { runIds: [run.id] })
  return { claims, looks, cap }
}

const answerOf = (random: Random) =>
  random.pick([
    found(['one', 'two', 'three']),
    found([]),
    failed('blocked', CHARGED),
    failed('fault', FREE),
    failed('lost', UNKNOWN),
  ])

/** Up and down, also below what is used, which is refused; pausing and going on between. */
async function moveCap(arena: Arena, run: RunSnapshot, moves: readonly number[]): Promise<void> {
  for (const [index, micros] of moves.entries()) {
    await changeCap(arena.db, run.id, toMicros(micros)).catch((error: { code?: string }) => {
      if (error.code !== 'run.cap_too_low') throw error
    })
    if (index % 4 !== 2) continue
    const paused = await pauseRun(arena.db, run.id, { reason: 'operator' })
    const held = paused.heldCalls + paused.settledCalls + paused.releasedCalls + paused.suspectCalls
    const now = await arena.look(run.id)
    // From the commit on no new call is held.
    expect(now.heldCalls + now.settledCalls + now.releasedCalls + now.suspectCalls).toBe(held)
    await resumeRun(arena.db, run.id)
  }
}

/** What may not be asked for is refused by code, and changes nothing. */
async function expectRefusals(arena: Arena, run: RunSnapshot): Promise<void> {
  const below = toMicros(run.spentMicros + run.heldMicros + run.suspectMicros - 1)
  await expect(changeCap(arena.db, run.id, below)).rejects.toMatchObject({ code: 'run.cap_too_low' })
  await expect(startRun(arena.db, run.id)).rejects.toMatchObject({ code: 'run.wrong_state' })
  await cancelRun(arena.db, run.id)
  await expect(resumeRun(arena.db, run.id)).rejects.toMatchObject({ code: 'run.wrong_state' })
  await expect(changeCap(arena.db, run.id, toMicros(10 ** 9))).rejects.toMatchObject({ code: 'run.wrong_state' })
  expect(await arena.look(run.id)).toMatchObject({ status: 'cancelled', capMicros: run.capMicros })
}

/** Runs of one organisation are started, each twice at the same instant, paused, resumed and cancelled. Returns the looks. */
async function placesPass({ arena, crowd, random }: Ring): Promise<number> {
  const orgId = newId()
  await arena.fresh.db.query(`insert into orgs (id, name) values ($1, 'Places')`, [orgId])
  const places = 1 + random.below(6)
  await changeSettings(arena.db, orgId, { maxConcurrentRuns: places })
  const runs = await Promise.all(
    Array.from({ length: CONTENDERS }, () => arena.makeRun({ orgId, products: 1, start: false })),
  )
  const plans = runs.map(() => random.below(4))
  const refused = (error: { code?: string }): void => {
    if (error.code !== 'run.wrong_state') throw error
  }
  const startTwice = async (id: string): Promise<void> => {
    const ends = await Promise.allSettled([startRun(crowd, id), startRun(crowd, id)])
    for (const end of ends) if (end.status === 'rejected') refused(end.reason as { code?: string })
    expect(ends.some(({ status }) => status === 'fulfilled')).toBe(true)
  }
  const live = async (id: string, plan: number): Promise<void> => {
    await startTwice(id)
    if (plan === 1) await cancelRun(crowd, id)
    if (plan < 2) return
    await pauseRun(crowd, id, { reason: 'operator' })
    await resumeRun(crowd, id).catch(refused)
    if (plan === 3) await Promise.all([startWaiting(crowd), cancelRun(crowd, id)])
  }
  const tooMany = `select count(*)::int as running from collection_runs where org_id = $1 and status = 'running'
    having count(*) > $2`
  const looks = await watched(arena, tooMany, [orgId, places], () =>
    Promise.all(runs.map(({ id }, index) => live(id, plans[index] ?? 0))),
  )
  await Promise.all(Array.from({ length: 8 }, () => startWaiting(crowd)))
  const states = await arena.rows<{ running: number; waiting: number }>(
    `select count(*) filter (where status = 'running')::int as running,
       count(*) filter (where status = 'pending')::int as waiting from collection_runs where org_id = $1`,
    [orgId],
  )
  const { running = 0, waiting = 0 } = states[0] ?? {}
  expect(running).toBeLessThanOrEqual(places)
  // Nobody waits beside a free place.
  if (waiting > 0) expect(running).toBe(places)
  await expectClean(arena.db, { runIds: runs.map(({ id }) => id) })
  await Promise.all(runs.map(({ id }) => cancelRun(crowd, id)))
  return looks
}
