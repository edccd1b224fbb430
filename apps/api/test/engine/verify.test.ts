import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest'
import { newId } from '../../src/base/ids.ts'
import { type Db, withTx } from '../../src/db/client.ts'
import { type Invariant, verify } from '../../src/engine/verify.ts'
import type { RunSnapshot } from '../../src/runs/snapshot.ts'
import { type FreshDb, freshDb } from '../support/db.ts'
import { broken } from './arena.ts'
import { type Marketplace, makeMarketplace, workAlone } from './sandbox-run.ts'

/** Every table a run has part in: what a test breaks is put back, whichever table it was. */
let tables = ''
/** Those of each that are written, and not worked out by the database. */
const columnsOf = new Map<string, string>()

let fresh: FreshDb
let db: Db
let market: Marketplace
let run: RunSnapshot

beforeAll(async () => {
  fresh = await freshDb()
  db = fresh.db
  market = await makeMarketplace(db)
  run = await workAlone(db, await market.startOn({ categories: 1, cap: 2_000_000 }))
  const { rows } = await db.query<{ names: string }>(
    `select string_agg(tablename, ', ') as names from pg_tables
     where schemaname = 'public' and (tablename like 'collection\\_%' or tablename like 'seller%')`,
  )
  tables = rows[0]?.names ?? ''
  await db.query('create schema kept')
  for (const table of tables.split(', ')) {
    const columns = await db.query<{ names: string }>(
      `select string_agg(quote_ident(attname), ', ' order by attnum) as names from pg_attribute
       where attrelid = $1::regclass and attnum > 0 and not attisdropped and attgenerated = ''`,
      [`public.${table}`],
    )
    columnsOf.set(table, columns.rows[0]?.names ?? '')
    await db.query(`create table kept.${table} as select ${columnsOf.get(table)} from public.${table}`)
  }
})
afterAll(async () => {
  await market?.sandbox.stop()
  await fresh?.close()
})

const billing = () => ({ origin: market.sandbox.url, exclusive: true })

/** Runs statements as nobody but a superuser can: no trigger fires, no foreign key is checked. */
async function breakWith(...statements: readonly string[]): Promise<void> {
  await withTx(db, async (tx) => {
    await tx.query('set local session_replication_role = replica')
    for (const statement of statements) await tx.query(statement)
  })
}

/** Puts back what a test broke. */
afterEach(restoreAll)
async function restoreAll(): Promise<void> {
  const restore = tables
    .split(', ')
    .map(
      (table) =>
        `insert into public.${table} (${columnsOf.get(table)}) overriding system value select * from kept.${table}`,
    )
  await breakWith(`truncate ${tables}`, ...restore)
}

/** Does `work` without a constraint of the runs, and puts everything back. */
async function without<T>(constraint: string, work: () => Promise<T>): Promise<T> {
  const { rows } = await db.query<{ text: string }>(
    'select pg_get_constraintdef(oid) as text from pg_constraint where conname = $1',
    [constraint],
  )
  await db.query(`alter table collection_runs drop constraint ${constraint}`)
  try {
    return await work()
  } finally {
    await restoreAll()
    await db.query(`alter table collection_runs add constraint ${constraint} ${rows[0]?.text}`)
  }
}

describe('verify on a run that went well', () => {
  it('finds everything in order, and says what it looked at', async () => {
    expect(run).toMatchObject({ status: 'completed', heldCalls: 0, suspectCalls: 0 })
    const findings = await verify(db, { billing: billing() })
    expect(findings.map(({ invariant, state }) => [invariant, state])).toEqual(
      ['I1', 'I2', 'I3', 'I4', 'I5', 'I6', 'I7', 'I8', 'I9', 'I10'].map((invariant) => [invariant, 'ok']),
    )
    const checked = Object.fromEntries(findings.map(({ invariant, checked }) => [invariant, checked]))
    expect(checked).toMatchObject({ I1: 2, I2: 1, I4: run.settledCalls, I7: run.settledCalls, I10: run.eventSeq })
    expect(checked['I5']).toBeGreaterThan(run.totalItems + run.sellerItems)
  })

  it('looks at the runs it is asked about only', async () => {
    await breakWith('update collection_runs set settled_calls = 7')
    expect(await broken(db, { runIds: [newId()] })).toEqual([])
    expect(await broken(db, { runIds: [run.id] })).toEqual(['I3'])
  })

  it('changes nothing and runs as a worker may', async () => {
    const worker = await fresh.connect({ role: 'service_role', max: 1 })
    const findings = await verify(worker, { billing: billing() })
    expect(findings.map(({ state }) => state)).toEqual(Array(10).fill('ok'))
  })
})

