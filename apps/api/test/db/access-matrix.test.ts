/**
 * Row level security, in the database: every table and view of the catalog, every command, everybody who can ask. What is
 * expected stands in access-decisions.ts; what is there is read from the catalog, so a table nobody decided on fails.
 */
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { newId } from '../../src/base/ids.ts'
import { type Db, type Tx, withTx } from '../../src/db/client.ts'
import { hasState, isPgError, SQLSTATE } from '../../src/db/errors.ts'
import { asMember, type Member, type Role } from '../../src/db/session.ts'
import { saveAccount } from '../../src/engine/accounts.ts'
import { type FreshDb, freshDb } from '../support/db.ts'
import { DECISIONS, type Decision, SILENT, SPARE, seedOrg } from './access-decisions.ts'

const ROLES = ['viewer', 'analyst', 'admin', 'owner'] as const
const rank = (role: Role | null): number => (role === null ? -1 : ROLES.indexOf(role))

let fresh: FreshDb
let db: Db
const ours = newId()
const theirs = newId()
const people = Object.fromEntries(ROLES.map((role) => [role, newId()])) as Record<Role, string>
const stranger = newId()
/** Owner of both organisations. */
const both = newId()
const account = { id: '' }

beforeAll(async () => {
  fresh = await freshDb()
  db = fresh.db
  const everybody = [...Object.values(people), stranger, both, SPARE, SILENT]
  await db.query('insert into auth.users (id) select unnest($1::uuid[])', [everybody])
  await db.query(`insert into orgs (id, name) values ($1, 'Ours'), ($2, 'Theirs')`, [ours, theirs])
  const add = (org: string, person: string, role: Role) =>
    db.query('insert into org_members (org_id, user_id, role) values ($1, $2, $3)', [org, person, role])
  for (const role of ROLES) await add(ours, people[role], role)
  await add(ours, both, 'owner')
  await add(theirs, both, 'owner')
  await add(theirs, stranger, 'owner')
  await add(theirs, people.viewer, 'viewer')
  const saved = await saveAccount(db, {
    name: 'ebay',
    adapter: 'ebay_browse',
    baseUrl: 'http://localhost:1',
    sandbox: true,
    prices: { 'ebay.search': 500 as never },
  })
  account.id = saved.id
  const worker = newId()
  await db.query(`insert into collection_workers (id, name, version) values ($1, 'm1', '1')`, [worker])
  for (const [org, person] of [
    [ours, people.owner],
    [theirs, stranger],
  ] as const)
    await seedOrg(db, { org, person, account: account.id, worker })
})
afterAll(() => fresh.close())

type Subject = Readonly<{
  name: string
  member: Member
  /** What it may do at most in our organisation, and in theirs; null = it is not there. */
  here: Role | null
  there: Role | null
}>

const SUBJECTS: readonly Subject[] = [
  ...ROLES.map(
    (role): Subject => ({
      name: `${role}, working in our organisation`,
      member: { userId: people[role], orgId: ours },
      here: role,
      there: null,
    }),
  ),
  ...ROLES.map(
    (role): Subject => ({
      name: `a key of the owner for the role ${role}`,
      member: { userId: people.owner, orgId: ours, key: { id: newId(), maxRole: role } },
      here: role,
      there: null,
    }),
  ),
  {
    name: 'an owner key of the viewer',
    member: { userId: people.viewer, orgId: ours, key: { id: newId(), maxRole: 'owner' } },
    here: 'viewer',
    there: null,
  },
  {
    name: 'a key without a role',
    member: { userId: people.owner, orgId: ours, key: { id: newId() } as never },
    here: null,
    there: null,
  },
  {
    name: 'a key for a role there is none of',
    member: { userId: people.owner, orgId: ours, key: { id: newId(), maxRole: 'king' as never } },
    here: null,
    there: null,
  },
  {
    name: 'the owner of both, working in theirs',
    member: { userId: both, orgId: theirs },
    here: null,
    there: 'owner',
  },
  { name: 'the owner of both, working in ours', member: { userId: both, orgId: ours }, here: 'owner', there: null },
  { name: 'the owner of both, working in none', member: { userId: both }, here: 'owner', there: 'owner' },
  { name: 'a stranger, working in ours', member: { userId: stranger, orgId: ours }, here: null, there: null },
  { name: 'a stranger, working in their own', member: { userId: stranger, orgId: theirs }, here: null, there: 'owner' },
  { name: 'somebody who belongs to nobody', member: { userId: SPARE, orgId: ours }, here: null, there: null },
  { name: 'somebody who does not exist', member: { userId: newId() }, here: null, there: null },
]

