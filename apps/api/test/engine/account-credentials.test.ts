import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { newId } from '../../src/base/ids.ts'
import type { Secrets } from '../../src/base/seal.ts'
import type { Db } from '../../src/db/client.ts'
import {
  confirmTerms,
  credentialsSources,
  forgetCredentials,
  openAccount,
  setCredentials,
  testAccount,
} from '../../src/engine/account-credentials.ts'
import { type Account, saveAccount } from '../../src/engine/accounts.ts'
import { type Actor, actorFor } from '../../src/engine/bootstrap.ts'
import { canUse, credentialNames } from '../../src/queue/credentials.ts'
import { loadSecrets } from '../../src/secrets/installation.ts'
import { newKeyText } from '../../src/secrets/key-source.ts'
import { type SandboxProcess, startSandboxProcess } from '../providers/sandbox-process.ts'
import { type FreshDb, freshDb } from '../support/db.ts'

let fresh: FreshDb
let db: Db & { secrets: Secrets }
let sandbox: SandboxProcess
let actor: Actor
let ebay: Account
let keepa: Account
beforeAll(async () => {
  fresh = await freshDb()
  const plain = await fresh.connect({ role: 'service_role' })
  const secrets = (await loadSecrets(plain, { variable: newKeyText(), file: '/nowhere' }, true)) as Secrets
  db = { ...plain, secrets }
  sandbox = await startSandboxProcess()
  actor = await actorFor(db)
})
afterAll(async () => {
  await sandbox.stop()
  await fresh.close()
})
beforeEach(async () => {
  // Accounts of one's own, which happen to be served by the sandbox.
  ebay = await saveAccount(db, { name: 'ebay', adapter: 'ebay_browse', baseUrl: `${sandbox.url}/ebay`, sandbox: false })
  keepa = await saveAccount(db, { name: 'keepa', adapter: 'keepa', baseUrl: `${sandbox.url}/keepa`, sandbox: false })
})
afterEach(async () => {
  await db.query('delete from provider_accounts')
})

const SECRET = 'sandbox-secret'
const set = (given: { user?: string; secret: string }, account = ebay, as: Pick<Actor, 'orgId' | 'userId'> = actor) =>
  setCredentials(db, as, account.id, given)
const stored = () => set({ user: 'sandbox-client', secret: SECRET })

async function otherOrg(): Promise<Pick<Actor, 'orgId' | 'userId'>> {
  const orgId = newId()
  await db.query(`insert into orgs (id, name) values ($1, 'Other')`, [orgId])
  return { orgId, userId: actor.userId }
}

