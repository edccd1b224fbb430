/** A quota others use too: the provider's own count of the day is read, and calls stop before it refuses them. */
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { withTx } from '../../src/db/client.ts'
import { readDays } from '../../src/engine/read-days.ts'
import { cancelRun } from '../../src/engine/run-acts.ts'
import { correctDay } from '../../src/governor/day.ts'
import { closeHttp } from '../../src/providers/http.ts'
import { runSnapshot } from '../../src/runs/snapshot.ts'
import { startWorker, type Worker } from '../../src/worker/worker.ts'
import { type FreshDb, freshDb } from '../support/db.ts'
import { expectClean } from './arena.ts'
import { type Marketplace, makeMarketplace } from './sandbox-run.ts'
import { until } from './worker-process.ts'

const CAP = 50_000_000

let fresh: FreshDb
let market: Marketplace
let account: string
const workers: Worker[] = []
beforeAll(async () => {
  fresh = await freshDb()
  market = await makeMarketplace(fresh.db)
  account = market.accounts.search.id
})
beforeEach(async () => {
  await market.sandbox.post('/sandbox/reset')
  await market.sandbox.post('/sandbox/quota', { ebayDailyQuota: 1_000 })
  await fresh.db.query('update provider_accounts set calls_per_day = 1000 where id = $1', [account])
  await govern(`day_calls = 0, day_ends_at = 'epoch', day_read_at = 'epoch', quota_until = 'epoch', health = 'healthy'`)
})
afterEach(async () => {
  await Promise.all(workers.splice(0).map((worker) => worker.stop()))
  const { rows } = await fresh.db.query<{ id: string }>(
    `select id from collection_runs where status in ('running', 'paused')`,
  )
  for (const { id } of rows) await cancelRun(fresh.db, id)
})
afterAll(async () => {
  await closeHttp()
  await market?.sandbox.stop()
  await fresh?.close()
})

const govern = (set: string) => fresh.db.query(`update provider_governors set ${set} where account_id = $1`, [account])
async function governor(): Promise<{ dayCalls: number; endsInMs: number; until: Date; quotaUntil: Date }> {
  const { rows } = await fresh.db.query<{ dayCalls: number; endsInMs: number; until: Date; quotaUntil: Date }>(
    `select day_calls as "dayCalls", extract(epoch from day_ends_at - now())::float8 * 1000 as "endsInMs",
       day_ends_at as until, quota_until as "quotaUntil" from provider_governors where account_id = $1`,
    [account],
  )
  return rows[0] as never
}
const quota = (wanted: object) => market.sandbox.post('/sandbox/quota', wanted)
async function providerDay(): Promise<{ used: number; resetAt: string }> {
  return ((await market.sandbox.get('/sandbox/quota')) as { ebay: { used: number; resetAt: string } }).ebay
}
/** Answers of the sandbox by operation and fate since it began, e.g. `rate_limit.free`. */
async function answers(name: string): Promise<number> {
  const stats = (await market.sandbox.get('/sandbox/stats')) as {
    providers: { ebay?: { operations: Record<string, number> } }
  }
  return stats.providers.ebay?.operations[name] ?? 0
}
async function begin(): Promise<void> {
  const db = await fresh.connect({ role: 'service_role', max: 6 })
  workers.push(await startWorker({ db, env: {}, version: 'test', log: () => {} }))
}
const reaches = (id: string, status: string) =>
  until(fresh.db, 'select from collection_runs where id = $1 and status = $2', [id, status])
const read = () => readDays({ db: fresh.db, env: {}, log: () => {} }, [account])

