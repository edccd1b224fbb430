/** Booking where it is hard: late answers, lost COMMITs, text no database takes, sellers brought by several at once. */
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { newId } from '../../src/base/ids.ts'
import { type Db, withTxRetry } from '../../src/db/client.ts'
import { bookSearches, type FinishedSearch } from '../../src/engine/book.ts'
import { rescueRuns } from '../../src/engine/rescue.ts'
import { cancelRun, changeCap, pauseRun, resumeRun } from '../../src/engine/run-acts.ts'
import { type ClaimedItem, claimItems } from '../../src/ledger/claim.ts'
import type { SearchAnswer } from '../../src/providers/types.ts'
import type { RunSnapshot } from '../../src/runs/snapshot.ts'
import { makeKnownSellers } from '../../src/sellers/known.ts'
import { type Wire, wireTo } from '../support/proxy.ts'
import {
  type Arena,
  asked,
  CHARGED,
  expectClean,
  FREE,
  failed,
  found,
  listing,
  makeArena,
  PRICE,
  searchWith,
  UNKNOWN,
  work,
} from './arena.ts'

let arena: Arena
beforeAll(async () => {
  arena = await makeArena()
})
afterAll(() => arena.close())

const three = ['anna', 'bert', 'carl']

/** Claims as a worker does, without sending anything. */
async function claim(run: RunSnapshot, workerId: string, slots = 1): Promise<ClaimedItem[]> {
  const callIds = Array.from({ length: slots }, newId)
  return withTxRetry(arena.db, (tx) =>
    claimItems(tx, {
      runId: run.id,
      workerId,
      accountId: arena.search.id,
      callIds,
      priceMicros: PRICE,
      leaseMs: 60_000,
    }),
  )
}

function finished(claimed: ClaimedItem | undefined, answer: SearchAnswer): FinishedSearch {
  if (!claimed) throw new Error('nothing was claimed')
  return { ...claimed, rungs: claimed.data.ladder.length, answer, durationMs: 1 }
}

async function book(run: RunSnapshot, ...searches: FinishedSearch[]): Promise<void> {
  const options = { mayClimb: true, known: makeKnownSellers() }
  await withTxRetry(arena.db, (tx) => bookSearches(tx, run, searches, options))
}

/** Lets a worker fall silent and rescues what it held. */
async function lose(workerId: string): Promise<void> {
  await arena.db.query(`update collection_workers set heartbeat_at = now() - interval '1 minute' where id = $1`, [
    workerId,
  ])
  await rescueRuns(arena.db)
}

async function item(run: RunSnapshot): Promise<Record<string, unknown>> {
  const [row] = await arena.rows<Record<string, unknown>>(
    `select status, outcome, epoch, cost_micros, not_before,
       (select count(*)::int from collection_sightings s where s.item_id = i.id) as evidence
     from collection_items i where run_id = $1 and item_type = 'amazon_product' order by id limit 1`,
    [run.id],
  )
  return row ?? {}
}

