import { getMigrations } from 'better-auth/db/migration'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { localOptions } from '../../src/auth/local.ts'
import type { Db } from '../../src/db/client.ts'
import { type FreshDb, freshDb } from '../support/db.ts'

let fresh: FreshDb
let db: Db
beforeAll(async () => {
  fresh = await freshDb()
  db = await fresh.connect({ role: 'gleaner_auth', max: 2 })
})
afterAll(() => fresh.close())

const check = async () => {
  const { toBeCreated, toBeAdded, toBeAddedIndexes, schemaProblems } = await getMigrations(
    localOptions({
      db,
      secret: 'a secret of tests, longer than 32 characters: 0f8c1d7e',
      publicUrl: 'http://localhost',
      oidc: null,
      onNewPerson: async () => {},
      log: () => {},
    }),
  )
  return {
    tables: toBeCreated.map(({ table }) => table),
    columns: toBeAdded.flatMap(({ table, fields }) => Object.keys(fields).map((field) => `${table}.${field}`)),
    indexes: toBeAddedIndexes.map(({ name }) => name),
    schemaProblems,
  }
}

describe('the schema of sign-in', () => {
  it('has everything better-auth writes, by its own check', async () => {
    expect(await check()).toEqual({ tables: [], columns: [], indexes: [], schemaProblems: [] })
  })

  it('is looked at closely enough: what is missing is found', async () => {
    await fresh.db.query(
      'alter table gleaner_auth.sessions drop column user_agent; drop table gleaner_auth.two_factors',
    )
    expect(await check()).toMatchObject({ tables: ['two_factors'], columns: ['sessions.user_agent'] })
  })
})
