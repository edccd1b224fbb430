/**
 * The traces of a seller, kind by kind, and how each is taken out. All of them take `tx` first, work on so many rows at a
 * time, and may be run again: what is gone is not found.
 */
import type { Tx } from '../db/client.ts'
import { joinSubjects, type Subject } from './subject.ts'

/** Rows changed, by organisation. */
export type Changed = readonly Readonly<{ orgId: string; rows: number }>[]

/**
 * The subject with the rows it has on the lists, and the names and ids they carry. By id at eBay where a row has one, else by
 * name. A name that a row with another id has now is somebody else's, who took it later: then the subject goes without it. Of
 * one organisation, or of all (null).
 */
export async function withRows(tx: Tx, orgId: string | null, subject: Subject): Promise<Subject> {
  const { names, ids, sellers } = subject
  const { rows } = await tx.query<{ id: string; name: string; platformId: string | null }>(
    `select id, normalized_name as name, platform_id as "platformId" from sellers
     where platform = 'ebay' and ($1::uuid is null or org_id = $1)
       and (id = any($4::uuid[]) or platform_id = any($3::text[]) or normalized_name = any($2::text[]))`,
    [orgId, names, ids, sellers],
  )
  const isOther = ({ id, platformId }: (typeof rows)[number]): boolean =>
    platformId !== null && ids.length > 0 && !ids.includes(platformId) && !sellers.includes(id)
  const own = rows.filter((row) => !isOther(row))
  const taken = new Set(rows.filter(isOther).map(({ name }) => name))
  const found = joinSubjects(subject, {
    names: own.map(({ name }) => name),
    ids: own.flatMap(({ platformId }) => (platformId === null ? [] : [platformId])),
    sellers: own.map(({ id }) => id),
  })
  return { ...found, names: found.names.filter((name) => !taken.has(name)) }
}

/** Takes what was seen of these sellers out of at most `most` searches. */
export async function eraseFromEvidence(tx: Tx, sellers: readonly string[], most: number): Promise<Changed> {
  const { rows } = await tx.query<{ orgId: string; rows: number }>(
    `with found as materialized (
       select item_id, rung from collection_sightings where seller_ids && $1::uuid[] limit $2 for no key update
     ), cut as (
       update collection_sightings s set seller_ids = kept.ids, listing_counts = kept.counts, evidence = kept.evidence
       from found f cross join lateral (
         select coalesce(array_agg(part.id order by part.n), '{}') as ids,
           coalesce(array_agg(part.listings order by part.n), '{}') as counts,
           coalesce(json_agg(part.proof order by part.n) filter (where part.proof is not null), '[]') as evidence
         from (
           select n, x.seller_ids[n] as id, x.listing_counts[n] as listings, x.evidence -> (n - 1) as proof
           from collection_sightings x cross join generate_series(1, cardinality(x.seller_ids)) as n
           where x.item_id = f.item_id and x.rung = f.rung
         ) part where part.id <> all($1::uuid[])
       ) kept
       where s.item_id = f.item_id and s.rung = f.rung returning s.item_id
     )
     select r.org_id as "orgId", count(*)::int as rows
     from cut join collection_items i on i.id = cut.item_id join collection_runs r on r.id = i.run_id group by 1`,
    [sellers, most],
  )
  return rows
}

/** Takes these names from at most `most` seller items. Returns the runs they were in. */
export async function eraseFromItems(
  tx: Tx,
  names: readonly string[],
  orgId: string | null,
  most: number,
): Promise<readonly Readonly<{ runId: string; orgId: string; rows: number }>[]> {
  const { rows } = await tx.query<{ runId: string; orgId: string; rows: number }>(
    'select run_id as "runId", org_id as "orgId", items as rows from gleaner_erase_items($1, $2, $3)',
    [names, orgId, most],
  )
  return rows
}

/** A regular expression of PostgreSQL that finds any of these names as a whole. */
function wholeNames(names: readonly string[]): string {
  return `(?<![[:alnum:]._*-])(${escaped(names)})(?![[:alnum:]_*-])`
}

const escaped = (names: readonly string[]): string =>
  names.map((name) => name.replace(/[^\p{L}\p{N}]/gu, '\\$&')).join('|')

