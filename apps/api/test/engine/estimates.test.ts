/** Estimates over real runs: the sandbox, a worker's lane, the rows they leave behind. */
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { newId } from '../../src/base/ids.ts'
import { toMicros } from '../../src/base/money.ts'
import { withTx } from '../../src/db/client.ts'
import { type Actor, actorFor } from '../../src/engine/bootstrap.ts'
import { changeOrgSettings } from '../../src/engine/change-settings.ts'
import { type CreateInput, createRun, planRun } from '../../src/engine/create.ts'
import { cancelRun, changeCap, pauseRun, resumeRun } from '../../src/engine/run-acts.ts'
import { startRun } from '../../src/engine/start.ts'
import type { Category } from '../../src/runs/categories.ts'
import type { Estimate } from '../../src/runs/estimate.ts'
import { forecastCost, standingOf } from '../../src/runs/forecast.ts'
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

type Wanted = Readonly<{ categories: readonly Category[]; cap?: number; actor?: Actor; upToCap?: boolean }>

function inputOf(wanted: Wanted): CreateInput {
  return {
    actor: wanted.actor ?? actor,
    collect: { kind: 'categories', categories: wanted.categories },
    accounts: market.accounts,
    capMicros: toMicros(wanted.cap ?? 50_000_000),
    upToCap: wanted.upToCap ?? false,
  }
}

/** Collects to the end, or to the pause, with one worker. */
async function collect(wanted: Wanted): Promise<Readonly<{ run: RunSnapshot; estimate: Estimate }>> {
  const { run, estimate } = await createRun(fresh.db, inputOf(wanted))
  return { run: await work(await startRun(fresh.db, run.id)), estimate }
}

const work = (run: RunSnapshot) => workAlone(fresh.db, run)

const estimateFor = async (wanted: Wanted) => (await planRun(fresh.db, inputOf(wanted))).estimate
const categories = (from: number, to: number) => market.categories.slice(from, to)

function expectInside(actual: number, { low, high }: Readonly<{ low: number; high: number }>): void {
  expect(actual).toBeGreaterThanOrEqual(low)
  expect(actual).toBeLessThanOrEqual(high)
}

async function otherOrg(name: string): Promise<Actor> {
  const orgId = newId()
  await fresh.db.query('insert into orgs (id, name) values ($1, $2)', [orgId, name])
  await fresh.db.query(`insert into org_members (org_id, user_id, role) values ($1, $2, 'owner')`, [
    orgId,
    actor.userId,
  ])
  return { ...actor, orgId, orgName: name }
}

describe('estimates over several runs', () => {
  it('the first stands on the price list, the second on the first, and holds what is spent and found', async () => {
    const first = await collect({ categories: categories(0, 2) })
    expect(first.run.status).toBe('completed')
    expect(first.estimate.sources.cost).toEqual({ kind: 'price_list' })
    expect(first.estimate.newSellers).toBeNull()
    expectInside(first.run.spentMicros, first.estimate.cost)

    const second = await collect({ categories: categories(2, 5) })
    expect(second.estimate.sources.cost).toMatchObject({ kind: 'earlier_runs', runs: 1 })
    expectInside(second.run.spentMicros, second.estimate.cost)
    expectInside(second.run.totalItems, second.estimate.products)
    expectInside(second.run.newSellers, second.estimate.newSellers ?? { low: 1, high: 0 })
    const width = ({ low, likely, high }: Estimate['cost']) => (high - low) / likely
    expect(width(second.estimate.cost)).toBeLessThan(width(first.estimate.cost))

    const again = await collect({ categories: categories(0, 2) })
    expect(again.estimate.categories.every(({ lastCollectedAt }) => lastCollectedAt !== null)).toBe(true)
    // Doubles are counted over the very lists: nothing of the market has changed.
    expect(again.estimate.products.likely).toBe(first.run.totalItems)
    expectInside(again.run.spentMicros, again.estimate.cost)
    expectInside(again.run.newSellers, again.estimate.newSellers ?? { low: 1, high: 0 })
    expect(width(again.estimate.cost)).toBeLessThan(width(second.estimate.cost))

    // Everybody is known by now, and the next time is expected to be like it.
    const [one] = (await estimateFor({ categories: categories(0, 1) })).categories
    expect(one?.newSellers?.high).toBeLessThan(20)
  })

  it("another organisation's runs never count", async () => {
    const stranger = await otherOrg('Somebody else')
    const estimate = await estimateFor({ categories: categories(0, 2), actor: stranger })
    expect(estimate.sources.cost).toEqual({ kind: 'price_list' })
    expect(estimate.newSellers).toBeNull()
    expect(estimate.categories.map(({ lastCollectedAt }) => lastCollectedAt)).toEqual([null, null])

    await collect({ categories: categories(6, 7), actor: stranger })
    const ours = await estimateFor({ categories: categories(6, 7) })
    expect(ours.categories[0]?.lastCollectedAt).toBeNull()
    const theirs = await estimateFor({ categories: categories(6, 7), actor: stranger })
    expect(theirs.sources.cost).toMatchObject({ kind: 'earlier_runs', runs: 1, products: expect.any(Number) })
  })

  it('prefers runs with the same filters to those with others', async () => {
    const newer = { ...inputOf({ categories: categories(7, 8) }), filters: { minPercent: 100 } }
    const { run } = await createRun(fresh.db, newer)
    await work(await startRun(fresh.db, run.id))
    const same = await planRun(fresh.db, newer)
    expect(same.estimate.sources.cost).toMatchObject({ kind: 'earlier_runs', runs: 1 })
    const others = await planRun(fresh.db, inputOf({ categories: categories(8, 9) }))
    expect(others.estimate.sources.cost).toMatchObject({ kind: 'earlier_runs', runs: 3 })
  })

  it('does not take a retry for a run', async () => {
    const runs = async () => {
      const { sources } = await estimateFor({ categories: categories(8, 9) })
      return sources.cost.kind === 'earlier_runs' ? sources.cost.runs : 0
    }
    const before = await runs()
    const { run } = await collect({ categories: categories(16, 17) })
    expect(await runs()).toBe(before + 1)
    await withTx(fresh.db, async (tx) => {
      // What a run is never changes: only without its triggers.
      await tx.query('set local session_replication_role = replica')
      await tx.query('update collection_runs set retry_of_run_id = id where id = $1', [run.id])
    })
    expect(await runs()).toBe(before)
  })
})