const first = (table: string, where: string) => `(select min(id::text)::uuid from ${table} where ${where})`
/** Brings the costs of products in line with their calls. */
const ITEM_COSTS = `
  update collection_items i set cost_micros = c.micros, cost_cents = ceil(c.micros / 10000.0) from (
    select item_id, coalesce(sum(charge_micros), 0) as micros from collection_calls group by item_id
  ) c where c.item_id = i.id`
const FOUND = first('collection_items', `outcome = 'found'`)
const NONE = first('collection_items', `outcome = 'none'`)
const SETTLED = first('collection_calls', `state = 'settled' and item_id is not null`)
const SELLER = first('collection_items', `item_type = 'ebay_seller'`)

describe('verify on a broken ledger', () => {
  it.each<[what: string, found: Invariant[], statements: string[]]>([
    ['a counter of calls', ['I3'], ['update collection_runs set released_calls = released_calls + 1']],
    ['a counter of sellers', ['I3'], ['update collection_runs set new_sellers = new_sellers - 1']],
    ['a counter of categories', ['I3'], ['update collection_runs set failed_categories = 1']],
    [
      'a product that lost its outcome',
      ['I3'],
      [`delete from collection_items where outcome = 'skipped' or id = ${NONE}`],
    ],
    [
      'the cost of a product',
      ['I3'],
      [`update collection_items set cost_micros = cost_micros - 1 where id = ${FOUND}`],
    ],
    [
      'money without a call',
      ['I1', 'I3'],
      [
        'update collection_runs set spent_micros = spent_micros + 1, actual_cost_cents = ceil((spent_micros + 1) / 10000.0)',
      ],
    ],
    [
      'a call that vanished',
      // The run's money and counters, its product's cost, and the bill all miss it.
      ['I1', 'I3', 'I4'],
      [`delete from collection_calls where outcome = 'none' and id = ${first('collection_calls', `outcome = 'none'`)}`],
    ],
    [
      'a call that cost more than was booked, made up for by another one',
      ['I4'],
      [
        `update collection_calls set charge_micros = charge_micros - 1 where id = ${SETTLED}`,
        `update collection_calls set charge_micros = charge_micros + 1, hold_micros = hold_micros + 1
         where id = (select max(id::text)::uuid from collection_calls where state = 'settled' and item_id is not null)`,
        ITEM_COSTS,
      ],
    ],
    [
      'a settled call that was never billed',
      ['I2', 'I4'],
      [
        `insert into collection_calls select gen_random_uuid(), run_id, account_id, item_id, category_id, worker_id, epoch,
           attempt, rung, state, hold_micros, charge_micros, outcome, error_code, error_message, request, held_at,
           lease_until, booked_at, duration_ms from collection_calls where id = ${SETTLED}`,
        `delete from collection_calls where id = ${SETTLED}`,
        `update collection_sightings s set call_id = c.id from collection_calls c where c.item_id = s.item_id and c.rung = s.rung`,
      ],
    ],
  ])('%s', async (_what, found, statements) => {
    await breakWith(...statements)
    expect(await broken(db, { billing: billing() })).toEqual(found)
  })

  it('the bill of calls a person settled: charged is at most that, not charged is nothing', async () => {
    const call = first('collection_calls', `outcome = 'none'`)
    const settle = (
      verdict: string,
      amount: string,
    ) => `insert into collection_call_resolutions (call_id, how, actor_id,
      verdict, amount_micros, note) select id, 'person', gen_random_uuid(), '${verdict}', ${amount}, 'so'
      from collection_calls where id = ${call}`
    // Billed at less than a person said: too much is counted, and nothing is hidden.
    const dearer = (by: number) => [
      `update collection_calls set charge_micros = charge_micros + ${by}, hold_micros = hold_micros + ${Math.max(by, 0)},
         resolved_micros = charge_micros + ${by} where id = ${call}`,
      ITEM_COSTS,
      `update collection_runs set spent_micros = spent_micros + ${by},
         actual_cost_cents = ceil((spent_micros + ${by}) / 10000.0)`,
      `update collection_months set spent_micros = spent_micros + ${by} where spent_micros > 0`,
    ]
    await breakWith(settle('charged', '5'), ...dearer(1))
    expect(await broken(db, { billing: billing() })).toEqual([])
    await breakWith(...dearer(-2))
    expect(await broken(db, { billing: billing() })).toEqual(['I2', 'I4'])
  })

  it('contradicted money without a call', async () => {
    await breakWith('update collection_runs set contradicted_micros = 1')
    expect(await broken(db)).toEqual(['I3'])
    await breakWith('update collection_runs set contradicted_micros = 0')
    // More than the calls tell is what deleted runs brought; less is wrong.
    await breakWith(`update collection_calls set resolved_micros = 0, overruled_at = now()
      where id = ${first('collection_calls', `outcome = 'none'`)}`)
    expect(await broken(db)).toEqual(['I3'])
  })

  it('a cap below what is spent', async () => {
    const findings = await without('collection_runs_within_cap', async () => {
      await breakWith(
        'update collection_runs set cap_micros = spent_micros - 1, budget_cap_cents = ceil((spent_micros - 1) / 10000.0)',
      )
      return verify(db)
    })
    expect(findings.filter(({ state }) => state === 'broken').map(({ invariant }) => invariant)).toEqual(['I1'])
    expect(findings[0]?.examples).toEqual([
      {
        run: run.number,
        what: 'spent + held + suspect',
        ids: { run: run.id },
        expected: `at most ${run.spentMicros - 1}`,
        found: String(run.spentMicros),
      },
    ])
  })

  it('a charge no call knows, when the sandbox serves this database alone', async () => {
    const { origin } = billing()
    await breakWith(`truncate ${tables}`)
    expect(await broken(db, { billing: { origin } })).toEqual([])
    expect(await broken(db, { billing: billing() })).toEqual(['I4'])
  })

  it('the bill of a suspect call beyond its hold, and not below', async () => {
    const suspect = `update collection_calls set state = 'suspect', charge_micros = null, outcome = 'lost'`
    const follow = [
      ITEM_COSTS,
      `update collection_runs set settled_calls = settled_calls - 1, suspect_calls = 1, spent_micros = spent_micros - 5000,
         actual_cost_cents = ceil((spent_micros - 5000) / 10000.0)`,
      `update collection_months set settled_calls = settled_calls - 1, suspect_calls = 1,
         spent_micros = spent_micros - 5000, suspect_micros = 5000`,
    ]
    const call = first('collection_calls', `outcome = 'none'`)
    await breakWith(`${suspect} where id = ${call}`, ...follow, 'update collection_runs set suspect_micros = 5000')
    expect(await broken(db, { billing: billing() })).toEqual([])
    await breakWith(
      `update collection_calls set hold_micros = 4000 where state = 'suspect'`,
      'update collection_runs set suspect_micros = 4000',
      'update collection_months set suspect_micros = 4000',
    )
    expect(await broken(db, { billing: billing() })).toEqual(['I2', 'I4'])
  })

  it('says why it does not compare bills: no sandbox named, none there, a live account', async () => {
    const reasons = async (options: Parameters<typeof verify>[1]) =>
      (await verify(db, options)).filter(({ state }) => state === 'not_checked').map((finding) => finding)
    const no = (reason: unknown) => [
      expect.objectContaining({ invariant: 'I2', reason }),
      expect.objectContaining({ invariant: 'I4', reason }),
    ]
    expect(await reasons({})).toEqual(no(expect.stringContaining('No sandbox was named')))
    const nobody = { billing: { origin: 'http://127.0.0.1:9' } }
    expect(await reasons(nobody)).toEqual(no(expect.stringContaining('does not show its bill')))
    await db.query('update provider_accounts set sandbox = false')
    expect(await reasons({ billing: billing() })).toEqual(no(expect.stringContaining('live')))
    await db.query('update provider_accounts set sandbox = true')
  })
})

