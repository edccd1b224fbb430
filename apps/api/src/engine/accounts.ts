/** Provider accounts: their rows, their prices, and the credentials that only this process knows. */
import { AppError } from '../base/errors.ts'
import { toJson } from '../base/json.ts'
import type { Micros } from '../base/money.ts'
import type { Queryable } from '../db/client.ts'
import { canList, canSearch } from '../providers/registry.ts'
import type { Credentials, PriceKind, PriceList, ProviderAccount } from '../providers/types.ts'

export type Account = Readonly<{
  id: string
  name: string
  adapter: ProviderAccount['adapter']
  baseUrl: string
  sandbox: boolean
  maxInFlight: number
  maxPerSecond: number | null
  /** Calls a day, at most; null = no limit. */
  callsPerDay: number | null
  prices: PriceList
}>

const SELECT_ACCOUNTS = `
  select a.id, a.name, a.adapter, a.base_url as "baseUrl", a.sandbox, a.max_in_flight as "maxInFlight",
    a.max_per_second as "maxPerSecond", a.calls_per_day as "callsPerDay",
    coalesce((select jsonb_object_agg(p.kind, p.price_micros) from provider_prices p where p.account_id = a.id), '{}')
      as prices
  from provider_accounts a`

/** All accounts, by name. */
export async function listAccounts(db: Queryable): Promise<Account[]> {
  return (await db.query<Account>(`${SELECT_ACCOUNTS} order by a.name`)).rows
}

/** The account with this id. Throws AppError `provider.unknown`. */
export async function accountById(db: Queryable, id: string): Promise<Account> {
  const { rows } = await db.query<Account>(`${SELECT_ACCOUNTS} where a.id = $1`, [id])
  if (!rows[0]) throw new AppError('provider.unknown', `There is no provider account ${id}.`)
  return rows[0]
}

/** The account with this name. Throws AppError `provider.unknown`, naming those there are. */
export async function accountByName(db: Queryable, name: string): Promise<Account> {
  const accounts = await listAccounts(db)
  const account = accounts.find((one) => one.name === name)
  if (account) return account
  const names = accounts.map((one) => one.name).join(', ')
  throw new AppError('provider.unknown', `There is no provider account "${name}".`, {
    hint: names ? `There are: ${names}. See gleaner accounts.` : 'Add one with gleaner accounts add.',
  })
}

export type AccountInput = Readonly<{
  name: string
  adapter: ProviderAccount['adapter']
  baseUrl: string
  sandbox: boolean
  maxInFlight?: number
  maxPerSecond?: number | null
  /** eBay's free allowance when left out for a new eBay account that is not the sandbox's. */
  callsPerDay?: number | null
  /** Prices to set, micro-dollars a unit; kinds left out keep the price they have. */
  prices?: PriceList
}>

/** eBay's free allowance (providers: Browse, all methods but getItems). */
const EBAY_CALLS_PER_DAY = 5_000

/** Adds the account, or changes the one of this name to be so. Returns it. */
export async function saveAccount(db: Queryable, input: AccountInput): Promise<Account> {
  const { rows } = await db.query<{ id: string }>(
    `with saved as (
       insert into provider_accounts (name, adapter, base_url, sandbox, max_in_flight, max_per_second, calls_per_day)
       values ($1, $2, $3, $4, coalesce($5, 50), $6, coalesce($8::int, $9::int))
       on conflict (name) do update set adapter = excluded.adapter, base_url = excluded.base_url,
         sandbox = excluded.sandbox, max_in_flight = coalesce($5, provider_accounts.max_in_flight),
         max_per_second = coalesce($6, provider_accounts.max_per_second),
         calls_per_day = coalesce($8::int, provider_accounts.calls_per_day)
       returning id
     ), priced as (
       insert into provider_prices (account_id, kind, price_micros)
       select saved.id, p.kind, p.micros from saved, json_to_recordset($7) as p(kind text, micros bigint)
       on conflict (account_id, kind) do update set price_micros = excluded.price_micros
     )
     select id from saved`,
    [
      input.name,
      input.adapter,
      input.baseUrl.replace(/\/+$/, ''),
      input.sandbox,
      input.maxInFlight ?? null,
      input.maxPerSecond ?? null,
      toJson(Object.entries(input.prices ?? {}).map(([kind, micros]) => ({ kind, micros }))),
      input.callsPerDay ?? null,
      input.adapter === 'ebay_browse' && !input.sandbox ? EBAY_CALLS_PER_DAY : null,
    ],
  )
  return accountById(db, rows[0]?.id ?? '')
}

