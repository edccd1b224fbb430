/** Versions of what two people may change at once: `etag` of a read, `if-match` of the write that rests on it. */
import { createHash } from 'node:crypto'
import { AppError } from '../base/errors.ts'

/** A strong entity tag for exactly this content. */
export function etagOf(content: unknown): string {
  return `"${createHash('sha256').update(JSON.stringify(content)).digest('base64url').slice(0, 22)}"`
}

/**
 * Throws AppError `request.precondition_failed` unless `ifMatch` names `current`. To be asked where the row is locked: what
 * was compared is what is changed.
 */
export function checkMatch(ifMatch: string | undefined, current: string): void {
  if (ifMatch === undefined) {
    throw new AppError('request.precondition_missing', 'This write has to say which version it changes.', {
      hint: 'Read it first, then send its etag as if-match.',
    })
  }
  const named = ifMatch.split(',').map((tag) => tag.trim())
  if (named.includes('*') || named.includes(current)) return
  throw new AppError('request.precondition_failed', 'Somebody else changed it since you read it.', {
    hint: 'Read it again, then decide anew.',
  })
}
