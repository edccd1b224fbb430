/**
 * Who may do what with every table and view: the decisions that access-matrix.test.ts holds the database against. A table
 * that is made without one fails there; so does one without rows to try it on (`seedOrg`).
 */
import { randomUUID } from 'node:crypto'
import { newId } from '../../src/base/ids.ts'
import type { Queryable } from '../../src/db/client.ts'
import type { Role } from '../../src/db/session.ts'

export type Decision = Readonly<{
  /** Which rows `t` belong to the organisation $1; null = the table belongs to the installation, and nobody signed in touches it, or all members alike. */
  rows: string | null
  /** The least role that may; left out = nobody who is signed in. */
  select?: Role
  update?: Role
  delete?: Role
  insert?: Role
  /** Of the rows, those that `update` and `delete` are tried on. */
  on?: string
  /** Only people insert, never a key. */
  noKeys?: true
  /** A row to insert for the organisation, by the person. */
  insertSql?: (org: string, person: string) => string
}>

/** A person who belongs to nobody, for those who add members. */
export const SPARE = randomUUID()
/** A person who asks for nothing, a viewer everywhere: what is theirs alone, nobody sees. */
export const SILENT = randomUUID()

/** The id of the seller nobody has touched, and of the act, of an organisation: known without a look. */
const BERTA = (org: string): string => `md5('berta ${org}')::uuid`
const ACT = (org: string): string => `md5('act ${org}')::uuid`

const OF_RUN = 't.run_id in (select id from collection_runs where org_id = $1)'
const OF_ORG = 't.org_id = $1'

