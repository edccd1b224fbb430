/** Things to put into the addresses of routes, for the tests that go through all of them. */
import { gzipSync } from 'node:zlib'
import { newId } from '../../src/base/ids.ts'
import type { Route } from '../../src/http/route.ts'
import type { Door } from './support.ts'

/** A value for each path parameter any route has, of things that are there in the organisation. */
export async function samplesOf(door: Door, orgId: string): Promise<Record<string, string>> {
  const run = await door.arena.makeRun({ products: 2, categories: ['a'], orgId })
  const entryId = newId()
  await door.arena.fresh.db.query(
    `insert into compliance_do_not_collect (id, org_id, display_name, normalized_name, added_by) values ($1, $2, $3, $3, $4)`,
    [entryId, orgId, `sample-${entryId}`, door.people.owner],
  )
  return {
    orgId,
    runId: run.id,
    entryId,
    accountId: door.arena.search.id,
    sessionId: newId(),
    ...(await sellerSamples(door, orgId)),
    ...(await peopleOf(door, orgId)),
  }
}

/** A seller on the list, a saved view, an export whose file is ready, a profile. */
async function sellerSamples({ arena: { fresh } }: Door, orgId: string): Promise<Record<string, string>> {
  const [sellerId, viewId, exportId, profileId, person] = [newId(), newId(), newId(), newId(), newId()]
  for (const sql of [
    `insert into sellers (id, org_id, display_name, normalized_name, platform)
     values ('${sellerId}', '${orgId}', 'Anna', 'anna-${sellerId}', 'ebay')`,
    `insert into seller_list (seller_id, org_id, name, run_count, first_seen_at, last_seen_at)
     values ('${sellerId}', '${orgId}', 'anna-${sellerId}', 1, now(), now())`,
    `insert into seller_views (id, org_id, name, created_by) values ('${viewId}', '${orgId}', '${viewId}', '${person}')`,
    `insert into seller_export_profiles (id, org_id, name, format, columns, created_by)
     values ('${profileId}', '${orgId}', '${profileId}', 'csv', '{id}', '${person}')`,
    `insert into seller_exports (id, org_id, created_by, format, columns, sort, descending, state, part_count)
     values ('${exportId}', '${orgId}', '${person}', 'csv', '{id}', 'name', true, 'ready', 1)`,
  ])
    await fresh.db.query(sql)
  await fresh.db.query('insert into seller_export_parts (export_id, number, org_id, content) values ($1, 0, $2, $3)', [
    exportId,
    orgId,
    gzipSync('id\r\n'),
  ])
  return { sellerId, viewId, exportId, profileId }
}

/** A new member, invitation and key. */
async function peopleOf(door: Door, orgId: string): Promise<Record<string, string>> {
  const { db } = door.arena.fresh
  const [userId, invitationId, keyId] = [newId(), newId(), newId()]
  await db.query('insert into auth.users (id) values ($1)', [userId])
  await db.query(`insert into org_members (org_id, user_id, role) values ($1, $2, 'viewer')`, [orgId, userId])
  await db.query(
    `insert into org_invitations (id, org_id, email, role, token_hash, invited_by)
     values ($1::uuid, $2, $1::uuid::text || '@example.org', 'viewer', sha256($1::uuid::text::bytea), $3)`,
    [invitationId, orgId, userId],
  )
  await db.query(
    `insert into api_keys (id, org_id, name, prefix, last_four, secret_hash, scopes, max_role, created_by)
     values ($1::uuid, $2, 'A key', 'glk_' || right($1::uuid::text, 10), 'abcd', sha256('x'), '{read}', 'viewer', $3)`,
    [keyId, orgId, userId],
  )
  return { userId, invitationId, keyId }
}

/** Values of the right form for things there are none of. */
export const nowhereIn = (orgId: string): Record<string, string> =>
  new Proxy({}, { get: (_, name) => (name === 'orgId' ? orgId : newId()) })

/** The address of the route with these values. Throws for a parameter without one: add it to `samplesOf`. */
export function addressOf(route: Pick<Route, 'path'>, values: Readonly<Record<string, string>>): string {
  return route.path.replaceAll(/\{(\w+)\}/g, (_, name: string) => {
    const value = values[name]
    if (value === undefined) throw new Error(`no sample for {${name}} of ${route.path}: add one to samples.ts`)
    return value
  })
}

/** What a request of the route carries: the example of its body, and any version. */
export function requestOf(route: Route): { body?: unknown; headers: Record<string, string> } {
  const headers: Record<string, string> = route.versioned ? { 'if-match': '*' } : {}
  return route.bodyExample === undefined ? { headers } : { body: route.bodyExample, headers }
}
