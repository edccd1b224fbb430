/** An owner asks that a seller be forgotten in the organisation. Workers carry it out (erase.ts). */
import { appendAudit } from '../audit/append.ts'
import { newId } from '../base/ids.ts'
import { insertErasure } from '../compliance/erasures.ts'
import { type Db, withTxRetry } from '../db/client.ts'
import { missingKey } from '../secrets/installation.ts'
import { type Whom, whoIs } from './do-not-collect.ts'

/**
 * Asks for the erasure of a seller in one organisation: it is done within the hour, and the seller is not collected again for
 * it. The audit log is told that, not whom. Returns the erasure's id. Throws AppError as `whoIs`, and `key.missing`.
 */
export async function askErasure(
  db: Db,
  actor: Readonly<{ orgId: string; userId: string }>,
  whom: Whom,
): Promise<string> {
  const { secrets } = db
  if (!secrets) throw missingKey()
  return withTxRetry(db, async (tx) => {
    const { orgId, userId } = actor
    const { sellerId, normalizedName } = await whoIs(tx, orgId, whom)
    const id = newId()
    const subject = { names: [normalizedName], ids: [], sellers: sellerId === null ? [] : [sellerId] }
    await insertErasure(tx, secrets, {
      id,
      source: 'owner',
      notificationId: null,
      orgId,
      requestedBy: userId,
      subject,
    })
    await appendAudit(tx, { orgId, actorId: userId, action: 'erasure.requested', target: `erasure:${id}` })
    return id
  })
}
