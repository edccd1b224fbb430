/** The cap of an organisation's month: exact under any race, kept by the database, for the month a call was held in. */
import { cp, mkdtemp, readdir, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { newId } from '../../src/base/ids.ts'
import { type Micros, toMicros } from '../../src/base/money.ts'
import { type Db, type Tx, withTx, withTxRetry } from '../../src/db/client.ts'
import { migrate } from '../../src/db/migrate.ts'
import { MIGRATIONS_DIR } from '../../src/db/migration-files.ts'
import { changeOrgSettings } from '../../src/engine/change-settings.ts'
import { cancelRun } from '../../src/engine/run-acts.ts'
import { verify } from '../../src/engine/verify.ts'
import { bookCalls, type CallState } from '../../src/ledger/book.ts'
import { type ClaimedItem, claimCategories, claimItems } from '../../src/ledger/claim.ts'
import { leftOfMonth, monthOf } from '../../src/ledger/month.ts'
import type { RunSnapshot } from '../../src/runs/snapshot.ts'
import { type Arena, broken, expectClean, LIST_PRICE, PRICE } from '../engine/arena.ts'
import { useArena } from '../engine/use-arena.ts'
import { emptyDb } from '../support/db.ts'

const CLAIMERS = 64

const arena = useArena()
let crowd: Db
/** The owner of the tables, whom no privilege holds back. */
let owner: Db
beforeAll(async () => {
  owner = arena.fresh.db
  crowd = await arena.fresh.connect({ max: CLAIMERS, role: 'service_role' })
})

/** An organisation of its own for each test: months of others play no part. */
let orgId: string
beforeEach(async () => {
  const [org] = await arena.rows<{ id: string }>(`insert into orgs (name) values ('Org') returning id`)
  orgId = org?.id ?? ''
  await changeOrgSettings(arena.db, { ...arena.actor, orgId }, { maxConcurrentRuns: 1000 })
})

const makeRun = (input: Parameters<Arena['makeRun']>[0] = {}) => arena.makeRun({ products: 10, ...input, orgId })
const setCap = (micros: number | null) =>
  changeOrgSettings(arena.db, { ...arena.actor, orgId }, { monthCapMicros: micros === null ? null : toMicros(micros) })
const month = () => monthOf(arena.db, orgId)
const months = () =>
  arena.rows<{ month: string }>(
    `select to_char(month, 'YYYY-MM') as month, cap_micros::int as cap, spent_micros::int as spent, held_micros::int as held,
       suspect_micros::int as suspect, breach_micros::int as breach, deleted_micros::int as deleted
     from collection_months where org_id = $1 order by month`,
    [orgId],
  )

function wanted(runId: string, slots: number, price: Micros = PRICE) {
  const callIds = Array.from({ length: slots }, newId)
  return { runId, workerId: newId(), accountId: arena.search.id, callIds, priceMicros: price, leaseMs: 60_000 }
}

async function claim(runId: string, slots: number, price: Micros = PRICE): Promise<readonly ClaimedItem[]> {
  return (await withTxRetry(crowd, (tx) => claimItems(tx, wanted(runId, slots, price)))).claimed
}

type Held = Readonly<{ run: RunSnapshot; micros: number; at?: string }>

/** Calls in one statement, as the owner of the tables can make them: held at any moment. Returns their ids. */
async function hold(db: Tx | Db, ...calls: readonly Held[]): Promise<string[]> {
  const rows = calls.map(({ run, micros, at }) => ({ id: newId(), run: run.id, micros, at: at ?? null }))
  await db.query(
    `insert into collection_calls (id, run_id, account_id, item_id, worker_id, epoch, attempt, hold_micros, lease_until, held_at)
     select c.id, c.run, $2, (select id from collection_items where run_id = c.run order by id limit 1), $2, 1, 1, c.micros,
       now(), coalesce(c.at, clock_timestamp())
     from json_to_recordset($1) as c(id uuid, run uuid, micros bigint, at timestamptz)`,
    [JSON.stringify(rows), newId()],
  )
  return rows.map(({ id }) => id)
}

/** Calls made by hand have no work behind them, so only the money of runs and months is looked at. */
async function expectMoneyHolds(...runs: readonly RunSnapshot[]): Promise<void> {
  const findings = await verify(arena.db, { runIds: runs.map(({ id }) => id) })
  const money = findings.filter(({ invariant }) => invariant === 'I1' || invariant === 'I3')
  const examples = money.flatMap((finding) => finding.examples)
  expect(examples.filter(({ what }) => what !== 'cost_micros of a product')).toEqual([])
}

const book = (id: string | undefined, state: CallState, charge: number | null = null) =>
  withTx(arena.db, (tx) =>
    bookCalls(tx, [
      {
        callId: id ?? '',
        state,
        chargeMicros: charge === null ? null : toMicros(charge),
        outcome: 'none',
        durationMs: 1,
      },
    ]),
  )

describe('many at once', () => {
  it('64 claimers over four runs hold exactly what the month leaves, without an error or a retry', async () => {
    const runs = await Promise.all([0, 1, 2, 3].map(() => makeRun({ products: 250 })))
    await setCap(100 * PRICE + PRICE - 1)
    const work = async (index: number): Promise<number> => {
      let claimed = 0
      for (;;) {
        // No second try: a deadlock, or a hold that meets the cap, would be an error here.
        const { id = '' } = runs[index % 4] ?? {}
        const slice = await withTx(crowd, (tx) => claimItems(tx, wanted(id, 1 + (index % 7))))
        if (slice.claimed.length === 0) return claimed
        claimed += slice.claimed.length
      }
    }
    const claimed = await Promise.all(Array.from({ length: CLAIMERS }, (_, index) => work(index)))
    expect(claimed.reduce((sum, one) => sum + one, 0)).toBe(100)
    expect(await month()).toMatchObject({ heldMicros: 100 * PRICE, heldCalls: 100 })
    await expectClean(arena.db)
  })

  it('the first claims of a month make its row together', async () => {
    await arena.db.query('update collection_settings set month_cap_micros = 20000 where org_id = $1', [orgId])
    await forget()
    const runs = await Promise.all([0, 1, 2, 3].map(() => makeRun({ products: 50 })))
    const claimed = await Promise.all(
      Array.from({ length: CLAIMERS }, (_, index) =>
        withTx(crowd, (tx) => claimItems(tx, wanted(runs[index % 4]?.id ?? '', 3))),
      ),
    )
    expect(claimed.flatMap((slice) => slice.claimed)).toHaveLength(20)
    expect(await month()).toMatchObject({ capMicros: 20_000, heldMicros: 20_000 })
  })

  it('the cap is exact while it goes up and down, is switched off and on, and calls are booked', async () => {
    const runs = await Promise.all([0, 1, 2, 3].map(() => makeRun({ products: 250 })))
    await setCap(20_000)
    let moving = true
    const overs: unknown[] = []
    const watch = async (): Promise<void> => {
      while (moving) {
        overs.push(
          ...(await arena.rows(
            `select * from collection_months where spent_micros + held_micros + suspect_micros > cap_micros`,
          )),
        )
      }
    }
    const refusals = new Set<unknown>()
    const move = async (): Promise<void> => {
      for (let at = 0; at < 40; at++) {
        const cap = at % 8 === 7 ? null : at % 2 === 0 ? 20_000 + at * 2_000 : 10_000
        // A cap that is off for a moment leaves more held than the next one allows: refused, and that is the point.
        await setCap(cap).catch((error: { code: unknown }) => refusals.add(error.code))
      }
      const used = (await month()).heldMicros + (await month()).spentMicros
      for (let more = 50 * PRICE; ; more += 10 * PRICE) {
        if (
          await setCap(used + more).then(
            () => true,
            () => false,
          )
        )
          break
      }
      moving = false
    }
    const work = async (index: number): Promise<void> => {
      for (;;) {
        const settled = !moving
        const got = await claim(runs[index % 4]?.id ?? '', 1 + (index % 7))
        const [first] = got
        if (first && index % 3 === 0) await book(first.callId, 'settled', PRICE / 2)
        if (got.length === 0 && settled) return
      }
    }
    await Promise.all([...Array.from({ length: CLAIMERS }, (_, index) => work(index)), move(), watch()])
    expect(overs).toEqual([])
    expect([...refusals]).toEqual(refusals.size > 0 ? ['month.cap_too_low'] : [])
    const left = leftOfMonth(await month()) ?? -1
    const open = await arena.rows('select from collection_items where run_id = any($1) and status = $2', [
      runs.map(({ id }) => id),
      'pending',
    ])
    if (open.length > 0) expect(left).toBeLessThan(PRICE)
    await expectMoneyHolds(...runs)
  })
})

/** Takes the rows of the organisation's months away, as if none had been needed yet. */
async function forget(): Promise<void> {
  await withTx(owner, async (tx) => {
    await tx.query('set local session_replication_role = replica')
    await tx.query('delete from collection_months where org_id = $1', [orgId])
  })
}

describe('a claim', () => {
  it('takes what the nearer cap leaves, to the micro-dollar', async () => {
    for (const [monthCap, runCap, fits] of [
      [PRICE - 1, 100 * PRICE, 0],
      [PRICE, 100 * PRICE, 1],
      [3 * PRICE - 1, 100 * PRICE, 2],
      [100 * PRICE, 3 * PRICE, 3],
      [null, 4 * PRICE, 4],
    ] as const) {
      await forget()
      await setCap(null)
      const run = await makeRun({ products: 10, cap: runCap })
      await setCap(monthCap)
      expect(await claim(run.id, 10)).toHaveLength(fits)
      expect(await arena.look(run.id)).toMatchObject({ processingItems: fits, pendingItems: 10 - fits })
    }
  })

  it('of list steps too', async () => {
    await setCap(3 * LIST_PRICE - 1)
    const run = await makeRun({ products: 0, categories: ['a', 'b', 'c', 'd'] })
    const ids = await arena.rows<{ id: string }>('select id from collection_run_categories where run_id = $1', [run.id])
    const { claimed } = await withTxRetry(crowd, (tx) =>
      claimCategories(
        tx,
        wanted(run.id, 4),
        ids.map(({ id }) => ({ id, priceMicros: LIST_PRICE })),
      ),
    )
    expect(claimed).toHaveLength(2)
  })

  it('of free calls takes all, also when a provider took the month beyond its cap', async () => {
    await setCap(PRICE)
    const run = await makeRun()
    const [call] = await claim(run.id, 1)
    await book(call?.callId, 'settled', 5 * PRICE)
    expect(await claim(run.id, 2)).toEqual([])
    expect(await claim(run.id, 2, toMicros(0))).toHaveLength(2)
  })

  it('does not count runs of another organisation', async () => {
    await setCap(PRICE)
    const [mine, other] = [await makeRun(), await arena.makeRun({ products: 10 })]
    expect(await claim(other.id, 10)).toHaveLength(10)
    expect(await claim(mine.id, 10)).toHaveLength(1)
  })

  it('looks again when the cap came between its look and its hold', async () => {
    const run = await makeRun()
    const client = await owner.pool.connect()
    try {
      await client.query('begin')
      // Switched on, not committed: the claim sees no cap, and its hold waits for this.
      await hold(owner, { run, micros: 1 })
      await client.query('update collection_settings set month_cap_micros = $2 where org_id = $1', [
        orgId,
        2 * PRICE + 1,
      ])
      const claimed = claim(run.id, 10)
      await waiting(1)
      await client.query('commit')
      expect(await claimed).toHaveLength(2)
    } finally {
      client.release()
    }
  })
})

/** Returns when `count` sessions of this database wait for a lock. */
async function waiting(count: number): Promise<void> {
  for (;;) {
    const { rows } = await owner.query(
      `select from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'`,
    )
    if (rows.length >= count) return
  }
}

describe('the month of a call', () => {
  const NOVEMBER = '2031-11-30 23:59:59.999999+00'
  const DECEMBER = '2031-12-01 00:00:00+00'

  it('is that of the moment it was held, in UTC, whenever it is booked', async () => {
    const run = await makeRun()
    const [november, december, abroad] = await hold(
      owner,
      { run, micros: 100, at: NOVEMBER },
      { run, micros: 200, at: DECEMBER },
      { run, micros: 400, at: '2031-12-31 22:00:00-05' },
    )
    expect((await months()).map(({ month: name }) => name)).toEqual(['2031-11', '2031-12', '2032-01'])
    await book(november, 'settled', 90)
    await book(december, 'suspect')
    await book(abroad, 'released')
    expect(await months()).toMatchObject([
      { month: '2031-11', spent: 90, held: 0 },
      { month: '2031-12', spent: 0, held: 0, suspect: 200 },
      { month: '2032-01', spent: 0, held: 0, suspect: 0 },
    ])
    await book(december, 'settled', 250)
    expect((await months())[1]).toMatchObject({ spent: 250, suspect: 0, breach: 50 })
    await expectMoneyHolds(run)
  })

  it('has its own cap: what one month used does not narrow the next', async () => {
    await setCap(1_000)
    const run = await makeRun()
    await hold(owner, { run, micros: 1_000, at: NOVEMBER })
    await expect(hold(owner, { run, micros: 1, at: NOVEMBER })).rejects.toMatchObject({
      code: 'GL006',
      message: 'a hold of 1 micro-dollars does not fit: 0 left under the month cap',
    })
    await hold(owner, { run, micros: 1_000, at: DECEMBER })
  })

  it('counts a statement over several runs and months as a whole, or not at all', async () => {
    await setCap(1_000)
    const [one, two] = [await makeRun(), await makeRun()]
    const both = hold(
      owner,
      { run: two, micros: 600, at: NOVEMBER },
      { run: one, micros: 100, at: DECEMBER },
      { run: one, micros: 401, at: NOVEMBER },
    )
    await expect(both).rejects.toMatchObject({ code: 'GL006' })
    expect(await arena.look(one.id)).toMatchObject({ heldMicros: 0 })
    await hold(
      owner,
      { run: two, micros: 600, at: NOVEMBER },
      { run: one, micros: 100, at: DECEMBER },
      { run: one, micros: 400, at: NOVEMBER },
    )
    expect((await months()).filter(({ month: name }) => name.startsWith('2031'))).toMatchObject([
      { held: 1_000 },
      { held: 100 },
    ])
    await expectMoneyHolds(one, two)
  })
})

describe('the cap of a month', () => {
  it('follows the setting, from this month on', async () => {
    const run = await makeRun()
    await hold(owner, { run, micros: 1, at: '2020-01-01' }, { run, micros: 1 }, { run, micros: 1, at: '2040-01-01' })
    await setCap(5_000)
    expect((await months()).map((row) => (row as { cap?: number }).cap)).toEqual([null, 5_000, 5_000, 5_000])
    await hold(owner, { run, micros: 1, at: '2041-01-01' })
    await setCap(6_000)
    expect((await months()).map((row) => (row as { cap?: number }).cap)).toEqual([null, 6_000, 6_000, 6_000, 6_000])
    await setCap(null)
    expect((await months()).map((row) => (row as { cap?: number }).cap)).toEqual([null, null, null, null, null])
  })

  it('is not lowered below what is spent, held and suspect', async () => {
    const run = await makeRun()
    const [spent, , suspect] = await hold(owner, { run, micros: 500 }, { run, micros: 30 }, { run, micros: 4 })
    await book(spent, 'settled', 200)
    await book(suspect, 'suspect')
    await setCap(234)
    await expect(setCap(233)).rejects.toMatchObject({
      code: 'month.cap_too_low',
      message: 'The month cap cannot go below $0.000234: so much is spent, held or suspect this month.',
    })
    // Whoever asks.
    const direct = crowd.query('update collection_settings set month_cap_micros = 233 where org_id = $1', [orgId])
    await expect(direct).rejects.toMatchObject({ code: '23514', constraint: 'collection_months_within_cap' })
    expect(await month()).toMatchObject({ capMicros: 234, spentMicros: 200, heldMicros: 30, suspectMicros: 4 })
  })

  it.each([
    ['this month', 'clock_timestamp()'],
    ['the next one, should the clock turn before the commit', `clock_timestamp() + interval '1 month'`],
  ])('is never missed by a row made while it changes: %s', async (_, moment) => {
    const run = await makeRun()
    const [at] = await arena.rows<{ at: Date }>(`select ${moment} as at`)
    const changing = await owner.pool.connect()
    try {
      await changing.query('begin')
      await changing.query('update collection_settings set month_cap_micros = 1000 where org_id = $1', [orgId])
      const tooMuch = hold(owner, { run, micros: 1_001, at: at?.at.toISOString() ?? '' })
      const refused = expect(tooMuch).rejects.toMatchObject({ code: 'GL006' })
      await waiting(1)
      await changing.query('commit')
      await refused
    } finally {
      changing.release()
    }
  })

  it('is never missed by a row that was made first', async () => {
    const run = await makeRun()
    const claiming = await owner.pool.connect()
    try {
      await claiming.query('begin')
      await hold(claiming as unknown as Tx, { run, micros: 1_001 })
      const lowered = expect(setCap(1_000)).rejects.toMatchObject({ code: 'month.cap_too_low' })
      await waiting(1)
      await claiming.query('commit')
      await lowered
      await setCap(1_001)
      expect(await month()).toMatchObject({ capMicros: 1_001 })
    } finally {
      claiming.release()
    }
  })

  it('goes with the settings it came from', async () => {
    await setCap(1_000)
    await arena.db.query('delete from collection_settings where org_id = $1', [orgId])
    expect(await month()).toMatchObject({ capMicros: null })
    await arena.db.query('insert into collection_settings (org_id, month_cap_micros) values ($1, 2000)', [orgId])
    expect(await month()).toMatchObject({ capMicros: 2_000 })
  })
})

describe('a run that is deleted', () => {
  it('does not give its money back', async () => {
    await setCap(1_000)
    const [run, next] = [await makeRun(), await makeRun()]
    const [first, second] = await hold(owner, { run, micros: 600 }, { run, micros: 300 })
    await book(first, 'settled', 700)
    await book(second, 'released')
    await cancelRun(arena.db, run.id)
    await crowd.query('delete from collection_runs where id = $1', [run.id])
    expect(await months()).toMatchObject([{ spent: 0, breach: 0, deleted: 700, cap: 1_000 }, {}])
    expect(leftOfMonth(await month())).toBe(300)
    await expect(hold(owner, { run: next, micros: 301 })).rejects.toMatchObject({ code: 'GL006' })
    await hold(owner, { run: next, micros: 300 })
    await expectMoneyHolds(next)
  })
})

describe('what a client cannot do', () => {
  const DENIED = { code: '42501' }

  it('write a month, whoever it is', async () => {
    const run = await makeRun()
    await hold(owner, { run, micros: 10 })
    for (const statement of [
      `update collection_months set held_micros = 0`,
      `update collection_months set cap_micros = null`,
      `insert into collection_months (org_id, month) values ('${orgId}', '2030-01-01')`,
      `delete from collection_months`,
      `truncate collection_months`,
      `select from collection_months for update`,
      `select gleaner_open_month('${orgId}', '2030-01-01')`,
    ]) {
      await expect(crowd.query(statement), statement).rejects.toMatchObject(DENIED)
    }
    for (const statement of [`update collection_months set held_micros = 0`, 'delete from collection_months']) {
      await expect(owner.query(statement), statement).rejects.toMatchObject({ code: 'GL003' })
    }
  })

  it('write it from a trigger of its own', async () => {
    const run = await makeRun()
    await hold(owner, { run, micros: 10 })
    const sly = withTx(crowd, async (tx) => {
      await tx.query(`create temporary table mine (id int) on commit drop`)
      await tx.query(`create function pg_temp.sly() returns trigger language plpgsql as $$
        begin update public.collection_months set held_micros = 0; return new; end $$`)
      await tx.query(`create trigger sly before insert on mine for each row execute function pg_temp.sly()`)
      await tx.query('insert into mine values (1)')
    })
    await expect(sly).rejects.toMatchObject(DENIED)
  })

  it('choose the month of a call', async () => {
    const run = await makeRun()
    await expect(hold(crowd, { run, micros: 10, at: '2030-01-01' })).rejects.toMatchObject(DENIED)
    const [call] = await claim(run.id, 1)
    const moved = crowd.query(`update collection_calls set held_at = held_at + interval '1 month' where id = $1`, [
      call?.callId,
    ])
    await expect(moved).rejects.toMatchObject({ code: expect.stringMatching(/^(GL003|42501)$/) as string })
  })

  it('pass the cap with a statement of its own', async () => {
    await setCap(1_000)
    const run = await makeRun()
    const insert = (micros: number) =>
      crowd.query(
        `insert into collection_calls (id, run_id, account_id, item_id, worker_id, epoch, attempt, hold_micros, lease_until)
         select gen_random_uuid(), $1, $2, id, $2, 1, 1, $3, now() from collection_items where run_id = $1 limit 2`,
        [run.id, newId(), micros],
      )
    await expect(insert(501)).rejects.toMatchObject({ code: 'GL006' })
    await insert(500)
    await expect(insert(1)).rejects.toMatchObject({ code: 'GL006' })
  })

  it('be counted beyond the cap even where the hold forgets to look', async () => {
    await setCap(1_000)
    const run = await makeRun()
    const careless = withTx(owner, async (tx) => {
      await tx.query(`create function careless() returns trigger language plpgsql as $$
        begin update collection_months set held_micros = held_micros + 1001 where org_id = '${orgId}'; return null; end $$`)
      await tx.query(`create trigger careless after insert on collection_calls execute function careless()`)
      await hold(tx, { run, micros: 0 })
    })
    await expect(careless).rejects.toMatchObject({ code: '23514', constraint: 'collection_months_within_cap' })
  })
})

describe('verify', () => {
  const breakWith = (statement: string) =>
    withTx(owner, async (tx) => {
      await tx.query('set local session_replication_role = replica')
      await tx.query(statement, [orgId])
    })

  it.each([
    ['an amount', 'update collection_months set suspect_micros = suspect_micros + 1 where org_id = $1', ['I3']],
    ['a count', 'update collection_months set released_calls = released_calls + 1 where org_id = $1', ['I3']],
    ['a missing row', 'delete from collection_months where org_id = $1', ['I3']],
    ['another cap', 'update collection_months set cap_micros = cap_micros + 1 where org_id = $1', ['I1']],
    [
      'money beyond the cap',
      `with calls as (
         update collection_calls set hold_micros = 1002 where state = 'held' and run_id in (select id from collection_runs where org_id = $1)
       ), runs as (update collection_runs set held_micros = 1002 where org_id = $1)
       select from orgs`,
      ['I1', 'I3'],
    ],
  ])('finds %s of a month', async (_, statement, invariants) => {
    await setCap(1_001)
    const run = await makeRun({ products: 1 })
    await claim(run.id, 1)
    expect(await broken(arena.db, { runIds: [run.id] })).toEqual([])
    await breakWith(statement)
    expect(await broken(arena.db, { runIds: [run.id] })).toEqual(invariants)
  })
})

describe('the migration', () => {
  it('counts the calls that are there already', async () => {
    const fresh = await emptyDb()
    const dir = await mkdtemp(join(tmpdir(), 'gleaner-migrations-'))
    try {
      const all = (await readdir(MIGRATIONS_DIR)).filter((name) => name.endsWith('.sql')).sort()
      const before = all.slice(
        0,
        all.findIndex((name) => name.endsWith('_month_cap.sql')),
      )
      for (const name of before) await cp(join(MIGRATIONS_DIR, name), join(dir, name))
      await migrate(fresh.db, { dir })
      await fresh.db.query(`
        insert into orgs (id, name) values ('11111111-1111-1111-1111-111111111111', 'Org');
        insert into auth.users (id, email) values ('22222222-2222-2222-2222-222222222222', 'someone@example.org');
        insert into collection_runs (id, org_id, name, estimated_cost_cents, budget_cap_cents, category_ids, created_by)
        values ('33333333-3333-3333-3333-333333333333', '11111111-1111-1111-1111-111111111111', 'Run', 0, 100, '{}',
          '22222222-2222-2222-2222-222222222222');
        update collection_runs set status = 'running';
        insert into collection_items (run_id, item_type, external_id) select id, 'amazon_product', 'B1' from collection_runs;
        insert into collection_calls (id, run_id, account_id, item_id, worker_id, epoch, attempt, hold_micros, lease_until, held_at)
        select gen_random_uuid(), i.run_id, i.run_id, i.id, i.run_id, n, 1, n, now(), at
        from collection_items i, (values (1, timestamptz '2025-01-31 23:59:59Z'), (2, '2025-02-01 00:00:00Z'),
          (4, '2025-02-28 23:59:59Z'), (8, '2025-02-10'), (16, '2025-02-10')) as v(n, at);
        update collection_calls set state = 'settled', charge_micros = hold_micros + 1, booked_at = now() where hold_micros in (1, 2);
        update collection_calls set state = 'suspect', booked_at = now() where hold_micros = 4;
        update collection_calls set state = 'released', booked_at = now() where hold_micros = 8`)
      await migrate(fresh.db)
      const { rows } = await fresh.db.query(
        `select month::text, spent_micros::int as spent, held_micros::int as held, suspect_micros::int as suspect,
           breach_micros::int as breach, held_calls, settled_calls, released_calls, suspect_calls, cap_micros
         from collection_months order by month`,
      )
      const none = {
        spent: 0,
        held: 0,
        suspect: 0,
        held_calls: 0,
        released_calls: 0,
        suspect_calls: 0,
        cap_micros: null,
      }
      expect(rows).toEqual([
        { ...none, month: '2025-01-01', spent: 2, breach: 1, settled_calls: 1 },
        {
          month: '2025-02-01',
          spent: 3,
          held: 16,
          suspect: 4,
          breach: 1,
          held_calls: 1,
          settled_calls: 1,
          released_calls: 1,
          suspect_calls: 1,
          cap_micros: null,
        },
      ])
      expect(await broken(fresh.db)).not.toContain('I1')
    } finally {
      await fresh.close()
      await rm(dir, { recursive: true, force: true })
    }
  })
})
