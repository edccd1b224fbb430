import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { toMicros } from '../../src/base/money.ts'
import { saveAccount } from '../../src/engine/accounts.ts'
import { type Actor, actorFor } from '../../src/engine/bootstrap.ts'
import { createRun } from '../../src/engine/create.ts'
import { resumeRun } from '../../src/engine/run-acts.ts'
import { startRun } from '../../src/engine/start.ts'
import { type RunSnapshot, runSnapshot } from '../../src/runs/snapshot.ts'
import { startWorker, type Worker, type WorkerOptions } from '../../src/worker/worker.ts'
import { type FreshDb, freshDb } from '../support/db.ts'
import { until } from './worker-process.ts'

let fresh: FreshDb
let actor: Actor
beforeAll(async () => {
  fresh = await freshDb()
  actor = await actorFor(fresh.db)
})
afterAll(() => fresh.close())

/** A running run over two products at a live account; nothing listens at its address. */
async function runningRun(name: string): Promise<RunSnapshot> {
  const search = await saveAccount(fresh.db, {
    name,
    adapter: 'ebay_browse',
    baseUrl: 'http://127.0.0.1:9',
    sandbox: false,
    prices: { 'ebay.search': toMicros(5_000) },
  })
  const products = ['B000000001', 'B000000002'].map((asin) => ({
    asin,
    title: 'Insulated steel travel mug',
    priceCents: 1999,
    rank: null,
  }))
  const { run } = await createRun(fresh.db, {
    actor,
    collect: { kind: 'list', products, label: name },
    accounts: { list: null, search },
  })
  return startRun(fresh.db, run.id)
}

async function withWorker(
  env: NodeJS.ProcessEnv,
  work: (said: (text: string) => Promise<void>, worker: Worker) => Promise<void>,
  more: Partial<WorkerOptions> = {},
): Promise<void> {
  const lines: string[] = []
  const waiting = new Set<() => void>()
  const log = (message: string, facts?: unknown): void => {
    lines.push(`${message} ${JSON.stringify(facts)}`)
    for (const wake of waiting) wake()
  }
  const worker = await startWorker({ db: fresh.db, env, version: 'test', log, ...more })
  const said = async (text: string): Promise<void> => {
    while (!lines.some((line) => line.includes(text))) {
      await new Promise<void>((resolve) => waiting.add(resolve))
    }
  }
  try {
    await work(said, worker)
  } finally {
    await worker.stop()
  }
}

describe('a worker', () => {
  it('pauses a run whose price is gone, saying so, and it can go on when there is one again', async () => {
    const run = await runningRun('price-gone')
    await fresh.db.query('delete from provider_prices')
    await withWorker({ GLEANER_PRICE_GONE_USER: 'u', GLEANER_PRICE_GONE_SECRET: 's' }, (said) => said('has no price'))
    const paused = await runSnapshot(fresh.db, run.id)
    expect(paused).toMatchObject({ status: 'paused', pauseReason: 'provider', resumeAt: null, settledCalls: 0 })
    expect(paused?.pauseNote).toMatch(/price-gone has no price for a search.*gleaner accounts price/)
    await saveAccount(fresh.db, {
      name: 'price-gone',
      adapter: 'ebay_browse',
      baseUrl: 'http://127.0.0.1:9',
      sandbox: false,
      prices: { 'ebay.search': toMicros(5_000) },
    })
    expect(await resumeRun(fresh.db, run.id)).toMatchObject({ status: 'running' })
  })

  it('pauses a run nobody has credentials for, saying so, and it goes on by itself once a worker has them', async () => {
    const run = await runningRun('not-mine')
    const reaches = (status: string) =>
      until(fresh.db, 'select from collection_runs where id = $1 and status = $2', [run.id, status])
    const heart = { deadAfterMs: 1_500 }
    await withWorker({}, () => reaches('paused'), heart)
    const paused = await runSnapshot(fresh.db, run.id)
    expect(paused).toMatchObject({ pauseReason: 'provider', pauseUnserved: true, releasedCalls: 0, heldCalls: 0 })
    expect(paused?.pauseNote).toMatch(/^No worker has credentials for not-mine\. Set GLEANER_NOT_MINE_USER and/)
    const had = await fresh.db.query('select from collection_lanes where run_id = $1', [run.id])
    expect(had.rowCount).toBe(0)
    await withWorker({ GLEANER_NOT_MINE_USER: 'u', GLEANER_NOT_MINE_SECRET: 's' }, () => reaches('running'), heart)
    expect(await runSnapshot(fresh.db, run.id)).toMatchObject({ status: 'running', pauseUnserved: false })
  })
})
