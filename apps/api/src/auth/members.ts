/** Organisations and their members. All of it happens as the member who asks, unless it says otherwise. */
import { AppError } from '../base/errors.ts'
import type { Queryable, Tx } from '../db/client.ts'
import { hasState, SQLSTATE } from '../db/errors.ts'
import { type Beside, keyset } from '../db/keyset.ts'
import type { Role } from '../db/session.ts'

export type OrgOfPerson = Readonly<{ id: string; name: string; role: Role; createdAt: Date }>

/** The organisations of the person, oldest first. `tx` acts as that person, with no organisation in its claims. */
export async function orgsOf(tx: Queryable, userId: string): Promise<readonly OrgOfPerson[]> {
  const { rows } = await tx.query<OrgOfPerson>(
    `select o.id, o.name, m.role, o.created_at as "createdAt"
     from orgs o join org_members m on m.org_id = o.id where m.user_id = $1 order by o.created_at, o.id`,
    [userId],
  )
  return rows
}

/** Makes an organisation whose owner is `userId`. `tx` works as service_role: nobody is a member of what is not there yet. */
export async function createOrg(
  tx: Tx,
  org: Readonly<{ id: string; name: string; userId: string }>,
): Promise<OrgOfPerson> {
  const { rows } = await tx.query<{ createdAt: Date }>(
    'insert into orgs (id, name) values ($1, $2) returning created_at as "createdAt"',
    [org.id, org.name],
  )
  await tx.query(`insert into org_members (org_id, user_id, role) values ($1, $2, 'owner')`, [org.id, org.userId])
  await tx.query('insert into collection_settings (org_id) values ($1) on conflict (org_id) do nothing', [org.id])
  return { id: org.id, name: org.name, role: 'owner', createdAt: rows[0]?.createdAt ?? new Date() }
}

/** Renames the organisation. Returns the name it had, or null when row level security let nothing be changed. */
export async function renameOrg(tx: Tx, orgId: string, name: string): Promise<string | null> {
  const { rows } = await tx.query<{ name: string }>('select name from orgs where id = $1', [orgId])
  const { rowCount } = await tx.query('update orgs set name = $2 where id = $1', [orgId, name])
  return rowCount === 0 ? null : (rows[0]?.name ?? null)
}

export type MemberRow = Readonly<{
  userId: string
  name: string | null
  email: string | null
  role: Role
  since: Date
  sortKey: string
}>

const MEMBERS = `select m.user_id as "userId", p.name, p.email, m.role, m.created_at as since,
    m.created_at::text as "sortKey"
  from org_members m left join gleaner_people($1) p on p.user_id = m.user_id where m.org_id = $1`

/** Members of the organisation, those who joined first first; one more than the limit. */
export async function listMembers(
  tx: Tx,
  orgId: string,
  page: Readonly<{ limit: number; beside: Beside | null }>,
): Promise<readonly MemberRow[]> {
  const values: unknown[] = [orgId, page.limit + 1]
  const { where, orderBy } = keyset(BY_AGE, { expression: 'm.user_id', type: 'uuid' }, page.beside, values)
  return (await tx.query<MemberRow>(`${MEMBERS} and ${where} order by ${orderBy} limit $2`, values)).rows
}

const BY_AGE = { expression: 'm.created_at', type: 'timestamptz', descending: false } as const

/** One member. Throws AppError `org.member_unknown`. */
export async function findMember(tx: Tx, orgId: string, userId: string): Promise<MemberRow> {
  const { rows } = await tx.query<MemberRow>(`${MEMBERS} and m.user_id = $2`, [orgId, userId])
  if (rows[0]) return rows[0]
  throw new AppError('org.member_unknown', 'There is no such member in this organisation.')
}

/**
 * Gives the member another role. Returns the member as it was; false where row level security let nothing be changed.
 * Throws AppError `org.last_owner` when nobody would be an owner, `org.member_unknown`.
 */
export async function changeRole(tx: Tx, orgId: string, userId: string, role: Role): Promise<MemberRow | false> {
  const before = await findMember(tx, orgId, userId)
  const { rowCount } = await keepingAnOwner(
    tx.query('update org_members set role = $3 where org_id = $1 and user_id = $2', [orgId, userId, role]),
  )
  return rowCount === 0 ? false : before
}

/**
 * Removes the member; their keys stop working with the next request. Returns and throws as `changeRole`.
 */
export async function removeMember(tx: Tx, orgId: string, userId: string): Promise<MemberRow | false> {
  const before = await findMember(tx, orgId, userId)
  const { rowCount } = await keepingAnOwner(
    tx.query('delete from org_members where org_id = $1 and user_id = $2', [orgId, userId]),
  )
  return rowCount === 0 ? false : before
}

async function keepingAnOwner<T>(statement: Promise<T>): Promise<T> {
  try {
    return await statement
  } catch (error) {
    if (!hasState(error, SQLSTATE.ownerNeeded)) throw error
    throw new AppError('org.last_owner', 'An organisation keeps at least one owner.', {
      hint: 'Make somebody else an owner first.',
      cause: error,
    })
  }
}

/** The owners of the organisation by name, for refusals: "Owners: Ana K., Ben T." */
export async function ownersOf(tx: Queryable, orgId: string): Promise<readonly string[]> {
  const { rows } = await tx.query<{ name: string }>(
    `select coalesce(p.name, p.email, 'an owner without a name') as name from org_members m
     left join gleaner_people($1) p on p.user_id = m.user_id
     where m.org_id = $1 and m.role = 'owner' order by m.created_at, m.user_id limit 5`,
    [orgId],
  )
  return rows.map(({ name }) => name)
}
