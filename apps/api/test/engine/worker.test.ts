import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { toMicros } from '../../src/base/money.ts'
import { saveAccount } from '../../src/engine/accounts.ts'
import { type Actor, actorFor } from '../../src/engine/bootstrap.ts'
import { createRun } from '../../src/engine/create.ts'
import { resumeRun } from '../../src/engine/run-acts.ts'
import { startRun } from '../../src/engine/start.ts'
import { type RunSnapshot, runSnapshot } from '../../src/runs/snapshot.ts'
import { startWorker, type Worker } from '../../src/worker/worker.ts'
import { type FreshDb, freshDb } from '../support/db.ts'

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
    env: {},
  })
  return startRun(fresh.db, run.id)
}

async function withWorker(
  env: NodeJS.ProcessEnv,
  work: (said: (text: string) => Promise<void>, worker: Worker) => Promise<void>,
): Promise<void> {
  const lines: string[] = []
  const waiting = new Set<() => void>()
  const log = (message: string, facts?: unknown): void => {
    lines.push(`${message} ${JSON.stringify(facts)}`)
    for (const wake of waiting) wake()
  }
  const worker = await startWorker({ db: fresh.db, env, version: 'test', log })
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

  it('leaves a run alone whose credentials it does not have: another worker may have them', async () => {
    const run = await runningRun('not-mine')
    await withWorker({}, (said) => said('not-mine has no credentials'))
    expect(await runSnapshot(fresh.db, run.id)).toMatchObject({ status: 'running', pendingItems: 2, heldCalls: 0 })
  })
})
