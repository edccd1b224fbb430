/** Reading what providers counted of the day, so that a quota others use too is met before it refuses calls. */
import { type Db, withTxRetry } from '../db/client.ts'
import { correctDay, takeDueReading } from '../governor/day.ts'
import { ADAPTERS_WITH_DAY_COUNT, dayCount } from '../providers/day-count.ts'
import { openAccount } from './account-credentials.ts'
import { accountById } from './accounts.ts'

export type ReadDaysOptions = Readonly<{
  db: Db
  env: NodeJS.ProcessEnv
  log: (message: string, facts?: Record<string, unknown>) => void
}>

/** A lane waits for this before its first call. */
const TIMEOUT_MS = 5_000

/**
 * Reads the count of those of these accounts, which this process has credentials for, where that is due: once in five
 * minutes over the whole fleet. A provider that does not tell, because the key may not ask or it is not reached, changes
 * nothing: its refusals are met as they come.
 */
export async function readDays({ db, env, log }: ReadDaysOptions, accountIds: readonly string[]): Promise<void> {
  if (accountIds.length === 0) return
  const take = (): Promise<string | null> => takeDueReading(db, accountIds, ADAPTERS_WITH_DAY_COUNT)
  for (let id = await take(); id !== null; id = await take()) {
    const accountId = id
    const account = await accountById(db, accountId)
    const day = await dayCount(await openAccount(db, account, env), TIMEOUT_MS)
    if (!day.ok) {
      log('the provider does not tell its count of the day', { account: account.name, why: day.message })
      continue
    }
    await withTxRetry(db, (tx) => correctDay(tx, accountId, day))
  }
}
