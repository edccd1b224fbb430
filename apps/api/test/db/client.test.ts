import { writeFileSync } from 'node:fs'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { connect, type Db, type Tx, withLibpqSslModes, withTx, withTxRetry } from '../../src/db/client.ts'
import { brokenConstraint, CommitUnknown, describeConstraint, runtimeError } from '../../src/db/errors.ts'
import { databaseUrl, emptyDb, type FreshDb, freshDb, testServer } from '../support/db.ts'
import { wireTo } from '../support/proxy.ts'

let fresh: FreshDb
let db: Db
beforeAll(async () => {
  fresh = await emptyDb()
  db = fresh.db
  await db.query(
    'create table notes (id int primary key, text text not null constraint notes_text check (text <> $$$$))',
  )
})
afterAll(() => fresh.close())

const insert = (to: Tx | Db, id: number, text = 'x') => to.query('insert into notes values ($1, $2)', [id, text])
const exists = async (id: number) => ((await db.query('select from notes where id = $1', [id])).rowCount ?? 0) > 0
const never = () => Promise.reject(new Error('not reached'))

describe('values', () => {
  it('reads int8 as a number, numeric and date as text, timestamptz as a Date, json parsed', async () => {
    const { rows } = await db.query(`select 9007199254740991::int8 as big, array[1, null, 3]::int8[] as bigs,
      0.1::numeric as exact, date '2024-02-29' as day, timestamptz '2024-02-29 12:00Z' as at, '{"a":[1]}'::jsonb as json`)
    expect(rows[0]).toEqual({
      big: 9007199254740991,
      bigs: [1, null, 3],
      exact: '0.1',
      day: '2024-02-29',
      at: new Date('2024-02-29T12:00:00Z'),
      json: { a: [1] },
    })
  })

  it('refuses an int8 that would become another number', async () => {
    await expect(db.query('select 9007199254740993::int8')).rejects.toThrow(RangeError)
    await expect(db.query('select array[9007199254740993]::int8[]')).rejects.toThrow(RangeError)
  })

  it('answers Kysely with the same values', async () => {
    const { rows } = await withTx(db, (tx) => tx.kysely.selectNoFrom((eb) => eb.val(7).as('seven')).execute()).then(
      (found) => ({ rows: found }),
    )
    expect(rows).toEqual([{ seven: '7' }]) // a parameter without a type is text
  })
})

describe('withTx', () => {
  it('commits what the work did and returns its result', async () => {
    expect(await withTx(db, async (tx) => (await insert(tx, 1)).rowCount)).toBe(1)
    expect(await exists(1)).toBe(true)
  })

  it('rolls back when the work throws, and throws that very error', async () => {
    const error = new Error('mine')
    const work = async (tx: Tx) => {
      await insert(tx, 2)
      throw error
    }
    await expect(withTx(db, work)).rejects.toBe(error)
    expect(await exists(2)).toBe(false)
  })

  it('rolls back and keeps the first error when a statement fails', async () => {
    const work = async (tx: Tx) => {
      await insert(tx, 3)
      await insert(tx, 3)
    }
    await expect(withTx(db, work)).rejects.toMatchObject({ code: '23505' })
    expect(await exists(3)).toBe(false)
  })

  it('does not pass for committed when an error inside was swallowed', async () => {
    const work = async (tx: Tx) => {
      await insert(tx, 4)
      await insert(tx, 4).catch(() => {})
    }
    await expect(withTx(db, work)).rejects.toThrow(/swallowed/)
    expect(await exists(4)).toBe(false)
  })

  it('refuses statements after its end', async () => {
    let kept: Tx | undefined
    await withTx(db, async (tx) => {
      kept = tx
    })
    await expect(kept?.query('select 1') ?? never()).rejects.toThrow('this transaction is over')
  })

  it('gives every connection back, whatever happened', async () => {
    for (let i = 0; i < 15; i++) await withTx(db, never).catch(() => {})
    expect(db.pool.totalCount - db.pool.idleCount).toBe(0)
  })

  it('keeps the isolation asked for', async () => {
    const level = (tx: Tx) =>
      tx.query('show transaction_isolation').then(({ rows }) => rows[0]?.['transaction_isolation'])
    expect(await withTx(db, level, { isolation: 'serializable' })).toBe('serializable')
    expect(await withTx(db, level)).toBe('read committed')
    const name = new URL(fresh.url).pathname.slice(1)
    await db.query(`alter database ${name} set default_transaction_isolation = 'repeatable read'`)
    const other = await fresh.connect({ max: 1 })
    expect(await withTx(other, level)).toBe('read committed')
    await db.query(`alter database ${name} reset default_transaction_isolation`)
  })

  it('throws the error of a connection killed inside, and works again afterwards', async () => {
    const work = async (tx: Tx) => {
      const { rows } = await tx.query<{ pid: number }>('select pg_backend_pid() as pid')
      await db.query('select pg_terminate_backend($1, 5000)', [rows[0]?.pid])
      await insert(tx, 5)
    }
    await expect(withTx(db, work)).rejects.toThrow()
    await withTx(db, (tx) => insert(tx, 6))
    expect([await exists(5), await exists(6)]).toEqual([false, true])
  })

  it.each([
    ['after forwarding', 10, true],
    ['before forwarding', 11, false],
  ] as const)('says CommitUnknown when the answer to COMMIT is lost, cut %s', async (cut, id, committed) => {
    const wire = await wireTo(fresh.url)
    const wired = await connect(wire.url, { max: 1 })
    const work = async (tx: Tx) => {
      await insert(tx, id)
      wire.cutAt('commit', cut)
    }
    await expect(withTxRetry(wired, work)).rejects.toThrow(CommitUnknown)
    await wired.close()
    await wire.close()
    expect(await exists(id)).toBe(committed)
  })

  it('is certain when the server refuses the COMMIT', async () => {
    await db.query('create table later (id int, constraint later_once unique (id) deferrable initially deferred)')
    const work = (tx: Tx) => tx.query('insert into later values (1), (1)')
    await expect(withTx(db, work)).rejects.toMatchObject({ code: '23505', constraint: 'later_once' })
  })
})

