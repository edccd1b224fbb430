/** Rotation: another installation key in place of the present one, everything sealed moved over in one transaction. */
import type { InstallationKey } from '../base/seal.ts'
import { resealErasures } from '../compliance/erasures.ts'
import { type Db, withTxRetry } from '../db/client.ts'
import { resealCredentials } from '../secrets/credentials.ts'
import { replaceKey } from '../secrets/installation.ts'

export type Rotated = Readonly<{ accounts: number; workers: number }>

/**
 * Makes `next` the installation's key: what `current` sealed is sealed anew, and workers, which still have `current`, are
 * asked to leave, because they could not open it any more. All or nothing. Throws AppError `key.wrong` when `current` is not
 * the installation's.
 */
export async function rotateKey(db: Db, current: InstallationKey, next: InstallationKey): Promise<Rotated> {
  return withTxRetry(db, async (tx) => {
    await replaceKey(tx, current, next)
    const accounts = await resealCredentials(tx, current, next)
    await resealErasures(tx, current, next)
    const asked = await tx.query(
      `update collection_workers set stop_because = 'the key of the installation was replaced'
       where stopped_at is null and heartbeat_at > now() - interval '1 minute'`,
    )
    return { accounts, workers: asked.rowCount ?? 0 }
  })
}
