/** Writing what a person changes of one seller. */
import type { Queryable, Tx } from '../db/client.ts'
import type { SellerDetail } from './seller-detail.ts'
import type { Flag } from './view.ts'

/** What is left out stays. */
export type SellerChange = Readonly<{ flag?: Flag | null; note?: string | null; name?: string; removed?: boolean }>

/** Locks the seller against other people's changes. False when there is none, or this person may not change it. */
export async function lockSeller(tx: Tx, orgId: string, id: string): Promise<boolean> {
  const { rowCount } = await tx.query('select from sellers where org_id = $1 and id = $2 for no key update', [
    orgId,
    id,
  ])
  return rowCount === 1
}

/** Writes the change; the seller is locked and `before` is what it is. */
export async function writeSeller(
  tx: Tx,
  actor: Readonly<{ userId: string; orgId: string }>,
  before: SellerDetail,
  change: SellerChange,
): Promise<void> {
  const { id } = before
  const { userId, orgId } = actor
  const flag = change.flag === undefined ? before.flag : change.flag
  const note = change.note === undefined ? before.note : change.note
  const renamed = change.name !== undefined && change.name !== before.name
  if (flag !== before.flag || note !== before.note || renamed) {
    await tx.query(
      `insert into seller_marks as m (seller_id, org_id, flag, flagged_by, flagged_at, note, noted_by, noted_at)
       values ($1, $2, $3::text, case when $3::text is not null then $5::uuid end, case when $3::text is not null then now() end,
         $4::text, case when $4::text is not null then $5::uuid end, case when $4::text is not null then now() end)
       on conflict (seller_id) do update set
         flag = excluded.flag,
         flagged_by = case when m.flag is not distinct from excluded.flag then m.flagged_by else excluded.flagged_by end,
         flagged_at = case when m.flag is not distinct from excluded.flag then m.flagged_at else excluded.flagged_at end,
         note = excluded.note,
         noted_by = case when m.note is not distinct from excluded.note then m.noted_by else excluded.noted_by end,
         noted_at = case when m.note is not distinct from excluded.note then m.noted_at else excluded.noted_at end,
         revision = m.revision + 1`,
      [id, orgId, flag, note, userId],
    )
  }
  if (renamed) {
    await tx.query('insert into seller_names (seller_id, org_id, name, changed_by) values ($1, $2, $3, $4)', [
      id,
      orgId,
      before.name,
      userId,
    ])
    await tx.query('update sellers set display_name = $2 where id = $1', [id, change.name])
  }
  if (change.removed !== undefined && change.removed !== (before.removedAt !== null)) {
    await tx.query(
      `update seller_list set removed_at = case when $2 then date_trunc('milliseconds', clock_timestamp()) end,
         removed_by = case when $2 then $3::uuid end where seller_id = $1`,
      [id, change.removed, userId],
    )
  }
}

export type FormerName = Readonly<{ name: string; untilAt: Date; changedBy: string }>

/** Names a seller was shown under before, the latest first. */
export async function formerNames(db: Queryable, sellerId: string): Promise<FormerName[]> {
  const { rows } = await db.query<FormerName>(
    `select name, until_at as "untilAt", changed_by as "changedBy" from seller_names where seller_id = $1 order by id desc`,
    [sellerId],
  )
  return rows
}
