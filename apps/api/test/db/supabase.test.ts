import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { newId } from '../../src/base/ids.ts'
import { connect, withTx } from '../../src/db/client.ts'
import { migrate } from '../../src/db/migrate.ts'
import { MIGRATIONS_DIR } from '../../src/db/migration-files.ts'
import { asMember, asService } from '../../src/db/session.ts'
import { checkCatalog } from '../support/catalog.ts'
import { type Supabase, supabaseDb } from '../support/supabase.ts'

let supabase: Supabase
beforeAll(async () => {
  supabase = await supabaseDb()
})
afterAll(() => supabase.close())

/** Everything about the objects a project brings with it. */
async function fingerprint(): Promise<unknown> {
  const { rows } = await supabase.admin.query(`
    select c.oid::regclass::text as object, c.relowner::regrole::text as owner, c.relacl::text as acl, c.relrowsecurity as rls,
      (select json_agg(json_build_array(a.attname, a.atttypid::regtype::text, a.attnotnull) order by a.attnum)
       from pg_attribute a where a.attrelid = c.oid and a.attnum > 0) as columns,
      (select json_agg(p.* order by p.policyname) from pg_policies p
       where p.tablename = c.relname and p.schemaname = c.relnamespace::regnamespace::text) as policies,
      (select json_agg(conname order by conname) from pg_constraint where conrelid = c.oid) as constraints
    from pg_class c where c.oid in ('auth.users'::regclass, 'public.orgs'::regclass)
    union all
    select p.oid::regprocedure::text, p.proowner::regrole::text, p.proacl::text, null, null, null, to_json(p.prosrc)
    from pg_proc p where p.pronamespace = 'auth'::regnamespace order by 1`)
  return rows
}

describe('a Supabase project', () => {
  it('takes all migrations from its owner, who is no superuser, and keeps what it had as it was', async () => {
    const before = await fingerprint()
    const applied = await migrate(supabase.owner)
    expect(applied[0]).toBe('001_roles.sql')
    expect(applied).toContain('037_collection_infrastructure.sql')
    expect(await fingerprint()).toEqual(before)
    expect(await migrate(supabase.owner)).toEqual([])
  })

  it('keeps every rule of the catalogs although the project grants everything to everybody', async () => {
    const findings = await checkCatalog(supabase.admin)
    const ours = findings.map(({ rule, broken }) => ({ rule, broken: broken.filter((name) => name !== 'public.orgs') }))
    expect(ours.filter(({ broken }) => broken.length > 0)).toEqual([]) // orgs is the project's own
    expect(findings.every(({ checked }) => checked > 0)).toBe(true)
  })

  it('lets workers write and members read', async () => {
    const { org, person } = { org: newId(), person: newId() }
    await supabase.owner.query('insert into auth.users (id, email) values ($1, $2)', [person, 'a@example.org'])
    await supabase.owner.query(`insert into orgs (id, slug, name) values ($1, 'a', 'A')`, [org])
    await supabase.owner.query(`insert into org_members values ($1, $2, 'owner')`, [org, person])
    await withTx(supabase.owner, async (tx) => {
      await asService(tx)
      await tx.query('insert into collection_settings (org_id) values ($1)', [org])
    })
    const seen = await withTx(supabase.owner, async (tx) => {
      await asMember(tx, { userId: person, orgId: org })
      return (await tx.query('select budget_cap_cents from collection_settings')).rows
    })
    expect(seen).toEqual([{ budget_cap_cents: 2500 }])
  })
})

describe('037 alone', () => {
  it('applies unchanged to a Supabase project that has orgs and auth.users', async () => {
    const project = await supabaseDb()
    const sql = readFileSync(join(MIGRATIONS_DIR, '037_collection_infrastructure.sql'), 'utf8')
    await project.owner.query(sql)
    const service = await connect(project.owner.url, { role: 'service_role', max: 1 })
    expect((await service.query('select count(*) as n from collection_runs')).rows).toEqual([{ n: 0 }])
    await service.close()
    await project.close()
  })
})