/** Takes these names out of what went wrong in these runs: a message may quote an answer. */
export async function eraseFromMessages(tx: Tx, runIds: readonly string[], names: readonly string[]): Promise<void> {
  if (runIds.length === 0 || names.length === 0) return
  for (const table of ['collection_calls', 'collection_items', 'collection_run_categories']) {
    await tx.query(
      `update ${table} set error_message = regexp_replace(error_message, $2, '[erased]', 'gi')
       where run_id = any($1::uuid[]) and error_message ~* $2`,
      [runIds, wholeNames(names)],
    )
  }
}

/** Removes the rows of these sellers from the lists, and what hangs on them. */
export async function deleteSellers(tx: Tx, sellers: readonly string[]): Promise<Changed> {
  const { rows } = await tx.query<{ orgId: string; rows: number }>(
    `with gone as (delete from sellers where id = any($1::uuid[]) returning org_id)
     select org_id as "orgId", count(*)::int as rows from gone group by 1`,
    [sellers],
  )
  return rows
}

/** Takes these names, and what was written about these sellers, out of the audit log. */
export async function eraseFromAudit(tx: Tx, subject: Subject, orgId: string | null): Promise<Changed> {
  const names = [...subject.names, ...subject.ids]
  if (names.length === 0) return []
  const { rows } = await tx.query<{ orgId: string; rows: number }>(
    'select org_id as "orgId", changed as rows from gleaner_redact_audit($1, $2, $3)',
    [names, subject.sellers.map((id) => `seller:${id}`), orgId],
  )
  return rows
}

/** Removes these names from the do-not-collect lists: their tombstones stand for them. */
export async function eraseFromDoNotCollect(tx: Tx, names: readonly string[], orgId: string | null): Promise<Changed> {
  const { rows } = await tx.query<{ orgId: string; rows: number }>(
    `with gone as (
       delete from compliance_do_not_collect
       where normalized_name = any($1::text[]) and ($2::uuid is null or org_id = $2) returning org_id)
     select org_id as "orgId", count(*)::int as rows from gone group by 1`,
    [names, orgId],
  )
  return rows
}

/**
 * Takes files of exports away that may hold the seller, in the organisations concerned: those begun before its row was gone.
 * One that is being made is begun anew.
 */
export async function eraseFromExports(tx: Tx, orgIds: readonly string[], goneAt: Date): Promise<Changed> {
  const { rows } = await tx.query<{ orgId: string; rows: number }>(
    `with stale as (
       update seller_exports set state = case state when 'ready' then 'expired' else 'queued' end, lease_until = null
       where org_id = any($1::uuid[]) and state in ('ready', 'running') and started_at <= $2
       returning id, org_id
     ), parts as (delete from seller_export_parts p using stale where p.export_id = stale.id)
     select org_id as "orgId", count(*)::int as rows from stale group by 1`,
    [orgIds, goneAt],
  )
  return rows
}

/** Takes these names out of what people wrote elsewhere: notes on other sellers, saved views, orders of exports. */
export async function eraseFromNotes(tx: Tx, names: readonly string[], orgId: string | null): Promise<Changed> {
  if (names.length === 0) return []
  const changed: { orgId: string; rows: number }[] = []
  const whole = wholeNames(names)
  const quoted = `"(${escaped(names)})"`
  for (const [statement, pattern] of [
    [`update seller_marks set note = regexp_replace(note, $1, '[erased]', 'gi') where note ~* $1`, whole],
    [`delete from seller_act_rows where note ~* $1`, whole],
    [
      `update seller_views set filter = regexp_replace(filter::text, $1, '"[erased]"', 'gi')::jsonb where filter::text ~* $1`,
      quoted,
    ],
    [`update seller_views set name = '[erased] ' || left(id::text, 8) where name ~* $1`, whole],
    [`delete from seller_exports where filter::text ~* $1`, quoted],
  ] as const) {
    const { rows } = await tx.query<{ orgId: string; rows: number }>(
      `with done as (${statement} and ($2::uuid is null or org_id = $2) returning org_id)
       select org_id as "orgId", count(*)::int as rows from done group by 1`,
      [pattern, orgId],
    )
    changed.push(...rows)
  }
  return changed
}

/** Forgets kept answers of the API that hold one of these names: they were carried out, and cannot be answered again. */
export async function eraseFromAnswers(tx: Tx, names: readonly string[]): Promise<void> {
  if (names.length === 0) return
  await tx.query(
    `update api_requests set status = null, headers = null, answer = null
     where answer ~* $1 or headers::text ~* $1`,
    [`"(${escaped(names)})"`],
  )
}
