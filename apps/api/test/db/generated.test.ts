import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { listedValues, rowTypes } from '../../../../scripts/row-types.ts'
import { dumpSchema } from '../../../../scripts/schema-dump.ts'
import { ROOT_DIR } from '../../src/base/config.ts'
import { type Db, withTx } from '../../src/db/client.ts'
import { emptyDb, type FreshDb, freshDb } from '../support/db.ts'

let fresh: FreshDb
beforeAll(async () => {
  fresh = await freshDb()
})
afterAll(() => fresh.close())

const dump = (db: Db) => withTx(db, dumpSchema)

/** PostgreSQL writes some expressions differently from version to version; the committed files are those of 18. */
const is18 = () => fresh.db.serverVersion >= 180_000

describe('generated files', () => {
  it('are what the migrations give (else: npm run generate)', async ({ skip }) => {
    if (!is18()) skip('the committed files are those of PostgreSQL 18')
    expect(await dump(fresh.db)).toBe(readFileSync(join(ROOT_DIR, 'apps/api/schema.sql'), 'utf8'))
    expect(await rowTypes(fresh.db)).toBe(readFileSync(join(ROOT_DIR, 'apps/api/src/db/rows.gen.ts'), 'utf8'))
  })
})

describe('the schema dump', () => {
  it('makes the same schema in an empty database', async () => {
    const text = await dump(fresh.db)
    const empty = await emptyDb()
    await empty.db.query(text)
    // Read once more, a AND b AND c loses the parentheses it was made with: they are all that may differ.
    const bare = (sql: string) => sql.replaceAll(/[()]/g, '')
    expect(bare(await dump(empty.db))).toBe(bare(text))
    await empty.close()
  })

  it('shows a change of every kind', async () => {
    const kinds = [
      'create table extra (id int primary key, at timestamptz default now(), n bigint generated always as identity)',
      'alter table orgs add column extra int',
      'alter table orgs alter column name drop not null',
      'create index orgs_extra on orgs (name) where name is not null',
      'alter table orgs add constraint orgs_extra check (name <> $$x$$)',
      `create function extra() returns trigger language plpgsql set search_path = '' as 'begin return new; end'`,
      `create function auth.extra() returns int language sql set search_path = '' as 'select 1'`,
      'create policy extra on orgs for select to anon using (name = $$x$$)',
      'alter table orgs disable row level security',
      'grant insert on orgs to authenticated',
      'grant select (name) on orgs to anon',
      'revoke execute on function is_member(uuid) from authenticated',
      'grant usage on schema gleaner to authenticated',
      `comment on column orgs.name is 'extra'`,
      'alter table orgs set (fillfactor = 70)',
      'create view extra with (security_invoker = true) as select 1 as one',
    ]
    const before = await dump(fresh.db)
    for (const sql of kinds) {
      const changed = withTx(fresh.db, async (tx) => {
        await tx.query(`set local search_path = public`)
        await tx.query(sql)
        throw Object.assign(new Error('roll back'), { dump: await dumpSchema(tx) })
      })
      const { dump: after } = await changed.catch((error: { dump?: string }) => error)
      expect(typeof after, sql).toBe('string')
      expect(after, sql).not.toBe(before)
    }
  })
})

describe('row types', () => {
  it('read the values a CHECK lists, and no other CHECK', () => {
    expect(listedValues(`CHECK ((a = ANY (ARRAY['x'::text, 'y z'::text])))`)).toEqual(['x', 'y z'])
    expect(listedValues(`CHECK ((a = 'ebay'::text))`)).toEqual(['ebay'])
    expect(listedValues(`CHECK ((a > 1))`)).toBeNull()
    expect(listedValues(`CHECK ((a = ANY (ARRAY['x'::text, NULL::text])))`)).toBeNull()
  })

  it('fit what the driver returns, column by column', async () => {
    const text = await rowTypes(fresh.db)
    expect(text).toContain(`status: 'pending' | 'running' | 'paused' | 'completed' | 'failed' | 'cancelled'\n`)
    expect(text).toMatch(
      /interface OrgsRow \{\n\s+id: string\n\s+name: string\n\s+created_at: Date\n\s+updated_at: Date \| null\n\}/,
    )
    await expect(
      withTx(fresh.db, async (tx) => {
        await tx.query('create table public.odd (at interval)')
        await rowTypes(tx)
      }),
    ).rejects.toThrow('odd.at: unknown type interval')
  })
})
