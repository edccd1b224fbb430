/** Suspect calls against the sandbox's own usage reports: released when the count leaves no room for them, else left. */
import { afterAll, beforeEach, describe, expect, it } from 'vitest'
import { toMicros } from '../../src/base/money.ts'
import { type Db, withTx } from '../../src/db/client.ts'
import { type Account, saveSandboxAccounts, withCredentials } from '../../src/engine/accounts.ts'
import { type ReconcileOptions, reconcileAccount, reconcileAtRest } from '../../src/engine/reconcile.ts'
import { resolveCalls } from '../../src/engine/resolve-calls.ts'
import { closeHttp } from '../../src/providers/http.ts'
import { searchAdapter } from '../../src/providers/registry.ts'
import type { SearchAnswer } from '../../src/providers/types.ts'
import type { RunSnapshot } from '../../src/runs/snapshot.ts'
import { type SandboxProcess, startSandboxProcess } from '../providers/sandbox-process.ts'
import { type Arena, makeArena } from './arena.ts'
import { book, claimSearches, finished } from './by-hand.ts'

let arena: Arena
let db: Db
let sandbox: SandboxProcess
let accounts: Account[]
let run: RunSnapshot
beforeEach(async () => {
  arena = await makeArena()
  db = arena.db
  sandbox = await startSandboxProcess()
  accounts = await saveSandboxAccounts(
    db,
    sandbox.url,
    (await sandbox.get('/sandbox/prices')) as Record<string, number>,
  )
  run = await arena.makeRun({ products: 20 })
  return async () => {
    await sandbox.stop()
    await arena.close()
  }
})
afterAll(closeHttp)

const account = (adapter: string) => {
  const found = accounts.find((one) => one.adapter === adapter)
  if (!found) throw new Error(adapter)
  return found
}
const reconcile = (adapter: string, more: Partial<ReconcileOptions> = {}) =>
  reconcileAccount(db, account(adapter), { actorId: null, env: {}, settleMs: 0, edgeMs: 0, ...more })

/** Searches with a real adapter and books what came, one after the other. Under `fault` the answers are lost. */
async function search(adapter: string, count: number, fault?: string): Promise<SearchAnswer[]> {
  const provider = adapter === 'oxylabs' ? 'oxylabs' : 'ebay'
  await sandbox.post(
    '/sandbox/faults',
    fault ? [{ provider, kind: fault, operation: provider === 'ebay' ? 'search' : 'ebay' }] : [],
  )
  const chosen = account(adapter)
  const price = chosen.prices[adapter === 'oxylabs' ? 'oxylabs.ebay' : 'ebay.search'] ?? toMicros(0)
  const workerId = await arena.makeWorker()
  const claim = { runId: run.id, workerId, accountId: chosen.id, slots: count, priceMicros: price, leaseMs: 1 }
  const claimed = await claimSearches(db, claim)
  expect(claimed).toHaveLength(count)
  const real = searchAdapter(withCredentials(chosen, {}))
  const filters = {
    conditionId: '1000',
    freeShipping: true,
    locatedIn: 'US',
    buyingOption: 'FIXED_PRICE',
    priceCents: null,
    currency: 'USD',
  } as const
  const answers: SearchAnswer[] = []
  for (const item of claimed) {
    const query = { kind: 'text', text: `teapot ${item.callId.slice(-4)}` } as const
    const answer = await real.search({ query, filters, limit: 10 }, { callId: item.callId, timeoutMs: 5_000 })
    answers.push(answer)
    await book(arena, run, finished(item, answer))
  }
  await db.query('update collection_items set not_before = null where run_id = $1 and status = $2', [run.id, 'pending'])
  return answers
}

describe.each(['oxylabs', 'ebay_browse'])('the report of %s', (adapter) => {
  it('that counts as many as were settled releases the suspect calls, by the report, and tells of it', async () => {
    await search(adapter, 3)
    await search(adapter, 2, 'reset_before')
    expect(await arena.look(run.id)).toMatchObject({ settledCalls: 3, suspectCalls: 2 })
    expect(await reconcile(adapter)).toEqual([
      expect.objectContaining({
        counted: 3,
        settled: 3,
        suspect: 2,
        resolved: 2,
        why: expect.stringContaining('no suspect call was charged'),
      }),
    ])
    expect(await arena.look(run.id)).toMatchObject({ releasedCalls: 2, suspectCalls: 0, suspectMicros: 0 })
    const told = await arena.rows(
      `select how, actor_id, verdict, note from collection_call_resolutions where call_id in
         (select id from collection_calls where run_id = $1) limit 1`,
      [run.id],
    )
    expect(told).toEqual([
      {
        how: 'report',
        actor_id: null,
        verdict: 'not_charged',
        note: 'The report counts 3, as many as answers have settled.',
      },
    ])
    const [event] = await arena.rows<{ data: unknown }>(
      `select data from collection_events where run_id = $1 and type = 'calls.resolved'`,
      [run.id],
    )
    expect(event?.data).toMatchObject({ how: 'report', calls: 2, report: { counted: 3 } })
    expect(await arena.rows('select from audit_log')).toEqual([])
    expect(await reconcile(adapter)).toEqual([])
  })

  it('that counts more settles nothing, and says by how much it differs', async () => {
    await search(adapter, 2)
    await search(adapter, 1, 'reset_after')
    await search(adapter, 2, 'reset_before')
    expect(await arena.look(run.id)).toMatchObject({ settledCalls: 2, suspectCalls: 3 })
    expect(await reconcile(adapter)).toEqual([
      expect.objectContaining({
        counted: 3,
        settled: 2,
        suspect: 3,
        resolved: 0,
        why: 'The report counts 1 more than answers have settled: up to 1 may have been charged.',
      }),
    ])
    expect(await arena.look(run.id)).toMatchObject({ suspectCalls: 3 })
  })

  it('does not take a person for proof', async () => {
    await search(adapter, 1)
    await search(adapter, 1, 'reset_after')
    await search(adapter, 1, 'reset_before')
    // Both suspect calls are called charged, one of them wrongly; then a third is lost, which was charged.
    const who = { runId: run.id, actorId: arena.actor.userId, calls: 'all', note: 'a guess' } as const
    await resolveCalls(db, { ...who, verdict: { kind: 'charged' } })
    await search(adapter, 1, 'reset_after')
    const [result] = await reconcile(adapter)
    expect(result).toMatchObject({ counted: 3, settled: 1, suspect: 1, resolved: 0 })
  })
})