describe('the forecast of a run that goes on', () => {
  it('holds what it will have cost in the end, from its own pace', async () => {
    await market.sandbox.post('/sandbox/latency', { ms: 100, jitterMs: 50 })
    const { run } = await createRun(fresh.db, inputOf({ categories: categories(13, 16) }))
    const working = work(await startRun(fresh.db, run.id))
    const look = () => runSnapshot(fresh.db, run.id)
    await expect.poll(async () => (await look())?.processedItems ?? 0, { timeout: 60_000 }).toBeGreaterThan(40)
    await pauseRun(fresh.db, run.id, { reason: 'operator' })
    const paused = await working
    await market.sandbox.post('/sandbox/latency', { ms: 0, jitterMs: 0 })
    expect(paused).toMatchObject({ status: 'paused', heldCalls: 0 })
    const forecast = forecastCost(paused, await standingOf(fresh.db, run.id))
    const ended = await work(await resumeRun(fresh.db, run.id))
    expect(ended.status).toBe('completed')
    expectInside(ended.spentMicros, forecast ?? { low: 1, high: 0 })
  })
})

describe('the quota of a day', () => {
  it('makes days of the duration, and what is used of today counts', async () => {
    const search = { ...market.accounts.search, callsPerDay: 60 }
    const wanted = { ...inputOf({ categories: categories(0, 2) }), accounts: { ...market.accounts, search } }
    const days = async () => (await planRun(fresh.db, wanted)).estimate.durationSeconds.likely / 86_400
    await fresh.db.query(`update provider_governors set day_ends_at = now() + interval '1 h', day_calls = 0`)
    const before = await days()
    expect(before).toBeGreaterThan(1)
    await fresh.db.query('update provider_governors set day_calls = 60')
    expect((await days()) - before).toBeCloseTo(1, 1)
    await fresh.db.query(`update provider_governors set day_calls = 0, day_ends_at = 'epoch'`)
  })
})

describe('figures that are kept', () => {
  it('are summed up when a run is completed, and by the first estimate for one that ended otherwise', async () => {
    const kept = async () =>
      (await fresh.db.query<{ id: string }>('select run_id as id from collection_run_figures')).rows.map(({ id }) => id)
    const { run } = await collect({ categories: categories(9, 10) })
    expect(await kept()).toContain(run.id)

    const { run: stopped } = await collect({ categories: categories(10, 11), cap: 100_000, upToCap: true })
    await cancelRun(fresh.db, stopped.id)
    expect(await kept()).not.toContain(stopped.id)
    const estimate = await estimateFor({ categories: categories(10, 11) })
    expect(await kept()).toContain(stopped.id)
    expect(estimate.categories[0]?.lastCollectedAt).not.toBeNull()
  })

  it('are a cache: deleted, the next estimate is the same', async () => {
    const wanted = { categories: categories(0, 3) }
    const before = await estimateFor(wanted)
    await fresh.db.query('delete from collection_run_figures')
    const after = await estimateFor(wanted)
    expect(after.cost).toEqual(before.cost)
    expect(after.newSellers).toEqual(before.newSellers)
    expect(after.categories).toEqual(before.categories)
  })
})

