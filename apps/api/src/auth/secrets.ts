/** Random secrets and what is kept of them. */
import { createHash, randomBytes, timingSafeEqual } from 'node:crypto'

/**
 * A one-time token: 256 random bits, as 43 characters that are safe in a URL. Only its hash is stored.
 */
export function newToken(): string {
  return randomBytes(32).toString('base64url')
}

/**
 * What is stored of a token or of the secret of a key. One round of SHA-256 is right here: a slow hash protects what can be
 * guessed, and 256 random bits cannot, while every request of a key would pay for it.
 */
export function hashSecret(secret: string): Buffer {
  return createHash('sha256').update(secret).digest()
}

/** True when both hashes are the same, in a time that does not depend on where they differ. */
export function sameHash(a: Buffer, b: Buffer): boolean {
  return a.length === b.length && timingSafeEqual(a, b)
}
