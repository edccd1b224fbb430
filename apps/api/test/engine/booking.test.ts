/** Booking where it is hard: lost COMMITs, text no database takes, sellers brought by several at once, the end of the money. */
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { connect, type Db } from '../../src/db/client.ts'
import { changeCap, pauseRun, resumeRun } from '../../src/engine/run-acts.ts'
import type { SearchAnswer } from '../../src/providers/types.ts'
import type { RunSnapshot } from '../../src/runs/snapshot.ts'
import { type Wire, wireTo } from '../support/proxy.ts'
import { asked, CHARGED, expectClean, FREE, failed, found, listing, PRICE, searchWith, work } from './arena.ts'
import { book, claim, finished } from './by-hand.ts'
import { three, useArena } from './use-arena.ts'

const arena = useArena()

describe('a lost answer to COMMIT', () => {
  let wire: Wire
  let wired: Db
  beforeAll(async () => {
    wire = await wireTo(arena.fresh.url)
    wired = await connect(wire.url, { max: 4 })
  })
  afterAll(async () => {
    await wired.close()
    await wire.close()
  })

  it.each(['after forwarding', 'before forwarding'] as const)(
    'loses nothing and doubles nothing, wherever it happens (%s)',
    async (cut) => {
      const run = await arena.makeRun({ products: 40 })
      const searched = new Map<number, number>()
      let sent = 0
      const search = searchWith(async (request) => {
        const { product } = asked(request)
        searched.set(product, (searched.get(product) ?? 0) + 1)
        // Every few calls the next COMMIT is cut: of a claim or of a booking, as it comes.
        if (sent++ % 4 === 0) wire.cutAt('commit', cut)
        return found([`seller-${product % 5}`, 'anna', 'bert'])
      })
      const after = await work(arena, { run, db: wired, search, slots: 5 })
      expect(after).toMatchObject({ status: 'completed', foundItems: 40, spentMicros: 40 * PRICE, suspectMicros: 0 })
      expect([...searched.values()]).toEqual(Array(40).fill(1))
      await expectClean(arena.db, { runIds: [run.id] })
    },
  )

  it('of a claim gives back what was never sent', async () => {
    const run = await arena.makeRun({ products: 3 })
    wire.cutAt('commit', 'after forwarding')
    const after = await work(arena, { run, db: wired, search: searchWith(() => found(three)) })
    expect(after).toMatchObject({ status: 'completed', settledCalls: 3, releasedCalls: 3, suspectCalls: 0 })
    const attempts = await arena.rows(
      `select distinct attempt from collection_items where run_id = $1 and item_type = 'amazon_product'`,
      [run.id],
    )
    expect(attempts).toEqual([{ attempt: 1 }])
  })
})

describe('what cannot be stored', () => {
  it('is made storable where it is text', async () => {
    const run = await arena.makeRun({ products: 2 })
    const odd = ['nul \u0000 byte', 'half \ud83d of a pair', 'and \udc00 the other']
    const search = searchWith(() => ({
      ...found([]),
      listings: odd.map((title, index) => listing(`odd${index}`, index + 1, title)),
    }))
    expect(await work(arena, { run, search })).toMatchObject({ status: 'completed', foundItems: 2, driftItems: 0 })
    const failing = await arena.makeRun({ products: 1 })
    const message = `broken \u0000 and \ud800`
    await work(arena, { run: failing, search: searchWith(() => failed('drift', CHARGED, { message })) })
    expect(await arena.look(failing.id)).toMatchObject({ status: 'failed', driftItems: 1 })
  })

  it('is drift where it is not: paid for, apart from none, and nothing to the others', async () => {
    const run = await arena.makeRun({ products: 12 })
    const search = searchWith((request) => {
      const answer = found(three)
      if (asked(request).product !== 5 || !answer.ok) return answer
      const seller = { username: 'impossible', feedbackScore: 1, feedbackPermille: 5_000 }
      return { ...answer, listings: [{ ...listing('x'), seller }] }
    })
    const after = await work(arena, { run, search })
    expect(after).toMatchObject({ status: 'completed', foundItems: 11, driftItems: 1, spentMicros: 12 * PRICE })
    const [drifted] = await arena.rows(
      `select error_code from collection_items where run_id = $1 and outcome = 'drift'`,
      [run.id],
    )
    expect(drifted).toEqual({ error_code: 'unstorable' })
    await expectClean(arena.db, { runIds: [run.id] })
  })

  it('leaves out sellers without a usable name, and keeps the find', async () => {
    const run = await arena.makeRun({ products: 1 })
    const search = searchWith(() => found(['', 'a store title', 'x'.repeat(80)]))
    expect(await work(arena, { run, search })).toMatchObject({ status: 'completed', foundItems: 1, sellerItems: 0 })
    await expectClean(arena.db, { runIds: [run.id] })
  })
})

