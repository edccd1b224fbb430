/** Where the installation's key comes from: the variable GLEANER_KEY, or a file in the state directory. */
import { randomBytes } from 'node:crypto'
import { closeSync, fsyncSync, mkdirSync, openSync, readFileSync, rmSync, statSync, writeSync } from 'node:fs'
import { dirname } from 'node:path'
import { AppError } from '../base/errors.ts'
import { type InstallationKey, installationKey, KEY_BYTES } from '../base/seal.ts'

export type KeySource = Readonly<{
  /** GLEANER_KEY: 32 bytes, base64. Goes before the file. */
  variable: string | null
  /** Absolute. */
  file: string
}>

/** The key that is given here, or null when there is none. Throws AppError `key.invalid` for one that is none, or that others may read. */
export function readKey(source: KeySource): InstallationKey | null {
  if (source.variable !== null) return parseKey(source.variable, 'GLEANER_KEY')
  let text: string
  try {
    text = readFileSync(source.file, 'latin1')
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return null
    throw new AppError('key.invalid', `The key file ${source.file} cannot be read.`, {
      hint: 'It belongs to the user Gleaner runs as.',
      cause: error,
    })
  }
  if ((statSync(source.file).mode & 0o077) !== 0) {
    throw new AppError('key.invalid', `The key file ${source.file} may be read by others.`, {
      hint: `chmod 600 ${source.file}`,
    })
  }
  return parseKey(text, `The key file ${source.file}`)
}

/** Reads a key from its text. `where` begins the message of the refusal, which never holds the text. */
export function parseKey(text: string, where: string): InstallationKey {
  const bare = text.trim()
  const bytes = /^[A-Za-z0-9+/_-]{43}=?$/.test(bare) ? Buffer.from(bare, 'base64') : Buffer.alloc(0)
  if (bytes.length === KEY_BYTES) return installationKey(bytes, randomBytes)
  throw new AppError('key.invalid', `${where} is no key: it must be 32 bytes in base64.`, {
    hint: 'Make one with: openssl rand -base64 32',
  })
}

/** A new key as text. */
export function newKeyText(): string {
  return randomBytes(KEY_BYTES).toString('base64')
}

/**
 * Makes the key file, readable by its owner alone, with a new key, or with `text`; it is on the disk when this returns.
 * Throws when there is one.
 */
export function writeKeyFile(file: string, text: string = newKeyText()): InstallationKey {
  mkdirSync(dirname(file), { recursive: true })
  const handle = openSync(file, 'wx', 0o600)
  try {
    writeSync(handle, `${text}\n`)
    fsyncSync(handle)
  } finally {
    closeSync(handle)
  }
  return parseKey(text, `The key file ${file}`)
}

/** Takes away a key file that turned out to be of no use. */
export function removeKeyFile(file: string): void {
  rmSync(file, { force: true })
}
