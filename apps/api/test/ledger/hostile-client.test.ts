/**
 * A client that has the privileges of a worker and means harm: SQL of its own, with temporary tables, triggers and types.
 * What it may not do ends with an error and changes nothing.
 */
import { beforeAll, describe, expect, it } from 'vitest'
import { newId } from '../../src/base/ids.ts'
import { type Db, type Tx, withTx } from '../../src/db/client.ts'
import { runtimeError } from '../../src/db/errors.ts'
import { cancelRun, pauseRun } from '../../src/engine/run-acts.ts'
import { appendEvents } from '../../src/events/append.ts'
import { changeSettings } from '../../src/runs/settings.ts'
import type { RunSnapshot } from '../../src/runs/snapshot.ts'
import { broken, found, PRICE } from '../engine/arena.ts'
import { book, claim, finished, lose } from '../engine/by-hand.ts'
import { useArena } from '../engine/use-arena.ts'

const CROWD = 64
const DENIED = { code: '42501' }
const ROWS = [
  'collection_items',
  'collection_run_categories',
  'collection_category_products',
  'collection_calls',
  'collection_sightings',
  'collection_events',
] as const

const arena = useArena()
let run: RunSnapshot
beforeAll(async () => {
  run = await arena.makeRun({ products: 3, categories: ['a'] })
  const [searched] = await claim(arena, run, await arena.makeWorker(), 2)
  await book(arena, run, finished(searched, found(['anna', 'bert'])))
  await arena.db.query(
    `insert into collection_category_products (category_id, item_id, rank)
     select c.id, i.id, 1 from collection_run_categories c join collection_items i using (run_id) where i.item_type = 'amazon_product'`,
  )
})

/** Everything there is, to compare. */
async function everything(): Promise<unknown> {
  const all: Record<string, unknown> = {}
  for (const table of [...ROWS, 'collection_runs', 'collection_settings', 'sellers']) {
    all[table] = await arena.rows(`select to_jsonb(t) as row from public.${table} t order by to_jsonb(t)::text`)
  }
  return all
}

/** Lets `attack` do its work on a connection nobody used before and expects it to fail so, with nothing changed. */
async function expectRefused(attack: (tx: Tx) => Promise<unknown>, error: object): Promise<void> {
  const before = await everything()
  for (const table of ROWS) expect((before as Record<string, unknown[]>)[table]).not.toEqual([])
  const fresh = await arena.fresh.connect({ role: 'service_role', max: 1 })
  await expect(withTx(fresh, attack)).rejects.toMatchObject(error)
  await fresh.close()
  expect(await everything()).toEqual(before)
}

/** Runs a statement from a trigger on a temporary table, where pg_trigger_depth() is above 0. */
async function fromOwnTrigger(tx: Tx, statement: string): Promise<void> {
  await tx.query(`
    create temp table lever (n int);
    create function pg_temp.pull() returns trigger language plpgsql as $f$ begin ${statement}; return null; end $f$;
    create trigger pull after insert on lever for each row execute function pg_temp.pull();
    insert into lever values (1)`)
}

describe('from a trigger on a temporary table', () => {
  it.each(
    `id org_id number spent_micros held_micros suspect_micros breach_micros actual_cost_cents held_calls settled_calls
     released_calls suspect_calls total_categories open_categories failed_categories total_items processed_items failed_items
     pending_items processing_items found_items none_items blocked_items drift_items rejected_items skipped_items seller_items
     new_sellers event_seq started_at paused_at completed_at created_at updated_at created_by category_ids source
     list_account_id search_account_id filters estimate estimated_cost_cents soft_warning_percent`.split(/\s+/),
  )('%s of a run is not written', async (column) => {
    await expectRefused((tx) => fromOwnTrigger(tx, `update collection_runs set ${column} = default`), DENIED)
  })

  it.each(ROWS)('rows of %s are not deleted', async (table) => {
    await expectRefused((tx) => fromOwnTrigger(tx, `delete from ${table}`), DENIED)
  })

  it.each([
    ...[
      'id',
      'run_id',
      'account_id',
      'item_id',
      'category_id',
      'worker_id',
      'epoch',
      'attempt',
      'rung',
      'hold_micros',
    ].map((column) => ['collection_calls', column] as const),
    ['collection_calls', 'held_at'],
    ['collection_calls', 'request'],
    ['collection_items', 'run_id'],
    ['collection_items', 'external_id'],
    ['collection_items', 'new_to_org'],
    ['collection_items', 'parent_id'],
    ['collection_run_categories', 'run_id'],
    ['collection_run_categories', 'category_key'],
    ['collection_category_products', 'rank'],
    ['collection_sightings', 'item_id'],
    ['collection_events', 'seq'],
    ['collection_events', 'at'],
    ['collection_events', 'data'],
    ['sellers', 'org_id'],
    ['sellers', 'first_seen_at'],
  ] as const)('%s.%s is not written', async (table, column) => {
    await expectRefused((tx) => fromOwnTrigger(tx, `update ${table} set ${column} = default`), DENIED)
  })
})