describe('verify on broken results', () => {
  it.each<[what: string, found: Invariant[], statements: string[]]>([
    ['a find without evidence', ['I5'], [`delete from collection_sightings where item_id = ${FOUND}`]],
    [
      'evidence nobody was asked for',
      ['I5'],
      [`update collection_sightings set call_id = gen_random_uuid() where item_id = ${FOUND}`],
    ],
    [
      'evidence of a rung that was not asked',
      ['I5'],
      [`update collection_sightings set rung = rung + 5 where item_id = ${FOUND}`],
    ],
    [
      'a seller twice',
      ['I5'],
      [
        `insert into sellers (org_id, display_name, normalized_name, platform, times_seen)
         select org_id, display_name, ' ' || upper(normalized_name), platform, 0 from sellers order by id limit 1`,
      ],
    ],
    ['times_seen', ['I5'], [`update sellers set times_seen = 2 where id = ${first('sellers', 'true')}`]],
    [
      'a seller of the evidence the run has no item for',
      ['I5'],
      [
        `delete from collection_items where id = ${SELLER}`,
        `update sellers set times_seen = 0
         where not exists (select from collection_items where external_id = normalized_name)`,
        'update collection_runs set seller_items = seller_items - 1, new_sellers = new_sellers - 1',
      ],
    ],
    [
      'a seller of the evidence that never existed',
      ['I5'],
      [
        `update collection_sightings set seller_ids[1] = gen_random_uuid()
         where item_id = (select min(item_id::text)::uuid from collection_sightings where seller_ids <> '{}')`,
      ],
    ],
    ['a seller nobody brought', ['I5'], [`update collection_items set parent_id = null where id = ${SELLER}`]],
    [
      'a search made again after its answer',
      ['I7'],
      [
        `update collection_calls set held_at = booked_at + interval '1 s', booked_at = booked_at + interval '2 s'
         where rung = 2 and id = ${first('collection_calls', 'rung = 2')}`,
        `update collection_calls set rung = 1 where rung = 2 and id = ${first('collection_calls', 'rung = 2')}`,
        `update collection_items set finished_at = finished_at + interval '1 hour'`,
        `delete from collection_sightings s using collection_calls c where c.id = s.call_id and c.rung <> s.rung`,
        `update collection_items i set outcome = 'none' where outcome = 'found'
           and not exists (select from collection_sightings s where s.item_id = i.id)`,
        `update collection_runs set found_items = (select count(*) from collection_items where outcome = 'found'),
           none_items = (select count(*) from collection_items where outcome = 'none')`,
      ],
    ],
    [
      'a search made for a product that had ended',
      ['I7'],
      [`update collection_items set finished_at = finished_at - interval '1 hour' where id = ${FOUND}`],
    ],
    [
      'two calls at a time for one product whose worker was not lost',
      ['I7'],
      [
        `update collection_calls c set booked_at = d.held_at + interval '1 ms' from collection_calls d
         where d.item_id = c.item_id and c.rung = 1 and d.rung = 2 and d.id = ${first('collection_calls', 'rung = 2')}`,
      ],
    ],
  ])('%s', async (_what, found, statements) => {
    await breakWith(...statements)
    expect(await broken(db, { billing: billing() })).toEqual(found)
  })

  it('takes a seller a person deleted for deleted', async () => {
    await breakWith(`delete from sellers where id = ${first('sellers', 'true')}`)
    expect(await broken(db)).toEqual([])
  })

  it('lets times_seen be higher where a run of it was deleted', async () => {
    await breakWith(
      `update sellers set times_seen = 2, first_seen_run_id = null where id = ${first('sellers', 'true')}`,
    )
    expect(await broken(db)).toEqual([])
  })
})