describe('withTxRetry', () => {
  it('runs two transactions that deadlock until both are through', async () => {
    await db.query(`insert into notes values (20, 'a'), (21, 'b')`)
    let attempts = 0
    let arrived = 0
    const bothHaveOne = Promise.withResolvers<void>()
    const touch = (first: number, second: number) =>
      withTxRetry(db, async (tx) => {
        attempts++
        await tx.query('update notes set text = text || $1 where id = $2', ['!', first])
        if (++arrived === 2) bothHaveOne.resolve()
        await bothHaveOne.promise
        await tx.query('update notes set text = text || $1 where id = $2', ['!', second])
      })
    await Promise.all([touch(20, 21), touch(21, 20)])
    const { rows } = await db.query('select text from notes where id in (20, 21) order by id')
    expect(rows).toEqual([{ text: 'a!!' }, { text: 'b!!' }])
    expect(attempts).toBe(3)
  })

  it('gives up after six attempts, and does not repeat anything else', async () => {
    let attempts = 0
    const failing = (state: string) => async (tx: Tx) => {
      attempts++
      await tx.query(`do $$ begin raise exception using errcode = '${state}'; end $$`)
    }
    await expect(withTxRetry(db, failing('40001'))).rejects.toMatchObject({ code: '40001' })
    expect(attempts).toBe(6)
    await expect(withTxRetry(db, failing('23505'))).rejects.toMatchObject({ code: '23505' })
    expect(attempts).toBe(7)
  })
})