describe('sellers', () => {
  it('are one row each, whoever brings them: several runs, several workers, any case', async () => {
    const runs = await Promise.all([0, 1, 2].map(() => arena.makeRun({ products: 60 })))
    const before = (await arena.rows('select from sellers')).length
    const search = searchWith((request) => {
      const { product } = asked(request)
      return found([
        product % 2 ? 'Shared.Shop' : 'shared.shop',
        `MANY-${product % 10}`,
        `many-${product % 7}`,
        `only-${product}`,
      ])
    })
    const results = await Promise.all(
      runs.flatMap((run) => [work(arena, { run, search, slots: 7 }), work(arena, { run, search, slots: 7 })]),
    )
    for (const run of results) expect(run).toMatchObject({ status: 'completed', foundItems: 60, sellerItems: 71 })
    expect((await arena.rows('select from sellers')).length - before).toBe(71)
    const seen = await arena.rows(
      `select distinct times_seen from sellers where normalized_name ~ '^(shared.shop|many-|only-)'`,
    )
    expect(seen).toEqual([{ times_seen: 3 }])
    const [{ fresh } = { fresh: 0 }] = await arena.rows<{ fresh: number }>(
      'select sum(new_sellers)::int as fresh from collection_runs where id = any($1)',
      [runs.map(({ id }) => id)],
    )
    expect(fresh).toBe(71)
    await expectClean(arena.db, { runIds: runs.map(({ id }) => id) })
  })
})

describe('the ladder', () => {
  const rungsOf = async (run: RunSnapshot) =>
    (
      await arena.rows<{ rungs: number[] }>(
        `select array(select c.rung from collection_calls c where c.item_id = i.id order by c.epoch) as rungs
         from collection_items i where run_id = $1 and item_type = 'amazon_product' order by external_id`,
        [run.id],
      )
    ).map(({ rungs }) => rungs)

  it('is climbed while a rung brings too little, and what a lower rung brought counts', async () => {
    const run = await arena.makeRun({ products: 6, rungs: 3 })
    const script: Record<number, SearchAnswer[]> = {
      0: [found(three)],
      1: [found([]), found(three)],
      2: [found([]), found(['anna']), found([])],
      3: [found([]), found([]), found([])],
      4: [failed('rejected', FREE), found(three)],
      5: [found(['anna']), failed('drift', CHARGED)],
    }
    const search = searchWith((request) => {
      const { product, rung } = asked(request)
      return script[product]?.[rung - 1] as SearchAnswer
    })
    expect(await work(arena, { run, search })).toMatchObject({ status: 'completed', foundItems: 5, noneItems: 1 })
    expect(await rungsOf(run)).toEqual([[1], [1, 2], [1, 2, 3], [1, 2, 3], [1, 2], [1, 2]])
    await expectClean(arena.db, { runIds: [run.id] })
  })

  it('is not climbed with money that first rungs of others need', async () => {
    const run = await arena.makeRun({ products: 10, rungs: 3, cap: 12 * PRICE })
    const after = await work(arena, { run, slots: 1, search: searchWith(() => found([])) })
    expect(after).toMatchObject({ status: 'completed', noneItems: 10 })
    expect(after.spentMicros).toBeLessThanOrEqual(12 * PRICE)
    const first = await arena.rows('select distinct item_id from collection_calls where run_id = $1 and rung = 1', [
      run.id,
    ])
    expect(first).toHaveLength(10)
  })

  it('leaves a product that was answered as answered, and one that never was waiting, when the money is gone', async () => {
    const run = await arena.makeRun({ products: 2, rungs: 2, cap: 3 * PRICE })
    const search = searchWith((request) =>
      asked(request).product === 0 ? found([], 2 * PRICE + PRICE - PRICE) : failed('rejected', FREE),
    )
    // The first product takes all there is, though its price says otherwise; the second was refused and not asked again.
    const [one, two] = await claim(arena, run, await arena.makeWorker(), 2)
    await book(arena, run, finished(one, found([])), finished(two, failed('rejected', FREE)))
    await changeCap(arena.db, run.id, PRICE)
    expect(await work(arena, { run, search })).toMatchObject({
      status: 'paused',
      pauseReason: 'budget',
      noneItems: 1,
      pendingItems: 1,
    })
    await expectClean(arena.db, { runIds: [run.id] })
  })
})