const LAST = '(select max(seq) from collection_events)'

describe('verify on broken states', () => {
  it.each<[what: string, found: Invariant[], statements: string[]]>([
    ['a run that ended and has no time of it', ['I6'], ['update collection_runs set completed_at = null']],
    ['a run that never began', ['I6'], ['update collection_runs set started_at = null']],
    ['times the wrong way round', ['I6'], [`update collection_runs set started_at = completed_at + interval '1 s'`]],
    ['a product that ended at no time', ['I6'], [`update collection_items set finished_at = null where id = ${NONE}`]],
    [
      'a booked call without outcome',
      ['I6'],
      [
        `update collection_calls set outcome = null where state = 'settled'
       and category_id is not null`,
      ],
    ],
    [
      'a move the machine does not have',
      ['I6'],
      [`update collection_events set type = 'run.resumed' where type = 'run.started'`],
    ],
    ['a status the events do not tell of', ['I6'], [`update collection_runs set status = 'cancelled'`]],
    ['a gap in the events', ['I10'], ['delete from collection_events where seq = 3']],
    ['events beyond the last one', ['I10'], ['update collection_runs set event_seq = event_seq - 1']],
    ['the first event missing', ['I6', 'I10'], ['delete from collection_events where seq = 1']],
    ['an event back in time', ['I10'], [`update collection_events set at = at - interval '1 day' where seq = ${LAST}`]],
  ])('%s', async (_what, found, statements) => {
    await breakWith(...statements)
    expect(await broken(db)).toEqual(found)
  })

  it('a completed run with something open', async () => {
    const found = await without('collection_runs_completed_is_done', async () => {
      await breakWith(
        `update collection_run_categories set status = 'pending', finished_at = null`,
        'update collection_runs set open_categories = 1',
      )
      return broken(db)
    })
    expect(found).toEqual(['I6'])
  })

  it('work without a held call, and a held call without work', async () => {
    const running = [
      `update collection_runs set status = 'running', completed_at = null`,
      `update collection_events set type = 'x' where type = 'run.completed'`,
    ]
    await breakWith(
      ...running,
      `insert into collection_items (run_id, item_type, external_id, status, epoch)
       select id, 'amazon_product', 'B', 'processing', 1 from collection_runs`,
      'update collection_runs set total_items = total_items + 1, processing_items = 1',
    )
    expect(await broken(db)).toEqual(['I6'])
    await breakWith(
      `insert into collection_calls (id, run_id, account_id, item_id, worker_id, epoch, attempt, hold_micros, lease_until)
       select gen_random_uuid(), run_id, gen_random_uuid(), id, gen_random_uuid(), 1, 1, 0, now()
       from collection_items where status = 'processing'`,
      'update collection_runs set held_calls = 1',
      'update collection_months set held_calls = 1',
    )
    expect(await broken(db)).toEqual([])
    await breakWith(`update collection_calls set epoch = epoch + 1 where state = 'held'`)
    expect(await broken(db)).toEqual(['I6'])
  })

  it('standing still: only with a live worker, and not while something waits for its moment', async () => {
    const worker = `insert into collection_workers (id, name, version, started_at) values (gen_random_uuid(), 'w', '0', now() - interval '1 hour')`
    const still = [
      `update collection_runs set status = 'running', completed_at = null, updated_at = now() - interval '2 minutes',
         started_at = now() - interval '3 minutes', created_at = now() - interval '3 minutes'`,
      `update collection_events set type = 'x' where type = 'run.completed'`,
    ]
    await breakWith(...still)
    expect((await verify(db)).find(({ invariant }) => invariant === 'I8')).toMatchObject({
      state: 'not_checked',
      reason: expect.stringContaining('No worker'),
    })
    await breakWith(worker)
    expect(await broken(db)).toEqual(['I8'])
    await breakWith(
      `update collection_items set status = 'pending', outcome = null, finished_at = null, not_before = now() where id = ${NONE}`,
      `update collection_runs set none_items = none_items - 1, pending_items = 1, processed_items = processed_items - 1`,
    )
    expect(await broken(db)).toEqual([])
    await breakWith(`update collection_items set not_before = now() - interval '61 s' where status = 'pending'`)
    expect(await broken(db)).toEqual(['I8'])
    // What a sample holds back waits for a person, not for its moment.
    await breakWith(`update collection_items set not_before = 'infinity' where status = 'pending'`)
    expect(await broken(db)).toEqual(['I8'])
    await breakWith(`update collection_workers set heartbeat_at = now() - interval '1 minute'`)
    expect(await broken(db)).toEqual([])
  })

  it('a run that waits although a place is free, and one that should have resumed', async () => {
    await breakWith(
      `insert into collection_workers (id, name, version, started_at) values (gen_random_uuid(), 'w', '0', now() - interval '1 hour')`,
      `update collection_runs set status = 'pending', completed_at = null, started_at = null,
         start_requested_at = now() - interval '2 minutes', updated_at = now() - interval '2 minutes'`,
      `update collection_events set type = 'x' where type in ('run.completed', 'run.started')`,
    )
    expect(await broken(db)).toEqual(['I8'])
    await breakWith(
      `update collection_runs set status = 'paused', pause_reason = 'quota', paused_at = now(), started_at = now(),
         resume_at = now() - interval '2 minutes'`,
      `update collection_events set type = 'run.started' where seq = 2`,
      `update collection_events set type = 'run.paused' where seq = 3`,
    )
    expect(await broken(db)).toEqual(['I8'])
    await breakWith('update collection_runs set resume_at = now()')
    expect(await broken(db)).toEqual([])
  })
})

describe('verify on broken access', () => {
  it.each<[what: string, breaking: string, repair: string]>([
    [
      'a table without row level security',
      'alter table sellers disable row level security',
      'alter table sellers enable row level security',
    ],
    [
      'a policy for everybody',
      'create policy all_of_us on collection_workers for select using (false)',
      'drop policy all_of_us on collection_workers',
    ],
    [
      'a policy that lets strangers read',
      'create policy strangers on collection_sightings for select to authenticated using (true)',
      'drop policy strangers on collection_sightings',
    ],
  ])('%s', async (_what, breaking, repair) => {
    await db.query(breaking)
    const found = await broken(db)
    await db.query(repair)
    expect(found).toEqual(['I9'])
    expect(await broken(db)).toEqual([])
  })
})
