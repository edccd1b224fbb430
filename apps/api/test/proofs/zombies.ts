/** Workers are frozen with SIGSTOP past their death, at named points and from outside, and come back when others have taken over. */
import { expect } from 'vitest'
import type { RunSnapshot } from '../../src/runs/snapshot.ts'
import type { Point } from '../engine/fate.ts'
import { frozen, until, type WorkerProcess } from '../engine/worker-process.ts'
import { makeRandom } from './random.ts'
import type { Done } from './round.ts'
import { makeScene, type Scene } from './scene.ts'

const CAP = 60_000_000
const PRODUCTS = 12

type Freeze = Readonly<{
  /** Null: from outside, with calls in flight. */
  point: Point | null
  /** When it comes back: when the successor is done, or while it works. */
  back: 'after' | 'during'
}>

/** Frozen before it sends, it sends when it is back; frozen inside its transaction, it holds locks the successor waits for. */
const FREEZES: readonly Freeze[] = [
  { point: null, back: 'during' },
  { point: 'claim.committed', back: 'after' },
  { point: 'send.answered', back: 'after' },
  { point: 'book.before_commit', back: 'during' },
  { point: 'book.committed', back: 'after' },
  { point: null, back: 'after' },
  { point: 'claim.before_commit', back: 'after' },
  { point: 'claim.committed', back: 'during' },
  { point: 'send.sent', back: 'during' },
  { point: 'send.sent', back: 'after' },
  { point: 'book.inside', back: 'after' },
]

/** Zombies on one database and sandbox. */
export const ZOMBIES_A_ROUND = 10

/**
 * So many zombies, one after another, on one database: the first five kinds of freezing first, then any. The successor takes
 * over and ends the run; what the zombie brings late costs money, which is booked, and has no effect on any product. All
 * invariants hold against the bill, before it comes back and at the end.
 */
export async function zombieRound(seed: number, zombies: number, say: (line: string) => void): Promise<Done> {
  const random = makeRandom(seed)
  const scene = await makeScene()
  try {
    let late = 0
    for (let number = 1; number <= zombies; number++) {
      const freeze = number <= 5 ? (FREEZES[number - 1] as Freeze) : random.pick(FREEZES)
      const nth = 1 + random.below(freeze.point?.startsWith('send') ? 6 : 1)
      late += await freezeOne(scene, freeze, nth)
      say(
        `zombie ${number}: frozen ${freeze.point ?? 'from outside'}, time ${nth}, back ${freeze.back} its successor works`,
      )
    }
    const { rows } = await scene.fresh.db.query<{ calls: number }>(
      'select count(*)::int as calls from collection_calls',
    )
    return { zombies, calls: rows[0]?.calls ?? 0, 'calls booked late': late, checks: 2 * zombies }
  } finally {
    await scene.close()
  }
}

/** Returns how many of the zombie's calls were booked after they had been taken for lost. */
async function freezeOne(scene: Scene, { point, back }: Freeze, nth: number): Promise<number> {
  const { fresh } = scene
  await scene.slots(PRODUCTS)
  await scene.latency(point === null ? 1_300 : 150)
  const run = await scene.market.startOn({ products: PRODUCTS, cap: CAP })
  const zombie = await scene.begin(point === null ? undefined : { point, nth, signal: 'SIGSTOP' })
  if (point === null) {
    await until(fresh.db, 'select from collection_runs where id = $1 and held_calls >= 10', [run.id])
    // Sent, not only held: it may still be asking for its token.
    while (((await scene.market.sandbox.get('/sandbox/stats')) as { open: number }).open < 10) {
      await new Promise((resolve) => setTimeout(resolve, 20))
    }
    zombie.freeze()
  } else await frozen(zombie.pid)
  await scene.latency(back === 'during' ? 500 : 0)
  const heir = await scene.begin()
  await takenOver(scene, run, heir, point)
  if (back === 'after') expect(await scene.end(run)).toMatchObject({ status: 'completed', heldCalls: 0 })
  await (back === 'after' ? scene.check() : scene.checkBusy())
  zombie.thaw()
  const { status, pauseReason, pauseNote } = await scene.end(run)
  expect({ status, pauseReason, pauseNote }).toEqual({ status: 'completed', pauseReason: null, pauseNote: null })
  // It books whatever it still has before it leaves.
  await zombie.stop()
  await heir.stop()
  await scene.check()
  expect(await scene.look(run)).toMatchObject({ status: 'completed', heldMicros: 0, pendingItems: 0, blockedItems: 0 })
  return expectFenced(scene, run, zombie)
}

/** The successor has work of the run, or has ended it: the frozen one is taken for dead. */
async function takenOver(scene: Scene, run: RunSnapshot, heir: WorkerProcess, point: Point | null): Promise<void> {
  await until(scene.fresh.db, `select from collection_calls where run_id = $1 and worker_id = $2 limit 1`, [
    run.id,
    heir.id,
  ])
  // Frozen before its claim was committed it holds nothing that could be lost.
  if (point === 'claim.before_commit') return
  await until(scene.fresh.db, `select from collection_events where run_id = $1 and type = 'calls.rescued' limit 1`, [
    run.id,
  ])
}

/** No product shows what a call brought that was lost when its successor had asked again. */
async function expectFenced(scene: Scene, run: RunSnapshot, zombie: WorkerProcess): Promise<number> {
  const doubled = await scene.fresh.db.query(
    `select from collection_sightings s join collection_calls c on c.id = s.call_id
     where c.run_id = $1 and c.worker_id = $2
       and exists (select from collection_calls n
         where n.item_id = c.item_id and n.epoch > c.epoch and n.held_at < c.booked_at)`,
    [run.id, zombie.id],
  )
  expect(doubled.rowCount).toBe(0)
  const { rows } = await scene.fresh.db.query<{ late: number }>(
    `select count(*)::int as late from collection_calls c
     where run_id = $1 and worker_id = $2 and state = 'settled'
       and booked_at > (select min(at) from collection_events e where e.run_id = c.run_id and e.type = 'calls.rescued')`,
    [run.id, zombie.id],
  )
  return rows[0]?.late ?? 0
}
