/** A sample first: ten products, a pause, an estimate from them, and the same run goes on. */
import fc from 'fast-check'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { toMicros } from '../../src/base/money.ts'
import { withTx } from '../../src/db/client.ts'
import { holdBack } from '../../src/engine/book-list.ts'
import { type Actor, actorFor } from '../../src/engine/bootstrap.ts'
import { type CreateInput, createRun, sampleFor } from '../../src/engine/create.ts'
import { changeCap, pauseRun, resumeRun } from '../../src/engine/run-acts.ts'
import { estimateFromSample, shares } from '../../src/engine/sample.ts'
import { startRun } from '../../src/engine/start.ts'
import { verify } from '../../src/engine/verify.ts'
import { appendEvents } from '../../src/events/append.ts'
import { type RunSnapshot, runSnapshot } from '../../src/runs/snapshot.ts'
import { type FreshDb, freshDb } from '../support/db.ts'
import { type Marketplace, makeMarketplace, workAlone } from './sandbox-run.ts'

let fresh: FreshDb
let market: Marketplace
let actor: Actor
beforeAll(async () => {
  fresh = await freshDb()
  market = await makeMarketplace(fresh.db)
  actor = await actorFor(fresh.db)
})
afterAll(async () => {
  await market.sandbox.stop()
  await fresh.close()
})

const CAP = toMicros(50_000_000)

function inputOf(from: number, to: number, sample: boolean): CreateInput {
  return {
    actor,
    collect: { kind: 'categories', categories: market.categories.slice(from, to) },
    accounts: market.accounts,
    capMicros: CAP,
    sample,
  }
}

async function started(input: CreateInput): Promise<RunSnapshot> {
  const { run } = await createRun(fresh.db, input)
  return startRun(fresh.db, run.id)
}

const work = (run: RunSnapshot) => workAlone(fresh.db, run)

async function goOn(run: RunSnapshot): Promise<RunSnapshot> {
  await changeCap(fresh.db, run.id, CAP)
  return work(await resumeRun(fresh.db, run.id))
}

/** Products the run holds back. */
async function heldBack(runId: string): Promise<number> {
  const { rows } = await fresh.db.query<{ count: number }>(
    `select count(*)::int as count from collection_items where run_id = $1 and not_before = 'infinity'`,
    [runId],
  )
  return rows[0]?.count ?? 0
}

/** How often each query of each product, and each step of each list, was asked. */
async function asked(runId: string): Promise<number[]> {
  const { rows } = await fresh.db.query<{ times: number }>(
    `select count(*)::int as times from collection_calls where run_id = $1 and state = 'settled'
     group by item_id, category_id, coalesce(rung::text, request ->> 'step')`,
    [runId],
  )
  return rows.map(({ times }) => times)
}

async function expectSound(runId: string): Promise<void> {
  const findings = await verify(fresh.db, { runIds: [runId] })
  expect(findings.filter(({ state }) => state === 'broken')).toEqual([])
}

