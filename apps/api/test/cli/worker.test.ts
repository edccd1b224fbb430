/** The command `gleaner worker` as a process: how it leaves, which schemas it works with, and that its clock does not matter. */
import { cpSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { assertCurrent } from '../../src/db/migrate.ts'
import { MIGRATIONS_DIR, readMigrations } from '../../src/db/migration-files.ts'
import { applySchema } from '../../src/deps.ts'
import { pauseRun } from '../../src/engine/run-acts.ts'
import type { RunSnapshot } from '../../src/runs/snapshot.ts'
import { startWorker, type Worker } from '../../src/worker/worker.ts'
import { until } from '../engine/worker-process.ts'
import { makeScene, type Scene } from '../proofs/scene.ts'
import { wireTo } from '../support/proxy.ts'
import { type Installation, installation, type Running } from './support.ts'

const CAP = 60_000_000

let scene: Scene
let place: Installation
const inside: Worker[] = []
const processes: Running[] = []

beforeEach(async () => {
  scene = await makeScene()
  place = installation({ DATABASE_URL: scene.fresh.url })
})
afterEach(async () => {
  for (const { child } of processes.splice(0)) child.kill('SIGKILL')
  await Promise.all(inside.splice(0).map((worker) => worker.stop(0)))
  await scene.close()
  await place.remove()
})

type Begun = Running & Readonly<{ id: string; signal: (signal: NodeJS.Signals) => void }>

/** Resolves once the query has a row; fails at once when a worker ended that nobody told to. */
const seen = (sql: string, values: readonly unknown[]) =>
  until(scene.fresh.db, sql, values, {
    vain: () => (processes.some(endedByItself) ? 'a worker has ended' : null),
  })
const endedByItself = ({ child }: Running): boolean =>
  !child.killed && (child.exitCode !== null || child.signalCode !== null)

/** Starts the command; resolves when the worker is registered. */
async function begin(args: readonly string[] = [], from: Installation = place): Promise<Begun> {
  const running = from.start('--json', 'worker', ...args)
  processes.push(running)
  const { worker } = JSON.parse(await running.line((line) => line.includes('worker'))) as { worker: string }
  return { ...running, id: worker, signal: (signal) => void running.child.kill(signal) }
}

/** A worker of this process: what comes after. */
async function heir(): Promise<Worker> {
  const worker = await startWorker({ db: scene.fresh.db, env: {}, version: 'heir', log: () => {} })
  inside.push(worker)
  return worker
}

const faults = (rules: readonly object[]) => scene.market.sandbox.post('/sandbox/faults', rules)
const held = (run: RunSnapshot, least: number) =>
  seen('select from collection_runs where id = $1 and held_calls >= $2', [run.id, least])
/** Heartbeats from now on: each worker has looked after everything since. */
async function beats(count: number): Promise<void> {
  const { rows } = await scene.fresh.db.query<{ now: Date }>(`select now() + $1 * interval '1 s' as now`, [count])
  await seen('select having (select min(heartbeat_at) from collection_workers where stopped_at is null) > $1', [
    rows[0]?.now,
  ])
}

async function expectCompleted(run: RunSnapshot): Promise<void> {
  expect(await scene.end(run)).toMatchObject({ status: 'completed', heldCalls: 0, pendingItems: 0, blockedItems: 0 })
  for (const worker of inside.splice(0)) await worker.stop()
  await scene.check()
}

describe('stopping', () => {
  it('books what is in flight, gives the rest back and ends with 0', async () => {
    await scene.latency(1_000)
    const run = await scene.market.startOn({ products: 60, cap: CAP })
    const worker = await begin()
    await held(run, 5)
    worker.signal('SIGTERM')
    expect(await worker.ended).toMatchObject({ status: 0 })
    const left = await scene.look(run)
    expect(left).toMatchObject({ status: 'running', heldCalls: 0, suspectCalls: 0, processingItems: 0 })
    expect(left.pendingItems).toBeGreaterThan(0)
    await scene.latency(0)
    await heir()
    await expectCompleted(run)
  })

  it('gives up what a hanging provider does not answer in time, as suspect, says so and ends with 9', async () => {
    await faults([{ kind: 'hang_after', provider: 'ebay', when: { first: 5 } }])
    const run = await scene.market.startOn({ products: 40, cap: CAP })
    const worker = await begin(['--stop-timeout', '1'])
    await seen('select from collection_runs where id = $1 and held_calls = 5 and pending_items = 0', [run.id])
    const from = performance.now()
    worker.signal('SIGTERM')
    const ended = await worker.ended
    expect([ended.status, performance.now() - from < 25_000]).toEqual([9, true])
    expect(await scene.look(run)).toMatchObject({
      status: 'running',
      heldCalls: 0,
      suspectCalls: 5,
      processingItems: 0,
    })
    await faults([])
    await heir()
    await expectCompleted(run)
    // The five were charged, and never given back.
    expect((await scene.look(run)).suspectMicros).toBeGreaterThan(0)
  })

  it('with a second signal leaves at once, with 130; what was in flight is found and made suspect', async () => {
    await faults([{ kind: 'hang_after', provider: 'ebay', when: { first: 5 } }])
    const run = await scene.market.startOn({ products: 40, cap: CAP })
    const worker = await begin()
    await held(run, 5)
    worker.signal('SIGTERM')
    await seen('select from collection_runs where id = $1 and held_calls = 5', [run.id])
    await new Promise((resolve) => setTimeout(resolve, 400)) // less is one key press, told twice by npm
    worker.signal('SIGTERM')
    expect(await worker.ended).toMatchObject({ status: 130 })
    await faults([])
    await heir()
    await seen('select from collection_runs where id = $1 and suspect_calls = 5', [run.id])
    await expectCompleted(run)
  })

  it('leaves with 9 when the database is gone as well', async () => {
    await faults([{ kind: 'hang_after', provider: 'ebay', when: { first: 3 } }])
    const run = await scene.market.startOn({ products: 10, cap: CAP })
    const worker = await begin(['--stop-timeout', '0'])
    await held(run, 3)
    const name = new URL(scene.fresh.url).pathname.slice(1)
    const lock = await scene.fresh.connect({ max: 1 })
    await lock.query('begin')
    await lock.query('lock table collection_runs, collection_workers')
    worker.signal('SIGTERM')
    expect([name, (await worker.ended).status]).toEqual([name, 9])
    await lock.query('rollback')
    await faults([])
    await heir()
    await expectCompleted(run)
  })

  it('ends gleaner start too when the database is gone for good', async () => {
    const wire = await wireTo(scene.fresh.url)
    const cut = installation({ DATABASE_URL: wire.url })
    const up = cut.start('start', '--no-first-run')
    processes.push(up)
    await up.line((line) => line.includes('Waiting for runs'))
    await wire.close()
    // It has noticed, and waits for the database.
    const log = join(cut.dir, 'gleaner.log')
    await expect.poll(() => readFileSync(log, 'utf8'), { timeout: 60_000 }).toContain('tried in vain')
    const from = performance.now()
    up.child.kill('SIGINT')
    expect(await up.ended).toMatchObject({ status: 0, out: expect.stringContaining('The database does not answer') })
    expect(performance.now() - from).toBeLessThan(30_000)
    await cut.remove()
  })

  it('refuses a time that is none', async () => {
    expect(await place.run('worker', '--stop-timeout', 'soon')).toMatchObject({ status: 2 })
  })
})

describe('schemas', () => {
  let dir: string
  beforeEach(() => {
    dir = mkdtempSync('/tmp/gleaner-migrations-')
    cpSync(MIGRATIONS_DIR, dir, { recursive: true })
  })
  afterEach(() => rmSync(dir, { recursive: true, force: true }))

  /** The next migration, of a version to come. */
  async function upgradeTo(sql: string): Promise<void> {
    const next = ((await readMigrations(dir)).at(-1)?.number ?? 0) + 1
    writeFileSync(join(dir, `0${next}_of_a_version_to_come.sql`), sql)
    await applySchema(scene.fresh.db, { dir })
  }

  it('an upgrade that adds lets old workers go on beside new ones, but no old one starts any more', async () => {
    await scene.latency(500)
    const run = await scene.market.startOn({ products: 200, cap: CAP })
    const old = await begin()
    await held(run, 5)
    await upgradeTo(`alter table collection_runs add column mood text;
      alter table collection_calls add column mood text not null default 'good';
      create table moods (id int primary key); alter table moods enable row level security`)
    await assertCurrent(scene.fresh.db, dir) // what a new worker does first
    const { id } = await heir()
    for (const worker of [old.id, id])
      await seen(`select from collection_calls where worker_id = $1 and mood = 'good' and state = 'held'`, [worker])
    const late = await place.run('worker')
    expect(late).toMatchObject({ status: 5, err: expect.stringMatching(/newer than this version.*db\.schema_ahead/s) })
    await scene.latency(0)
    expect(await scene.end(run)).toMatchObject({ status: 'completed' })
    old.signal('SIGTERM')
    expect(await old.ended).toMatchObject({ status: 0 })
    await expectCompleted(run)
  })

  it('an upgrade that old workers could not bear waits until they have left by themselves', async () => {
    await scene.latency(500)
    const run = await scene.market.startOn({ products: 200, cap: CAP })
    const old = await begin()
    await held(run, 5)
    await upgradeTo(`-- gleaner: stops workers
      do $$ begin
        if exists (select from collection_calls where state = 'held') then raise 'somebody is still at work'; end if;
      end $$`)
    const ended = await old.ended
    expect(ended).toMatchObject({ status: 5, err: expect.stringContaining('of_a_version_to_come.sql') })
    expect(await scene.look(run)).toMatchObject({ status: 'running', heldCalls: 0, suspectCalls: 0 })
    await scene.latency(0)
    await heir()
    await expectCompleted(run)
  })
})

describe('a wrong clock', () => {
  it.each([
    ['an hour ahead', 3_600_000],
    ['an hour behind', -3_600_000],
  ])('%s decides nothing', async (_, offMs) => {
    const preload = pathToFileURL(join(import.meta.dirname, '..', 'support', 'wrong-clock.ts'))
    const wrong = installation({
      DATABASE_URL: scene.fresh.url,
      CLOCK_OFF_MS: String(offMs),
      NODE_OPTIONS: `--import ${preload.href}`,
    })
    await scene.latency(300)
    await faults([{ kind: 'throttled', provider: 'ebay', retryAfterS: 1, when: { first: 2 } }])
    const run = await scene.market.startOn({ products: 60, cap: CAP })
    const [later, due] = [
      await scene.market.startOn({ products: 5, cap: CAP }),
      await scene.market.startOn({ products: 5, cap: CAP }),
    ]
    const now = Date.now()
    await pauseRun(scene.fresh.db, later.id, { reason: 'provider', resumeAt: new Date(now + 1_800_000) })
    await pauseRun(scene.fresh.db, due.id, { reason: 'provider', resumeAt: new Date(now + 500) })
    await begin([], wrong)
    // It resumes what is due all by itself, and nothing else.
    await seen(`select from collection_runs where id = $1 and status <> 'paused'`, [due.id])
    await heir()
    await beats(8) // longer than a silent worker is alive
    expect(await scene.look(later)).toMatchObject({ status: 'paused' })
    for (const one of [run, due]) expect(await scene.end(one)).toMatchObject({ status: 'completed', suspectCalls: 0 })
    const { rows } = await scene.fresh.db.query(`select from collection_events where type = 'calls.rescued'`)
    expect(rows).toEqual([])
    await wrong.remove()
  })
})

describe('gleaner workers', () => {
  it('lists who is alive and what they do, who fell silent, and how to start one', async () => {
    const none = await place.run('workers')
    expect(none.out).toMatch(/^No worker is alive\. Runs wait, nothing is lost\. Start one:\n.*worker\n$/)
    await faults([{ kind: 'hang', provider: 'ebay' }])
    const run = await scene.market.startOn({ products: 60, cap: CAP })
    const [worker, other] = [await begin(), await begin()]
    await held(run, 5)
    other.signal('SIGKILL')
    await other.ended
    await seen(`select from collection_workers where id = $1 and heartbeat_at < now() - interval '6 s'`, [other.id])
    type Row = { id: string; state: string; runs: { number: number }[] }
    const rows = await place.json<Row[]>(['workers'])
    expect(rows.find(({ id }) => id === worker.id)).toMatchObject({ state: 'alive', runs: [{ number: run.number }] })
    expect(rows.find(({ id }) => id === other.id)).toMatchObject({ state: 'silent' })
    const { out } = await place.run('workers')
    expect(out).toMatch(/1 worker is alive, \d+ calls? in flight\..* fell silent [\d.]+ (s|min) ago\./)
    expect(out).toMatch(/● Alive +now .*\n/)
    expect(out).toMatch(/✕ Silent/)
  })
})