describe('the cap', () => {
  it('when reached pauses the run; raised and resumed, the run completes', async () => {
    const run = await arena.makeRun({ products: 20, cap: 8 * PRICE + 1 })
    const search = searchWith(() => found(three))
    const paused = await work(arena, { run, search })
    expect(paused).toMatchObject({
      status: 'paused',
      pauseReason: 'budget',
      spentMicros: 8 * PRICE,
      pendingItems: 12,
      pauseNote: '$0.000001 is left and one call costs $0.001.',
    })
    const again = resumeRun(arena.db, run.id, { callPriceMicros: PRICE })
    await expect(again).rejects.toMatchObject({ code: 'run.cap_reached' })
    const below = changeCap(arena.db, run.id, (8 * PRICE - 1) as typeof PRICE)
    await expect(below).rejects.toMatchObject({ code: 'run.cap_too_low' })
    await changeCap(arena.db, run.id, (20 * PRICE) as typeof PRICE)
    await resumeRun(arena.db, run.id, { callPriceMicros: PRICE })
    expect(await work(arena, { run, search })).toMatchObject({
      status: 'completed',
      spentMicros: 20 * PRICE,
      foundItems: 20,
    })
    const ended = changeCap(arena.db, run.id, (30 * PRICE) as typeof PRICE)
    await expect(ended).rejects.toMatchObject({ code: 'run.wrong_state' })
    await expectClean(arena.db, { runIds: [run.id] })
  })

  it('is warned about once, and once more when it was raised', async () => {
    const run = await arena.makeRun({ products: 40, cap: 20 * PRICE, soft: 50 })
    const search = searchWith(() => found(three))
    const warnings = async () =>
      (
        await arena.rows<{ data: { spent_micros: number } }>(
          `select data from collection_events where run_id = $1 and type = 'run.soft_warning' order by seq`,
          [run.id],
        )
      ).map(({ data }) => data.spent_micros / PRICE)
    await work(arena, { run, search, slots: 2 })
    const [first, ...more] = await warnings()
    expect(more).toEqual([])
    expect(first).toBeGreaterThanOrEqual(10)
    expect(first).toBeLessThanOrEqual(14)
    await changeCap(arena.db, run.id, (40 * PRICE) as typeof PRICE)
    await resumeRun(arena.db, run.id)
    expect(await work(arena, { run, search, slots: 2 })).toMatchObject({ status: 'completed' })
    expect(await warnings()).toHaveLength(2)
  })
})

describe('a worker', () => {
  it('books what it claimed in the very moment it was told to stop', async () => {
    const run = await arena.makeRun({ products: 5 })
    const stop = new AbortController()
    const blocker = await arena.db.pool.connect()
    await blocker.query('begin')
    await blocker.query('select from collection_runs where id = $1 for update', [run.id])
    const working = work(arena, { run, search: searchWith(() => found(three)), signal: stop.signal })
    // Only the superuser sees what others wait for.
    const waits = `select from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'`
    const waiting = async () => (await arena.fresh.db.query(waits)).rowCount !== 0
    while (!(await waiting())) await new Promise((resolve) => setTimeout(resolve, 5))
    stop.abort()
    await new Promise((resolve) => setTimeout(resolve, 50)) // for a loop that would leave now
    await blocker.query('commit')
    blocker.release()
    expect(await working).toMatchObject({ status: 'running', heldCalls: 0, settledCalls: 5, foundItems: 5 })
  })

  it('takes a pause from outside as it comes: books what is in flight, claims nothing more, breaks nothing', async () => {
    const run = await arena.makeRun({ products: 200 })
    const logs: string[] = []
    let answered = 0
    const search = searchWith(async () => {
      if (++answered === 40) await pauseRun(arena.db, run.id, { reason: 'operator' })
      await new Promise((resolve) => setTimeout(resolve, 1))
      return found(three)
    })
    const after = await work(arena, { run, search, slots: 10, log: (message) => logs.push(message) })
    expect(after).toMatchObject({ status: 'paused', pauseReason: 'operator', heldCalls: 0 })
    expect(after.settledCalls).toBeLessThanOrEqual(60)
    expect(logs).toEqual([])
    await resumeRun(arena.db, run.id)
    expect(await work(arena, { run, search })).toMatchObject({
      status: 'completed',
      foundItems: 200,
      settledCalls: 200,
    })
    await expectClean(arena.db, { runIds: [run.id] })
  })
})