/** Everything of every schema but the queue's, which is its library's. */
export const DECISIONS: Readonly<Record<string, Decision>> = {
  'auth.users': { rows: null },
  'gleaner.migrations': { rows: null },
  'gleaner_auth.accounts': { rows: null },
  'gleaner_auth.owner_links': { rows: null },
  'gleaner_auth.sessions': { rows: null },
  'gleaner_auth.tries': { rows: null },
  'gleaner_auth.two_factors': { rows: null },
  'gleaner_auth.users': { rows: null },
  'gleaner_auth.verifications': { rows: null },
  'public.api_keys': {
    rows: OF_ORG,
    select: 'admin',
    update: 'admin',
    insert: 'admin',
    noKeys: true,
    insertSql: (org, person) =>
      `insert into api_keys (org_id, name, prefix, last_four, secret_hash, scopes, max_role, created_by)
       values ('${org}', 'A key', 'glk_0123456789', 'abcd', sha256('another'), '{read}', 'viewer', '${person}')`,
  },
  'public.api_requests': { rows: null },
  'public.audit_log': {
    rows: OF_ORG,
    select: 'admin',
    insert: 'viewer',
    insertSql: (org, person) =>
      `insert into audit_log (org_id, actor_id, action, target) values ('${org}', '${person}', 'view.saved', 'view:1')`,
  },
  'public.collection_call_resolutions': {
    rows: `t.call_id in (select c.id from collection_calls c join collection_runs r on r.id = c.run_id where r.org_id = $1)`,
    select: 'viewer',
  },
  'public.collection_calls': { rows: OF_RUN, select: 'viewer' },
  'public.collection_category_figures': { rows: OF_ORG, select: 'viewer' },
  'public.collection_category_products': {
    rows: `t.category_id in (select c.id from collection_run_categories c join collection_runs r on r.id = c.run_id where r.org_id = $1)`,
    select: 'viewer',
  },
  'public.collection_events': { rows: OF_RUN, select: 'viewer' },
  'public.collection_feed': { rows: OF_ORG, select: 'viewer' },
  'public.collection_hooks': { rows: OF_ORG },
  'public.collection_items': { rows: OF_RUN, select: 'viewer' },
  'public.collection_lanes': { rows: OF_RUN, select: 'viewer' },
  'public.collection_months': { rows: OF_ORG, select: 'viewer' },
  'public.collection_notifications': { rows: OF_ORG, select: 'viewer' },
  'public.collection_positions': { rows: OF_ORG, select: 'viewer' },
  'public.collection_run_categories': { rows: OF_RUN, select: 'viewer' },
  'public.collection_run_figures': { rows: OF_ORG, select: 'viewer' },
  'public.collection_runs': { rows: OF_ORG, select: 'viewer', update: 'admin', delete: 'owner' },
  'public.collection_settings': {
    rows: OF_ORG,
    select: 'viewer',
    update: 'admin',
    insert: 'viewer',
    insertSql: (org) => `insert into collection_settings (org_id) values ('${org}') on conflict do nothing`,
  },
  'public.collection_sightings': {
    rows: `t.item_id in (select i.id from collection_items i join collection_runs r on r.id = i.run_id where r.org_id = $1)`,
    select: 'viewer',
  },
  'public.collection_workers': { rows: null, select: 'viewer' },
  'public.compliance_do_not_collect': { rows: OF_ORG, select: 'viewer' },
  'public.compliance_erasures': { rows: null },
  'public.compliance_sweeps': { rows: null },
  'public.compliance_tombstones': { rows: null },
  'public.compliance_version': { rows: null },
  'public.installation_key': { rows: null },
  'public.org_invitations': {
    rows: OF_ORG,
    select: 'admin',
    update: 'admin',
    insert: 'admin',
    insertSql: (org, person) =>
      `insert into org_invitations (org_id, email, role, token_hash, invited_by)
       values ('${org}', 'new@example.org', 'viewer', sha256('another'), '${person}')`,
  },
  'public.org_members': {
    rows: OF_ORG,
    // Not one of those who ask: everybody may leave.
    on: `t.user_id = '${SILENT}'`,
    select: 'viewer',
    update: 'owner',
    delete: 'owner',
    insert: 'owner',
    insertSql: (org) =>
      `insert into org_members (org_id, user_id, role) select '${org}', id, 'viewer' from (values ('${SPARE}'::uuid)) as spare (id)`,
  },
  'public.orgs': { rows: 't.id = $1', select: 'viewer', update: 'admin' },
  'public.provider_accounts': { rows: null, select: 'viewer' },
  'public.provider_credentials': { rows: null },
  'public.provider_governors': { rows: null, select: 'viewer' },
  'public.provider_prices': { rows: null, select: 'viewer' },
  'public.provider_terms': { rows: OF_ORG, select: 'viewer' },
  'public.seller_act_rows': {
    rows: OF_ORG,
    select: 'viewer',
    insert: 'analyst',
    insertSql: (org) =>
      `insert into seller_act_rows (act_id, seller_id, org_id, revision) values (${ACT(org)}, ${BERTA(org)}, '${org}', 1)`,
  },
  'public.seller_acts': {
    rows: OF_ORG,
    select: 'viewer',
    update: 'analyst',
    insert: 'analyst',
    insertSql: (org, person) =>
      `insert into seller_acts (org_id, actor_id, kind) values ('${org}', '${person}', 'remove')`,
  },
  'public.seller_export_parts': { rows: OF_ORG, select: 'viewer' },
  'public.seller_export_profiles': {
    rows: OF_ORG,
    select: 'viewer',
    update: 'analyst',
    delete: 'analyst',
    insert: 'analyst',
    insertSql: (org, person) =>
      `insert into seller_export_profiles (org_id, name, format, columns, created_by)
       values ('${org}', 'Another', 'csv', '{id}', '${person}')`,
  },
  'public.seller_exports': {
    rows: OF_ORG,
    select: 'viewer',
    update: 'analyst',
    delete: 'analyst',
    insert: 'analyst',
    insertSql: (org, person) =>
      `insert into seller_exports (org_id, created_by, format, columns, sort, descending)
       values ('${org}', '${person}', 'csv', '{id}', 'name', true)`,
  },
  'public.seller_list': { rows: OF_ORG, select: 'viewer', update: 'analyst' },
  'public.seller_list_due': { rows: OF_ORG, select: 'viewer' },
  'public.seller_marks': {
    rows: OF_ORG,
    select: 'viewer',
    update: 'analyst',
    insert: 'analyst',
    insertSql: (org) => `insert into seller_marks (seller_id, org_id) values (${BERTA(org)}, '${org}')`,
  },
  'public.seller_matches': { rows: OF_ORG, select: 'viewer' },
  'public.seller_names': {
    rows: OF_ORG,
    select: 'viewer',
    insert: 'analyst',
    insertSql: (org, person) =>
      `insert into seller_names (seller_id, org_id, name, changed_by) values (${BERTA(org)}, '${org}', 'Berta', '${person}')`,
  },
  'public.seller_views': {
    rows: OF_ORG,
    select: 'viewer',
    update: 'analyst',
    delete: 'analyst',
    insert: 'analyst',
    insertSql: (org, person) =>
      `insert into seller_views (org_id, name, created_by) values ('${org}', 'Another', '${person}')`,
  },
  'public.sellers': { rows: OF_ORG, select: 'viewer', update: 'analyst' },
  'public.sightings': { rows: OF_RUN, select: 'viewer' },
}

