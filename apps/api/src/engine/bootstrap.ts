/** The organisation and person a fresh installation works as, until people sign in. */
import { AppError } from '../base/errors.ts'
import { newId } from '../base/ids.ts'
import { type Db, type Queryable, withTxRetry } from '../db/client.ts'

export type Actor = Readonly<{ orgId: string; orgName: string; userId: string }>

const DEFAULT_ORG = 'My agency'
const OPERATOR_EMAIL = 'operator@gleaner.invalid'
/** Any number: processes that start together on an empty database take turns with it. */
const BOOTSTRAP_LOCK = 724_101

/**
 * The organisation to work for and the person to work as: the organisation named `orgName`, or the oldest one; its oldest
 * owner. On a database without any, makes an organisation and an operator first. Throws AppError `org.unknown`.
 */
export async function actorFor(db: Db, orgName?: string): Promise<Actor> {
  const found = await findActor(db, orgName)
  if (found) return found
  if (orgName !== undefined) {
    throw new AppError('org.unknown', `There is no organisation named "${orgName}".`, {
      hint: 'Leave --org out to use the first one.',
    })
  }
  return withTxRetry(db, async (tx) => {
    await tx.query('select pg_advisory_xact_lock($1)', [BOOTSTRAP_LOCK])
    const meanwhile = await findActor(tx)
    if (meanwhile) return meanwhile
    const { rows } = await tx.query<{ id: string }>('select id from orgs order by created_at limit 1')
    const orgId = rows[0]?.id ?? newId()
    const userId = newId()
    if (!rows[0]) await tx.query('insert into orgs (id, name) values ($1, $2)', [orgId, DEFAULT_ORG])
    await tx.query('insert into auth.users (id, email) values ($1, $2)', [userId, OPERATOR_EMAIL])
    await tx.query(`insert into org_members (org_id, user_id, role) values ($1, $2, 'owner')`, [orgId, userId])
    await tx.query('insert into collection_settings (org_id) values ($1) on conflict (org_id) do nothing', [orgId])
    const made = await findActor(tx)
    if (!made) throw new Error('the organisation was made and is not found')
    return made
  })
}

async function findActor(db: Queryable, orgName?: string): Promise<Actor | null> {
  const { rows } = await db.query<Actor>(
    `select o.id as "orgId", o.name as "orgName", m.user_id as "userId"
     from orgs o join org_members m on m.org_id = o.id and m.role in ('owner', 'admin')
     where $1::text is null or o.name = $1
     order by o.created_at, o.id, m.role = 'owner' desc, m.created_at limit 1`,
    [orgName ?? null],
  )
  return rows[0] ?? null
}
