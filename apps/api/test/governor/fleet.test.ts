/** The governor at work: several workers, a real sandbox, and its own count of what arrived. */
import { afterAll, afterEach, beforeAll, beforeEach, expect, it } from 'vitest'
import { cancelRun, pauseRun } from '../../src/engine/run-acts.ts'
import { type RunSnapshot, runSnapshot } from '../../src/runs/snapshot.ts'
import { startWorker, type Worker } from '../../src/worker/worker.ts'
import { expectClean } from '../engine/arena.ts'
import { type Marketplace, makeMarketplace } from '../engine/sandbox-run.ts'
import { until } from '../engine/worker-process.ts'
import { type FreshDb, freshDb } from '../support/db.ts'

const CAP = 50_000_000

let fresh: FreshDb
let market: Marketplace
const workers: Worker[] = []

beforeAll(async () => {
  fresh = await freshDb()
  market = await makeMarketplace(fresh.db)
})
beforeEach(async () => {
  await market.sandbox.post('/sandbox/reset')
  await allow('max_in_flight = 50, max_per_second = null, calls_per_day = null')
  await fresh.db.query(`update provider_governors set window_calls = 10, steep_below = 1000000, slot_at = 'epoch',
    rest_until = 'epoch', quota_until = 'epoch', day_ends_at = 'epoch', day_calls = 0, day_read_at = now(),
    health = 'healthy', recent = ''`)
})
afterEach(async () => {
  await Promise.all(workers.splice(0).map((worker) => worker.stop()))
  const { rows } = await fresh.db.query<{ id: string }>(
    `select id from collection_runs where status in ('pending', 'running', 'paused')`,
  )
  for (const { id } of rows) await cancelRun(fresh.db, id)
})
afterAll(async () => {
  await market?.sandbox.stop()
  await fresh?.close()
})

const allow = (set: string) =>
  fresh.db.query(`update provider_accounts set ${set} where id = $1`, [market.accounts.search.id])
const govern = (set: string) =>
  fresh.db.query(`update provider_governors set ${set} where account_id = $1`, [market.accounts.search.id])
const faults = (...rules: object[]) => market.sandbox.post('/sandbox/faults', { rules })

async function fleet(size: number): Promise<void> {
  for (let k = 0; k < size; k++) {
    const db = await fresh.connect({ role: 'service_role', max: 6 })
    workers.push(await startWorker({ db, env: {}, version: 'test', log: () => {} }))
  }
}

async function reaches(run: RunSnapshot, status: string): Promise<RunSnapshot> {
  await until(fresh.db, `select from collection_runs where id = $1 and status = '${status}'`, [run.id])
  return (await runSnapshot(fresh.db, run.id)) as RunSnapshot
}

type Stats = Readonly<{
  rate: { ebay: { arrivals: number; passed: number; busiestSecond: number } }
  providers: { ebay?: { peak: number } }
}>
const stats = async () => (await market.sandbox.get('/sandbox/stats')) as Stats

it('keeps one rate over four workers, by the count of the provider', async () => {
  await allow('max_per_second = 30')
  // A tenth of room: what is proved here is that four workers keep one rate, not how well this machine keeps time.
  await market.sandbox.post('/sandbox/quota', { ebayPerSecond: 33 })
  await market.sandbox.post('/sandbox/latency', { ms: 100 })
  const before = await stats()
  const run = await market.startOn({ products: 120, cap: CAP })
  await fleet(4)
  const done = await reaches(run, 'completed')
  const after = await stats()
  expect(after.rate.ebay.passed - before.rate.ebay.passed).toBe(0)
  expect(after.rate.ebay.busiestSecond).toBeLessThanOrEqual(33)
  expect(after.rate.ebay.arrivals - before.rate.ebay.arrivals).toBe(done.settledCalls)
  const [spread] = (
    await fresh.db.query<{ workers: number }>(
      'select count(distinct worker_id)::int as workers from collection_calls where run_id = $1',
      [run.id],
    )
  ).rows
  expect(spread?.workers).toBeGreaterThan(1)
  await market.sandbox.post('/sandbox/quota', { ebayPerSecond: 1_000_000 })
})

it('keeps one limit of calls in flight over four workers', async () => {
  await allow('max_in_flight = 12')
  await market.sandbox.post('/sandbox/latency', { ms: 80 })
  const run = await market.startOn({ products: 150, cap: CAP })
  await fleet(4)
  let most = 0
  for (let status = 'running'; status === 'running'; ) {
    const now = (await runSnapshot(fresh.db, run.id)) as RunSnapshot
    most = Math.max(most, now.heldCalls)
    status = now.status
  }
  expect(most).toBeLessThanOrEqual(12)
  expect(most).toBeGreaterThan(6)
  expect((await reaches(run, 'completed')).suspectCalls).toBe(0)
})

