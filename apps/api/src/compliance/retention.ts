/** What is kept for how long, and taking out what was kept long enough: a few hundred rows at a time. */
import { cutText } from '../base/text.ts'
import type { Queryable, Tx } from '../db/client.ts'
import { deleteSellers, eraseFromEvidence, eraseFromItems } from './traces.ts'

/** An organisation is looked through so often. */
const EVERY = `interval '1 hour'`
/** How long a worker has for it before another takes it up. */
const LEASE = `interval '10 minutes'`

/** Makes sure every organisation is looked through from time to time. */
export async function addSweeps(db: Queryable): Promise<void> {
  await db.query(
    `insert into compliance_sweeps (org_id)
     select o.id from orgs o where not exists (select from compliance_sweeps s where s.org_id = o.id)
     on conflict (org_id) do nothing`,
  )
}

/** Takes the organisation that has waited longest of those that are due; nobody else takes it for ten minutes. Null when none is. */
export async function takeSweep(db: Queryable): Promise<string | null> {
  const { rows } = await db.query<{ orgId: string }>(
    `update compliance_sweeps set next_at = now() + ${LEASE}
     where org_id = (
       select org_id from compliance_sweeps where next_at <= now() order by next_at limit 1 for update skip locked)
     returning org_id as "orgId"`,
  )
  return rows[0]?.orgId ?? null
}

export type Swept = Readonly<{ evidenceRows: number; sellers: number; auditRows: number }>

/** Ends a look through: what was removed is counted, and the next one is set. */
export async function endSweep(db: Queryable, orgId: string, swept: Swept, trouble: string | null): Promise<void> {
  await db.query(
    `update compliance_sweeps set swept_at = case when $5::text is null then now() else swept_at end,
       next_at = now() + ${EVERY}, trouble = $5, evidence_rows = evidence_rows + $2, sellers = sellers + $3,
       audit_rows = audit_rows + $4
     where org_id = $1`,
    [orgId, swept.evidenceRows, swept.sellers, swept.auditRows, trouble === null ? null : cutText(trouble, 300)],
  )
}

const DAYS = (column: string, otherwise: number): string =>
  `(select coalesce((select ${column} from collection_settings where org_id = $1), ${otherwise}) * interval '1 day')`

/** The runs of the organisation that may hold evidence older than it keeps. */
export async function runsWithOldEvidence(db: Queryable, orgId: string): Promise<string[]> {
  const { rows } = await db.query<{ id: string }>(
    `select id from collection_runs
     where org_id = $1 and evidence_removed_at is null and created_at < now() - ${DAYS('keep_evidence_days', 30)}
     order by created_at, id`,
    [orgId],
  )
  return rows.map(({ id }) => id)
}

/**
 * Removes what providers showed in the next `most` searches of the run after `after` (an item's id), where it is older than
 * the organisation keeps it: listings, prices and feedback. Which seller was seen for which product stays. Returns the last
 * item looked at, null at the end of the run, and how many searches were emptied.
 */
export async function removeOldEvidence(
  tx: Tx,
  orgId: string,
  runId: string,
  after: string | null,
  most: number,
): Promise<Readonly<{ last: string | null; rows: number }>> {
  const { rows } = await tx.query<{ last: string | null; rows: number }>(
    `with looked as materialized (
       select id from collection_items
       where run_id = $2 and item_type = 'amazon_product' and ($3::uuid is null or id > $3) order by id limit $4
     ), emptied as (
       update collection_sightings s set evidence = '[]' from looked
       where s.item_id = looked.id and s.seen_at < now() - ${DAYS('keep_evidence_days', 30)}
         and json_array_length(s.evidence) > 0
       returning s.item_id
     )
     select case when (select count(*) from looked) = $4 then (select id::text from looked order by id desc limit 1) end as last,
       (select count(*)::int from emptied) as rows`,
    [orgId, runId, after, most],
  )
  return rows[0] ?? { last: null, rows: 0 }
}

/** Notes that a run has no evidence left, once it has ended and all of it is gone. */
export async function markEvidenceRemoved(tx: Tx, runId: string): Promise<void> {
  await tx.query(
    `update collection_runs r set evidence_removed_at = now()
     where id = $1 and status in ('completed', 'failed', 'cancelled') and held_calls = 0 and not exists (
       select from collection_items i join collection_sightings s on s.item_id = i.id
       where i.run_id = r.id and json_array_length(s.evidence) > 0)`,
    [runId],
  )
}

/**
 * Removes up to `most` sellers that were last seen longer ago than the organisation keeps them, with every trace in its
 * runs. They may be collected again. Returns how many.
 */
export async function removeOldSellers(tx: Tx, orgId: string, most: number): Promise<number> {
  const { rows } = await tx.query<{ id: string; name: string }>(
    `select id, normalized_name as name from sellers
     where org_id = $1 and last_seen_at < now() - ${DAYS('keep_sellers_days', 365)} limit $2 for update skip locked`,
    [orgId, most],
  )
  if (rows.length === 0) return 0
  const ids = rows.map(({ id }) => id)
  while ((await eraseFromEvidence(tx, ids, 1_000)).length > 0);
  const names = rows.map(({ name }) => name)
  while ((await eraseFromItems(tx, names, orgId, 1_000)).length > 0);
  await deleteSellers(tx, ids)
  return rows.length
}

/** Removes up to `most` rows of the audit log that are older than the organisation keeps them. Returns how many. */
export async function removeOldAudit(tx: Tx, orgId: string, most: number): Promise<number> {
  const { rows } = await tx.query<{ removed: number }>('select gleaner_trim_audit($1, $2) as removed', [orgId, most])
  return rows[0]?.removed ?? 0
}
