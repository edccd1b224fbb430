/** Credentials and terms of provider accounts: set, tested, never shown. */
import { z } from 'zod'
import { AppError } from '../../base/errors.ts'
import { type Queryable, type Tx, withTx } from '../../db/client.ts'
import {
  confirmTerms,
  credentialsSources,
  forgetCredentials,
  setCredentials,
  TESTS,
  termsOf,
  testAccount,
} from '../../engine/account-credentials.ts'
import { type Account, listAccounts } from '../../engine/accounts.ts'
import { type Route, route } from '../route.ts'
import { count, id, micros, moment } from '../schemas/common.ts'

const params = z.object({ accountId: z.uuid().meta({ description: 'The provider account.' }) })

const facts = z
  .object({
    source: z
      .enum(['built_in', 'environment', 'stored', 'none'])
      .describe('Where this server has them from. Workers look into their own environment first.'),
    stored: z
      .object({
        setAt: moment,
        setBy: id.describe('The person.'),
        yours: z.boolean().describe('Set by this organisation: its admins alone replace or remove them.'),
        ends: z.string().describe('The last four characters of a long secret; empty otherwise.'),
      })
      .nullable(),
    test: z
      .object({ calls: count, costMicros: micros, words: z.string() })
      .describe('What a test will ask, and what it costs.'),
    terms: z.object({ confirmedBy: id, confirmedAt: moment }).nullable().describe('Who accepted the terms, and when.'),
  })
  .meta({ id: 'Credentials', description: 'What may be said of the credentials of an account: never what they are.' })

const tested = z
  .object({ ok: z.boolean(), message: z.string(), code: z.string().nullable(), tookMs: count })
  .meta({ id: 'CredentialsTest', description: 'What the provider answered, in words.' })

const example = {
  source: 'stored' as const,
  stored: {
    setAt: '2026-11-03T10:12:00.000Z',
    setBy: '0198c2f4-7d1e-7a3b-9c55-0a1b2c3d4e5f',
    yours: true,
    ends: '7F2K',
  },
  test: { calls: 1, costMicros: 0, words: TESTS.ebay_browse },
  terms: null,
}

/** An id without an account is no input that is wrong but an address of nothing. */
async function accountOf(db: Queryable, accountId: string): Promise<Account> {
  const account = (await listAccounts(db)).find((one) => one.id === accountId)
  if (account) return account
  throw new AppError('provider.not_found', 'There is no such provider account.')
}

async function view(tx: Tx, account: Account, orgId: string, env: NodeJS.ProcessEnv): Promise<z.output<typeof facts>> {
  const found = (await credentialsSources(tx, [account], env)).get(account.id)
  const stored = found?.stored ?? null
  return {
    source: found?.source ?? 'none',
    stored: stored && { setAt: stored.setAt, setBy: stored.setBy, yours: stored.orgId === orgId, ends: stored.ends },
    test: { calls: 1, costMicros: 0, words: TESTS[account.adapter] },
    terms: await termsOf(tx, orgId, account.id),
  }
}

const common = {
  path: '/api/v1/orgs/{orgId}/provider-accounts/{accountId}/credentials',
  tag: 'Providers',
  params,
} as const

export const credentialRoutes: readonly Route[] = [
  route({
    ...common,
    method: 'GET',
    operationId: 'getCredentials',
    summary: 'What may be said of the credentials of an account',
    description: 'Where they come from, who set them when, and how a long one ends. They are never returned.',
    access: 'viewer',
    // Nobody who is signed in may read the table: it is looked at with the privileges of a worker, behind the gate.
    transaction: 'write',
    refuses: ['provider.not_found'],
    answers: { 200: { description: 'What is known.', schema: facts, example } },
  })(async ({ tx, acting, orgId, params: { accountId }, deps }) => {
    const account = await accountOf(tx, accountId)
    return { status: 200, body: await withTx(acting(), (inner) => view(inner, account, orgId, deps.env)) }
  }),
  route({
    ...common,
    method: 'PUT',
    operationId: 'setCredentials',
    summary: 'Set the credentials of an account',
    description:
      'Sealed with the key of the installation, in place of those there were. Workers use them where their environment has none. Audited, without what they are.',
    access: 'admin',
    transaction: 'write',
    repeats: 'secret',
    body: z.strictObject({
      user: z.string().max(4096).optional().describe('eBay: the client id. Oxylabs: the API user. Keepa has none.'),
      secret: z.string().min(1).max(4096).describe('eBay: the client secret. Oxylabs: the password. Keepa: the key.'),
    }),
    bodyExample: { user: 'MyApp-PRD-1234', secret: 'PRD-0123456789abcdef' },
    refuses: ['provider.not_found', 'provider.not_yours', 'key.missing'],
    answers: { 200: { description: 'What may be said of them now.', schema: facts, example } },
  })(async ({ tx, acting, orgId, member, params: { accountId }, body, deps }) => {
    const account = await accountOf(tx, accountId)
    await setCredentials(acting(), { orgId, userId: member.userId }, account.id, body)
    return { status: 200, body: await withTx(acting(), (inner) => view(inner, account, orgId, deps.env)) }
  }),
  route({
    ...common,
    method: 'DELETE',
    operationId: 'removeCredentials',
    summary: 'Remove the stored credentials of an account',
    description: 'Workers without any in their environment stop using the account. Removing what is not there is done.',
    access: 'admin',
    transaction: 'write',
    refuses: ['provider.not_found', 'provider.not_yours'],
    answers: { 204: { description: 'There are none stored.' } },
  })(async ({ tx, acting, orgId, member, params: { accountId } }) => {
    const account = await accountOf(tx, accountId)
    await forgetCredentials(acting(), { orgId, userId: member.userId }, account.id)
    return { status: 204 }
  }),
  route({
    ...common,
    path: `${common.path}/test`,
    method: 'POST',
    operationId: 'testCredentials',
    summary: 'Ask the provider whether it takes the credentials',
    description: 'One free question: what it asks is said with the credentials. Nothing is charged.',
    access: 'admin',
    transaction: 'none',
    refuses: ['provider.not_found', 'provider.no_credentials'],
    answers: { 200: { description: 'The provider’s answer.', schema: tested } },
  })(async ({ asMember, params: { accountId }, deps }) => {
    const account = await asMember((tx) => accountOf(tx, accountId))
    return { status: 200, body: await testAccount(deps.db, account, deps.env) }
  }),
  route({
    ...common,
    path: '/api/v1/orgs/{orgId}/provider-accounts/{accountId}/terms',
    method: 'PUT',
    operationId: 'confirmTerms',
    summary: 'Confirm the terms of a provider',
    description: 'That they were read and accepted for this organisation: by whom, and when.',
    access: 'admin',
    transaction: 'write',
    refuses: ['provider.not_found'],
    answers: {
      200: { description: 'Who confirmed them, and when.', schema: z.object({ confirmedBy: id, confirmedAt: moment }) },
    },
  })(async ({ tx, acting, orgId, member, params: { accountId } }) => {
    const account = await accountOf(tx, accountId)
    return { status: 200, body: await confirmTerms(acting(), { orgId, userId: member.userId }, account.id) }
  }),
]
