/** I9: row level security, by its catalog and by actually reading as somebody who belongs to no organisation. */
import { newId } from '../../base/ids.ts'
import type { Tx } from '../../db/client.ts'
import { asMember } from '../../db/session.ts'
import { type Example, type Finding, finding } from './types.ts'

type Table = Readonly<{ name: string; secured: boolean; unnamed: string[]; readable: boolean }>

/** Accounts and prices belong to the installation: everybody who is signed in may see them, by design. */
const SHARED: ReadonlySet<string> = new Set(['provider_accounts', 'provider_governors', 'provider_prices'])

/** Our tables, and those of organisations when they are ours (a project may have brought its own). */
const OUR_TABLES = `
  select c.relname::text as name, c.relrowsecurity as secured,
    array(select p.polname::text from pg_policy p where p.polrelid = c.oid and 0 = any (p.polroles)) as unnamed,
    has_table_privilege('authenticated', c.oid, 'select') as readable
  from pg_class c
  where c.relnamespace = 'public'::regnamespace and c.relkind in ('r', 'p')
    and (c.relname ~ '^(collection|provider|seller|compliance)_'
      or c.relname in ('sellers', 'audit_log', 'installation_key')
      or (c.relname in ('orgs', 'org_members')
        and exists (select from pg_policy p where p.polrelid = c.oid and p.polname = c.relname || '_service')))
  order by c.relname`

/**
 * I9: every table of ours has row level security on and names the roles of its policies, and a signed-in person who is a
 * member of nothing reads no row of any. Leaves the transaction in that person's role: it must be the last check in it.
 */
export async function checkAccess(tx: Tx): Promise<Finding> {
  const { rows: tables } = await tx.query<Table>(OUR_TABLES)
  const examples: Example[] = []
  const tell = (table: string, what: string, expected: string, found: string): void => {
    examples.push({ run: null, what, ids: { table }, expected, found })
  }
  for (const table of tables) {
    if (!table.secured) tell(table.name, 'row level security', 'on', 'off')
    for (const policy of table.unnamed) tell(table.name, `policy ${policy}`, 'names its roles', 'for everybody')
  }
  await asMember(tx, { userId: newId() })
  for (const { name, readable } of tables) {
    if (!readable || SHARED.has(name)) continue
    const { rows } = await tx.query<{ seen: boolean }>(`select exists (select from public.${name}) as seen`)
    if (rows[0]?.seen) tell(name, 'rows somebody who is no member reads', 'none', 'some')
  }
  return finding('I9', tables.length, examples)
}