describe('a cap below the estimate', () => {
  it('is refused with what it would cover, and leaves no run behind', async () => {
    const before = await fresh.db.query('select id from collection_runs')
    await expect(collect({ categories: categories(0, 2), cap: 50_000 })).rejects.toMatchObject({
      code: 'run.cap_below_estimate',
      details: { capMicros: 50_000, covered: expect.any(Number) },
    })
    const after = await fresh.db.query('select id from collection_runs')
    expect(after.rowCount).toBe(before.rowCount)
  })

  it('collects up to the cap when that is what is wanted', async () => {
    const { run } = await collect({ categories: categories(0, 1), cap: 50_000, upToCap: true })
    expect(run).toMatchObject({ status: 'paused', pauseReason: 'budget', spentMicros: 50_000 })
    expect(run.processedItems).toBeGreaterThan(0)
  })

  it('is refused at the start as well, when it was lowered meanwhile', async () => {
    const { run, estimate } = await createRun(fresh.db, inputOf({ categories: categories(0, 2) }))
    await changeCap(fresh.db, run.id, toMicros(estimate.cost.low - 1))
    await expect(startRun(fresh.db, run.id)).rejects.toMatchObject({ code: 'run.cap_below_estimate' })
    await changeCap(fresh.db, run.id, toMicros(estimate.cost.low))
    expect((await startRun(fresh.db, run.id)).status).toBe('running')
    await cancelRun(fresh.db, run.id)
  })

  it('of the month is refused at once: the nearer limit decides', async () => {
    const stranger = await otherOrg('Month')
    const wanted = { categories: categories(0, 2), actor: stranger }
    const { cost } = await estimateFor(wanted)
    const setMonth = (micros: number) =>
      changeOrgSettings(fresh.db, stranger, { monthCapMicros: toMicros(micros), maxConcurrentRuns: 9 })
    await setMonth(cost.low - 1)
    await expect(createRun(fresh.db, inputOf(wanted))).rejects.toMatchObject({
      code: 'month.cap_below_estimate',
      message: expect.stringMatching(
        /^Even the low end of the estimate \(\$[\d.]+\) is above what the month cap leaves \(\$/,
      ),
      hint: expect.stringMatching(
        /wait for 1 [A-Z][a-z]+, or collect up to it with --up-to-cap: about \d+ of \d+ products\./,
      ),
      details: { leftMicros: cost.low - 1, covered: expect.any(Number) },
    })
    // Both leave too little: the one it would meet first is named.
    const tooLittle = { ...wanted, cap: cost.low - 2 }
    await expect(createRun(fresh.db, inputOf(tooLittle))).rejects.toMatchObject({ code: 'run.cap_below_estimate' })
    expect((await fresh.db.query('select from collection_runs where org_id = $1', [stranger.orgId])).rowCount).toBe(0)

    await setMonth(cost.low)
    const { run } = await createRun(fresh.db, inputOf(wanted))
    const { run: upToCap } = await createRun(fresh.db, inputOf({ ...wanted, upToCap: true }))
    // The month is used for something else before they start.
    await setMonth(cost.low - 1)
    await expect(startRun(fresh.db, run.id)).rejects.toMatchObject({ code: 'month.cap_below_estimate' })
    expect((await startRun(fresh.db, upToCap.id)).status).toBe('running')
    await cancelRun(fresh.db, upToCap.id)
    await setMonth(cost.low)
    expect((await startRun(fresh.db, run.id)).status).toBe('running')
    await cancelRun(fresh.db, run.id)
  })

  it('of a month that leaves less than one call is refused whatever is wanted', async () => {
    const stranger = await otherOrg('Used up')
    await changeOrgSettings(fresh.db, stranger, { monthCapMicros: toMicros(1) })
    const input = inputOf({ categories: categories(0, 1), actor: stranger, upToCap: true })
    for (const one of [input, { ...input, sample: true }])
      await expect(createRun(fresh.db, one)).rejects.toMatchObject({ code: 'month.cap_reached' })
    const listed = [{ asin: 'B000000001', title: 'A kettle', priceCents: 2_000, rank: null }]
    const collect = { kind: 'list' as const, products: listed, label: 'One' }
    await expect(createRun(fresh.db, { ...input, collect })).rejects.toMatchObject({ code: 'month.cap_reached' })
    expect((await fresh.db.query('select from collection_runs where org_id = $1', [stranger.orgId])).rowCount).toBe(0)
  })

  it('is not refused at the low end itself', async () => {
    const { cost } = await estimateFor({ categories: categories(0, 2) })
    const { run } = await createRun(fresh.db, inputOf({ categories: categories(0, 2), cap: cost.low }))
    expect(run.status).toBe('pending')
    const below = inputOf({ categories: categories(0, 2), cap: cost.low - 1 })
    await expect(createRun(fresh.db, below)).rejects.toMatchObject({ code: 'run.cap_below_estimate' })
  })
})
