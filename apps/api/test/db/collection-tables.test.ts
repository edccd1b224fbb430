import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { newId } from '../../src/base/ids.ts'
import { type Db, withTx } from '../../src/db/client.ts'
import { MIGRATIONS_DIR } from '../../src/db/migration-files.ts'
import { asService } from '../../src/db/session.ts'
import { emptyDb, type FreshDb, freshDb } from '../support/db.ts'

const SQL = readFileSync(join(MIGRATIONS_DIR, '037_collection_infrastructure.sql'), 'utf8')
const linesWith = (text: string) => SQL.split('\n').filter((line) => line.includes(text)).length

/** A database with 037 and nothing after it. */
let fresh: FreshDb
let db: Db
beforeAll(async () => {
  await (await freshDb()).close() // makes the roles, which belong to the whole server
  fresh = await emptyDb()
  db = fresh.db
  await db.query(
    'create schema auth; create table auth.users (id uuid primary key); create table orgs (id uuid primary key)',
  )
  await db.query(SQL)
})
afterAll(() => fresh.close())

async function newOrg(): Promise<{ org: string; person: string }> {
  const [org, person] = [newId(), newId()]
  await db.query('insert into orgs values ($1)', [org])
  await db.query('insert into auth.users values ($1)', [person])
  return { org, person }
}

async function newRun(org: string, person: string): Promise<string> {
  const { rows } = await db.query<{ id: string }>(
    `insert into collection_runs (org_id, name, estimated_cost_cents, budget_cap_cents, category_ids, created_by)
     values ($1, 'Run', 0, 2500, '{}', $2) returning id`,
    [org, person],
  )
  return rows[0]?.id ?? ''
}

describe('the file', () => {
  it('has exactly four tables and row level security on each', () => {
    expect(linesWith('CREATE TABLE')).toBe(4)
    expect(linesWith('ENABLE ROW LEVEL SECURITY')).toBe(4)
  })

  it('has numbered sections between rules', () => {
    const sections = [...SQL.matchAll(/^-- =+\n-- (\d+\. .+)\n-- =+\n-- \S/gm)].map((match) => match[1])
    expect(sections).toEqual([
      '1. Collection Settings',
      '2. Collection Runs',
      '3. Collection Items',
      '4. Sellers',
      '5. Row Level Security',
      '6. Privileges',
    ])
  })
})

describe('columns', () => {
  const id = 'id uuid not null default gen_random_uuid()'
  const created = 'created_at timestamp with time zone not null default now()'
  const updated = 'updated_at timestamp with time zone'
  const expected: Record<string, string[]> = {
    collection_settings: [
      id,
      'org_id uuid not null',
      'budget_cap_cents integer not null default 2500',
      'soft_warning_percent integer not null default 80',
      'max_concurrent_runs integer not null default 3',
      created,
      updated,
    ],
    collection_runs: [
      id,
      'org_id uuid not null',
      'name text not null',
      `status text not null default 'pending'::text`,
      'estimated_cost_cents integer not null',
      'actual_cost_cents integer not null default 0',
      'budget_cap_cents integer not null',
      'total_items integer not null default 0',
      'processed_items integer not null default 0',
      'failed_items integer not null default 0',
      'checkpoint jsonb',
      'category_ids text[] not null',
      'started_at timestamp with time zone',
      'completed_at timestamp with time zone',
      'paused_at timestamp with time zone',
      'created_by uuid not null',
      created,
      updated,
    ],
    collection_items: [
      id,
      'run_id uuid not null',
      'item_type text not null',
      'external_id text not null',
      `status text not null default 'pending'::text`,
      'data jsonb',
      'error_code text',
      'error_message text',
      'cost_cents integer not null default 0',
      created,
    ],
    sellers: [
      id,
      'org_id uuid not null',
      'display_name text not null',
      'normalized_name text not null',
      'platform text not null',
      'platform_id text',
      'first_seen_run_id uuid',
      'last_seen_run_id uuid',
      'times_seen integer not null default 1',
      'feedback_score integer',
      'item_count integer',
      created,
      updated,
    ],
  }

  it.each(Object.keys(expected))('%s has those of the requirement, in type, nullability and default', async (table) => {
    const { rows } = await db.query<{ line: string }>(
      `select concat_ws(' ', a.attname, format_type(a.atttypid, a.atttypmod),
        case when a.attnotnull then 'not null' end, 'default ' || pg_get_expr(d.adbin, d.adrelid)) as line
       from pg_attribute a left join pg_attrdef d on d.adrelid = a.attrelid and d.adnum = a.attnum
       where a.attrelid = $1::regclass and a.attnum > 0 order by a.attnum`,
      [table],
    )
    expect(rows.map(({ line }) => line)).toEqual(expected[table])
  })
})