describe('by other ways', () => {
  const ownTrigger = (event: string, referencing: string, name: string) =>
    `create temp table lever (like collection_calls);
     create trigger pull after ${event} on lever ${referencing} for each statement execute function ${name}()`
  const before = `before update on collection_runs for each row execute function`

  it.each([
    ...ROWS.map((table) => `truncate ${table} cascade`),
    'truncate collection_runs cascade',
    `create trigger mine ${before} pg_catalog.suppress_redundant_updates_trigger()`,
    ownTrigger('insert', 'referencing new table as inserted', 'gleaner_calls_inserted'),
    ownTrigger('update', 'referencing old table as before new table as after', 'gleaner_calls_updated'),
    ownTrigger('insert', 'referencing new table as inserted', 'gleaner_items_inserted'),
    ownTrigger('insert', 'referencing new table as inserted', 'gleaner_events_inserted'),
    'alter function gleaner_calls_inserted() reset search_path',
    'create function public.mine() returns int language sql return 1',
    'create rule mine as on update to collection_runs do instead nothing',
    'grant update on collection_runs to service_role; update collection_runs set spent_micros = 0',
    `insert into collection_runs (id, org_id, name, budget_cap_cents, category_ids, created_by)
     select id, org_id, name, budget_cap_cents, category_ids, created_by from collection_runs
     on conflict (id) do update set spent_micros = 0`,
    'merge into collection_runs r using collection_runs s on r.id = s.id when matched then update set held_micros = 0',
    `select setval('collection_runs_number_seq', 1)`,
    `select nextval('collection_runs_number_seq')`,
    `insert into collection_events (run_id, seq, type, at) select id, event_seq + 1, 'x', now() from collection_runs`,
  ])('%s', async (statement) => {
    await expectRefused((tx) => tx.query(statement), DENIED)
  })

  it('a temporary table named like ours does not take the hold', async () => {
    await expectRefused(
      async (tx) => {
        await tx.query(`create temp table collection_runs as select * from public.collection_runs`)
        await tx.query(`update pg_temp.collection_runs set cap_micros = 1e15`)
        await tx.query(
          `insert into public.collection_calls (id, run_id, account_id, item_id, worker_id, epoch, attempt, hold_micros, lease_until)
           select gen_random_uuid(), run_id, run_id, id, run_id, 1, 1, 1e14, now() from public.collection_items limit 1`,
        )
      },
      { code: 'GL001' },
    )
  })

  it('temporary tables named like ours do not make a run look done', async () => {
    await expectRefused(
      async (tx) => {
        for (const table of ['items', 'run_categories', 'calls'] as const) {
          await tx.query(`create temp table collection_${table} (like public.collection_${table})`)
        }
        await tx.query(`update public.collection_runs set status = 'completed' where status = 'running'`)
      },
      { code: 'GL002' },
    )
  })

  it('a temporary type named like a common one is not run with the rights of the owner', async () => {
    const fresh = await arena.fresh.connect({ role: 'service_role', max: 1 })
    await fresh.query(`
      create function pg_temp.trap(text) returns boolean language plpgsql as
        $f$ begin raise exception 'ran as %', current_user; end $f$;
      create domain pg_temp.uuid as pg_catalog.uuid check (pg_temp.trap(value::text));
      select set_config('request.jwt.claims', '{"sub":"${newId()}"}', false)`)
    const { rows } = await fresh.query(
      'select is_member(gen_random_uuid()) as member, member_role(gen_random_uuid()) as role',
    )
    expect(rows).toEqual([{ member: false, role: null }])
    await fresh.close()
  })
})

