import { cpSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { type Db, withTx } from '../../src/db/client.ts'
import { assertCurrent, migrate, pending } from '../../src/db/migrate.ts'
import { MIGRATIONS_DIR, readMigrations, splitStatements } from '../../src/db/migration-files.ts'
import { emptyDb, type FreshDb, freshDb } from '../support/db.ts'

let dir: string
beforeEach(() => {
  dir = mkdtempSync('/tmp/gleaner-migrations-')
})
afterEach(() => rmSync(dir, { recursive: true, force: true }))

const file = (name: string, sql: string) => writeFileSync(join(dir, name), sql)

describe('files', () => {
  it('are read in order, with a checksum that line endings do not change', async () => {
    file('002_b.sql', 'select 2;\r\nselect 3;\r\n')
    file('001_a.sql', 'select 1;\n')
    const before = await readMigrations(dir)
    file('002_b.sql', '\uFEFFselect 2;\nselect 3;\n')
    expect(await readMigrations(dir)).toEqual(before)
    expect(before.map(({ number, name }) => [number, name])).toEqual([
      [1, '001_a.sql'],
      [2, '002_b.sql'],
    ])
  })

  it.each([
    ['two with the same number', ['037_a.sql', '037_b.sql'], /same number/],
    ['a gap from 037 on', ['037_a.sql', '039_c.sql'], /039_c.sql follows 037_a.sql/],
    ['a beginning after 037', ['001_a.sql', '038_b.sql'], /038_b.sql follows 001_a.sql/],
    ['a name out of form', ['38_a.sql'], /named like/],
    ['a name with capitals', ['038_A.sql'], /named like/],
  ])('are refused: %s', async (_, names, message) => {
    for (const name of names) file(name, 'select 1;')
    await expect(readMigrations(dir)).rejects.toMatchObject({ code: 'db.migration_failed', message })
  })

  it('of this project are in order, and only those before 037 may leave numbers out', async () => {
    const names = (await readMigrations()).map(({ name }) => name)
    expect(names).toContain('037_collection_infrastructure.sql')
    expect(names.length).toBeGreaterThan(6)
  })

  it('without a transaction are split into statements', () => {
    expect(splitStatements(`-- a comment; with a semicolon;\nselect 1;\nselect ';' || 2;  \n\n-- end\n`)).toEqual([
      'select 1',
      `select ';' || 2`,
    ])
  })
})

describe('migrate', () => {
  let fresh: FreshDb
  let db: Db
  beforeEach(async () => {
    fresh = await emptyDb({ max: 10 })
    db = fresh.db
  })
  afterEach(() => fresh.close())

  const tables = async () => {
    const { rows } = await db.query<{ name: string }>(
      `select relname as name from pg_class where relnamespace = 'public'::regnamespace and relkind = 'r' order by 1`,
    )
    return rows.map(({ name }) => name)
  }

  it('applies what is pending, once', async () => {
    file('001_a.sql', 'create table a ();')
    expect(await migrate(db, { dir })).toEqual(['001_a.sql'])
    file('002_b.sql', 'create table b ();')
    expect((await pending(db, dir)).map(({ name }) => name)).toEqual(['002_b.sql'])
    await expect(assertCurrent(db, dir)).rejects.toMatchObject({
      code: 'db.schema_behind',
      details: { pending: ['002_b.sql'] },
    })
    expect(await migrate(db, { dir })).toEqual(['002_b.sql'])
    expect(await migrate(db, { dir })).toEqual([])
    await assertCurrent(db, dir)
    expect(await tables()).toEqual(['a', 'b'])
  })

  it('lets processes start together: one migrates, all succeed', async () => {
    file('001_a.sql', 'create table a (); select pg_sleep(0.1);')
    file('002_b.sql', 'create table b ();')
    const results = await Promise.all([1, 2, 3, 4].map(() => migrate(db, { dir })))
    expect(results.map((names) => names.length).sort()).toEqual([0, 0, 0, 2])
  })

  it('keeps nothing of a file that fails, and everything before it', async () => {
    file('001_a.sql', 'create table a ();')
    file('002_b.sql', 'create table b ();\n\ncreate table c (x no_such_type);\n')
    await expect(migrate(db, { dir })).rejects.toMatchObject({
      code: 'db.migration_failed',
      message: expect.stringContaining('002_b.sql:3 failed'),
      details: { file: '002_b.sql', line: 3 },
    })
    expect(await tables()).toEqual(['a'])
    file('002_b.sql', 'create table b ();')
    expect(await migrate(db, { dir })).toEqual(['002_b.sql'])
  })

  it('refuses a file that was changed, one that is gone and one that was slipped in', async () => {
    file('001_a.sql', 'create table a ();')
    file('003_c.sql', 'create table c ();')
    await migrate(db, { dir })
    const changed = (name: string) => ({ code: 'db.migration_changed', details: { file: name } })

    file('001_a.sql', 'create table a (id int);')
    await expect(migrate(db, { dir })).rejects.toMatchObject(changed('001_a.sql'))
    await expect(assertCurrent(db, dir)).rejects.toMatchObject(changed('001_a.sql'))
    rmSync(join(dir, '001_a.sql'))
    await expect(migrate(db, { dir })).rejects.toMatchObject(changed('001_a.sql'))
    file('001_a.sql', 'create table a ();')
    file('002_b.sql', 'create table b ();')
    await expect(migrate(db, { dir })).rejects.toMatchObject(changed('002_b.sql'))
    expect(await tables()).toEqual(['a', 'c'])
  })

  it('refuses a database that is newer than the code', async () => {
    file('001_a.sql', 'create table a ();')
    file('002_b.sql', 'create table b ();')
    await migrate(db, { dir })
    rmSync(join(dir, '002_b.sql'))
    await expect(migrate(db, { dir })).rejects.toMatchObject({ code: 'db.schema_ahead' })
  })

  it('runs a marked file outside a transaction, and again after a failure', async () => {
    file('001_a.sql', 'create table a (id int); insert into a values (1), (1);')
    const sql = `-- gleaner: no transaction\ndrop index concurrently if exists a_id;\ncreate unique index concurrently a_id on a (id);\n`
    file('002_index.sql', sql)
    await expect(migrate(db, { dir })).rejects.toMatchObject({ code: 'db.migration_failed' })
    await db.query('delete from a where ctid = (select min(ctid) from a)')
    expect(await migrate(db, { dir })).toEqual(['002_index.sql'])
    const { rows } = await db.query(`select indisvalid as valid from pg_index where indexrelid = 'a_id'::regclass`)
    expect(rows).toEqual([{ valid: true }])
  })

  it('lets a concurrent index be built while others wait for their turn', async () => {
    file('001_a.sql', 'create table a (id int);')
    await migrate(db, { dir })
    file('002_index.sql', '-- gleaner: no transaction\ncreate index concurrently a_id on a (id);\n')
    const results = await Promise.all([1, 2, 3, 4].map(() => migrate(db, { dir })))
    expect(results.flat()).toEqual(['002_index.sql'])
  })

  it('rolls back a file that ends its transaction itself', async () => {
    file('001_a.sql', 'create table a (); commit; create table b ();')
    await expect(migrate(db, { dir })).rejects.toThrow(/ends its transaction itself/)
    expect(await pending(db, dir)).toHaveLength(1)
  })

  it('tries again when a table is locked, then gives up and says so', async () => {
    file('001_a.sql', 'create table a ();')
    await migrate(db, { dir })
    file('002_b.sql', 'alter table a add column id int;')
    const released = Promise.withResolvers<void>()
    const locked = Promise.withResolvers<void>()
    const holder = withTx(db, async (tx) => {
      await tx.query('lock table a')
      locked.resolve()
      await released.promise
    })
    await locked.promise
    await expect(migrate(db, { dir, lockTimeoutMs: 20 })).rejects.toMatchObject({
      code: 'db.migration_locked',
      message: expect.stringContaining('002_b.sql'),
    })
    const second = migrate(db, { dir, lockTimeoutMs: 60_000 })
    released.resolve()
    await holder
    expect(await second).toEqual(['002_b.sql'])
  })

  it('gives up waiting for another process that does not end', async () => {
    file('001_a.sql', 'select pg_sleep(1);')
    const slow = migrate(db, { dir })
    const working = async () =>
      (await db.query(`select from pg_stat_activity where query like '%pg_sleep(1)%' and pid <> pg_backend_pid()`))
        .rowCount
    while (!(await working())) await db.query('select pg_sleep(0.01)')
    await expect(migrate(db, { dir, waitMs: 100 })).rejects.toMatchObject({ code: 'db.migration_locked' })
    await slow
  })

  it('leaves no setting and no lock behind on the pool', async () => {
    file('001_a.sql', 'create table a ();')
    await migrate(db, { dir })
    const { rows } = await db.query(`select current_setting('lock_timeout') as wait,
      (select count(*) from pg_locks where locktype = 'advisory' and database = (select oid from pg_database
        where datname = current_database())) as locks`)
    expect(rows).toEqual([{ wait: '0', locks: 0 }])
  })
})

describe('the schema of this project', () => {
  it('is current in a migrated database, and workers may check it', async () => {
    const fresh = await freshDb()
    await assertCurrent(fresh.db)
    await assertCurrent(await fresh.connect({ role: 'service_role', max: 1 }))
    await fresh.close()
  })

  it('applies 037 alone to a database that has the roles, auth.users and orgs', async () => {
    cpSync(join(MIGRATIONS_DIR, '037_collection_infrastructure.sql'), join(dir, '037_collection_infrastructure.sql'))
    const fresh = await freshDb() // makes the roles, which belong to the whole server
    const bare = await emptyDb()
    await bare.db.query(`
      create schema auth;
      create table auth.users (id uuid primary key);
      create table public.orgs (id uuid primary key)`)
    expect(await migrate(bare.db, { dir })).toEqual(['037_collection_infrastructure.sql'])
    await bare.close()
    await fresh.close()
  })
})
