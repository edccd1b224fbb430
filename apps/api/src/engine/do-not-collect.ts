/** The do-not-collect list as people change it: audited, and from the commit on no booking records the seller. */
import { appendAudit } from '../audit/append.ts'
import { AppError } from '../base/errors.ts'
import { newId } from '../base/ids.ts'
import { deleteExcluded, type Excluded, findExcluded, insertExcluded } from '../compliance/do-not-collect.ts'
import { raiseLeftOut } from '../compliance/left-out.ts'
import { type Db, type Tx, withTxRetry } from '../db/client.ts'
import { checkTypedSellerName } from '../matching/normalise.ts'

type Actor = Readonly<{ orgId: string; userId: string }>

/** Whom: a seller on the list, or a name, which need not be known. */
export type Whom = Readonly<{ sellerId: string } | { name: string }>

type Named = Readonly<{ sellerId: string | null; name: string; normalizedName: string }>

/** Throws AppError `seller.unknown`, and `input.invalid` for a name that is none. */
export async function whoIs(tx: Tx, orgId: string, whom: Whom): Promise<Named> {
  if ('sellerId' in whom) {
    const { rows } = await tx.query<Named>(
      `select id as "sellerId", display_name as name, normalized_name as "normalizedName" from sellers
       where org_id = $1 and id = $2`,
      [orgId, whom.sellerId],
    )
    if (!rows[0]) throw new AppError('seller.unknown', 'There is no such seller.')
    return rows[0]
  }
  const typed = checkTypedSellerName(whom.name)
  if (!typed.ok) throw new AppError('input.invalid', typed.problem)
  const { rows } = await tx.query<{ id: string }>(
    `select id from sellers where org_id = $1 and platform = 'ebay' and normalized_name = $2`,
    [orgId, typed.name.normalizedName],
  )
  return { sellerId: rows[0]?.id ?? null, name: typed.name.displayName, normalizedName: typed.name.normalizedName }
}

/**
 * Puts a seller on the organisation's do-not-collect list, and takes it off the master list, from where it can be put back
 * (`collectAgain` with `restore`). Bookings under way have ended when it commits; later ones leave the seller out. Throws
 * AppError as `whoIs`, and `compliance.listed` when it is on the list.
 */
export async function doNotCollect(db: Db, actor: Actor, whom: Whom, note: string | null): Promise<Excluded> {
  return withTxRetry(db, async (tx) => {
    await raiseLeftOut(tx)
    const { orgId, userId } = actor
    const { sellerId, name, normalizedName } = await whoIs(tx, orgId, whom)
    const removed =
      sellerId === null
        ? null
        : await tx.query(
            `update seller_list set removed_at = date_trunc('milliseconds', clock_timestamp()), removed_by = $2
             where seller_id = $1 and removed_at is null`,
            [sellerId, userId],
          )
    const removedSellerId = removed?.rowCount ? sellerId : null
    const entry = { id: newId(), orgId, name, normalizedName, note, addedBy: userId, removedSellerId }
    const added = await insertExcluded(tx, entry)
    if (!added) {
      throw new AppError('compliance.listed', `${name} is on the do-not-collect list already.`, {
        details: { id: (await findExcluded(tx, orgId, normalizedName))?.id ?? null },
      })
    }
    await appendAudit(tx, {
      orgId,
      actorId: userId,
      action: 'do_not_collect.added',
      target: `do_not_collect:${added.id}`,
      after: { name, removedSeller: removedSellerId !== null },
      ...(note === null ? {} : { note }),
    })
    return added
  })
}

/**
 * Takes an entry off the list: the seller may be collected again. With `restore`, the seller that was taken off the master
 * list with it is put back. Throws AppError `compliance.not_listed`.
 */
export async function collectAgain(
  db: Db,
  actor: Actor,
  id: string,
  restore: boolean,
): Promise<Readonly<{ entry: Excluded; restored: boolean }>> {
  return withTxRetry(db, async (tx) => {
    const { orgId, userId } = actor
    const entry = await deleteExcluded(tx, orgId, id)
    if (!entry) throw new AppError('compliance.not_listed', 'There is no such entry on the do-not-collect list.')
    const back =
      restore && entry.removedSellerId !== null
        ? await tx.query(`update seller_list set removed_at = null, removed_by = null where seller_id = $1`, [
            entry.removedSellerId,
          ])
        : null
    const restored = back?.rowCount === 1
    await appendAudit(tx, {
      orgId,
      actorId: userId,
      action: 'do_not_collect.removed',
      target: `do_not_collect:${id}`,
      before: { name: entry.name },
      after: { restoredSeller: restored },
    })
    return { entry, restored }
  })
}