describe('a run begins', () => {
  const insert = (tx: Db | Tx, column: string, value: string) =>
    tx.query(
      `insert into collection_runs (org_id, name, budget_cap_cents, category_ids, created_by, ${column})
       values ($1, 'Run', 100, '{}', $2, ${value})`,
      [arena.actor.orgId, arena.actor.userId],
    )

  it.each(['started_at', 'paused_at', 'completed_at', 'soft_warned_at', 'updated_at'])('without %s', async (column) => {
    await expectRefused((tx) => insert(tx, column, 'now()'), { code: 'GL003' })
  })

  it('under the number the database gives it, in a session that has drawn one and in one that has not', async () => {
    await expectRefused((tx) => insert(tx, 'number', '1000000'), { code: 'GL003' })
    await expectRefused(
      async (tx) => {
        await insert(tx, 'number', 'default')
        await insert(tx, 'number', '(select max(number) + 1 from collection_runs)')
      },
      { code: 'GL003' },
    )
  })
})

describe('events', () => {
  const add = (tx: Tx, seqs: string) =>
    tx.query(
      `insert into collection_events (run_id, seq, type) select id, event_seq + n, 'x' from collection_runs, unnest($1::int[]) as n`,
      [seqs],
    )

  it.each(['{2}', '{0}', '{1,3}', '{1,2,4}', '{-1}'])('are not numbered on by %s', async (seqs) => {
    await expectRefused((tx) => add(tx, seqs), { code: expect.stringMatching(/^(GL003|23505|23514)$/) })
  })

  it('are numbered on for several runs at once', async () => {
    const other = await arena.makeRun({ start: false })
    const seqs = async () => [(await arena.look(run.id)).eventSeq, (await arena.look(other.id)).eventSeq] as const
    const [first, second] = await seqs()
    await withTx(arena.db, (tx) => add(tx, '{1,2,3}'))
    expect(await seqs()).toEqual([first + 3, second + 3])
  })

  it('have no gap and no number twice when many append at once', async () => {
    const { id, eventSeq } = await arena.makeRun({ start: false })
    const two = [{ type: 'calls.booked' }, { type: 'calls.booked' }] as const
    const last = await Promise.all(
      Array.from({ length: 20 }, () => withTx(arena.db, (tx) => appendEvents(tx, id, two))),
    )
    expect(last.sort((a, b) => a - b)).toEqual(Array.from({ length: 20 }, (_, n) => eventSeq + 2 * (n + 1)))
    expect((await arena.look(id)).eventSeq).toBe(eventSeq + 40)
  })
})

describe('the places of an organisation', () => {
  let crowd: Db
  beforeAll(async () => {
    crowd = await arena.fresh.connect({ role: 'service_role', max: CROWD })
  })
  const START = `update collection_runs set status = 'running' where id = $1`
  const running = async (orgId: string) =>
    (await arena.rows(`select from collection_runs where org_id = $1 and status = 'running'`, [orgId])).length
  const pendingRuns = async (count: number, places: number | null) => {
    const [org] = await arena.rows<{ id: string }>(`insert into orgs (name) values ('Crowded') returning id`)
    const orgId = org?.id ?? ''
    if (places !== null) await changeSettings(arena.db, orgId, { maxConcurrentRuns: places })
    const runs = await Promise.all(Array.from({ length: count }, () => arena.makeRun({ orgId, start: false })))
    return { orgId, ids: runs.map(({ id }) => id) }
  }

  it.each([
    ['five', 5, 5],
    ['three, without settings,', null, 3],
  ])('%s are not passed by 64 who start at once, straight in SQL', async (_name, places, expected) => {
    const { orgId, ids } = await pendingRuns(CROWD, places)
    const started = await Promise.allSettled(ids.map((id) => crowd.query(START, [id])))
    const refused = started.flatMap((one) => (one.status === 'rejected' ? [one.reason as { code?: string }] : []))
    expect(await running(orgId)).toBe(expected)
    expect(refused.map(({ code }) => code)).toEqual(Array.from({ length: CROWD - expected }, () => 'GL005'))
    expect(runtimeError(refused[0], 'postgresql://x/y')).toMatchObject({ code: 'run.wrong_state' })
  })

  it('are not passed by one statement for all, nor by resuming, and are free again after a pause', async () => {
    const { orgId, ids } = await pendingRuns(4, 2)
    await expect(
      crowd.query(`update collection_runs set status = 'running' where org_id = $1`, [orgId]),
    ).rejects.toMatchObject({ code: 'GL005' })
    expect(await running(orgId)).toBe(0)
    const [first = '', second = '', third = ''] = ids
    await crowd.query(START, [first])
    await pauseRun(arena.db, first, { reason: 'operator' })
    await crowd.query(START, [second])
    await crowd.query(START, [third])
    await expect(crowd.query(START, [first])).rejects.toMatchObject({ code: 'GL005' })
    await cancelRun(arena.db, second)
    await crowd.query(START, [first])
    expect(await running(orgId)).toBe(2)
  })

  it.each(['repeatable read', 'serializable'] as const)(
    'are not counted in an old snapshot (%s)',
    async (isolation) => {
      const { ids } = await pendingRuns(1, 1)
      const start = withTx(crowd, (tx) => tx.query(START, ids), { isolation })
      await expect(start).rejects.toMatchObject({ code: '0A000' })
    },
  )
})

