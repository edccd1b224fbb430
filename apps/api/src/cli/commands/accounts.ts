/** gleaner accounts: which providers can be used, and what each kind of call costs. */
import { type Command, Option } from 'commander'
import type { Micros } from '../../base/money.ts'
import type { Db } from '../../db/client.ts'
import { credentialsSources } from '../../engine/account-credentials.ts'
import { type Account, accountByName, listAccounts, PRICE_KINDS, saveAccount } from '../../engine/accounts.ts'
import { type AccountState, accountStates } from '../../governor/store.ts'
import { canList, canSearch } from '../../providers/registry.ts'
import type { PriceKind, PriceList } from '../../providers/types.ts'
import { addCommand } from '../add-command.ts'
import { badInput, type Context, withSession } from '../context.ts'
import { comingMoment, count, price, readDollars, readWhole } from '../format.ts'
import { table } from '../table.ts'
import { addCredentials } from './accounts-credentials.ts'

const BASE_URLS = {
  ebay_browse: 'https://api.ebay.com',
  oxylabs: 'https://realtime.oxylabs.io',
  keepa: 'https://api.keepa.com',
} as const
/** $1,000 a unit: more is a slip of the finger, and the database refuses it. */
const PRICE_MOST = 1_000_000_000

const EXAMPLES = `
Credentials are those of GLEANER_<NAME>_USER and GLEANER_<NAME>_SECRET in the environment of every worker (eBay: client id
and secret; Oxylabs: API user and password; Keepa: the key as SECRET), or else those stored, sealed, in the database.
Prices are dollars a unit. A call without a price is never made; 0 means free.

Examples:
  gleaner accounts
  gleaner accounts add ebay --adapter ebay_browse --price ebay.search=0
  gleaner accounts add oxylabs --adapter oxylabs --price oxylabs.amazon_bestsellers=0.0005 oxylabs.ebay=0.001
  gleaner accounts price oxylabs oxylabs.ebay=0.0008
  gleaner accounts credentials set ebay --user MyApp-PRD-1234 < secret.txt
  gleaner accounts credentials test ebay`

/** Adds the command with `add` and `price`. */
export function addAccounts(program: Command): void {
  const group = program
    .command('accounts')
    .description('provider accounts and their prices: list, add, price')
    .addHelpText('after', EXAMPLES)
  addCommand(group, (context) => withSession(context, async ({ db }) => show(context, db, await listAccounts(db))))
  addAdd(group)
  addPrice(group)
  addCredentials(group)
}

function addAdd(group: Command): void {
  const command = group
    .command('add')
    .description('add an account, or change the one of this name')
    .argument('<name>', 'letters, digits and dashes, such as ebay or oxylabs-2')
    .addOption(new Option('--adapter <kind>', 'which provider').choices(Object.keys(BASE_URLS)).makeOptionMandatory())
    .option('--url <url>', "where it is; the provider's own address when left out")
    .option('--price <kind=dollars...>', 'what a unit costs, dollars')
    .option('--max-in-flight <n>', 'calls at the same time, at most, over all workers')
    .option('--max-per-second <n>', 'calls a second, at most, over all workers')
    .option('--calls-per-day <n>', 'calls a day, at most, over all workers (eBay: 5000)')
  addCommand(command, (context, [given, options]) => {
    const name = checkName(String(given))
    const input = readAccount(options as AddOptions)
    return withSession(context, async ({ db }) => {
      await saveAccount(db, { name, sandbox: false, ...input })
      await show(context, db, [await accountByName(db, name)])
    })
  })
}

type AddOptions = Readonly<{
  adapter: Account['adapter']
  url?: string
  price?: readonly string[]
  maxInFlight?: string
  maxPerSecond?: string
  callsPerDay?: string
}>

function readAccount(options: AddOptions) {
  const { adapter, url, maxInFlight, maxPerSecond, callsPerDay } = options
  if (url !== undefined && !/^https?:\/\/[^/]/.test(url)) {
    throw badInput(`"${url}" is not the address of a provider.`, `Such as ${BASE_URLS[adapter]}.`)
  }
  return {
    adapter,
    baseUrl: url ?? BASE_URLS[adapter],
    prices: readPrices(adapter, options.price ?? []),
    ...(maxInFlight === undefined ? {} : { maxInFlight: readWhole(maxInFlight, '--max-in-flight', 1, 10_000) }),
    ...(maxPerSecond === undefined ? {} : { maxPerSecond: readWhole(maxPerSecond, '--max-per-second', 1, 100_000) }),
    ...(callsPerDay === undefined ? {} : { callsPerDay: readWhole(callsPerDay, '--calls-per-day', 1, 1_000_000_000) }),
  }
}

