/** Many at once: the cap and the places of an organisation are exact, not nearly so. */
import { beforeAll, expect, it } from 'vitest'
import { newId } from '../../src/base/ids.ts'
import { type Micros, toMicros } from '../../src/base/money.ts'
import { type Db, withTxRetry } from '../../src/db/client.ts'
import { cancelRun, changeCap, pauseRun, resumeRun } from '../../src/engine/run-acts.ts'
import { resumeDue, startRun, startWaiting } from '../../src/engine/start.ts'
import { type ClaimedItem, claimCategories, claimItems } from '../../src/ledger/claim.ts'
import { changeSettings } from '../../src/runs/settings.ts'
import { expectClean, LIST_PRICE, PRICE } from '../engine/arena.ts'
import { useArena } from '../engine/use-arena.ts'

const CLAIMERS = 64

const arena = useArena()
let crowd: Db
beforeAll(async () => {
  crowd = await arena.fresh.connect({ max: CLAIMERS })
})

const everybody = <T>(work: (index: number) => Promise<T>, count = CLAIMERS): Promise<T[]> =>
  Promise.all(Array.from({ length: count }, (_, index) => work(index)))

async function claim(runId: string, workerId: string, slots: number, db = crowd): Promise<readonly ClaimedItem[]> {
  const callIds = Array.from({ length: slots }, newId)
  const wanted = { runId, workerId, accountId: arena.search.id, callIds, priceMicros: PRICE, leaseMs: 60_000 }
  return (await withTxRetry(db, (tx) => claimItems(tx, wanted))).claimed
}

it('64 claimers hold exactly what fits, while the cap goes up and down', async () => {
  const run = await arena.makeRun({ products: 1_000, cap: 20_000 })
  const last = 100 * PRICE + PRICE - 1
  let moving = true
  const overs: unknown[] = []
  const watch = async (): Promise<void> => {
    while (moving) {
      overs.push(
        ...(await arena.rows(
          'select held_micros from collection_runs where spent_micros + held_micros + suspect_micros > cap_micros',
        )),
      )
    }
  }
  const move = async (): Promise<void> => {
    for (let at = 0; at < 40; at++) {
      const cap = toMicros(at % 2 === 0 ? 20_000 + at * 2_000 : 10_000)
      // Lowering it below what is held is refused, and that is the point.
      await changeCap(arena.db, run.id, cap).catch(() => {})
    }
    await changeCap(arena.db, run.id, toMicros(last))
    moving = false
  }
  const work = async (index: number): Promise<number> => {
    const workerId = newId()
    let claimed = 0
    for (;;) {
      const settled = !moving
      const got = (await claim(run.id, workerId, 1 + (index % 7))).length
      claimed += got
      if (got === 0 && settled) return claimed
    }
  }
  const [claimed] = await Promise.all([everybody(work), move(), watch()])
  expect(claimed.reduce((sum, one) => sum + one, 0)).toBe(100)
  expect(overs).toEqual([])
  expect(await arena.look(run.id)).toMatchObject({ heldMicros: 100 * PRICE, heldCalls: 100, processingItems: 100 })
  expect(await arena.rows('select item_id from collection_calls group by item_id having count(*) > 1')).toEqual([])
  await expectClean(arena.db)
})

it('a claim takes what fits and leaves the rest, to the micro-dollar', async () => {
  for (const [cap, fits] of [
    [PRICE - 1, 0],
    [PRICE, 1],
    [3 * PRICE - 1, 2],
    [50 * PRICE, 5],
  ] as const) {
    const run = await arena.makeRun({ products: 5, cap })
    expect((await claim(run.id, newId(), 10)).length).toBe(fits)
    expect(await arena.look(run.id)).toMatchObject({ processingItems: fits, pendingItems: 5 - fits })
  }
})