/** Reading does not ask for the role: a key that may do nothing else still sees what its person may see. */
const seesAs = ({ member, here }: Subject): Role | null =>
  here ?? (member.userId === people.owner && member.orgId === ours ? 'viewer' : null)

/** Runs `work` as the subject and takes everything back. What it came to: rows, or the word denied. */
async function attempt(subject: Subject, work: (tx: Tx) => Promise<number>): Promise<number | 'denied'> {
  let came: number | 'denied' = 'denied'
  await withTx(db, async (tx) => {
    await asMember(tx, subject.member)
    came = await work(tx)
    throw new Error('taken back')
  }).catch((error: unknown) => {
    // A view over several tables is refused before anybody's privileges are looked at.
    if (hasState(error, SQLSTATE.insufficientPrivilege) || hasState(error, '55000')) came = 'denied'
    else if (isPgError(error)) throw error
  })
  return came
}

const countOf = async (tx: Tx, sql: string, values: unknown[] = []): Promise<number> =>
  (await tx.query(sql, values)).rowCount ?? 0

/** The condition for the organisation's rows, and its parameters. */
const rowsOf = ({ rows }: Decision, org: string): [string, unknown[]] => (rows === null ? ['true', []] : [rows, [org]])

describe('every table and view', () => {
  it('has a decision, and nothing else has one', async () => {
    const { rows } = await db.query<{ name: string }>(
      `select format('%s.%s', n.nspname, c.relname) as name from pg_class c join pg_namespace n on n.oid = c.relnamespace
       where c.relkind in ('r', 'p', 'v', 'm', 'f') and n.nspname !~ '^(pg_|information_schema|gleaner_queue)' order by 1`,
    )
    expect(Object.keys(DECISIONS).sort()).toEqual(rows.map(({ name }) => name).sort())
  })

  it.each(Object.entries(DECISIONS))('%s has rows to try it on', async (table, decision) => {
    if (!(await isTouched(table))) return
    for (const org of [ours, theirs]) {
      const [where, values] = rowsOf(decision, org)
      expect((await db.query(`select from ${table} t where ${where}`, values)).rowCount).toBeGreaterThan(0)
    }
  })
})

describe.each(Object.entries(DECISIONS))('%s', (table, decision) => {
  /** How many rows of each organisation there are. */
  async function countBoth(look: (where: string) => string): Promise<Record<string, number>> {
    const counts: Record<string, number> = {}
    for (const org of [ours, theirs]) {
      const [where, values] = rowsOf(decision, org)
      counts[org] = (await db.query(look(where), values)).rowCount ?? 0
    }
    return counts
  }

  it('is read by those who may, and of no other organisation', async () => {
    // Where nobody has the privilege, nobody needs to try.
    if (decision.select === undefined && !(await mayAny(table, 'select'))) return
    const there = await countBoth((where) => `select from ${table} t where ${where}`)
    for (const subject of SUBJECTS) {
      for (const [org, role] of [
        [ours, decision.select === 'viewer' ? seesAs(subject) : subject.here],
        [theirs, subject.there],
      ] as const) {
        const [where, values] = rowsOf(decision, org)
        const look = `select from ${table} t where ${where}`
        const all = there[org] ?? 0
        const seen = await attempt(subject, (tx) => countOf(tx, look, values))
        if (decision.select === undefined)
          expect([subject.name, seen]).toEqual([subject.name, expect.toSatisfy(isNone)])
        else if (decision.rows === null)
          expect([subject.name, seen]).toEqual([subject.name, expect.toSatisfy(isAllOr(all))])
        else
          expect([subject.name, org === ours, seen]).toEqual([
            subject.name,
            org === ours,
            rank(role) >= rank(decision.select) ? all : 0,
          ])
      }
    }
  })

  it.each(['update', 'delete'] as const)('%s: by those who may, and in no other organisation', async (command) => {
    const least = decision[command]
    if (least === undefined && !(await mayAny(table, command))) return
    const set = (await writable(table, 'update'))[0] ?? (await anyColumn(table))
    const there = await countBoth((where) => `select from ${table} t where ${where} and ${decision.on ?? 'true'}`)
    for (const subject of SUBJECTS) {
      for (const [org, role] of [
        [ours, subject.here],
        [theirs, subject.there],
      ] as const) {
        const [rows, values] = rowsOf(decision, org)
        const where = `${rows} and ${decision.on ?? 'true'}`
        const act = command === 'delete' ? `delete from ${table} t` : `update ${table} t set ${set} = ${set}`
        const all = there[org] ?? 0
        const done = await attempt(subject, (tx) => countOf(tx, `${act} where ${where}`, values))
        const may = least !== undefined && rank(role) >= rank(least)
        if (may) expect([subject.name, org === ours, done]).toEqual([subject.name, org === ours, all])
        else expect([subject.name, done]).toEqual([subject.name, expect.toSatisfy(isNone)])
      }
    }
  })

  it('insert: by those who may, and into no other organisation', async () => {
    const { insert, insertSql } = decision
    if (!insert || !insertSql) {
      // Own rows of api_requests are tried by the routes that write them.
      if (table !== 'public.api_requests') expect(await writable(table, 'insert')).toEqual([])
      return
    }
    for (const subject of SUBJECTS) {
      for (const [org, role] of [
        [ours, subject.here],
        [theirs, subject.there],
      ] as const) {
        const done = await attempt(subject, async (tx) => {
          await tx.query(insertSql(org, subject.member.userId))
          return 1
        })
        // The audit log is written for the organisation one works in, so only with claims that name it.
        const known = table !== 'public.audit_log' || subject.member.orgId === org
        const may = rank(role) >= rank(insert) && known && !(decision.noKeys && subject.member.key)
        expect([subject.name, org === ours, done]).toEqual([subject.name, org === ours, may ? 1 : 'denied'])
      }
    }
  })
})