describe('a sample', () => {
  it('searches ten products of three categories and pauses, far below its cap', async () => {
    const input = inputOf(0, 3, true)
    const { worstMicros } = sampleFor(input)
    const run = await work(await started(input))
    expect(run).toMatchObject({ status: 'paused', pauseReason: 'budget', processedItems: 10, capMicros: worstMicros })
    expect(run.sampledAt).not.toBeNull()
    expect(run.spentMicros).toBeLessThan(worstMicros)
    expect(run.totalItems).toBeGreaterThan(100)
    const { rows } = await fresh.db.query<{ share: number }>(
      `select count(*)::int as share from collection_items i
       join collection_category_products p on p.item_id = i.id where i.run_id = $1 and i.finished_at is not null
       group by p.category_id order by 1`,
      [run.id],
    )
    expect(rows.map(({ share }) => share)).toEqual([3, 3, 4])
    await expectSound(run.id)
  })

  it('is the run itself: it goes on where it was, costs what a run without one costs, and asks nothing twice', async () => {
    const plain = await work(await started(inputOf(3, 5, false)))
    const sampled = await work(await started(inputOf(3, 5, true)))
    expect(sampled).toMatchObject({ status: 'paused', processedItems: 10 })
    const estimate = await estimateFromSample(fresh.db, sampled)
    expect(estimate.sources.cost).toEqual({ kind: 'sample', products: 10 })
    expect(estimate.products.likely).toBe(sampled.totalItems)

    const ended = await goOn(sampled)
    expect(ended).toMatchObject({ status: 'completed', totalItems: plain.totalItems, spentMicros: plain.spentMicros })
    expect(ended.spentMicros).toBeGreaterThanOrEqual(estimate.cost.low)
    expect(ended.spentMicros).toBeLessThanOrEqual(estimate.cost.high)
    expect(new Set(await asked(ended.id))).toEqual(new Set([1]))
    await expectSound(ended.id)
  })

  it('reads only the lists it needs of more than ten categories', async () => {
    const run = await work(await started(inputOf(0, 13, true)))
    expect(run).toMatchObject({ status: 'paused', openCategories: 3, totalCategories: 13 })
    expect(run.processedItems).toBeGreaterThan(5)
    const ended = await goOn(run)
    expect(ended).toMatchObject({ status: 'completed', openCategories: 0, pendingItems: 0 })
  })

  it('is drawn evenly over a product list', async () => {
    const { run } = await createRun(fresh.db, await listInput(45))
    const { rows } = await fresh.db.query<{ place: number }>(
      `select place::int from (
         select row_number() over (order by id) as place, not_before from collection_items where run_id = $1
       ) i where not_before is null`,
      [run.id],
    )
    const places = rows.map(({ place }) => place)
    expect(places).toHaveLength(10)
    expect(Math.max(...places.slice(1).map((place, at) => place - (places[at] ?? 0)))).toBe(5)
    const ended = await goOn(await work(await startRun(fresh.db, run.id)))
    expect(ended).toMatchObject({ status: 'completed', processedItems: 45 })
  })

  it('that is all there is simply completes', async () => {
    const { run } = await createRun(fresh.db, await listInput(7))
    expect(await work(await startRun(fresh.db, run.id))).toMatchObject({ status: 'completed', processedItems: 7 })
  })

  it('paused by a person is a sample still when it is resumed', async () => {
    const run = await started(inputOf(5, 6, true))
    await pauseRun(fresh.db, run.id, { reason: 'operator' })
    const resumed = await resumeRun(fresh.db, run.id)
    expect(resumed.sampledAt).toBeNull()
    expect(await work(resumed)).toMatchObject({ status: 'paused', pauseReason: 'budget', processedItems: 10 })
  })

  it('that may not go on keeps holding back the rest', async () => {
    const sampled = await work(await started(inputOf(7, 9, true)))
    const before = await heldBack(sampled.id)
    expect(before).toBeGreaterThan(50)
    const callPriceMicros = toMicros(1_000_000_000)
    await expect(resumeRun(fresh.db, sampled.id, { callPriceMicros })).rejects.toMatchObject({
      code: 'run.cap_reached',
    })
    expect(await heldBack(sampled.id)).toBe(before)
    await resumeRun(fresh.db, sampled.id)
    expect(await heldBack(sampled.id)).toBe(0)
    expect(await goOn(sampled)).toMatchObject({ status: 'completed' })
  })

  it('whose rest nobody could free after it was resumed is gone on with by its lane', async () => {
    const sampled = await work(await started(inputOf(9, 10, true)))
    await changeCap(fresh.db, sampled.id, CAP)
    // As it stands when whoever resumed it is gone at that moment.
    const resumed = await withTx(fresh.db, async (tx) => {
      await tx.query(`update collection_runs set status = 'running' where id = $1`, [sampled.id])
      await appendEvents(tx, sampled.id, [{ type: 'run.resumed' }])
      return runSnapshot(tx, sampled.id)
    })
    expect(await heldBack(sampled.id)).toBeGreaterThan(50)
    expect(await work(resumed as RunSnapshot)).toMatchObject({ status: 'completed', pendingItems: 0 })
    await expectSound(sampled.id)
  })

  it('ends at its cap when something had to be asked again, and the run goes on like any other', async () => {
    const run = await started({ ...inputOf(6, 7, true), capMicros: toMicros(20_000) })
    const stopped = await work(run)
    expect(stopped).toMatchObject({ status: 'paused', pauseReason: 'budget', spentMicros: 20_000 })
    expect(stopped.sampledAt).not.toBeNull()
    expect((await runSnapshot(fresh.db, run.id))?.pendingItems).toBeGreaterThan(10)
    expect(await goOn(stopped)).toMatchObject({ status: 'completed', pendingItems: 0 })
  })
})

async function listInput(count: number): Promise<CreateInput> {
  const category = market.categories[1]
  const truth = (await market.sandbox.get(
    `/sandbox/truth/products?category=${encodeURIComponent(category?.key ?? '')}`,
  )) as { products: readonly { asin: string; title: string; priceCents: number | null }[] }
  const products = Array.from({ length: count }, (_, at) => {
    const known = truth.products[at % truth.products.length]
    return { asin: `B1${String(at).padStart(8, '0')}`, title: known?.title ?? 'Kettle', priceCents: 2_000, rank: null }
  })
  return {
    ...inputOf(0, 1, true),
    collect: { kind: 'list', products, label: 'List' },
    accounts: { ...market.accounts, list: null },
  }
}

describe('shares', () => {
  it('add up, and no two differ by more than one', () => {
    fc.assert(
      fc.property(fc.integer({ min: 0, max: 1_000 }), fc.integer({ min: 1, max: 1_000 }), (total, count) => {
        const parts = shares(total, count)
        expect(parts.reduce((sum, part) => sum + part, 0)).toBe(total)
        expect(Math.max(...parts) - Math.min(...parts)).toBeLessThanOrEqual(1)
      }),
    )
  })

  it('of a page leave the rest held back', () => {
    const page = Array.from({ length: 50 }, (_, at) => ({ asin: String(at), data: {}, rank: null, skip: null }))
    expect(holdBack(page, 5).filter(({ held }) => !held)).toHaveLength(5)
    expect(holdBack(page, null)).toEqual(page)
    expect(holdBack(page.slice(0, 3), 5).filter(({ held }) => held)).toHaveLength(0)
  })
})