describe('nothing is concluded', () => {
  it('while calls are in flight, or were sent a moment ago, or a worker may still tell', async () => {
    await search('oxylabs', 1)
    await search('oxylabs', 1, 'reset_before')
    const why = async (more: Partial<ReconcileOptions> = {}) => (await reconcile('oxylabs', more))[0]?.why
    expect(await why({ settleMs: 900_000 })).toMatch(/has to rest 1[45] more minutes/)
    const workerId = await arena.makeWorker()
    await claimSearches(db, {
      runId: run.id,
      workerId,
      accountId: account('oxylabs').id,
      slots: 1,
      priceMicros: toMicros(1),
    })
    expect(await why()).toContain('1 calls of the account are in flight')
    await arena.fresh.db.query(
      `update collection_calls set state = 'suspect', outcome = 'lost', error_code = 'worker_lost', booked_at = now(),
         lease_until = now() - interval '1 s' where run_id = $1 and state = 'held'`,
      [run.id],
    )
    expect(await why()).toContain('the worker that sent it is alive')
    expect(await arena.look(run.id)).toMatchObject({ suspectCalls: 2 })
  })

  it('from a report that counts fewer than answers have settled, or that nobody gives', async () => {
    await search('ebay_browse', 2)
    await search('ebay_browse', 1, 'reset_before')
    await sandbox.post('/sandbox/quota', { ebayUsed: 1 })
    expect((await reconcile('ebay_browse'))[0]?.why).toContain('1 fewer than answers have settled')
    await db.query(`update provider_accounts set base_url = 'http://127.0.0.1:9' where adapter = 'ebay_browse'`)
    const [away] = await reconcileAccount(
      db,
      { ...account('ebay_browse'), baseUrl: 'http://127.0.0.1:9' },
      { actorId: null, env: {}, settleMs: 0 },
    )
    expect(away).toMatchObject({ counted: null, resolved: 0 })
    expect(await arena.look(run.id)).toMatchObject({ suspectCalls: 1 })
  })

  it('when a call is made while the report is asked for', async () => {
    await search('oxylabs', 1)
    await search('oxylabs', 1, 'reset_before')
    await sandbox.post('/sandbox/latency', { ms: 2_000 })
    const asking = reconcile('oxylabs')
    const open = async () => ((await sandbox.get('/sandbox/stats')) as { open: number }).open
    await expect.poll(open, { timeout: 60_000, interval: 20 }).toBeGreaterThan(0)
    const workerId = await arena.makeWorker()
    await claimSearches(db, {
      runId: run.id,
      workerId,
      accountId: account('oxylabs').id,
      slots: 1,
      priceMicros: toMicros(1),
    })
    expect((await asking)[0]).toMatchObject({ resolved: 0, why: 'Calls were made meanwhile.' })
    expect(await arena.look(run.id)).toMatchObject({ suspectCalls: 1 })
  })

  it('from the report of a live account: it is told, and a person decides', async () => {
    await search('oxylabs', 1)
    await search('oxylabs', 1, 'reset_before')
    const live = { ...account('oxylabs'), sandbox: false }
    const env = { GLEANER_SANDBOX_OXYLABS_USER: 'sandbox-user', GLEANER_SANDBOX_OXYLABS_SECRET: 'sandbox-password' }
    const [result] = await reconcileAccount(db, live, { actorId: null, env, settleMs: 0 })
    expect(result).toMatchObject({
      counted: 1,
      settled: 1,
      suspect: 1,
      resolved: 0,
      why: expect.stringContaining('settles nothing by itself'),
    })
  })
})

describe("a day's count", () => {
  it('says nothing of calls near its beginning, by a clock that is not ours', async () => {
    await search('ebay_browse', 1)
    await search('ebay_browse', 1, 'reset_before')
    const [result] = await reconcile('ebay_browse', { edgeMs: 25 * 3_600_000 })
    expect(result).toMatchObject({ resolved: 0, why: 'The report begins after they were sent.' })
  })
})

describe('a worker', () => {
  it('leaves accounts alone that do not rest, and settles those that do', async () => {
    await search('oxylabs', 1)
    await search('oxylabs', 1, 'reset_before')
    expect(await reconcileAtRest(db, {})).toEqual([])
    // Triggers keep anybody from moving a hold in time.
    await withTx(arena.fresh.db, async (tx) => {
      await tx.query('set local session_replication_role = replica')
      await tx.query(
        `update collection_calls set held_at = held_at - interval '1 hour', lease_until = lease_until - interval '1 hour'`,
      )
    })
    const both = await Promise.all([reconcileAtRest(db, {}), reconcileAtRest(db, {})])
    expect(both.flat()).toMatchObject([{ account: 'sandbox-oxylabs', resolved: 1 }])
    expect(await arena.look(run.id)).toMatchObject({ suspectCalls: 0, releasedCalls: 1 })
  })
})
