/** Settings of an organisation as a person changes them: audited, and what the database refuses is refused in words. */
import { appendAudit } from '../audit/append.ts'
import { AppError } from '../base/errors.ts'
import { formatDollars } from '../base/money.ts'
import { type Db, type Tx, withTxRetry } from '../db/client.ts'
import { brokenConstraint } from '../db/errors.ts'
import { type Month, monthOf, usedOfMonth } from '../ledger/month.ts'
import { changeSettings, readSettings, type Settings } from '../runs/settings.ts'
import type { Actor } from './bootstrap.ts'

/**
 * Changes the given settings, all of them or none, and returns them all; what changed is in the audit log. Runs that wait
 * for the month cap go on by themselves once it leaves enough. Throws AppError `month.cap_too_low` when spent, held and
 * suspect money of this month is more than the new month cap.
 */
export async function changeOrgSettings(
  db: Db,
  actor: Pick<Actor, 'orgId' | 'userId'>,
  change: Partial<Settings>,
): Promise<Settings> {
  try {
    return await withTxRetry(db, (tx) => changeAudited(tx, actor, change))
  } catch (error) {
    if (brokenConstraint(error) !== 'month_cap_too_low') throw error
    throw tooLow(await monthOf(db, actor.orgId), error)
  }
}

function tooLow(month: Month, cause?: unknown): AppError {
  const used = formatDollars(usedOfMonth(month))
  return new AppError(
    'month.cap_too_low',
    `The month cap cannot go below ${used}: so much is spent, held or suspect this month.`,
    { cause },
  )
}

async function changeAudited(
  tx: Tx,
  { orgId, userId }: Pick<Actor, 'orgId' | 'userId'>,
  change: Partial<Settings>,
): Promise<Settings> {
  await readSettings(tx, orgId) // stored from here on, so that there is a row to lock
  await tx.query('select from collection_settings where org_id = $1 for no key update', [orgId])
  const before = await readSettings(tx, orgId)
  const after = await changeSettings(tx, orgId, change)
  const changed = (Object.keys(after) as (keyof Settings)[]).filter(
    (key) => JSON.stringify(before[key]) !== JSON.stringify(after[key]),
  )
  // What stays as it was is not audited.
  if (changed.length === 0) return after
  if (changed.includes('monthCapMicros')) {
    // The constraint leaves room for what providers overcharged; a person's cap does not. The month's row is locked by now.
    const month = await monthOf(tx, orgId)
    if (month.capMicros !== null && month.capMicros < usedOfMonth(month)) throw tooLow(month)
  }
  const fields = (settings: Settings) => Object.fromEntries(changed.map((key) => [key, settings[key]]))
  await appendAudit(tx, {
    orgId,
    actorId: userId,
    action: 'settings.changed',
    target: `settings:${orgId}`,
    before: fields(before),
    after: fields(after),
  })
  return after
}
