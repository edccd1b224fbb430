/** Settings of an organisation as a person changes them: what the database refuses is refused in words. */
import { AppError } from '../base/errors.ts'
import { formatDollars } from '../base/money.ts'
import { type Db, withTxRetry } from '../db/client.ts'
import { brokenConstraint } from '../db/errors.ts'
import { monthOf, usedOfMonth } from '../ledger/month.ts'
import { changeSettings, type Settings } from '../runs/settings.ts'

/**
 * Changes the given settings, all of them or none, and returns them all. Runs that wait for the month cap go on by
 * themselves once it leaves enough. Throws AppError `month.cap_too_low` when spent, held and suspect money of this month is
 * more than the new month cap.
 */
export async function changeOrgSettings(db: Db, orgId: string, change: Partial<Settings>): Promise<Settings> {
  try {
    return await withTxRetry(db, (tx) => changeSettings(tx, orgId, change))
  } catch (error) {
    if (brokenConstraint(error) !== 'month_cap_too_low') throw error
    const used = formatDollars(usedOfMonth(await monthOf(db, orgId)))
    throw new AppError(
      'month.cap_too_low',
      `The month cap cannot go below ${used}: so much is spent, held or suspect this month.`,
      { cause: error },
    )
  }
}