describe('a run is deleted', () => {
  const remove = (id: string) => arena.db.query('delete from collection_runs where id = $1', [id])
  const rowsLeft = async (id: string) =>
    (await arena.rows('select from collection_items where run_id = $1', [id])).length +
    (await arena.rows('select from collection_calls where run_id = $1', [id])).length +
    (await arena.rows('select from collection_events where run_id = $1', [id])).length

  it('when it has ended and all its calls are settled or released, with all its rows; not before', async () => {
    const doomed = await arena.makeRun({ products: 2, from: 100 })
    const refused = () => expect(remove(doomed.id)).rejects.toMatchObject({ code: 'GL002' })
    await refused()
    const silent = await arena.makeWorker()
    const [answered] = await claim(arena, doomed, await arena.makeWorker())
    const [unknown] = await claim(arena, doomed, silent)
    await cancelRun(arena.db, doomed.id)
    expect(await arena.calls(doomed.id)).toEqual({ held: 2 })
    await refused()
    await book(arena, doomed, finished(answered, found(['carl'])))
    await lose(arena, silent)
    expect(await arena.calls(doomed.id)).toEqual({ settled: 1, suspect: 1 })
    await refused()
    await book(arena, doomed, finished(unknown, found([])))
    expect(await arena.look(doomed.id)).toMatchObject({ spentMicros: 2 * PRICE, heldCalls: 0, suspectCalls: 0 })
    // Started straight in SQL, some runs above have no event that tells of it: that is all verify finds.
    expect(await broken(arena.db)).toEqual(['I6'])
    expect(await rowsLeft(doomed.id)).toBeGreaterThan(0)
    await remove(doomed.id)
    expect(await rowsLeft(doomed.id)).toBe(0)
    expect(await arena.rows(`select first_seen_run_id as run from sellers where normalized_name = 'carl'`)).toEqual([
      { run: null },
    ])
  })

  it('while it is pending, and not while it is paused', async () => {
    const pending = await arena.makeRun({ products: 1, start: false })
    await remove(pending.id)
    expect(await rowsLeft(pending.id)).toBe(0)
    const paused = await arena.makeRun()
    await pauseRun(arena.db, paused.id, { reason: 'operator' })
    await expect(remove(paused.id)).rejects.toMatchObject({ code: 'GL002' })
  })

  it('with its organisation, whatever its state', async () => {
    const [org] = await arena.rows<{ id: string }>(`insert into orgs (name) values ('Leaving') returning id`)
    const leaving = await arena.makeRun({ products: 1, orgId: org?.id ?? '' })
    await claim(arena, leaving, await arena.makeWorker())
    expect(await arena.look(leaving.id)).toMatchObject({ status: 'running', heldCalls: 1 })
    await arena.db.query('delete from orgs where id = $1', [org?.id])
    expect(await arena.rows('select from collection_runs where id = $1', [leaving.id])).toEqual([])
    expect(await rowsLeft(leaving.id)).toBe(0)
  })
})