describe('stored credentials', () => {
  it('are used where the environment has none, and work', async () => {
    await stored()
    expect((await openAccount(db, ebay, {})).credentials).toEqual({ user: 'sandbox-client', secret: SECRET })
    expect(await testAccount(db, ebay, {})).toMatchObject({ ok: true, message: 'eBay gave an access token' })
  })

  it('go after those of the environment', async () => {
    await stored()
    const env = { GLEANER_EBAY_USER: 'mine', GLEANER_EBAY_SECRET: 'my own' }
    expect((await openAccount(db, ebay, env)).credentials).toEqual({ user: 'mine', secret: 'my own' })
    expect((await credentialsSources(db, [ebay], env)).get(ebay.id)?.source).toBe('environment')
    expect((await credentialsSources(db, [ebay], {})).get(ebay.id)?.source).toBe('stored')
  })

  it('are in the database sealed, and nowhere else', async () => {
    await set({ user: 'a-client-id-of-mine', secret: 'a-secret-nobody-may-see-7F2K' })
    const { rows } = await fresh.db.query<{ whole: string }>(
      `select string_agg(query_to_xml('select * from public.' || quote_ident(tablename), true, true, '')::text, '') as whole
       from pg_tables where schemaname = 'public'`,
    )
    expect(rows[0]?.whole).toContain('7F2K')
    for (const part of ['nobody-may-see', 'a-client-id-of-mine', Buffer.from('nobody-may-see').toString('hex')])
      expect(rows[0]?.whole).not.toContain(part)
  })

  it('are told of by who, when and the end of a long secret only', async () => {
    const facts = await set({ user: 'u', secret: 'a-secret-nobody-may-see-7F2K' })
    expect(facts).toMatchObject({ ends: '7F2K', setBy: actor.userId, orgId: actor.orgId })
    expect(Date.now() - facts.setAt.getTime()).toBeLessThan(60_000)
    expect((await set({ user: 'u', secret: 'short-one' })).ends).toBe('')
  })

  it('are replaced as a whole, and removed', async () => {
    await stored()
    await set({ user: 'sandbox-client', secret: 'wrong' })
    expect(await testAccount(db, ebay, {})).toMatchObject({ ok: false, code: 'ebay.invalid_client' })
    expect(await forgetCredentials(db, actor, ebay.id)).toBe(true)
    expect(await forgetCredentials(db, actor, ebay.id)).toBe(false)
    await expect(openAccount(db, ebay, {})).rejects.toMatchObject({ code: 'provider.no_credentials' })
  })

  it('open for their own account and field only', async () => {
    await stored()
    const other = await saveAccount(db, {
      name: 'ebay-2',
      adapter: 'ebay_browse',
      baseUrl: 'http://x.test',
      sandbox: false,
    })
    await db.query(
      `insert into provider_credentials (account_id, field, org_id, key_id, nonce, sealed, ends, set_by)
       select $1, field, org_id, key_id, nonce, sealed, ends, set_by from provider_credentials where account_id = $2`,
      [other.id, ebay.id],
    )
    await expect(openAccount(db, other, {})).rejects.toMatchObject({ code: 'provider.no_credentials' })
    await fresh.db.query(
      `update provider_credentials p set nonce = q.nonce, sealed = q.sealed from provider_credentials q
       where p.account_id = $1 and q.account_id = $1 and p.field <> q.field`,
      [ebay.id],
    )
    await expect(openAccount(db, ebay, {})).rejects.toMatchObject({ code: 'provider.no_credentials' })
  })

  it('cannot be opened by a process without the key, which says so', async () => {
    await stored()
    await expect(openAccount({ ...db, secrets: null }, ebay, {})).rejects.toMatchObject({
      code: 'provider.no_credentials',
      hint: expect.stringContaining('key') as string,
    })
    await expect(setCredentials({ ...db, secrets: null }, actor, ebay.id, { secret: 'x' })).rejects.toMatchObject({
      code: 'key.missing',
    })
  })

  it('of one organisation are not replaced or removed by another', async () => {
    await stored()
    const other = await otherOrg()
    await expect(set({ user: 'x', secret: 'y' }, ebay, other)).rejects.toMatchObject({ code: 'provider.not_yours' })
    await expect(forgetCredentials(db, other, ebay.id)).rejects.toMatchObject({ code: 'provider.not_yours' })
    expect(await testAccount(db, ebay, {})).toMatchObject({ ok: true })
  })

  it.each([
    ['without a user', { secret: 'x' }],
    ['without a secret', { user: 'x', secret: '  \n' }],
    ['with a line break in it', { user: 'x', secret: 'one\ntwo' }],
    ['that are far too long', { user: 'x', secret: 'x'.repeat(5000) }],
  ])('%s are refused, and never quoted', async (_, given) => {
    const refusal = await set(given).catch((error: Error & { code: string }) => error)
    expect(refusal).toMatchObject({ code: 'input.invalid' })
    if (given.secret.trim().length > 1) expect((refusal as Error).message).not.toContain(given.secret)
  })

  it('make an account usable for workers with the key, and for no others', async () => {
    const usable = async (keyId?: string) => {
      const { rows } = await db.query<{ can: boolean }>(
        `select ${canUse('$1::text[]')} as can from provider_accounts a where a.id = $2`,
        [credentialNames({}, keyId), ebay.id],
      )
      return rows[0]?.can
    }
    expect(await usable(db.secrets.keyId)).toBe(false)
    await stored()
    expect(await usable(db.secrets.keyId)).toBe(true)
    expect(await usable('0123456789abcdef')).toBe(false)
    expect(await usable()).toBe(false)
  })

  it('of Keepa have no user', async () => {
    await set({ user: 'ignored', secret: 'k'.repeat(64) }, keepa)
    expect((await openAccount(db, keepa, {})).credentials).toEqual({ user: '', secret: 'k'.repeat(64) })
    expect(await testAccount(db, keepa, {})).toMatchObject({ ok: true })
  })

  it('are audited: who, which account, how it ends, never more', async () => {
    await set({ user: 'a-user', secret: 'a-secret-nobody-may-see-7F2K' })
    await set({ user: 'a-user', secret: 'another-one-entirely-9XYZ' })
    await forgetCredentials(db, actor, ebay.id)
    const { rows } = await db.query<{ action: string; before: object; after: object }>(
      `select action, before, after from audit_log where target = $1 order by id`,
      [`account:${ebay.id}`],
    )
    expect(rows).toEqual([
      { action: 'credentials.set', before: { account: 'ebay', ends: null }, after: { account: 'ebay', ends: '7F2K' } },
      {
        action: 'credentials.replaced',
        before: { account: 'ebay', ends: '7F2K' },
        after: { account: 'ebay', ends: '9XYZ' },
      },
      {
        action: 'credentials.removed',
        before: { account: 'ebay', ends: '9XYZ' },
        after: { account: 'ebay', ends: null },
      },
    ])
  })

  it('are tested free of charge', async () => {
    await stored()
    const before = await sandbox.get('/sandbox/billing/summary')
    await testAccount(db, ebay, {})
    expect(await sandbox.get('/sandbox/billing/summary')).toEqual(before)
  })
})

describe('terms', () => {
  it('are confirmed for one organisation, by a person, and once more', async () => {
    const first = await confirmTerms(db, actor, ebay.id)
    expect(first.confirmedBy).toBe(actor.userId)
    const again = await confirmTerms(db, actor, ebay.id)
    expect(again.confirmedAt.getTime()).toBeGreaterThanOrEqual(first.confirmedAt.getTime())
    const { rows } = await db.query('select from provider_terms where account_id = $1', [ebay.id])
    expect(rows).toHaveLength(1)
  })
})
