/** Who is not collected: sellers that were erased, and those an organisation does not want. */
import type { Queryable, Tx } from '../db/client.ts'

/**
 * How often somebody was put on a list; 0 = nobody is on one. From here to its end the transaction holds off whoever would
 * put somebody on a list (migration 063, section 6): so it is asked before anything is looked up.
 */
export async function leftOutVersion(tx: Tx): Promise<number> {
  const { rows } = await tx.query<{ version: number }>({
    name: 'compliance.version',
    text: 'select gleaner_compliance_version() as version',
  })
  return rows[0]?.version ?? 0
}

/**
 * Announces that somebody is put on a list. Bookings under way have ended when this returns, and later ones wait for the end
 * of this transaction, so it should be short.
 */
export async function raiseLeftOut(tx: Tx): Promise<void> {
  await tx.query('select gleaner_compliance_raise()')
}

/** Whether anybody was erased for this organisation: without the installation's key nobody can tell who. */
export async function hasTombstones(db: Queryable, orgId: string): Promise<boolean> {
  const { rows } = await db.query<{ some: boolean }>(
    'select exists (select from compliance_tombstones where org_id is null or org_id = $1) as some',
    [orgId],
  )
  return rows[0]?.some === true
}

/** A seller to be looked up: its key, and the hashes it would have been erased under. */
export type Candidate = Readonly<{ key: string; hashes: readonly Buffer[] }>

/** Which of the candidates are not to be recorded for the organisation, by key. One statement. */
export async function findLeftOut(tx: Tx, orgId: string, candidates: readonly Candidate[]): Promise<Set<string>> {
  const hashes = candidates.flatMap((one) => one.hashes.map((hash) => ({ key: one.key, hash })))
  const { rows } = await tx.query<{ key: string }>({
    name: 'compliance.left_out',
    text: `
      select normalized_name as key from compliance_do_not_collect where org_id = $1 and normalized_name = any($2::text[])
      union
      select wanted.key from unnest($3::text[], $4::bytea[]) as wanted(key, hash)
      join compliance_tombstones t on t.hash = wanted.hash and (t.org_id is null or t.org_id = $1)`,
    values: [orgId, candidates.map(({ key }) => key), hashes.map(({ key }) => key), hashes.map(({ hash }) => hash)],
  })
  return new Set(rows.map(({ key }) => key))
}

/** Stores hashes of who was erased, for one organisation or for all (null). */
export async function addTombstones(tx: Tx, hashes: readonly Buffer[], orgId: string | null): Promise<void> {
  await tx.query(
    `insert into compliance_tombstones (hash, org_id) select hash, $2::uuid from unnest($1::bytea[]) as hash
     on conflict do nothing`,
    [hashes, orgId],
  )
}