/** Rows in every table for one organisation, as the superuser. */
export async function seedOrg(
  db: Queryable,
  { org, person, account, worker }: Readonly<{ org: string; person: string; account: string; worker: string }>,
): Promise<void> {
  const [run, category, item, call] = [newId(), newId(), newId(), newId()]
  await db.query(`insert into collection_settings (org_id) values ('${org}')`)
  await db.query(
    `insert into collection_hooks (org_id, url, secret) values ('${org}', 'https://example.org/hook', repeat('s', 40))`,
  )
  await db.query(
    `insert into collection_runs (id, org_id, name, budget_cap_cents, category_ids, created_by)
     values ('${run}', '${org}', 'A run', 2500, '{a}', '${person}')`,
  )
  await db.query(
    `insert into collection_run_categories (id, run_id, category_key, name, position, category, step)
     values ('${category}', '${run}', 'a', 'A', 1, '{}', '{}')`,
  )
  await db.query(
    `insert into collection_items (id, run_id, item_type, external_id) values ('${item}', '${run}', 'amazon_product', 'A1')`,
  )
  await db.query(`insert into collection_category_products (category_id, item_id) values ('${category}', '${item}')`)
  await db.query(`update collection_runs set status = 'running' where id = '${run}'`)
  await db.query(
    `insert into collection_calls (id, run_id, account_id, item_id, worker_id, epoch, attempt, rung, hold_micros, lease_until)
     values ('${call}', '${run}', '${account}', '${item}', '${worker}', 0, 1, 1, 500, now())`,
  )
  await db.query(
    `update collection_calls set state = 'suspect', outcome = 'lost', booked_at = now() where id = '${call}'`,
  )
  await db.query(
    `insert into collection_call_resolutions (call_id, how, actor_id, verdict, note)
     values ('${call}', 'person', '${person}', 'not_charged', 'the bill')`,
  )
  const seller = newId()
  await db.query(
    `insert into sellers (id, org_id, display_name, normalized_name, platform) values ('${seller}', '${org}', 'Anna', 'anna', 'ebay')`,
  )
  await db.query(
    `insert into collection_sightings (item_id, rung, call_id, seller_ids, listing_counts, evidence)
     values ('${item}', 1, '${call}', '{${seller}}', '{1}', '[[10, 990, [["l1", "A thing", 100, 1]]]]')`,
  )
  await seedList(db, org, person, seller, item)
  await db.query(`insert into collection_lanes (run_id, worker_id) values ('${run}', '${worker}')`)
  await db.query(
    `insert into collection_events (run_id, seq, type) values ('${run}', 1, 'run.soft_warning')`, // told to the hook
  )
  await db.query(
    `insert into collection_run_figures (run_id, org_id, event_seq, products, searched, lists, places, search_calls,
       search_hold_micros, search_charge_micros, queries, list_calls, list_hold_micros, list_charge_micros, active_ms)
     values ('${run}', '${org}', 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1)`,
  )
  await db.query(
    `insert into collection_category_figures (run_id, org_id, category_key, listed, own, skipped, decided_first,
       climbed_first, decided_second, climbed_second, new_sellers, capped, complete)
     values ('${run}', '${org}', 'a', 1, 1, 0, 1, 0, 0, 0, 1, false, true)`,
  )
  await db.query(
    `insert into audit_log (org_id, actor_id, action, target) values ('${org}', '${person}', 'run.started', 'run:${run}')`,
  )
  await db.query(
    `insert into api_requests (principal, key, user_id, request_hash)
     values ('person:${SILENT}', '${org}', '${SILENT}', sha256('x'))`,
  )
  await db.query(
    `insert into compliance_do_not_collect (id, org_id, display_name, normalized_name, added_by)
     values ('${newId()}', '${org}', 'Bert', 'bert', '${person}')`,
  )
  await db.query(
    `insert into provider_terms (org_id, account_id, confirmed_by) values ('${org}', '${account}', '${person}')`,
  )
  await db.query(`update collection_runs set status = 'cancelled' where id = '${run}'`)
  await seedPeople(db, org, person)
}

