/** Leaving out of a booking who is not to be collected. While nobody is on a list it costs one look at a number. */
import type { Secrets } from '../base/seal.ts'
import { findLeftOut, hasTombstones, leftOutVersion } from '../compliance/left-out.ts'
import { idMark, nameMark } from '../compliance/subject.ts'
import type { Tx } from '../db/client.ts'
import { missingKey } from '../secrets/installation.ts'
import type { KnownSellers } from '../sellers/known.ts'

/**
 * Holds off whoever would put a seller on a list until this transaction ends, and lets `known` forget whom it knows when
 * that happened since it learned them. Returns the version of the lists.
 */
export async function heedLeftOut(tx: Tx, known: KnownSellers): Promise<number> {
  const version = await leftOutVersion(tx)
  known.heed(version)
  return version
}

const NOBODY: ReadonlySet<string> = new Set()

/**
 * Which of these sellers the organisation must not record: erased, or on its do-not-collect list. By key. Throws AppError
 * `key.missing` when somebody was erased and this process cannot tell who.
 */
export async function leaveOut(
  tx: Tx,
  lists: Readonly<{ version: number; orgId: string; secrets?: Secrets | null | undefined }>,
  sellers: readonly Readonly<{ key: string; displayName: string }>[],
): Promise<ReadonlySet<string>> {
  const { version, orgId, secrets } = lists
  if (version === 0 || sellers.length === 0) return NOBODY
  if (!secrets && (await hasTombstones(tx, orgId))) throw missingKey()
  return findLeftOut(
    tx,
    orgId,
    sellers.map(({ key, displayName }) => ({
      key,
      // Some developer accounts are given the id in place of the name.
      hashes: secrets ? [secrets.hash(nameMark(key)), secrets.hash(idMark(displayName))] : [],
    })),
  )
}