it('holds no call after the commit of a pause; how soon it is silent is measured by bench/pause.ts', async () => {
  await allow('max_per_second = 60')
  const run = await market.startOn({ products: 250, cap: CAP })
  await fleet(3)
  await until(fresh.db, 'select from collection_runs where id = $1 and settled_calls > 30', [run.id])
  await pauseRun(fresh.db, run.id, { reason: 'operator' })
  const { rows } = await fresh.db.query<{ at: string }>('select clock_timestamp()::text as at')
  await until(fresh.db, 'select from collection_runs where id = $1 and held_calls = 0', [run.id])
  await until(fresh.db, `select where clock_timestamp() > $1::timestamptz + interval '1 second'`, [rows[0]?.at])
  const later = await fresh.db.query('select from collection_calls where run_id = $1 and held_at > $2::timestamptz', [
    run.id,
    rows[0]?.at,
  ])
  expect(later.rowCount).toBe(0)
  expect((await runSnapshot(fresh.db, run.id))?.status).toBe('paused')
})

it('goes on for days by itself when the quota of a day is not enough', async () => {
  await allow('calls_per_day = 20')
  const run = await market.startOn({ products: 45, cap: CAP })
  await fleet(2)
  for (let day = 1; ; day++) {
    await until(fresh.db, `select from collection_runs where id = $1 and status <> 'running' and held_calls = 0`, [
      run.id,
    ])
    const now = (await runSnapshot(fresh.db, run.id)) as RunSnapshot
    expect(now.settledCalls).toBeLessThanOrEqual(20 * day)
    if (now.status === 'completed') break
    expect(now).toMatchObject({ status: 'paused', pauseReason: 'quota', settledCalls: 20 * day })
    expect(now.pauseNote).toMatch(
      /^The account's 20 calls a day are used\. About \d+ calls are left to make: [1-6] more days?, /,
    )
    // Midnight comes.
    await govern(`day_ends_at = now() - interval '1 second'`)
    await fresh.db.query('update collection_runs set resume_at = now() where id = $1', [run.id])
    await until(fresh.db, `select from collection_runs where id = $1 and status <> 'paused'`, [run.id])
  }
  await expectClean(fresh.db, { billing: { origin: market.sandbox.url, exclusive: true } })
})

it('takes a used-up quota from the provider itself, for all runs of the account', async () => {
  await faults({ provider: 'ebay', kind: 'quota' })
  const [first, second] = [
    await market.startOn({ products: 30, cap: CAP }),
    await market.startOn({ products: 30, cap: CAP }),
  ]
  await fleet(2)
  for (const run of [first, second]) {
    const paused = await reaches(run, 'paused')
    expect(paused).toMatchObject({ pauseReason: 'quota', spentMicros: 0 })
    expect(paused.resumeAt?.getTime()).toBeGreaterThan(Date.now() + 50_000)
  }
})

it('leaves a provider alone for as long as it asks', async () => {
  await faults({ provider: 'ebay', operation: 'search', kind: 'throttled', retryAfterS: 2, times: 1 })
  const run = await market.startOn({ products: 30, cap: CAP })
  await fleet(2)
  const done = await reaches(run, 'completed')
  const { rows } = await fresh.db.query<{ gap: number }>(
    `select extract(epoch from min(c.held_at) - max(t.booked_at))::float8 as gap
     from collection_calls t join collection_calls c on c.run_id = t.run_id and c.held_at > t.booked_at + interval '0.2 s'
     where t.run_id = $1 and t.outcome = 'throttled'`,
    [run.id],
  )
  expect(done.blockedItems).toBe(0)
  expect(rows[0]?.gap).toBeGreaterThan(1.5)
})

it('stops a failing provider, probes it, tests it with one call at a time, and goes on by itself', async () => {
  await faults({ provider: 'ebay', operation: 'search', kind: 'server_error', status: 503 })
  const run = await market.startOn({ products: 60, cap: CAP })
  await fleet(2)
  await reaches(run, 'paused')
  await until(fresh.db, 'select from collection_runs where id = $1 and held_calls = 0', [run.id])
  const paused = (await runSnapshot(fresh.db, run.id)) as RunSnapshot
  expect(paused).toMatchObject({ pauseReason: 'provider', spentMicros: 0 })
  expect(paused.pauseNote).toContain('without an answer')
  expect(paused.releasedCalls).toBeLessThan(40)

  // The free probe succeeds, the search still fails: one call, and it is stopped again, for longer.
  await govern('probe_at = now()')
  await until(
    fresh.db,
    `select from provider_governors where account_id = $1 and health = 'stopped' and stops_in_row = 2`,
    [market.accounts.search.id],
  )
  expect((await runSnapshot(fresh.db, run.id))?.releasedCalls).toBeLessThanOrEqual(paused.releasedCalls + 2)

  await faults()
  await reaches(run, 'paused')
  await govern('probe_at = now()')
  const done = await reaches(run, 'completed')
  expect(done).toMatchObject({ blockedItems: 0, suspectCalls: 0 })
  await expectClean(fresh.db, { billing: { origin: market.sandbox.url, exclusive: true } })
})

it('a paused run is not resumed by the clock while its account is stopped', async () => {
  const run = await market.startOn({ products: 5, cap: CAP })
  await pauseRun(fresh.db, run.id, { reason: 'provider', resumeAt: new Date(0), note: 'Down.' })
  await govern(`health = 'stopped', stopped_at = now(), probe_at = now() + interval '1 hour'`)
  await fleet(1)
  await until(
    fresh.db,
    `select from collection_workers where stopped_at is null and heartbeat_at > started_at + interval '3 seconds'`,
  )
  expect((await runSnapshot(fresh.db, run.id))?.status).toBe('paused')
  await govern('probe_at = now()')
  await reaches(run, 'completed')
})