describe('the count of the day', () => {
  it('of the provider ends a run where others have used the quota, before a call is refused', async () => {
    await quota({ ebayDailyQuota: 1_000, ebayUsed: 993 })
    const refused = await answers('search.refused')
    const run = await market.startOn({ products: 30, cap: CAP })
    await begin()
    await reaches(run.id, 'paused')
    await until(fresh.db, 'select from collection_runs where id = $1 and held_calls = 0', [run.id])
    const { resetAt, used } = await providerDay()
    expect(used).toBe(1_000)
    expect(await answers('search.refused')).toBe(refused)
    const paused = await runSnapshot(fresh.db, run.id)
    expect(paused).toMatchObject({ pauseReason: 'quota', settledCalls: 7, releasedCalls: 0 })
    expect(paused?.resumeAt?.toISOString()).toBe(resetAt)
    await expectClean(fresh.db, { runIds: [run.id] })
  })

  it('is corrected upward only, and its day ends when the provider says', async () => {
    await market.startOn({ products: 3, cap: CAP })
    await quota({ ebayUsed: 40 })
    const { resetAt } = await providerDay()
    // Another end of the same day, whatever the hour is.
    await govern(`day_calls = 90, day_ends_at = '${resetAt}'::timestamptz + interval '7 minutes'`)
    await read()
    expect(await governor()).toMatchObject({ dayCalls: 90, until: new Date(resetAt) })
    await quota({ ebayUsed: 120 })
    await govern(`day_read_at = 'epoch'`)
    await read()
    expect(await governor()).toMatchObject({ dayCalls: 120 })
  })

  it('is asked for at most once in five minutes for an account, by all workers together', async () => {
    const before = await answers('rate_limit.free')
    const runs = [await market.startOn({ products: 20, cap: CAP }), await market.startOn({ products: 20, cap: CAP })]
    await begin()
    await begin()
    for (const { id } of runs) await reaches(id, 'completed')
    expect((await answers('rate_limit.free')) - before).toBe(1)
    await market.startOn({ products: 1, cap: CAP })
    await govern(`day_read_at = now() - interval '299 seconds'`)
    await read()
    expect((await answers('rate_limit.free')) - before).toBe(1)
    await govern(`day_read_at = now() - interval '301 seconds'`)
    await Promise.all([read(), read(), read()])
    expect((await answers('rate_limit.free')) - before).toBe(2)
  })

  it.each([
    ['may not be asked for', { kind: 'forbidden' }],
    ['is not told', { kind: 'server_error', status: 503 }],
    ['is garbled', { kind: 'garbage' }],
  ])('that %s changes nothing', async (_, fault) => {
    await market.sandbox.post('/sandbox/faults', [{ provider: 'ebay', operation: 'rate_limit', ...fault }])
    const run = await market.startOn({ products: 5, cap: CAP })
    await begin()
    await reaches(run.id, 'completed')
    expect(await runSnapshot(fresh.db, run.id)).toMatchObject({ blockedItems: 0, suspectCalls: 0 })
    const asked = await fresh.db.query(
      `select from provider_governors where account_id = $1 and day_read_at > 'epoch'`,
      [account],
    )
    expect(asked.rowCount).toBe(1)
  })

  it('is not asked for where there is no quota of the day', async () => {
    await fresh.db.query('update provider_accounts set calls_per_day = null where id = $1', [account])
    const before = await answers('rate_limit.free')
    const run = await market.startOn({ products: 5, cap: CAP })
    await begin()
    await reaches(run.id, 'completed')
    expect(await answers('rate_limit.free')).toBe(before)
  })
})

describe('a report', () => {
  const HOUR_MS = 3_600_000
  const correct = async (endsInMs: number, day: { used: number; usedUp?: boolean; resetInMs: number }) => {
    await govern(`day_calls = 50, day_ends_at = now() + ${endsInMs} * interval '1 ms', quota_until = 'epoch'`)
    const { rows } = await fresh.db.query<{ now: Date }>('select now() as now')
    const resetAt = new Date((rows[0] as { now: Date }).now.getTime() + day.resetInMs)
    await withTx(fresh.db, (tx) => correctDay(tx, account, { used: day.used, usedUp: day.usedUp ?? false, resetAt }))
    return governor()
  }

  it('of the same day raises the count', async () => {
    const after = await correct(3 * HOUR_MS, { used: 70, resetInMs: 4 * HOUR_MS })
    expect(after.dayCalls).toBe(70)
    expect(after.endsInMs).toBeGreaterThan(3.9 * HOUR_MS)
  })

  it('of the next day begins the count anew, though our own day has a moment left', async () => {
    expect((await correct(5_000, { used: 3, resetInMs: 24 * HOUR_MS })).dayCalls).toBe(3)
  })

  it('after our day is over is the new count', async () => {
    expect((await correct(-5_000, { used: 3, resetInMs: 20 * HOUR_MS })).dayCalls).toBe(3)
  })

  it.each([
    ['of a day that is over', -1_000],
    ['whose day has no end in sight', 27 * HOUR_MS],
  ])('%s changes nothing', async (_, resetInMs) => {
    expect((await correct(3 * HOUR_MS, { used: 900, resetInMs })).dayCalls).toBe(50)
  })

  it('that the day is used up bars the account until its end, whatever limit we were told', async () => {
    const { quotaUntil, until } = await correct(3 * HOUR_MS, { used: 60, usedUp: true, resetInMs: 3 * HOUR_MS })
    expect(quotaUntil).toEqual(until)
  })
})