/** The kinds of charge an adapter needs a price for. */
export const PRICE_KINDS: Readonly<Record<ProviderAccount['adapter'], readonly PriceKind[]>> = {
  ebay_browse: ['ebay.search'],
  oxylabs: ['oxylabs.amazon_bestsellers', 'oxylabs.ebay'],
  keepa: ['keepa.token'],
}

const SANDBOX_ADAPTERS = {
  'sandbox-ebay': 'ebay_browse',
  'sandbox-oxylabs': 'oxylabs',
  'sandbox-keepa': 'keepa',
} as const
const SANDBOX_PATHS = { ebay_browse: 'ebay', oxylabs: 'oxylabs', keepa: 'keepa' } as const

/** What the sandbox accepts (apps/sandbox/README.md): not secrets, it is play money. */
const SANDBOX_CREDENTIALS: Readonly<Record<ProviderAccount['adapter'], Credentials>> = {
  ebay_browse: { user: 'sandbox-client', secret: 'sandbox-secret' },
  oxylabs: { user: 'sandbox-user', secret: 'sandbox-password' },
  keepa: { user: '', secret: 'k'.repeat(64) },
}

/**
 * Points the three sandbox accounts at the sandbox listening at `origin`, with the prices it says it charges
 * (micro-dollars by kind). Returns them.
 */
export async function saveSandboxAccounts(
  db: Queryable,
  origin: string,
  prices: Readonly<Record<string, number>>,
): Promise<Account[]> {
  const saved: Account[] = []
  for (const [name, adapter] of Object.entries(SANDBOX_ADAPTERS)) {
    const known = PRICE_KINDS[adapter].filter((kind) => prices[kind] !== undefined)
    saved.push(
      await saveAccount(db, {
        name,
        adapter,
        baseUrl: `${origin}/${SANDBOX_PATHS[adapter]}`,
        sandbox: true,
        prices: Object.fromEntries(known.map((kind) => [kind, prices[kind] as Micros])),
      }),
    )
  }
  return saved
}

/** The credentials `env` has for the account: GLEANER_<NAME>_USER and GLEANER_<NAME>_SECRET. Null when one is missing. */
export function inEnvironment(account: Account, env: NodeJS.ProcessEnv): Credentials | null {
  const prefix = variablePrefix(account.name)
  const user = env[`${prefix}_USER`] ?? ''
  const secret = env[`${prefix}_SECRET`] ?? ''
  return secret && (user || account.adapter === 'keepa') ? { user, secret } : null
}

/**
 * The account with the credentials this process has without asking the database: those of the sandbox, or of `env`. Stored
 * ones are opened by account-credentials.ts. Throws AppError `provider.no_credentials` when there are none.
 */
export function withCredentials(account: Account, env: NodeJS.ProcessEnv): ProviderAccount {
  const { adapter, baseUrl, prices } = account
  if (account.sandbox) return { adapter, baseUrl, prices, credentials: SANDBOX_CREDENTIALS[adapter] }
  const credentials = inEnvironment(account, env)
  if (credentials) return { adapter, baseUrl, prices, credentials }
  throw new AppError('provider.no_credentials', `The account ${account.name} has no credentials in this process.`, {
    hint: `Set ${credentialVariables(account)} in the environment of every worker, or store them: gleaner accounts credentials set ${account.name}`,
  })
}

/** What a worker's environment must name for this account, as words: "GLEANER_EBAY_USER and GLEANER_EBAY_SECRET". */
export function credentialVariables({ name, adapter }: Pick<Account, 'name' | 'adapter'>): string {
  const prefix = variablePrefix(name)
  return adapter === 'keepa' ? `${prefix}_SECRET` : `${prefix}_USER and ${prefix}_SECRET`
}

function variablePrefix(name: string): string {
  return `GLEANER_${name.toUpperCase().replaceAll('-', '_')}`
}

export type ChosenAccounts = Readonly<{ list: Account | null; search: Account }>

/**
 * The two accounts of a run, by name. Throws AppError `provider.unknown` when there is no such account or it cannot do
 * the job it is chosen for.
 */
export async function chooseAccounts(
  db: Queryable,
  names: Readonly<{ list: string | null; search: string }>,
): Promise<ChosenAccounts> {
  const search = await accountByName(db, names.search)
  if (!canSearch(search.adapter)) throw cannot(search, 'search eBay', 'an eBay or Oxylabs account')
  const list = names.list === null ? null : await accountByName(db, names.list)
  if (list && !canList(list.adapter)) throw cannot(list, 'read best-seller lists', 'an Oxylabs or Keepa account')
  return { list, search }
}

function cannot(account: Account, job: string, instead: string): AppError {
  return new AppError('provider.unknown', `The account ${account.name} cannot ${job}.`, { hint: `Choose ${instead}.` })
}