describe('a late answer', () => {
  it('to an item nobody has claimed since takes effect', async () => {
    const run = await arena.makeRun({ products: 1 })
    const worker = await arena.makeWorker()
    const [call] = await claim(run, worker)
    await lose(worker)
    expect(await arena.look(run.id)).toMatchObject({ suspectMicros: PRICE, heldMicros: 0, pendingItems: 1 })
    await book(run, finished(call, found(three)))
    expect(await item(run)).toMatchObject({ status: 'completed', outcome: 'found', cost_micros: PRICE, evidence: 1 })
    expect(await arena.look(run.id)).toMatchObject({ suspectMicros: 0, spentMicros: PRICE, sellerItems: 3 })
    await expectClean(arena.db, { runIds: [run.id] })
  })

  it.each(['before', 'after', 'together with'] as const)(
    'to an item claimed anew, booked %s the new answer, books its money and not its result',
    async (when) => {
      const run = await arena.makeRun({ products: 1 })
      const worker = await arena.makeWorker()
      const [old] = await claim(run, worker)
      await lose(worker)
      const [current] = await claim(run, await arena.makeWorker())
      const late = finished(old, found(['late-one', 'late-two', 'late-three']))
      const answer = finished(current, found([...three, `new-${when.replace(/ .*/, '')}`]))
      if (when === 'before') {
        await book(run, late)
        expect(await item(run)).toMatchObject({ status: 'processing', epoch: 2, cost_micros: PRICE, evidence: 0 })
        await book(run, answer)
      } else if (when === 'after') {
        await book(run, answer)
        await book(run, late)
      } else await book(run, late, answer)
      expect(await item(run)).toMatchObject({
        status: 'completed',
        outcome: 'found',
        cost_micros: 2 * PRICE,
        evidence: 1,
      })
      expect(await arena.look(run.id)).toMatchObject({
        spentMicros: 2 * PRICE,
        suspectMicros: 0,
        heldMicros: 0,
        sellerItems: 4,
      })
      expect(await arena.rows(`select from sellers where normalized_name like 'late-%'`)).toEqual([])
      await expectClean(arena.db, { runIds: [run.id] })
    },
  )

  it.each([
    ['none and none', found([]), found([])],
    ['blocked and found', failed('blocked', CHARGED), found(three)],
    ['found and lost', found(three), failed('lost', UNKNOWN)],
  ])('and the new one in one booking, %s: each books its own money', async (_what, first, second) => {
    for (const order of ['old first', 'new first']) {
      const run = await arena.makeRun({ products: 1 })
      const worker = await arena.makeWorker()
      const [old] = await claim(run, worker)
      await lose(worker)
      const [current] = await claim(run, await arena.makeWorker())
      const both = [finished(old, first), finished(current, second)]
      await book(run, ...(order === 'old first' ? both : both.reverse()))
      const { status, outcome } = await item(run)
      if (!second.ok) expect(status).toBe('pending')
      else
        expect({ status, outcome }).toEqual({
          status: 'completed',
          outcome: second.listings.length > 0 ? 'found' : 'none',
        })
      expect(await arena.look(run.id)).toMatchObject({ heldCalls: 0, processingItems: 0 })
      await expectClean(arena.db, { runIds: [run.id] })
      await cancelRun(arena.db, run.id)
    }
  })

  it('that says nothing of its charge leaves the money suspect, and is the answer all the same', async () => {
    const run = await arena.makeRun({ products: 1 })
    const worker = await arena.makeWorker()
    const [call] = await claim(run, worker)
    await lose(worker)
    const answer = finished(call, { ...found(three), charge: UNKNOWN })
    await book(run, answer)
    await book(run, answer)
    expect(await item(run)).toMatchObject({ status: 'completed', outcome: 'found', cost_micros: 0, evidence: 1 })
    expect(await arena.look(run.id)).toMatchObject({ suspectMicros: PRICE, suspectCalls: 1 })
    await expectClean(arena.db, { runIds: [run.id] })
  })

  it('does not cut short the pause before the next try', async () => {
    const run = await arena.makeRun({ products: 1 })
    const worker = await arena.makeWorker()
    const [old] = await claim(run, worker)
    await lose(worker)
    const [current] = await claim(run, await arena.makeWorker())
    await book(run, finished(current, failed('fault', FREE, { retryAfterMs: 60_000 })))
    await book(run, finished(old, failed('blocked', CHARGED)))
    const { not_before: notBefore } = await item(run)
    expect((notBefore as Date).getTime()).toBeGreaterThan(Date.now() + 50_000)
  })

  it('after the run ended books its money', async () => {
    const run = await arena.makeRun({ products: 2 })
    const worker = await arena.makeWorker()
    const [held, lost] = await claim(run, worker, 2)
    await cancelRun(arena.db, run.id)
    await lose(worker)
    await book(run, finished(held, found(three)), finished(lost, failed('fault', FREE)))
    expect(await arena.look(run.id)).toMatchObject({
      status: 'cancelled',
      spentMicros: PRICE,
      suspectMicros: 0,
      releasedCalls: 1,
      foundItems: 1,
    })
    await expectClean(arena.db, { runIds: [run.id] })
  })

  it('is booked once, however often it is brought', async () => {
    const run = await arena.makeRun({ products: 1 })
    const [call] = await claim(run, await arena.makeWorker())
    const answer = finished(call, found(three))
    await Promise.all([book(run, answer), book(run, answer), book(run, answer)])
    await book(run, finished(call, failed('lost', UNKNOWN)))
    expect(await item(run)).toMatchObject({ status: 'completed', cost_micros: PRICE })
    expect(await arena.look(run.id)).toMatchObject({ spentMicros: PRICE, suspectMicros: 0, settledCalls: 1 })
    await expectClean(arena.db, { runIds: [run.id] })
  })
})

describe('rescue', () => {
  it('takes back what stopped, unknown and late workers hold, and nobody else', async () => {
    const run = await arena.makeRun({ products: 4 })
    const [alive, stopped] = [await arena.makeWorker(), await arena.makeWorker()]
    await claim(run, alive)
    await claim(run, stopped)
    await claim(run, newId())
    const [late] = await claim(run, alive)
    await arena.db.query('update collection_workers set stopped_at = now() where id = $1', [stopped])
    await arena.db.query(`update collection_calls set lease_until = now() - interval '1 ms' where id = $1`, [
      late?.callId,
    ])
    const rescued = await Promise.all([rescueRuns(arena.db), rescueRuns(arena.db), rescueRuns(arena.db)])
    expect(rescued.flat().reduce((sum, { calls }) => sum + calls, 0)).toBe(3)
    expect(await arena.look(run.id)).toMatchObject({
      heldCalls: 1,
      suspectCalls: 3,
      pendingItems: 3,
      processingItems: 1,
    })
    await expectClean(arena.db, { runIds: [run.id] })
  })
})

describe('a lost answer to COMMIT', () => {
  let wire: Wire
  let wired: Db
  beforeAll(async () => {
    wire = await wireTo(arena.fresh.url)
    wired = await arena.fresh.connect()
    await wired.close()
    const { connect } = await import('../../src/db/client.ts')
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
    expect(await item(failing)).toMatchObject({ status: 'failed', outcome: 'drift' })
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
    const [one, two] = await claim(run, await arena.makeWorker(), 2)
    await book(run, finished(one, found([])), finished(two, failed('rejected', FREE)))
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
    await changeCap(arena.db, run.id, (20 * PRICE) as typeof PRICE)
    await resumeRun(arena.db, run.id, { callPriceMicros: PRICE })
    expect(await work(arena, { run, search })).toMatchObject({
      status: 'completed',
      spentMicros: 20 * PRICE,
      foundItems: 20,
    })
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
    const waiting = async () => (await arena.rows(`select from pg_locks where not granted`)).length > 0
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
