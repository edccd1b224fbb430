/** Making people: by an invitation, or because an identity provider vouched for them. */
import { AppError } from '../base/errors.ts'
import { newId } from '../base/ids.ts'
import type { Queryable, Tx } from '../db/client.ts'
import { brokenConstraint } from '../db/errors.ts'
import type { Role } from '../db/session.ts'

export type NewPerson = Readonly<{ name: string; email: string; passwordHash: string }>

/**
 * Makes a person who signs in with e-mail and password. `tx` works as gleaner_auth. Throws AppError `auth.sign_in_first` when
 * the address has an account: the invited person proves that it is theirs by signing in.
 */
export async function makePerson(tx: Tx, person: NewPerson): Promise<string> {
  const id = newId()
  const email = person.email.toLowerCase()
  try {
    await tx.query('insert into gleaner_auth.users (id, name, email) values ($1, $2, $3)', [id, person.name, email])
  } catch (error) {
    if (!['users_email_unique', 'users_email_key'].includes(brokenConstraint(error) ?? '')) throw error
    throw new AppError('auth.sign_in_first', 'Sign in first, then open the link again.', { cause: error })
  }
  await tx.query(
    `insert into gleaner_auth.accounts (user_id, account_id, provider_id, password) values ($1::uuid, $1::uuid::text, 'credential', $2)`,
    [id, person.passwordHash],
  )
  return id
}

/**
 * Makes the person a member of the installation's first organisation, unless they are of one already. `tx` works as
 * service_role. Returns the organisation, or null when nothing was changed.
 */
export async function joinFirstOrg(tx: Queryable, userId: string, role: Role): Promise<string | null> {
  const { rows } = await tx.query<{ orgId: string }>(
    `insert into org_members (org_id, user_id, role)
     select o.id, $1, $2 from orgs o where not exists (select from org_members m where m.user_id = $1)
     order by o.created_at, o.id limit 1
     on conflict (org_id, user_id) do nothing returning org_id as "orgId"`,
    [userId, role],
  )
  return rows[0]?.orgId ?? null
}