function checkName(name: string): string {
  if (name === 'sandbox' || name.startsWith('sandbox-')) {
    throw badInput(`"${name}" is a name of the sandbox's own accounts.`, 'Choose another name.')
  }
  if (/^[a-z0-9][a-z0-9-]{0,62}$/.test(name)) return name
  throw badInput(`"${name}" is not possible as a name.`, 'Use lower-case letters, digits and dashes, such as ebay-2.')
}

function readPrices(adapter: Account['adapter'], pairs: readonly string[]): PriceList {
  const kinds = PRICE_KINDS[adapter]
  const prices: Partial<Record<PriceKind, Micros>> = {}
  for (const pair of pairs) {
    const [kind = '', amount = ''] = pair.split('=')
    if (!kinds.includes(kind as PriceKind) || amount === '') {
      throw badInput(`"${pair}" is not a price of ${adapter}.`, `Write kind=dollars; kinds are ${kinds.join(', ')}.`)
    }
    const micros = readDollars(amount)
    if (micros < 0 || micros > PRICE_MOST)
      throw badInput(`A price of ${amount} is not possible.`, 'Give dollars a unit from 0 to 1,000.')
    prices[kind as PriceKind] = micros
  }
  return prices
}

function addPrice(group: Command): void {
  const command = group
    .command('price')
    .description('set what a unit costs')
    .argument('<name>', 'the account')
    .argument('<kind=dollars...>', 'such as oxylabs.ebay=0.001')
  addCommand(command, (context, [name, pairs]) =>
    withSession(context, async ({ db }) => {
      const account = await accountByName(db, String(name))
      if (account.sandbox) {
        throw badInput(`The prices of ${account.name} are the sandbox's own.`, 'It says itself what it charges.')
      }
      const prices = readPrices(account.adapter, pairs as string[])
      await show(context, db, [await saveAccount(db, { ...account, prices })])
    }),
  )
}

async function show(context: Context, db: Db, accounts: readonly Account[]): Promise<void> {
  const states = new Map((await accountStates(db)).map((state) => [state.accountId, state]))
  const sources = await credentialsSources(db, accounts, context.env)
  const rows = accounts.map((account) => ({
    ...account,
    credentials: credentialsWords(sources.get(account.id)),
    now: states.get(account.id),
  }))
  if (context.json) return context.sayJson(rows)
  if (rows.length === 0)
    return context.say('No account yet. gleaner start adds those of the sandbox; gleaner accounts add --help.')
  const { paint } = context
  const job = ({ adapter }: Account) =>
    [canList(adapter) ? 'lists' : '', canSearch(adapter) ? 'search' : ''].filter(Boolean).join(', ')
  context.say(
    table<(typeof rows)[number]>(
      context,
      [
        { head: 'Account', cell: (row) => row.name },
        { head: '', cell: (row) => (row.sandbox ? paint.dim('SANDBOX') : '') },
        { head: 'Used for', spare: 1, cell: job },
        {
          head: 'Price of a unit',
          cell: (row) => PRICE_KINDS[row.adapter].map((kind) => `${kind} ${price(row.prices[kind])}`).join('\n'),
        },
        { head: 'In flight', spare: 2, right: true, cell: (row) => count(row.maxInFlight) },
        {
          head: 'A second',
          spare: 2,
          right: true,
          cell: (row) => (row.maxPerSecond === null ? 'any' : count(row.maxPerSecond)),
        },
        {
          head: 'A day',
          spare: 2,
          right: true,
          cell: (row) => (row.callsPerDay === null ? 'any' : count(row.callsPerDay)),
        },
        { head: 'State', spare: 1, cell: (row) => stateWords(row.now, paint) },
        { head: 'Credentials', cell: (row) => row.credentials },
        { head: 'Address', spare: 4, gives: 16, cell: (row) => paint.dim(row.baseUrl) },
      ],
      rows,
    ),
  )
}

/** What the governor says of an account, in words. */
function stateWords(now: AccountState | undefined, paint: Context['paint']): string {
  const until = now?.until ? comingMoment(now.until) : ''
  switch (now?.state) {
    case 'stopped':
      return paint.bad(`Stopped, probe ${until}`)
    case 'quota':
      return paint.warn(`Quota until ${until}`)
    case 'rest':
      return paint.warn(`Resting until ${until}`)
    case 'testing':
      return paint.warn('Testing')
    default:
      return 'Healthy'
  }
}

/** Whether there are credentials, and where from; never what they are. */
function credentialsWords(known: Known | undefined): string {
  switch (known?.source) {
    case 'built_in':
      return 'built in'
    case 'environment':
      return 'set'
    case 'stored':
      return known.stored?.ends ? `stored, ends ${known.stored.ends}` : 'stored'
    default:
      return 'not set'
  }
}

type Known = Awaited<ReturnType<typeof credentialsSources>> extends Map<string, infer One> ? One : never