describe('the audit log', () => {
  const append = (actor: string) =>
    `insert into audit_log (org_id, actor_id, action, target) values ('${ours}', '${actor}', 'run.started', 'run:1')`

  it('takes no row in the name of another person', async () => {
    const subject = SUBJECTS[3] as Subject
    expect(await attempt(subject, (tx) => countOf(tx, append(people.admin)))).toBe('denied')
    expect(await attempt(subject, (tx) => countOf(tx, append(people.owner)))).toBe(1)
  })

  it('knows with which key an act was done, and takes nobody’s word for it', async () => {
    const key = newId()
    const seen = await withTx(db, async (tx) => {
      await asMember(tx, { userId: people.owner, orgId: ours, key: { id: key, maxRole: 'admin' } })
      await tx.query(append(people.owner))
      const { rows } = await tx.query('select key_id from audit_log order by id desc limit 1')
      return rows
    })
    expect(seen).toEqual([{ key_id: key }])
    const own = SUBJECTS[3] as Subject
    const forged = `insert into audit_log (org_id, actor_id, action, target, key_id) values ('${ours}', '${people.owner}', 'run.started', 'run:1', '${key}')`
    expect(await attempt(own, (tx) => countOf(tx, forged))).toBe('denied')
  })
})

const isNone = (came: unknown) => came === 0 || came === 'denied'
const isAllOr = (all: number) => (came: unknown) => came === all || came === 0

type Command = 'select' | 'insert' | 'update' | 'delete'

/** True when somebody signed in has the privilege, for the table or for one of its columns. */
async function mayAny(table: string, command: Command): Promise<boolean> {
  const on = command === 'delete' ? 'has_table_privilege' : 'has_any_column_privilege'
  const { rows } = await db.query<{ may: boolean }>(`select ${on}('authenticated', $1::regclass, $2) as may`, [
    table,
    command,
  ])
  return rows[0]?.may ?? true
}

async function isTouched(table: string): Promise<boolean> {
  for (const command of ['select', 'insert', 'update', 'delete'] as const) if (await mayAny(table, command)) return true
  return false
}

/** Columns of the table that somebody signed in has the privilege to write. */
async function writable(table: string, privilege: 'insert' | 'update'): Promise<string[]> {
  const { rows } = await db.query<{ name: string }>(
    `select quote_ident(a.attname) as name from pg_attribute a
     where a.attrelid = $1::regclass and a.attnum > 0 and not a.attisdropped
       and has_column_privilege('authenticated', a.attrelid, a.attnum, $2) order by a.attnum`,
    [table, privilege],
  )
  return rows.map(({ name }) => name)
}

async function anyColumn(table: string): Promise<string> {
  const { rows } = await db.query<{ name: string }>(
    `select quote_ident(attname) as name from pg_attribute
     where attrelid = $1::regclass and attnum > 0 and attidentity = '' order by attnum limit 1`,
    [table],
  )
  return rows[0]?.name ?? ''
}
