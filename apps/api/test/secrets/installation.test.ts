import { chmodSync, existsSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import type { Secrets } from '../../src/base/seal.ts'
import { type Db, withTx } from '../../src/db/client.ts'
import { setCredentials } from '../../src/engine/account-credentials.ts'
import { saveAccount } from '../../src/engine/accounts.ts'
import { actorFor } from '../../src/engine/bootstrap.ts'
import { rotateKey } from '../../src/engine/rotate-key.ts'
import { openCredentials } from '../../src/secrets/credentials.ts'
import { loadSecrets } from '../../src/secrets/installation.ts'
import { newKeyText, parseKey, readKey } from '../../src/secrets/key-source.ts'
import { type FreshDb, freshDb } from '../support/db.ts'

let fresh: FreshDb
let db: Db
let dir: string
beforeAll(async () => {
  fresh = await freshDb()
  db = await fresh.connect({ role: 'service_role' })
})
afterAll(() => fresh.close())
beforeEach(async () => {
  dir = mkdtempSync(join(tmpdir(), 'gleaner-key-'))
  await fresh.db.query('delete from installation_key; delete from provider_credentials')
})
afterEach(() => rmSync(dir, { recursive: true, force: true }))

const machine = (name = 'installation.key') => ({ variable: null, file: join(dir, name) })
const given = (variable: string) => ({ variable, file: join(dir, 'none') })
const load = (source: ReturnType<typeof machine | typeof given>, make = true) => loadSecrets(db, source, make)

describe('the key of an installation', () => {
  it('is made with the first start, in a file that only its owner reads, and found again', async () => {
    const secrets = await load(machine())
    const { file } = machine()
    expect(statSync(file).mode & 0o777).toBe(0o600)
    expect(Buffer.from(readFileSync(file, 'latin1').trim(), 'base64')).toHaveLength(32)
    const again = (await load(machine())) as Secrets
    expect(again.keyId).toBe(secrets?.keyId)
    expect(again.hash('x').equals((secrets as Secrets).hash('x'))).toBe(true)
  })

  it('is not made by who does not need it', async () => {
    expect(await load(machine(), false)).toBeNull()
    expect(existsSync(machine().file)).toBe(false)
  })

  it('comes from GLEANER_KEY where that is set', async () => {
    const text = newKeyText()
    const secrets = await load(given(text))
    expect(secrets?.keyId).toBe(parseKey(text, 'x').id)
    expect((await load(given(text.replaceAll('+', '-').replaceAll('/', '_').replace('=', '')), false))?.keyId).toBe(
      secrets?.keyId,
    )
  })

  it('is refused when it is another', async () => {
    await load(machine())
    await expect(load(given(newKeyText()))).rejects.toMatchObject({ code: 'key.wrong' })
    await expect(load(given(newKeyText()), false)).rejects.toMatchObject({ code: 'key.wrong' })
  })

  it('is missed on a second machine, which makes none of its own', async () => {
    await load(machine())
    await expect(load(machine('other'))).rejects.toMatchObject({ code: 'key.missing' })
    expect(existsSync(machine('other').file)).toBe(false)
    expect(await load(machine('other'), false)).toBeNull()
  })

  it('is one, however many machines start at the same moment', async () => {
    const names = Array.from({ length: 12 }, (_, at) => `machine-${at % 4}`)
    const started = await Promise.allSettled(names.map((name) => load(machine(name))))
    const ids = new Set(started.flatMap((one) => (one.status === 'fulfilled' ? [one.value?.keyId] : [])))
    expect(ids.size).toBe(1)
    const refused = started.flatMap((one) => (one.status === 'rejected' ? [one.reason as { code: string }] : []))
    // Wrong, for a moment: another process of the same machine has just made a file that will not do.
    expect(refused.every(({ code }) => code === 'key.missing' || code === 'key.wrong')).toBe(true)
    // Who was refused keeps no file it would be refused with again.
    for (const name of new Set(names)) {
      const key = readKey(machine(name))
      expect(key === null || ids.has(key.id)).toBe(true)
    }
  })

  it.each([
    ['nothing like a key', 'hello'],
    ['too short', Buffer.alloc(16).toString('base64')],
    ['too long', Buffer.alloc(48).toString('base64')],
  ])('is refused when it is %s, and never quoted', async (_, text) => {
    const refusal = await load(given(text)).then(
      () => null,
      (error: Error & { code: string }) => error,
    )
    expect(refusal?.code).toBe('key.invalid')
    expect(`${refusal?.message}`).not.toContain(text)
  })

  it('is refused when others may read its file', async () => {
    await load(machine())
    chmodSync(machine().file, 0o644)
    await expect(load(machine())).rejects.toMatchObject({ code: 'key.invalid' })
  })

  it('may be given with a line break after it', async () => {
    const text = newKeyText()
    writeFileSync(machine().file, `${text}\n`, { mode: 0o600 })
    expect((await load(machine()))?.keyId).toBe(parseKey(text, 'x').id)
  })
})

describe('rotation', () => {
  it('seals everything anew: the new key opens it, the old one nothing, and hashes stay', async () => {
    const [old, next] = [newKeyText(), newKeyText()]
    const before = (await load(given(old))) as Secrets
    const actor = await actorFor(db)
    const account = await saveAccount(db, {
      name: 'ebay',
      adapter: 'ebay_browse',
      baseUrl: 'http://x.test',
      sandbox: false,
    })
    await setCredentials({ ...db, secrets: before }, actor, account.id, { user: 'the-client', secret: 'the-secret' })

    const rotated = await rotateKey(db, parseKey(old, 'x'), parseKey(next, 'x'))
    expect(rotated.accounts).toBe(1)
    await expect(load(given(old))).rejects.toMatchObject({ code: 'key.wrong' })
    const after = (await load(given(next))) as Secrets
    expect(await openCredentials(db, after, account.id)).toEqual({ user: 'the-client', secret: 'the-secret' })
    await expect(openCredentials(db, before, account.id)).rejects.toThrow()
    expect(after.hash('name:x').equals(before.hash('name:x'))).toBe(true)
    const { rows } = await db.query<{ n: number }>(
      'select count(*)::int as n from provider_credentials where key_id <> $1',
      [after.keyId],
    )
    expect(rows[0]?.n).toBe(0)
  })

  it('with a key that is not the installation’s changes nothing', async () => {
    const old = newKeyText()
    await load(given(old))
    const wrong = rotateKey(db, parseKey(newKeyText(), 'x'), parseKey(newKeyText(), 'x'))
    await expect(wrong).rejects.toMatchObject({ code: 'key.wrong' })
    expect(await load(given(old))).not.toBeNull()
  })

  it('asks workers to leave, which have the old key', async () => {
    const old = newKeyText()
    await load(given(old))
    await db.query(`insert into collection_workers (id, name, version) values (gen_random_uuid(), 'w', '0')`)
    const { workers } = await rotateKey(db, parseKey(old, 'x'), parseKey(newKeyText(), 'x'))
    expect(workers).toBe(1)
    const { rows } = await db.query<{ why: string }>(
      `select stop_because as why from collection_workers where name = 'w'`,
    )
    expect(rows[0]?.why).toContain('key')
  })
})

describe('in the database', () => {
  it.each(['installation_key', 'provider_credentials'])('nobody who is signed in reads %s', async (table) => {
    const read = withTx(db, async (tx) => {
      await tx.query(`set local role authenticated`)
      await tx.query(`select from ${table}`)
    })
    await expect(read).rejects.toMatchObject({ code: '42501' })
  })

  it('there is one key', async () => {
    await load(machine())
    const second = fresh.db.query(
      `insert into installation_key (one, key_id, key_check, hash_nonce, hash_sealed)
       select false, key_id, key_check, hash_nonce, hash_sealed from installation_key`,
    )
    await expect(second).rejects.toMatchObject({ code: '23514' })
  })
})