it('a price of zero is held without end and counts no money', async () => {
  const run = await arena.makeRun({ products: 20, cap: 0 })
  const free = {
    runId: run.id,
    workerId: newId(),
    accountId: arena.search.id,
    priceMicros: 0 as Micros,
    leaseMs: 1_000,
  }
  const callIds = Array.from({ length: 12 }, newId)
  const { claimed } = await withTxRetry(crowd, (tx) => claimItems(tx, { ...free, callIds }))
  expect(claimed).toHaveLength(12)
  expect(await arena.look(run.id)).toMatchObject({ heldMicros: 0, heldCalls: 12 })
})

it('nothing is claimed from a run that is not running, and nothing of it is touched', async () => {
  const run = await arena.makeRun({ products: 30 })
  await pauseRun(arena.db, run.id, { reason: 'operator' })
  expect(await claim(run.id, newId(), 10)).toEqual([])
  const left = await arena.rows('select from collection_items where run_id = $1 and epoch > 0', [run.id])
  expect(left).toEqual([])
  expect(await claim(newId(), newId(), 10)).toEqual([])
})

it('nothing is claimed after a breach took the run beyond its cap', async () => {
  const run = await arena.makeRun({ products: 5, cap: 3 * PRICE })
  const [call] = await claim(run.id, newId(), 1)
  await arena.db.query(
    `update collection_calls set state = 'settled', charge_micros = $2, outcome = 'none', booked_at = clock_timestamp()
     where id = $1`,
    [call?.callId, 10 * PRICE],
  )
  await arena.db.query(
    `update collection_items set status = 'completed', outcome = 'none', finished_at = now(),
    cost_micros = $2, cost_cents = 1 where id = $1`,
    [call?.itemId, 10 * PRICE],
  )
  expect(await arena.look(run.id)).toMatchObject({ breachMicros: 9 * PRICE })
  expect(await claim(run.id, newId(), 3)).toEqual([])
})

it('list steps of different prices: a dear one that does not fit does not stand in the way of a cheap one', async () => {
  const run = await arena.makeRun({ categories: ['dear', 'cheap', 'cheaper'], cap: 10_000 })
  const waiting = await arena.rows<{ id: string; category_key: string }>(
    'select id, category_key from collection_run_categories where run_id = $1 order by position',
    [run.id],
  )
  const prices = [11_000, 6_000, 5_000]
  const { claimed } = await withTxRetry(crowd, (tx) =>
    claimCategories(
      tx,
      { runId: run.id, workerId: newId(), accountId: arena.list.id, leaseMs: 1_000, callIds: [newId(), newId()] },
      waiting.map(({ id }, index) => ({ id, priceMicros: toMicros(prices[index] ?? 0) })),
    ),
  )
  expect(claimed.map(({ category }) => category.key)).toEqual(['cheap'])
  expect(await arena.look(run.id)).toMatchObject({ heldMicros: 6_000, heldCalls: 1 })
})

it('64 claimers of list steps hold exactly what fits', async () => {
  const keys = Array.from({ length: 60 }, (_, index) => `c${index}`)
  const run = await arena.makeRun({ categories: keys, cap: 20 * LIST_PRICE + 1 })
  const ids = await arena.rows<{ id: string }>(
    'select id from collection_run_categories where run_id = $1 order by position',
    [run.id],
  )
  const wanted = ids.map(({ id }) => ({ id, priceMicros: LIST_PRICE }))
  const options = () => ({
    runId: run.id,
    workerId: newId(),
    accountId: arena.list.id,
    leaseMs: 60_000,
    callIds: Array.from({ length: 60 }, newId),
  })
  const claimed = await everybody((index) =>
    withTxRetry(crowd, (tx) => claimCategories(tx, options(), wanted.slice(index % 30, (index % 30) + 3))),
  )
  const rest = await withTxRetry(crowd, (tx) => claimCategories(tx, options(), wanted))
  expect(claimed.flatMap((slice) => slice.claimed).length + rest.claimed.length).toBe(20)
  expect(await arena.look(run.id)).toMatchObject({ heldMicros: 20 * LIST_PRICE, heldCalls: 20 })
})

