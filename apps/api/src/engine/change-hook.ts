/** Where an organisation is told of its runs. */
import { randomBytes } from 'node:crypto'
import { appendAudit } from '../audit/append.ts'
import { AppError } from '../base/errors.ts'
import { type Db, type Tx, withTxRetry } from '../db/client.ts'
import { hookOf, removeHook, saveHook } from '../events/outbox.ts'

export type HookChange = Readonly<{
  /** Null: nowhere any more. Left out: as it was. */
  url?: string | null
  /** A new secret; the old one signs nothing from now on. */
  renewSecret?: boolean
}>

/** Throws AppError `input.invalid` unless `text` is an http or https address without user, password or fragment. */
export function checkNotifyUrl(text: string): string {
  const refuse = (why: string) =>
    new AppError('input.invalid', `"${text}" is not possible for notify-url: ${why}.`, {
      hint: 'Write an address such as https://example.org/hooks/gleaner, or off.',
    })
  if (text.length > 2_000) throw refuse('it is longer than 2,000 characters')
  if (!URL.canParse(text)) throw refuse('it is no address')
  const url = new URL(text)
  if (url.protocol !== 'http:' && url.protocol !== 'https:') throw refuse('it begins with neither http:// nor https://')
  // They would be shown with the settings, and HTTP clients treat them in different ways.
  if (url.username !== '' || url.password !== '') throw refuse('it holds a user or a password')
  if (url.hash !== '') throw refuse('it has a part after #')
  return url.href
}

/**
 * Changes where the organisation is told. Returns the secret when a new one was made: it is not shown again. Switched off,
 * what still waits to be sent has failed. When a person does it (`actorId`), it is in the audit log. Throws AppError
 * `input.invalid` for a renewed secret without an address.
 */
export function changeHook(db: Db, orgId: string, change: HookChange, actorId?: string): Promise<string | null> {
  const secret = randomBytes(32).toString('hex')
  return withTxRetry(db, async (tx) => {
    const before = (await hookOf(tx, orgId)).url
    const stored = await applyChange(tx, orgId, before, change, secret)
    if (actorId !== undefined) {
      await appendAudit(tx, {
        orgId,
        actorId,
        action: 'hook.changed',
        target: `settings:${orgId}`,
        before: { notifyHost: hostOf(before) },
        after: { notifyHost: hostOf((await hookOf(tx, orgId)).url), newSecret: stored },
      })
    }
    return stored ? secret : null
  })
}

/** True when the new secret was stored. */
async function applyChange(
  tx: Tx,
  orgId: string,
  before: string | null,
  change: HookChange,
  secret: string,
): Promise<boolean> {
  if (change.url === null) {
    await removeHook(tx, orgId)
    return false
  }
  const url = change.url ?? before
  if (url === null) {
    throw new AppError('input.invalid', 'There is no address to sign for.', { hint: 'Set notify-url first.' })
  }
  return saveHook(tx, orgId, { url, secret, renew: change.renewSecret === true })
}

/** The path and the query of an address may be what keeps it private: the audit log is told the host. */
function hostOf(url: string | null): string | null {
  return url === null ? null : new URL(url).host
}
