/** Housekeeping costs next to nothing where nothing is to be done: counted in statements. */
import pg from 'pg'
import { afterAll, beforeAll, expect, it, vi } from 'vitest'
import type { Db } from '../../src/db/client.ts'
import { makeHeart } from '../../src/engine/may-send.ts'
import { cancelRun } from '../../src/engine/run-acts.ts'
import { keepHouse } from '../../src/worker/keep-house.ts'
import { fillLanes, type Lanes, makeLanes } from '../../src/worker/lanes.ts'
import { useArena } from '../engine/use-arena.ts'

const NAME = 'housekeeping'

const arena = useArena()
let db: Db
let lanes: Lanes
/** Every statement of this process, BEGIN and COMMIT among them; all are sent. */
const sent = vi.spyOn(pg.Client.prototype, 'query')

beforeAll(async () => {
  db = await arena.fresh.connect({ role: 'service_role', name: NAME })
  const workerId = await arena.makeWorker()
  const heart = makeHeart(6_000)
  const common = { db, env: {}, credentials: [], workerId, heart, deadAfterMs: 6_000, log: () => {} }
  lanes = makeLanes({ ...common, maxLanes: 4, keepMs: 10_000, giveUp: new AbortController().signal })
  await keepHouse(lanes) // opens the connection, loads the queue
})
afterAll(() => sent.mockRestore())

function isOurs(client: unknown): boolean {
  return (
    (client as { connectionParameters: { application_name?: string } }).connectionParameters.application_name === NAME
  )
}

async function counted(work = keepHouse): Promise<number> {
  sent.mockClear()
  await work(lanes)
  return sent.mock.contexts.filter(isOurs).length
}

it('asks one question when nothing runs, two while runs run, and more only when something is to be done', async () => {
  expect(await counted()).toBe(1)
  const run = await arena.makeRun({ products: 3 })
  expect(await counted()).toBe(2)
  await arena.db.query(
    `update provider_governors set health = 'stopped', stopped_at = now(), probe_at = now() + interval '1 hour'`,
  )
  expect(await counted()).toBe(2)
  await arena.db.query('update provider_governors set probe_at = now()')
  expect(await counted()).toBeGreaterThan(4)
  await cancelRun(arena.db, run.id)
  expect(await counted()).toBe(1)
})

it('looks for a turn in one statement when there is none', async () => {
  const look = (all: Lanes) => fillLanes(all, new AbortController().signal)
  await look(lanes) // the ticket of the run that was cancelled
  expect(await counted(look)).toBe(1)
})
