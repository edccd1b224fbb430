/** Provider accounts as members see them: prices, limits, how they may be called now. */
import { z } from 'zod'
import { listAccounts } from '../../engine/accounts.ts'
import { accountStates } from '../../governor/store.ts'
import { canList, canSearch } from '../../providers/registry.ts'
import { type Route, route } from '../route.ts'
import { count, id, micros, moment } from '../schemas/common.ts'

const account = z
  .object({
    id,
    name: z.string(),
    adapter: z.enum(['ebay_browse', 'oxylabs', 'keepa']),
    baseUrl: z.string(),
    sandbox: z.boolean().describe('Its money is play money.'),
    canList: z.boolean().describe('It reads best-seller lists.'),
    canSearch: z.boolean().describe('It searches eBay.'),
    prices: z
      .record(z.string(), micros)
      .describe('What one unit of a kind costs at most. A kind without a price is never called.'),
    maxInFlight: count,
    maxPerSecond: count.nullable(),
    callsPerDay: count.nullable(),
    state: z
      .object({
        state: z.enum(['healthy', 'testing', 'stopped', 'quota', 'rest']),
        until: moment.nullable().describe('When the state may end; of stopped, when the next probe comes.'),
        trouble: z.string().nullable(),
        troubleAt: moment.nullable(),
        windowCalls: count.describe('Calls that may be in flight now.'),
        inFlight: count.describe('Calls of this organisation in flight.'),
        dayCalls: count.describe('Calls claimed in the present quota day, by everybody.'),
      })
      .nullable(),
  })
  .meta({ id: 'ProviderAccount', description: 'An account at a metered provider, and how it may be called now.' })

export const providerRoutes: readonly Route[] = [
  route({
    method: 'GET',
    path: '/api/v1/orgs/{orgId}/provider-accounts',
    operationId: 'listProviderAccounts',
    tag: 'Providers',
    summary: 'List provider accounts',
    description: 'Accounts belong to the installation and serve every organisation. Credentials are never returned.',
    access: 'viewer',
    transaction: 'read',
    answers: { 200: { description: 'The accounts, by name.', schema: z.object({ items: z.array(account) }) } },
  })(async ({ tx }) => {
    const states = new Map((await accountStates(tx)).map(({ accountId, ...state }) => [accountId, state]))
    const items = (await listAccounts(tx)).map((one) => ({
      ...one,
      prices: { ...one.prices } as Record<string, number>,
      canList: canList(one.adapter),
      canSearch: canSearch(one.adapter),
      state: states.get(one.id) ?? null,
    }))
    return { status: 200, body: { items } }
  }),
]
