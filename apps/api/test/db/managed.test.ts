import { chmodSync, mkdtempSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { newId } from '../../src/base/ids.ts'
import { connect, type Db, withTx } from '../../src/db/client.ts'
import { type Embedded, openEmbedded } from '../../src/db/embedded.ts'
import { assertCurrent, migrate } from '../../src/db/migrate.ts'
import { asMember } from '../../src/db/session.ts'
import { databaseUrl } from '../support/db.ts'
import { packageFromEnvironment } from '../support/postgres.ts'

/** A server of its own: roles belong to the whole server, and here none of ours may exist before. */
let dir: string
let server: Embedded
let app: Db
beforeAll(async () => {
  dir = mkdtempSync('/tmp/gleaner-managed-')
  chmodSync(dir, 0o755)
  server = await openEmbedded({ dataDir: join(dir, 'pg'), ...packageFromEnvironment() })
  const admin = await connect(server.url, { max: 1 })
  await admin.query('create role app login createrole createdb')
  await admin.query('create database app owner app')
  await admin.close()
  app = await connect(databaseUrl(server.url, 'app').replace('postgres@', 'app@'))
})
afterAll(async () => {
  await app.close()
  await server.close()
  rmSync(dir, { recursive: true, force: true })
})

describe('a hosted database whose owner is no superuser', () => {
  it('takes all migrations, the roles included', async () => {
    expect((await migrate(app)).length).toBeGreaterThan(6)
    const { rows } = await app.query(
      `select rolname, rolbypassrls from pg_roles where rolname in ('anon', 'authenticated', 'service_role') order by 1`,
    )
    expect(rows).toEqual(['anon', 'authenticated', 'service_role'].map((rolname) => ({ rolname, rolbypassrls: false })))
  })

  it('lets workers in by policy, and members to what is theirs', async () => {
    const workers = await connect(app.url, { role: 'service_role', max: 2 })
    await assertCurrent(workers)
    const [org, other, person] = [newId(), newId(), newId()]
    await workers.query('insert into auth.users (id) values ($1)', [person])
    await workers.query(`insert into orgs (id, name) values ($1, 'A'), ($2, 'B')`, [org, other])
    await workers.query(`insert into org_members (org_id, user_id, role) values ($1, $2, 'viewer')`, [org, person])
    await workers.query('insert into collection_settings (org_id) values ($1), ($2)', [org, other])
    const seen = await withTx(app, async (tx) => {
      await asMember(tx, { userId: person })
      return (await tx.query('select org_id from collection_settings')).rows
    })
    expect(seen).toEqual([{ org_id: org }])
    await workers.close()
  })
})