/** What the list shows of a seller, what people did with it, and exports; and a second seller nobody has touched. */
async function seedList(db: Queryable, org: string, person: string, seller: string, item: string): Promise<void> {
  const file = newId()
  for (const sql of [
    `insert into sellers (id, org_id, display_name, normalized_name, platform)
     values (${BERTA(org)}, '${org}', 'Berta', 'berta', 'ebay')`,
    `insert into seller_list (seller_id, org_id, name, run_count, first_seen_at, last_seen_at)
     values ('${seller}', '${org}', 'anna', 1, now(), now())`,
    `insert into seller_list_due (org_id, item_ids) values ('${org}', '{${item}}')`,
    `insert into seller_matches (seller_id, asin, org_id, likeness_percent, price_rule, first_seen_at, last_seen_at)
     values ('${seller}', 'A1', '${org}', 50, true, now(), now())`,
    `insert into seller_marks (seller_id, org_id) values ('${seller}', '${org}')`,
    `insert into seller_names (seller_id, org_id, name, changed_by) values ('${seller}', '${org}', 'Ann', '${person}')`,
    `insert into seller_acts (id, org_id, actor_id, kind) values (${ACT(org)}, '${org}', '${person}', 'flag')`,
    `insert into seller_act_rows (act_id, seller_id, org_id, revision) values (${ACT(org)}, '${seller}', '${org}', 1)`,
    `insert into seller_views (org_id, name, created_by) values ('${org}', 'A view', '${person}')`,
    `insert into seller_export_profiles (org_id, name, format, columns, created_by)
     values ('${org}', 'A profile', 'csv', '{id}', '${person}')`,
    `insert into seller_exports (id, org_id, created_by, format, columns, sort, descending)
     values ('${file}', '${org}', '${person}', 'csv', '{id}', 'name', true)`,
    `insert into seller_export_parts (export_id, number, org_id, content) values ('${file}', 0, '${org}', 'x')`,
  ])
    await db.query(sql)
}

/** What hangs on people. */
async function seedPeople(db: Queryable, org: string, person: string): Promise<void> {
  await db.query(`insert into org_members (org_id, user_id, role) values ('${org}', '${SILENT}', 'viewer')`)
  await db.query(
    `insert into org_invitations (org_id, email, role, token_hash, invited_by)
     values ('${org}', 'a@example.org', 'viewer', sha256('${org}'), '${person}')`,
  )
  await db.query(
    `insert into api_keys (org_id, name, prefix, last_four, secret_hash, scopes, max_role, created_by)
     values ('${org}', 'A key', 'glk_${org.slice(-10)}', 'abcd', sha256('x'), '{read}', 'viewer', '${person}')`,
  )
  await db.query(
    `insert into gleaner_auth.users (id, name, email) values ('${person}', 'A person', '${person}@example.org')`,
  )
  await db.query(
    `insert into gleaner_auth.accounts (user_id, account_id, provider_id) values ('${person}', '${person}', 'credential')`,
  )
  await db.query(
    `insert into gleaner_auth.sessions (user_id, token, expires_at) values ('${person}', '${person}', now() + interval '1 day')`,
  )
  await db.query(`insert into gleaner_auth.two_factors (user_id, secret, backup_codes) values ('${person}', 's', 'c')`)
  await db.query(
    `insert into gleaner_auth.verifications (identifier, value, expires_at) values ('${person}', 'v', now() + interval '1 day')`,
  )
  await db.query(`insert into gleaner_auth.tries (key) values ('${person}')`)
  await db.query(
    `insert into gleaner_auth.owner_links (org_id, user_id, token_hash, expires_at)
     values ('${org}', '${person}', sha256('${org}'), now() + interval '1 day')`,
  )
}
