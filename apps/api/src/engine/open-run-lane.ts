/** From a run to a lane: its accounts opened and its filters read. */
import { AppError } from '../base/errors.ts'
import type { Db } from '../db/client.ts'
import { checkFilterSettings, type FilterSettings } from '../matching/filters.ts'
import { listAdapter, searchAdapter } from '../providers/registry.ts'
import type { ListAdapter } from '../providers/types.ts'
import type { RunSnapshot } from '../runs/snapshot.ts'
import { openAccount } from './account-credentials.ts'
import { type Account, accountById } from './accounts.ts'
import type { LaneOptions } from './lane.ts'

/** List steps in flight at most: a list is a hundred products of work, so a few at a time keep the searches busy. */
const LIST_STEPS_MOST = 8

/** What a lane on this run needs. Throws AppError when an account has no credentials here, or no price. */
export async function openRunLane(
  options: Readonly<{
    db: Db
    env: NodeJS.ProcessEnv
    workerId: string
    run: RunSnapshot
    log: LaneOptions['log']
  }>,
): Promise<LaneOptions> {
  const { db, env, workerId, run, log } = options
  if (!run.searchAccountId) throw new AppError('provider.unknown', `Run ${run.number} has no account to search with.`)
  const searchAccount = await accountById(db, run.searchAccountId)
  // Once every list is read, its account is not needed: not its credentials either.
  const listAccount = run.listAccountId && run.openCategories > 0 ? await accountById(db, run.listAccountId) : null
  const search = searchAdapter(await openAccount(db, searchAccount, env))
  if (search.worstCase() === null) {
    throw new AppError('provider.no_price', `The account ${searchAccount.name} has no price for a search.`, {
      hint: `Set one with gleaner accounts price ${searchAccount.name}.`,
    })
  }
  const list = listAccount && listAdapter(await openAccount(db, listAccount, env))
  if (listAccount && list) checkListPrice(listAccount, list)
  return {
    db,
    workerId,
    run,
    log,
    filters: await filtersOf(db, run.id),
    search: {
      id: searchAccount.id,
      name: searchAccount.name,
      adapter: search,
      maxInFlight: searchAccount.maxInFlight,
      callsPerDay: searchAccount.callsPerDay,
    },
    list: listAccount &&
      list && {
        id: listAccount.id,
        name: listAccount.name,
        adapter: list,
        maxInFlight: Math.min(LIST_STEPS_MOST, listAccount.maxInFlight),
      },
  }
}

/** Without this, a list without a price would wait for ever: no call is made without one. */
function checkListPrice(account: Account, adapter: ListAdapter): void {
  const firstStep = adapter.firstStep({ key: '', slug: '', nodeId: null, name: '' })
  if (adapter.worstCase(firstStep) !== null) return
  throw new AppError('provider.no_price', `The account ${account.name} has no price for a best-seller list.`, {
    hint: `Set one with gleaner accounts price ${account.name}.`,
  })
}

async function filtersOf(db: Db, runId: string): Promise<FilterSettings> {
  const { rows } = await db.query<{ filters: Partial<FilterSettings> }>(
    'select filters from collection_runs where id = $1',
    [runId],
  )
  return checkFilterSettings(rows[0]?.filters ?? {})
}