describe('connect', () => {
  it('refuses a URL that is none, without showing it', async () => {
    for (const url of [
      'postgresql://u:s3cret@:bad:port/d',
      'mysql://u:s3cret@h/d',
      'nonsense s3cret',
      'postgresql://u:s3cret%zz@h/d',
      '',
    ]) {
      const error = await connect(url).catch((reason: unknown) => reason)
      expect(error).toMatchObject({ code: 'db.url_invalid' })
      expect(everythingIn(error)).not.toContain('s3cret')
    }
  })

  it('says what is wrong when nobody listens, the host or the database is unknown', async () => {
    for (const url of ['postgresql://u:s3cret@127.0.0.1:1/d', 'postgresql://u:s3cret@/d?host=/nowhere']) {
      const error = await connect(url).catch((reason: unknown) => reason)
      expect(error).toMatchObject({ code: 'db.unreachable' })
      expect(everythingIn(error)).not.toContain('s3cret')
    }
    await expect(connect(databaseUrl(fresh.url, 'no_such_db'))).rejects.toMatchObject({
      code: 'db.unreachable',
      message: expect.stringContaining('no database'),
    })
  })

  it('says that the password is wrong, or missing', async () => {
    const { url, close } = await databaseWithPassword()
    try {
      await expect(connect(url('right')))
        .resolves.toMatchObject({})
        .then(async () => {})
      for (const password of ['wrong', '']) {
        const error = await connect(url(password)).catch((reason: unknown) => reason)
        expect(error).toMatchObject({ code: 'db.password_wrong' })
        if (password) expect(everythingIn(error)).not.toContain(password)
      }
      await expect(connect(url('right').replace('pw_user', 'nobody_known'))).rejects.toMatchObject({
        code: 'db.password_wrong',
      })
    } finally {
      await close()
    }
  })

  it('reads sslmode as libpq does', () => {
    expect(withLibpqSslModes('postgresql://h/d?sslmode=require')).toContain('uselibpqcompat=true')
    expect(withLibpqSslModes('postgresql://u:p%40ss@h:6543/d')).toBe('postgresql://u:p%40ss@h:6543/d')
  })

  it('takes on the role it is told, on every connection', async () => {
    const migrated = await freshDb()
    const service = await migrated.connect({ role: 'service_role', max: 3 })
    const roles = await Promise.all([1, 2, 3].map(() => service.query('select current_user as role, pg_sleep(0.02)')))
    expect(roles.map(({ rows }) => rows[0]?.['role'])).toEqual(Array(3).fill('service_role'))
    await migrated.close()
  })

  it('cancels a statement that takes too long', async () => {
    const quick = await fresh.connect({ statementTimeoutMs: 50 })
    await expect(quick.query('select pg_sleep(10)')).rejects.toMatchObject({ code: '57014' })
  })

  it('survives the loss of an idle connection', async () => {
    const lost = Promise.withResolvers<Error>()
    const other = await fresh.connect({ max: 1, onIdleError: lost.resolve })
    const { rows } = await other.query<{ pid: number }>('select pg_backend_pid() as pid')
    await db.query('select pg_terminate_backend($1)', [rows[0]?.pid])
    expect(await lost.promise).toBeInstanceOf(Error)
    expect((await other.query('select 1 as one')).rows).toEqual([{ one: 1 }])
  })
})

describe('errors', () => {
  it('gives the reason of a broken constraint, its name when it has none', async () => {
    const error = await insert(db, 30, '').catch((reason: unknown) => reason)
    expect(brokenConstraint(error)).toBe('notes_text')
    describeConstraint('notes_text', 'text_empty')
    expect(brokenConstraint(error)).toBe('text_empty')
    expect(() => describeConstraint('notes_text', 'other')).toThrow()
    expect(brokenConstraint(new Error('none'))).toBeNull()
  })

  it('shows a full disk as one', async () => {
    const error = await db
      .query(`do $$ begin raise exception 'could not extend file' using errcode = '53100'; end $$`)
      .catch((reason: unknown) => reason)
    expect(runtimeError(error, db.url)).toMatchObject({ code: 'db.disk_full' })
    const other = new Error('a bug')
    expect(runtimeError(other, db.url)).toBe(other)
  })
})

/** All text of an error and its causes. */
function everythingIn(error: unknown): string {
  const { message, hint, details, cause } = error as Error & { hint?: string; details?: unknown }
  return [message, hint, JSON.stringify(details), cause ? everythingIn(cause) : ''].join('\n')
}

/** A database of its own that asks for a password: a line of pg_hba.conf that concerns nobody else. */
async function databaseWithPassword() {
  const { url } = await testServer()
  const admin = await connect(url, { max: 1 })
  const name = 'with_password'
  await admin.query(`create database ${name}`)
  await admin.query(`create role pw_user login password 'right'`)
  const { rows } = await admin.query<{ file: string; text: string }>(
    `select current_setting('hba_file') as file, pg_read_file(current_setting('hba_file')) as text`,
  )
  const { file, text } = rows[0] ?? { file: '', text: '' }
  const write = async (lines: string) => {
    writeFileSync(file, lines)
    await admin.query('select pg_reload_conf()')
  }
  await write(`local ${name} all scram-sha-256\n${text}`)
  return {
    url: (password: string) => databaseUrl(url, name).replace('postgres@', `pw_user:${password}@`),
    close: async () => {
      await write(text)
      await admin.query(`drop database ${name} with (force)`)
      await admin.query('drop role pw_user')
      await admin.close()
    },
  }
}