it('exactly as many runs run as an organisation has places', async () => {
  await arena.db.query(`update collection_runs set status = 'cancelled' where status in ('running', 'paused')`)
  await changeSettings(arena.db, arena.actor.orgId, { maxConcurrentRuns: 5 })
  const running = async (): Promise<number> =>
    (await arena.rows(`select from collection_runs where status = 'running'`)).length
  const runs = await Promise.all(Array.from({ length: 24 }, () => arena.makeRun({ start: false })))
  const started = await Promise.all(runs.map(({ id }) => startRun(crowd, id)))
  expect(started.filter(({ status }) => status === 'running')).toHaveLength(5)
  expect(await running()).toBe(5)

  const on = started.filter(({ status }) => status === 'running')
  await Promise.all(on.slice(0, 2).map(({ id }) => cancelRun(arena.db, id)))
  await Promise.all(on.slice(2, 4).map(({ id }) => pauseRun(arena.db, id, { reason: 'quota', resumeAt: new Date() })))
  expect(await running()).toBe(1)
  const waiting = (await Promise.all(Array.from({ length: 8 }, () => startWaiting(crowd)))).flat()
  expect(waiting.sort()).toEqual([...new Set(waiting)].sort())
  expect(waiting).toHaveLength(4)
  expect(await running()).toBe(5)

  // Paused runs wait for a place like everybody else.
  await expect(resumeRun(arena.db, on[2]?.id ?? '')).rejects.toMatchObject({ code: 'run.wrong_state' })
  await Promise.all(waiting.slice(0, 3).map((id) => cancelRun(arena.db, id)))
  await Promise.allSettled([
    ...Array.from({ length: 4 }, () => resumeDue(crowd)),
    ...Array.from({ length: 4 }, () => startWaiting(crowd)),
    resumeRun(crowd, on[2]?.id ?? ''),
    resumeRun(crowd, on[3]?.id ?? ''),
  ])
  expect(await running()).toBe(5)
  await changeSettings(arena.db, arena.actor.orgId, { maxConcurrentRuns: 1000 })
})

it('an organisation whose places are taken does not stand in the way of another', async () => {
  await arena.db.query(
    `update collection_runs set status = 'cancelled' where org_id = $1 and status in ('pending', 'running', 'paused')`,
    [arena.actor.orgId],
  )
  const [other] = await arena.rows<{ id: string }>(`insert into orgs (name) values ('Other') returning id`)
  const orgId = other?.id ?? ''
  await changeSettings(arena.db, orgId, { maxConcurrentRuns: 1 })
  await arena.makeRun({ orgId })
  await Promise.all(Array.from({ length: 25 }, () => arena.makeRun({ orgId })))
  const paused = await Promise.all(Array.from({ length: 25 }, () => arena.makeRun({ orgId, start: false })))
  await arena.db.query(`update collection_settings set max_concurrent_runs = 1000 where org_id = $1`, [orgId])
  for (const { id } of paused) {
    await startRun(arena.db, id)
    await pauseRun(arena.db, id, { reason: 'quota', resumeAt: new Date(0) })
  }
  await changeSettings(arena.db, orgId, { maxConcurrentRuns: 1 })
  expect(await startWaiting(arena.db)).toEqual([])

  await changeSettings(arena.db, arena.actor.orgId, { maxConcurrentRuns: 1 })
  const [first, second] = [await arena.makeRun(), await arena.makeRun()]
  expect(second.status).toBe('pending')
  await pauseRun(arena.db, first.id, { reason: 'quota', resumeAt: new Date() })
  expect(await startWaiting(arena.db)).toEqual([second.id])
  await cancelRun(arena.db, second.id)
  expect(await resumeDue(arena.db)).toEqual([first.id])
})
