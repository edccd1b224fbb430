/** The installation's key as the database knows it: every machine of a fleet must have the same one. */
import { randomBytes } from 'node:crypto'
import { AppError } from '../base/errors.ts'
import { type InstallationKey, isSameKey, KEY_BYTES, type Secrets, secretsOf } from '../base/seal.ts'
import type { Queryable, Tx } from '../db/client.ts'
import { type KeySource, readKey, removeKeyFile, writeKeyFile } from './key-source.ts'

const HASH_KEY = 'installation_key:hash'

type Known = Readonly<{ keyId: string; check: Buffer; nonce: Buffer; sealed: Buffer }>

async function readKnown(db: Queryable, lock = ''): Promise<Known | null> {
  const { rows } = await db.query<Known>(
    `select key_id as "keyId", key_check as "check", hash_nonce as nonce, hash_sealed as sealed from installation_key ${lock}`,
  )
  return rows[0] ?? null
}

/**
 * What the installation's key can do in this process. With `make`, an installation that has no key yet gets the one that is
 * given here, or a new one in the file; without, null is returned for it, and where no key is given. Throws AppError
 * `key.wrong` when the key given here is not the installation's, and with `make` `key.missing` when none is given.
 */
export async function loadSecrets(db: Queryable, source: KeySource, make: boolean): Promise<Secrets | null> {
  const known = await readKnown(db)
  const given = readKey(source)
  if (known) {
    if (given) return unlock(given, known)
    if (make) throw missingKey(source.file)
    return null
  }
  if (!make) return null
  if (given) return unlock(given, await register(db, given))
  // The file first: a database that knows a key nobody has would be locked for good.
  const made = makeFile(source)
  const kept = await register(db, made)
  if (isSameKey(made, kept.check)) return unlock(made, kept)
  // Another machine was quicker.
  removeKeyFile(source.file)
  throw missingKey(source.file)
}

/** Another process of this machine may make the file at the same moment: then its key is ours. */
function makeFile(source: KeySource): InstallationKey {
  try {
    return writeKeyFile(source.file)
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error
    const theirs = readKey(source)
    if (theirs) return theirs
    throw error
  }
}

/** Makes `key` the installation's unless it has one. Returns what it has. */
async function register(db: Queryable, key: InstallationKey): Promise<Known> {
  const { nonce, sealed } = key.seal(randomBytes(KEY_BYTES), HASH_KEY)
  await db.query(
    `insert into installation_key (key_id, key_check, hash_nonce, hash_sealed) values ($1, $2, $3, $4)
     on conflict (one) do nothing`,
    [key.id, key.check, nonce, sealed],
  )
  const known = await readKnown(db)
  if (!known) throw new Error('the installation has no key although one was just stored')
  return known
}

function unlock(key: InstallationKey, known: Known): Secrets {
  if (!isSameKey(key, known.check)) throw wrongKey(key.id, known.keyId)
  return secretsOf(key, key.open(known, HASH_KEY))
}

/** The refusal for a process without the installation's key. */
export function missingKey(file?: string): AppError {
  return new AppError('key.missing', "This machine does not have the installation's key.", {
    hint: `Every machine of a fleet needs the same one: set GLEANER_KEY, or copy the file installation.key of the first machine${file ? ` to ${file}` : ''}.`,
  })
}

function wrongKey(given: string, wanted: string): AppError {
  return new AppError('key.wrong', `The key given here (${given}) is not the installation's (${wanted}).`, {
    hint: 'Set GLEANER_KEY, or restore the file installation.key, to what the other machines of this installation have.',
  })
}

/**
 * Makes `next` the installation's key in place of `current`. Everything `current` sealed must be sealed anew in the same
 * transaction. Throws AppError `key.wrong` when `current` is not the installation's. What was hashed stays known.
 */
export async function replaceKey(tx: Tx, current: InstallationKey, next: InstallationKey): Promise<void> {
  const known = await readKnown(tx, 'for no key update')
  if (!known || !isSameKey(current, known.check)) throw wrongKey(current.id, known?.keyId ?? 'none yet')
  const { nonce, sealed } = next.seal(current.open(known, HASH_KEY), HASH_KEY)
  await tx.query(
    `update installation_key set key_id = $1, key_check = $2, hash_nonce = $3, hash_sealed = $4, rotated_at = now()`,
    [next.id, next.check, nonce, sealed],
  )
}
