import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { checkCatalog, type Finding } from '../support/catalog.ts'
import { type FreshDb, freshDb } from '../support/db.ts'

let fresh: FreshDb
let findings: Finding[]
beforeAll(async () => {
  fresh = await freshDb()
  findings = await checkCatalog(fresh.db)
  console.log(findings.map(({ rule, checked }) => `${String(checked).padStart(4)} objects: ${rule}`).join('\n'))
})
afterAll(() => fresh.close())

const found = (part: string) => {
  const finding = findings.find(({ rule }) => rule.includes(part))
  if (!finding) throw new Error(`no rule says ${part}`)
  return finding
}

describe('the catalogs', () => {
  it.each([
    'row level security on',
    'names service_role',
    'signs people in is',
    'who signs people in',
    'every policy',
    'every view',
    'every foreign key',
    'fixed search path',
    'be run by everybody',
    'no worker may use',
    'no worker may empty',
    'not signed in',
    'is signed in',
  ])('keep the rule: %s', (part) => {
    const { checked, broken } = found(part)
    expect(broken).toEqual([])
    expect(checked).toBeGreaterThan(0)
  })

  it('have no index on what every new run changes in a seller: it is renewed in place', async () => {
    const { rows } = await fresh.db.query(
      `select i.indexrelid::regclass as index, a.attname from pg_index i
       join pg_attribute a on a.attrelid = i.indrelid and a.attnum = any(i.indkey::int2[])
       where i.indrelid = 'sellers'::regclass and a.attname in ('last_seen_run_id', 'last_seen_at', 'times_seen',
         'feedback_score', 'feedback_permille', 'item_count', 'updated_at')`,
    )
    expect(rows).toEqual([])
  })

  it('are looked at closely enough: each rule finds what breaks it', async () => {
    await fresh.db.query(`
      create table public.bad (id int primary key, run_id uuid references collection_runs (id));
      create policy bad_for_all on public.bad using (true);
      create view public.bad_view as select 1 as one;
      create function public.bad_function() returns int language sql as 'select 1';
      create function public.bad_definer() returns int language sql security definer set search_path = '' as 'select 1';
      grant select on public.bad to anon;
      create function public.bad_trigger() returns trigger language plpgsql security definer
        set search_path = pg_catalog, public, pg_temp as 'begin return null; end';
      revoke execute on function public.bad_trigger() from public;
      grant execute on function public.bad_trigger() to service_role;
      grant truncate on public.bad to authenticated;
      grant trigger on public.bad to service_role;
      create table gleaner_auth.bad (id int primary key);
      alter table gleaner_auth.bad enable row level security;
      grant select on public.bad to gleaner_auth`)
    const now = await checkCatalog(fresh.db)
    expect(Object.fromEntries(now.map(({ rule, broken }) => [rule, broken]))).toEqual({
      'every table has row level security on': ['public.bad'],
      'every table lets workers in by a policy that names service_role': ['public.bad'],
      'what signs people in is for its own role alone': ['gleaner_auth.bad'],
      'who signs people in may touch nothing else': ['public.bad'],
      'every policy names its roles': ['bad_for_all on public.bad'],
      'every view runs with the rights of its reader': ['public.bad_view'],
      'every foreign key has an index that begins with its columns': ['bad_run_id_fkey of public.bad'],
      'every function has a fixed search path that ends with pg_temp': ['public.bad_definer', 'public.bad_function'],
      'no function that runs with the rights of its owner can be run by everybody': ['public.bad_definer'],
      'no worker may use a trigger function that runs with the rights of its owner': ['public.bad_trigger'],
      'nobody who is not signed in may touch a table': ['public.bad'],
      'nobody who is signed in may do what row level security does not cover': ['public.bad'],
      'no worker may empty a table or put a trigger on it': ['public.bad'],
    })
    await fresh.db.query('create index on public.bad (run_id) where run_id is not null')
    const withIndex = (await checkCatalog(fresh.db)).find(({ rule }) => rule.includes('foreign key'))
    expect(withIndex?.broken).toEqual([])
  })
})