describe('constraints and indexes', () => {
  it('are those of the requirement', async () => {
    const { rows } = await db.query<{ line: string }>(
      `select c.relname || ': ' || pg_get_constraintdef(k.oid) as line
       from pg_constraint k join pg_class c on c.oid = k.conrelid
       where c.relname in ('collection_settings', 'collection_runs', 'collection_items', 'sellers') and k.contype in ('p', 'u', 'f')
       order by 1`,
    )
    expect(rows.map(({ line }) => line)).toEqual([
      'collection_items: FOREIGN KEY (run_id) REFERENCES collection_runs(id) ON DELETE CASCADE',
      'collection_items: PRIMARY KEY (id)',
      'collection_runs: FOREIGN KEY (created_by) REFERENCES auth.users(id)',
      'collection_runs: FOREIGN KEY (org_id) REFERENCES orgs(id) ON DELETE CASCADE',
      'collection_runs: PRIMARY KEY (id)',
      'collection_settings: FOREIGN KEY (org_id) REFERENCES orgs(id) ON DELETE CASCADE',
      'collection_settings: PRIMARY KEY (id)',
      'collection_settings: UNIQUE (org_id)',
      'sellers: FOREIGN KEY (first_seen_run_id) REFERENCES collection_runs(id) ON DELETE SET NULL',
      'sellers: FOREIGN KEY (last_seen_run_id) REFERENCES collection_runs(id) ON DELETE SET NULL',
      'sellers: FOREIGN KEY (org_id) REFERENCES orgs(id) ON DELETE CASCADE',
      'sellers: PRIMARY KEY (id)',
      'sellers: UNIQUE (org_id, normalized_name, platform)',
    ])
  })

  it('give one index to each column listed', async () => {
    const { rows } = await db.query<{ line: string }>(
      `select indexdef as line from pg_indexes where schemaname = 'public' and indexname like 'idx_%' order by indexname`,
    )
    expect(rows.map(({ line }) => line.replace(/^.* ON public\.(\w+) USING btree /, '$1 '))).toEqual([
      'collection_items (item_type)',
      'collection_items (run_id)',
      'collection_items (status)',
      'collection_runs (created_at)',
      'collection_runs (org_id)',
      'collection_runs (status)',
      'sellers (normalized_name)',
      'sellers (org_id)',
    ])
  })

  it('let workers do everything by one policy a table', async () => {
    const { rows } = await db.query(
      `select tablename, cmd, roles::text[], qual, with_check, permissive from pg_policies where schemaname = 'public' order by 1`,
    )
    const policy = { cmd: 'ALL', roles: ['service_role'], qual: 'true', with_check: 'true', permissive: 'PERMISSIVE' }
    expect(rows).toEqual(
      ['collection_items', 'collection_runs', 'collection_settings', 'sellers'].map((tablename) => ({
        tablename,
        ...policy,
      })),
    )
    const { org } = await newOrg()
    await withTx(db, async (tx) => {
      await asService(tx)
      await tx.query('insert into collection_settings (org_id) values ($1)', [org])
    })
  })

  const refused = (constraint: string) => ({ code: expect.stringMatching(/^235(05|14)$/), constraint })

  it('take each status of a run and of an item, and no other', async () => {
    const { org, person } = await newOrg()
    const run = await newRun(org, person)
    const set = (status: string) => db.query('update collection_runs set status = $1 where id = $2', [status, run])
    for (const status of ['pending', 'running', 'paused', 'completed', 'failed', 'cancelled']) await set(status)
    await expect(set('done')).rejects.toMatchObject(refused('collection_runs_status_check'))

    const add = (type: string, status: string) =>
      db.query('insert into collection_items (run_id, item_type, external_id, status) values ($1, $2, $3, $4)', [
        run,
        type,
        newId(),
        status,
      ])
    for (const status of ['pending', 'processing', 'completed', 'failed', 'skipped'])
      await add('amazon_product', status)
    await add('ebay_seller', 'pending')
    await expect(add('amazon_product', 'done')).rejects.toMatchObject(refused('collection_items_status_check'))
    await expect(add('book', 'pending')).rejects.toMatchObject(refused('collection_items_item_type_check'))
  })

  it('keep one row of settings an organisation and one seller a name', async () => {
    const { org, person } = await newOrg()
    const settings = () => db.query('insert into collection_settings (org_id) values ($1)', [org])
    await settings()
    await expect(settings()).rejects.toMatchObject(refused('collection_settings_org_id_key'))

    const run = await newRun(org, person)
    const seller = (platform: string) =>
      db.query(
        `insert into sellers (org_id, display_name, normalized_name, platform, first_seen_run_id) values ($1, 'A', 'a', $2, $3)`,
        [org, platform, run],
      )
    await seller('ebay')
    await expect(seller('ebay')).rejects.toMatchObject(refused('sellers_unique_normalized'))
    await expect(seller('amazon')).rejects.toMatchObject(refused('sellers_platform_check'))
  })

  it('go with their organisation; sellers outlive their runs; people with runs stay', async () => {
    const { org, person } = await newOrg()
    const run = await newRun(org, person)
    await db.query(`insert into collection_items (run_id, item_type, external_id) values ($1, 'ebay_seller', 'x')`, [
      run,
    ])
    await db.query(
      `insert into sellers (org_id, display_name, normalized_name, platform, first_seen_run_id, last_seen_run_id)
       values ($1, 'A', 'a', 'ebay', $2, $2)`,
      [org, run],
    )
    await expect(db.query('delete from auth.users where id = $1', [person])).rejects.toMatchObject({ code: '23503' })
    await db.query('delete from collection_runs where id = $1', [run])
    expect((await db.query('select from collection_items where run_id = $1', [run])).rowCount).toBe(0)
    const { rows } = await db.query('select first_seen_run_id, last_seen_run_id from sellers where org_id = $1', [org])
    expect(rows).toEqual([{ first_seen_run_id: null, last_seen_run_id: null }])
    await db.query('delete from orgs where id = $1', [org])
    expect((await db.query('select from sellers where org_id = $1', [org])).rowCount).toBe(0)
  })
})
