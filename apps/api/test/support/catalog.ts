/** The rules every table, foreign key, policy and function of ours keeps, checked over the system catalogs. */
import type { Queryable } from '../../src/db/client.ts'

export type Rule = Readonly<{
  name: string
  /** One row per object looked at: `object` and whether it is `broken`. */
  sql: string
}>

export type Finding = Readonly<{ rule: string; checked: number; broken: readonly string[] }>

/** Schemas in which everything is ours. */
const OWN = `n.nspname in ('public', 'gleaner', 'auth', 'gleaner_auth')`
/** Supabase's own objects, and a project's own tables, are not ours to judge. */
const MINE = `${OWN} and c.relowner = (select relowner from pg_class where oid = 'public.collection_runs'::regclass)`

export const RULES: readonly Rule[] = [
  {
    name: 'every table has row level security on',
    sql: `select format('%I.%I', n.nspname, c.relname) as object, not c.relrowsecurity as broken
      from pg_class c join pg_namespace n on n.oid = c.relnamespace where ${MINE} and c.relkind in ('r', 'p')`,
  },
  {
    name: 'every table lets workers in by a policy that names service_role',
    sql: `select format('%I.%I', n.nspname, c.relname) as object, not exists (
        select from pg_policy p where p.polrelid = c.oid and 'service_role'::regrole::oid = any (p.polroles)) as broken
      from pg_class c join pg_namespace n on n.oid = c.relnamespace
      where ${MINE} and c.relkind in ('r', 'p') and n.nspname <> 'gleaner_auth'`,
  },
  {
    name: 'what signs people in is for its own role alone',
    sql: `select format('%I.%I', n.nspname, c.relname) as object,
        exists (select from unnest(array['anon', 'authenticated', 'service_role']) as role
          where has_table_privilege(role, c.oid, 'select, insert, update, delete, truncate, references, trigger')
            or has_any_column_privilege(role, c.oid, 'select, insert, update, references'))
        or exists (select from pg_policy p where p.polrelid = c.oid and p.polroles <> array['gleaner_auth'::regrole::oid])
        or not exists (select from pg_policy p where p.polrelid = c.oid) as broken
      from pg_class c join pg_namespace n on n.oid = c.relnamespace
      where ${MINE} and c.relkind in ('r', 'p', 'v') and n.nspname = 'gleaner_auth'`,
  },
  {
    name: 'who signs people in may touch nothing else',
    sql: `select format('%I.%I', n.nspname, c.relname) as object,
        has_table_privilege('gleaner_auth', c.oid, 'select, insert, update, delete, truncate, references, trigger')
          or has_any_column_privilege('gleaner_auth', c.oid, 'select, insert, update, references') as broken
      from pg_class c join pg_namespace n on n.oid = c.relnamespace
      where ${MINE} and c.relkind in ('r', 'p', 'v') and n.nspname <> 'gleaner_auth'`,
  },
  {
    name: 'every policy names its roles',
    sql: `select format('%I on %I.%I', p.polname, n.nspname, c.relname) as object, 0 = any (p.polroles) as broken
      from pg_policy p join pg_class c on c.oid = p.polrelid join pg_namespace n on n.oid = c.relnamespace where ${MINE}`,
  },
  {
    name: 'every view runs with the rights of its reader',
    sql: `select format('%I.%I', n.nspname, c.relname) as object,
        not coalesce('security_invoker=true' = any (c.reloptions), false) as broken
      from pg_class c join pg_namespace n on n.oid = c.relnamespace where ${MINE} and c.relkind = 'v'`,
  },
  {
    name: 'every foreign key has an index that begins with its columns',
    // A partial index counts when it leaves out nulls only: a null refers to nothing.
    // One is left out on purpose: 052 says why.
    sql: `select format('%s of %I.%I', k.conname, n.nspname, c.relname) as object, not exists (
        select from pg_index i
        where i.indrelid = k.conrelid and i.indisvalid
          and (select array_agg(key order by key) from unnest((i.indkey::int2[])[0:cardinality(k.conkey) - 1]) as key)
            = (select array_agg(key order by key) from unnest(k.conkey) as key)
          and (i.indpred is null or (cardinality(k.conkey) = 1 and pg_get_expr(i.indpred, i.indrelid) =
            (select format('(%I IS NOT NULL)', a.attname) from pg_attribute a
             where a.attrelid = k.conrelid and a.attnum = k.conkey[1])))) as broken
      from pg_constraint k join pg_class c on c.oid = k.conrelid join pg_namespace n on n.oid = c.relnamespace
      where ${MINE} and k.contype = 'f' and k.conname <> 'sellers_last_seen_run_id_fkey'`,
  },
  {
    // Unless it is named last, the schema of temporary objects is searched first, for tables and for types.
    name: 'every function has a fixed search path that ends with pg_temp',
    sql: `select format('%I.%I', n.nspname, p.proname) as object, not exists (
        select from unnest(p.proconfig) as setting where setting ~ '^search_path=(.*, )?pg_temp$') as broken
      from pg_proc p join pg_namespace n on n.oid = p.pronamespace
      where ${OWN} and p.proowner = (select relowner from pg_class where oid = 'public.collection_runs'::regclass)`,
  },
  {
    name: 'no function that runs with the rights of its owner can be run by everybody',
    sql: `select format('%I.%I', n.nspname, p.proname) as object,
        has_function_privilege('anon', p.oid, 'execute') as broken
      from pg_proc p join pg_namespace n on n.oid = p.pronamespace
      where ${OWN} and p.prosecdef
        and p.proowner = (select relowner from pg_class where oid = 'public.collection_runs'::regclass)`,
  },
  {
    // Put on a temporary table, it would take made-up rows for ours.
    name: 'no worker may use a trigger function that runs with the rights of its owner',
    sql: `select format('%I.%I', n.nspname, p.proname) as object,
        has_function_privilege('service_role', p.oid, 'execute') as broken
      from pg_proc p join pg_namespace n on n.oid = p.pronamespace
      where ${OWN} and p.prosecdef and p.prorettype = 'trigger'::regtype
        and p.proowner = (select relowner from pg_class where oid = 'public.collection_runs'::regclass)`,
  },
  {
    name: 'nobody who is not signed in may touch a table',
    sql: `select format('%I.%I', n.nspname, c.relname) as object,
        has_table_privilege('anon', c.oid, 'select, insert, update, delete, truncate, references, trigger') as broken
      from pg_class c join pg_namespace n on n.oid = c.relnamespace where ${MINE} and c.relkind in ('r', 'p', 'v')`,
  },
  {
    name: 'nobody who is signed in may do what row level security does not cover',
    sql: `select format('%I.%I', n.nspname, c.relname) as object,
        has_table_privilege('authenticated', c.oid, 'truncate, references, trigger') as broken
      from pg_class c join pg_namespace n on n.oid = c.relnamespace where ${MINE} and c.relkind in ('r', 'p')`,
  },
  {
    name: 'no worker may empty a table or put a trigger on it',
    sql: `select format('%I.%I', n.nspname, c.relname) as object,
        has_table_privilege('service_role', c.oid, 'truncate, references, trigger') as broken
      from pg_class c join pg_namespace n on n.oid = c.relnamespace where ${MINE} and c.relkind in ('r', 'p')`,
  },
]

/** What each rule finds in the database behind `db`. */
export async function checkCatalog(db: Queryable): Promise<Finding[]> {
  const findings: Finding[] = []
  for (const { name, sql } of RULES) {
    const { rows } = await db.query<{ object: string; broken: boolean }>(sql)
    const broken = rows.filter((row) => row.broken).map((row) => row.object)
    findings.push({ rule: name, checked: rows.length, broken: broken.sort() })
  }
  return findings
}
