/** What the governor's row gives out, claim by claim, straight at the database. */
import { beforeEach, expect, it } from 'vitest'
import { newId } from '../../src/base/ids.ts'
import { withTxRetry } from '../../src/db/client.ts'
import { type ClaimedItem, claimItems, type Slice } from '../../src/ledger/claim.ts'
import type { RunSnapshot } from '../../src/runs/snapshot.ts'
import { PRICE } from '../engine/arena.ts'
import { useArena } from '../engine/use-arena.ts'

const arena = useArena()
beforeEach(async () => {
  await arena.db.query(`update collection_calls set state = 'released', outcome = 'unsent', booked_at = clock_timestamp()
    where state = 'held'`)
  await arena.db.query(
    `update collection_runs set status = 'cancelled' where status in ('running', 'paused', 'pending')`,
  )
  await govern(`window_calls = 10000, slot_at = 'epoch', rest_until = 'epoch', quota_until = 'epoch', day_ends_at = 'epoch',
    day_calls = 0, health = 'healthy', recent = ''`)
  await allow('max_in_flight = 10000, max_per_second = null, calls_per_day = null')
})

const govern = (set: string) =>
  arena.db.query(`update provider_governors set ${set} where account_id = $1`, [arena.search.id])
const allow = (set: string) => arena.db.query(`update provider_accounts set ${set} where id = $1`, [arena.search.id])

function claim(run: RunSnapshot, slots: number): Promise<Slice<ClaimedItem>> {
  const callIds = Array.from({ length: slots }, newId)
  const wanted = {
    runId: run.id,
    workerId: newId(),
    accountId: arena.search.id,
    callIds,
    priceMicros: PRICE,
    leaseMs: 60_000,
  }
  return withTxRetry(arena.db, (tx) => claimItems(tx, wanted))
}

async function otherOrg(): Promise<string> {
  const [row] = await arena.rows<{ id: string }>(`insert into orgs (name) values ('Other') returning id`)
  return row?.id ?? ''
}

it('gives no more than the window, over all workers, and says so', async () => {
  await govern('window_calls = 7.9')
  const run = await arena.makeRun({ products: 50 })
  const slices = await Promise.all(Array.from({ length: 12 }, () => claim(run, 5)))
  expect(slices.flatMap(({ claimed }) => claimed)).toHaveLength(7)
  const refused = await claim(run, 1)
  expect(refused).toMatchObject({ claimed: [], room: { reason: 'window' } })
  await allow('max_in_flight = 3')
  expect((await claim(run, 1)).claimed).toEqual([])
})

it('shares the window evenly between organisations, whoever has more runs or comes first', async () => {
  await govern('window_calls = 20')
  const mine = await Promise.all(Array.from({ length: 4 }, () => arena.makeRun({ products: 40 })))
  const theirs = await arena.makeRun({ products: 40, orgId: await otherOrg() })
  const counts: number[] = []
  for (const run of mine) counts.push((await claim(run, 40)).claimed.length)
  expect(counts.reduce((sum, count) => sum + count, 0)).toBe(10)
  // What does not divide evenly goes to whoever comes first.
  expect(Math.min(...counts)).toBe(2)
  expect((await claim(theirs, 40)).claimed).toHaveLength(10)
})

it('leaves to the others what an organisation does not want', async () => {
  await govern('window_calls = 20')
  const small = await arena.makeRun({ products: 3, orgId: await otherOrg() })
  const large = await arena.makeRun({ products: 40 })
  expect((await claim(large, 40)).claimed).toHaveLength(17)
  expect((await claim(small, 40)).claimed).toHaveLength(3)
})

it('lets every run have one call in turn when there are more runs than places', async () => {
  await govern('window_calls = 3')
  const runs = await Promise.all(Array.from({ length: 6 }, () => arena.makeRun({ products: 10 })))
  const counts: number[] = []
  for (const run of runs) counts.push((await claim(run, 10)).claimed.length)
  expect(counts).toEqual([1, 1, 1, 0, 0, 0])
})

it('a rate gives each call its own moment, one spacing after the other, over all workers', async () => {
  await allow('max_per_second = 100')
  const run = await arena.makeRun({ products: 400 })
  const slices = await Promise.all(Array.from({ length: 8 }, () => claim(run, 100)))
  const moments = slices.flatMap(({ claimed }) => claimed.map(({ sendAtMs }) => sendAtMs ?? 0)).sort((a, b) => a - b)
  // 150 ms ahead at 98.5 a second.
  expect(moments.length).toBeGreaterThanOrEqual(14)
  for (let k = 1; k < moments.length; k++) {
    expect((moments[k] ?? 0) - (moments[k - 1] ?? 0)).toBeGreaterThan(1000 / 98.5 - 0.01)
  }
  await govern(`slot_at = now() + interval '1 hour'`)
  expect(await claim(run, 100)).toMatchObject({ claimed: [], room: { reason: 'rate' } })
})

it('a rate gathers no burst while nothing is sent', async () => {
  await allow('max_per_second = 10')
  await govern(`slot_at = now() - interval '1 hour'`)
  const run = await arena.makeRun({ products: 50 })
  expect((await claim(run, 50)).claimed.length).toBeLessThanOrEqual(2)
})

it('rivals for a rate take turns', async () => {
  await allow('max_per_second = 100')
  const first = await arena.makeRun({ products: 50 })
  const second = await arena.makeRun({ products: 50, orgId: await otherOrg() })
  const got = [(await claim(first, 50)).claimed.length, (await claim(second, 50)).claimed.length]
  expect(Math.max(...got)).toBeLessThanOrEqual(9)
  expect(Math.min(...got)).toBeGreaterThan(0)
})

it("a day's quota is counted over all runs and begins anew at midnight of its zone", async () => {
  await allow('calls_per_day = 10')
  const [first, second] = [await arena.makeRun({ products: 8 }), await arena.makeRun({ products: 8 })]
  expect((await claim(first, 8)).claimed).toHaveLength(8)
  expect((await claim(second, 8)).claimed).toHaveLength(2)
  const refused = await claim(second, 8)
  expect(refused.room).toMatchObject({ reason: 'quota', note: "The account's 10 calls a day are used." })
  const [midnight] = await arena.rows<{ at: string }>(
    `select to_char($1::timestamptz at time zone 'America/Los_Angeles', 'HH24:MI:SS') as at`,
    [refused.room.until],
  )
  expect(midnight?.at).toBe('00:00:00')
  expect(refused.room.until?.getTime()).toBeGreaterThan(refused.room.nowMs)
  await govern(`day_ends_at = now() - interval '1 second'`)
  expect((await claim(second, 8)).claimed).toHaveLength(6)
})

it('nothing is given while the account is stopped, out of quota or resting, and one call at a time while it is tested', async () => {
  const run = await arena.makeRun({ products: 5 })
  await govern(`health = 'stopped', stopped_at = now(), probe_at = now() + interval '9 seconds', trouble = 'Down.'`)
  expect(await claim(run, 5)).toMatchObject({ claimed: [], room: { reason: 'stopped', note: 'Down.' } })
  await govern(`health = 'testing', stopped_at = null, probe_at = null`)
  expect((await claim(run, 5)).claimed).toHaveLength(1)
  expect((await claim(run, 5)).claimed).toHaveLength(0)
  await govern(`health = 'healthy', quota_until = now() + interval '1 hour'`)
  expect((await claim(run, 5)).room.reason).toBe('quota')
  await govern(`quota_until = 'epoch', rest_until = now() + interval '1 hour'`)
  expect((await claim(run, 5)).room).toMatchObject({ reason: 'rest', waitMs: 1_000 })
})
