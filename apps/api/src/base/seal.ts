/**
 * The installation's key and what it does: it seals secrets for the database, and nothing else ever sees its bytes. What is
 * only to be recognised again, and never to be read, is hashed with a key of its own, which the installation's key seals:
 * so the installation's key can be changed, and what was hashed is still recognised.
 */
import { createCipheriv, createDecipheriv, createHmac, hkdfSync, timingSafeEqual } from 'node:crypto'

/** Bytes of a key. */
export const KEY_BYTES = 32
const NONCE_BYTES = 12
const TAG_BYTES = 16

/** What `seal` makes: to be stored together. `sealed` is the cipher text with the tag of 16 bytes after it. */
export type Sealed = Readonly<{ keyId: string; nonce: Buffer; sealed: Buffer }>

export type InstallationKey = Readonly<{
  /** 16 hexadecimal digits that name the key and tell nothing about it. */
  id: string
  /** 32 bytes kept in the database, to know the key again. */
  check: Buffer
  /** AES-256-GCM with a nonce of its own, bound to what it is about: it opens under the same `about` only. */
  seal: (secret: string | Buffer, about: string) => Sealed
  /** The opposite. Throws when it was sealed by another key or about something else, or was changed. */
  open: (sealed: Sealed, about: string) => Buffer
}>

/** The key with these 32 bytes; the caller's copy is of no use any more and may be overwritten. Throws a RangeError otherwise. */
export function installationKey(bytes: Buffer, randomBytes: (size: number) => Buffer): InstallationKey {
  if (bytes.length !== KEY_BYTES) throw new RangeError(`a key has ${KEY_BYTES} bytes, not ${bytes.length}`)
  const mac = (about: string): Buffer => createHmac('sha256', bytes).update(about).digest()
  const id = mac('gleaner key id v1').toString('hex', 0, 8)
  const check = mac('gleaner key check v1')
  const cipherKey = Buffer.from(hkdfSync('sha256', bytes, Buffer.alloc(0), 'gleaner seal v1', KEY_BYTES))
  return {
    id,
    check,
    seal: (secret, about) => {
      const nonce = randomBytes(NONCE_BYTES)
      const cipher = createCipheriv('aes-256-gcm', cipherKey, nonce)
      cipher.setAAD(Buffer.from(about))
      return { keyId: id, nonce, sealed: Buffer.concat([cipher.update(secret), cipher.final(), cipher.getAuthTag()]) }
    },
    open: ({ keyId, nonce, sealed }, about) => {
      if (keyId !== id) throw new Error(`this was sealed with key ${keyId}, and this process has key ${id}`)
      const end = sealed.length - TAG_BYTES
      if (end < 0) throw new Error('this was never sealed: it is shorter than a tag')
      const decipher = createDecipheriv('aes-256-gcm', cipherKey, nonce, { authTagLength: TAG_BYTES })
      decipher.setAAD(Buffer.from(about))
      decipher.setAuthTag(sealed.subarray(end))
      return Buffer.concat([decipher.update(sealed.subarray(0, end)), decipher.final()])
    },
  }
}

/** What a process that has the installation's key can do. */
export type Secrets = Readonly<{
  keyId: string
  seal: (secret: string | Buffer, about: string) => Sealed
  open: (sealed: Sealed, about: string) => Buffer
  /** 32 bytes by which `text` is known again and cannot be found out. Stays the same when the installation's key changes. */
  hash: (text: string) => Buffer
}>

/** The secrets of an installation with this key, whose hashes are made with `hashKey`. */
export function secretsOf(key: InstallationKey, hashKey: Buffer): Secrets {
  return {
    keyId: key.id,
    seal: key.seal,
    open: key.open,
    hash: (text) => createHmac('sha256', hashKey).update(text).digest(),
  }
}

/** Whether two keys are one, in a time that does not tell how far they agree. */
export function isSameKey(key: InstallationKey, check: Buffer): boolean {
  return check.length === key.check.length && timingSafeEqual(check, key.check)
}
