/** What an API key looks like, and what may be written on it. No database here. */
import { randomBytes, randomInt } from 'node:crypto'
import { hashSecret } from './secrets.ts'

/** What a key may be for: a closed set, so that a new kind of act is never in a key made before it. */
export const SCOPES = ['read', 'sellers:write', 'exports:write', 'runs:write', 'settings:write'] as const
export type Scope = (typeof SCOPES)[number]

/** A key never has the role of an owner: members, roles and erasing are for people. */
export const KEY_ROLES = ['admin', 'analyst', 'viewer'] as const
export type KeyRole = (typeof KEY_ROLES)[number]

export type NewKey = Readonly<{
  /** The whole key, shown once. */
  key: string
  /** `glk_` and ten characters: by these it is found and recognised. */
  prefix: string
  lastFour: string
  hash: Buffer
}>

const LETTERS = '0123456789abcdefghijklmnopqrstuvwxyz'
const FORM = /^(glk_[0-9a-z]{10})_([A-Za-z0-9_-]{43})$/

/** A new key: `glk_<10 characters>_<256 random bits>`. */
export function makeKey(): NewKey {
  const id = Array.from({ length: 10 }, () => LETTERS[randomInt(LETTERS.length)]).join('')
  const prefix = `glk_${id}`
  const secret = randomBytes(32).toString('base64url')
  const key = `${prefix}_${secret}`
  return { key, prefix, lastFour: key.slice(-4), hash: hashSecret(key) }
}

/** The prefix of something that has the form of a key, null of anything else. */
export function prefixOf(key: string): string | null {
  return FORM.exec(key)?.[1] ?? null
}
