/** Which accounts a new run uses: what the person names, else what is there. */
import { AppError } from '../base/errors.ts'
import type { Queryable } from '../db/client.ts'
import { canList, canSearch } from '../providers/registry.ts'
import { type Account, type ChosenAccounts, chooseAccounts, listAccounts } from './accounts.ts'

export type AccountOptions = Readonly<{ provider?: string; lists?: string; search?: string }>

const SANDBOX = { list: 'sandbox-oxylabs', search: 'sandbox-ebay' }

/** True when the run will use the sandbox, as far as the options and the accounts there are tell. */
export function meansSandbox(accounts: readonly Account[], options: AccountOptions): boolean {
  const named = [options.provider, options.lists, options.search].filter((name) => name !== undefined)
  if (named.length === 0) return accounts.every((account) => account.sandbox)
  return named.some((name) => name === 'sandbox' || name.startsWith('sandbox-'))
}

/**
 * The accounts for lists (null when none are needed) and for searching. Throws AppError `provider.unknown` when there is
 * none, more than one to choose from, or real and play money would meet in one run.
 */
export async function chooseRunAccounts(
  db: Queryable,
  options: AccountOptions,
  needsLists: boolean,
): Promise<ChosenAccounts> {
  const accounts = await listAccounts(db)
  const sandbox = meansSandbox(accounts, options)
  const provider = options.provider === 'sandbox' ? undefined : options.provider
  const given = accounts.find((account) => account.name === provider)
  const pick = (named: string | undefined, can: (adapter: Account['adapter']) => boolean, job: string): string => {
    if (named) return named
    if (given && can(given.adapter)) return given.name
    if (sandbox) return can === canList ? SANDBOX.list : SANDBOX.search
    return onlyOne(
      accounts.filter((account) => !account.sandbox && can(account.adapter)),
      job,
    )
  }
  if (provider !== undefined && !given) await chooseAccounts(db, { list: null, search: provider })
  const chosen = await chooseAccounts(db, {
    search: pick(options.search, canSearch, 'search eBay'),
    list: needsLists ? pick(options.lists, canList, 'read best-seller lists') : null,
  })
  if (chosen.list && chosen.list.sandbox !== chosen.search.sandbox) {
    throw new AppError('provider.unknown', 'A run uses either the sandbox or real accounts, never both.', {
      hint: `${chosen.list.name} and ${chosen.search.name} were chosen. Name both with --lists and --search.`,
    })
  }
  return chosen
}

function onlyOne(accounts: readonly Account[], job: string): string {
  const [first, ...others] = accounts
  if (first && others.length === 0) return first.name
  const flag = job.startsWith('search') ? '--search' : '--lists'
  if (!first) {
    throw new AppError('provider.unknown', `No account can ${job}.`, {
      hint: 'Add one with gleaner accounts add, or try it with --provider sandbox.',
    })
  }
  throw new AppError(
    'provider.unknown',
    `Several accounts can ${job}: ${accounts.map((one) => one.name).join(', ')}.`,
    {
      hint: `Name the one to use with ${flag}.`,
    },
  )
}
