/** Invitations: one-time links by which somebody becomes a member. */
import { AppError } from '../base/errors.ts'
import type { Queryable, Tx } from '../db/client.ts'
import { brokenConstraint } from '../db/errors.ts'
import { type Beside, keyset } from '../db/keyset.ts'
import type { Role } from '../db/session.ts'
import { hashSecret, newToken } from './secrets.ts'

export type InvitationState = 'open' | 'accepted' | 'revoked' | 'expired'

export type InvitationRow = Readonly<{
  id: string
  email: string
  role: Role
  state: InvitationState
  invitedBy: string
  createdAt: Date
  expiresAt: Date
  acceptedAt: Date | null
  acceptedBy: string | null
  revokedAt: Date | null
  /** When it was made, to the microsecond, as text. */
  sortKey: string
}>

const STATE = `case when accepted_at is not null then 'accepted' when revoked_at is not null then 'revoked'
  when expires_at <= now() then 'expired' else 'open' end as state`
const COLUMNS = `id, email, role, ${STATE}, invited_by as "invitedBy", created_at as "createdAt", expires_at as "expiresAt",
  accepted_at as "acceptedAt", accepted_by as "acceptedBy", revoked_at as "revokedAt", created_at::text as "sortKey"`

export type Wish = Readonly<{ orgId: string; email: string; role: Role; userId: string }>

/**
 * Invites the address, for seven days; the token of the link is returned for the only time. An expired invitation of the
 * same address makes room. Throws AppError `org.invited_already`, `org.already_member`; fails as row level security says for
 * who may not give this role.
 */
export async function invite(tx: Tx, wish: Wish): Promise<Readonly<{ token: string; row: InvitationRow }>> {
  const email = wish.email.toLowerCase()
  const { rowCount } = await tx.query('select from gleaner_people($1) where lower(email) = $2', [wish.orgId, email])
  if (rowCount) throw new AppError('org.already_member', `${email} is a member already.`)
  await tx.query(
    `update org_invitations set revoked_at = clock_timestamp(), revoked_by = $3
     where org_id = $1 and email = $2 and accepted_at is null and revoked_at is null and expires_at <= now()`,
    [wish.orgId, email, wish.userId],
  )
  const token = newToken()
  try {
    const { rows } = await tx.query<InvitationRow>(
      `insert into org_invitations (org_id, email, role, token_hash, invited_by) values ($1, $2, $3, $4, $5)
       returning ${COLUMNS}`,
      [wish.orgId, email, wish.role, hashSecret(token), wish.userId],
    )
    return { token, row: rows[0] as InvitationRow }
  } catch (error) {
    if (brokenConstraint(error) !== 'org_invitations_one_open') throw error
    throw new AppError('org.invited_already', `${email} is invited already.`, {
      hint: 'Revoke that invitation first to make a new link.',
      cause: error,
    })
  }
}

/** Invitations of the organisation, newest first, ended ones too; one more than the limit. */
export async function listInvitations(
  tx: Tx,
  orgId: string,
  page: Readonly<{ limit: number; beside: Beside | null }>,
): Promise<readonly InvitationRow[]> {
  const values: unknown[] = [orgId, page.limit + 1]
  const { where, orderBy } = keyset(BY_AGE, { expression: 'id', type: 'uuid' }, page.beside, values)
  const text = `select ${COLUMNS} from org_invitations where org_id = $1 and ${where} order by ${orderBy} limit $2`
  return (await tx.query<InvitationRow>(text, values)).rows
}

const BY_AGE = { expression: 'created_at', type: 'timestamptz', descending: true } as const

/**
 * Revokes the invitation: its link opens nothing any more. One that has ended stays as it is. `now` says whether this call
 * did it. Throws AppError `org.invitation_unknown`.
 */
export async function revokeInvitation(
  tx: Tx,
  ask: Readonly<{ orgId: string; id: string; userId: string }>,
): Promise<Readonly<{ row: InvitationRow; now: boolean }>> {
  const { rows: revoked } = await tx.query<InvitationRow>(
    `update org_invitations set revoked_at = clock_timestamp(), revoked_by = $3
     where id = $1 and org_id = $2 and accepted_at is null and revoked_at is null returning ${COLUMNS}`,
    [ask.id, ask.orgId, ask.userId],
  )
  if (revoked[0]) return { row: revoked[0], now: true }
  const { rows } = await tx.query<InvitationRow>(
    `select ${COLUMNS} from org_invitations where id = $1 and org_id = $2`,
    [ask.id, ask.orgId],
  )
  if (rows[0]) return { row: rows[0], now: false }
  throw new AppError('org.invitation_unknown', 'There is no such invitation in this organisation.')
}

export type OpenInvitation = Readonly<{
  id: string
  orgId: string
  orgName: string
  email: string
  role: Role
  expiresAt: Date
}>

/** The open invitation a link leads to. `db` works as service_role. Throws AppError `auth.link_invalid`. */
export async function lookAtInvitation(db: Queryable, token: string): Promise<OpenInvitation> {
  const { rows } = await db.query<OpenInvitation & { state: InvitationState; acceptedAt: Date | null }>(
    `select i.id, i.org_id as "orgId", o.name as "orgName", i.email, i.role, i.expires_at as "expiresAt",
       i.accepted_at as "acceptedAt", ${STATE}
     from org_invitations i join orgs o on o.id = i.org_id where i.token_hash = $1`,
    [hashSecret(token)],
  )
  const found = rows[0]
  if (!found) throw deadLink('This invitation does not exist.')
  if (found.state === 'accepted') throw deadLink('This invitation was used.')
  if (found.state === 'revoked') throw deadLink('This invitation was revoked.')
  if (found.state === 'expired') throw deadLink('This invitation has expired.')
  const { id, orgId, orgName, email, role, expiresAt } = found
  return { id, orgId, orgName, email, role, expiresAt }
}

/**
 * Makes `userId` a member by the invitation. It is used up with `tx`, which works as service_role: of several who open the
 * same link at the same moment one gets in. A member keeps the role they have. Returns whether they joined by this.
 * Throws AppError `auth.link_invalid`.
 */
export async function acceptInvitation(
  tx: Tx,
  token: string,
  userId: string,
): Promise<OpenInvitation & { joined: boolean }> {
  const { rows } = await tx.query<Omit<OpenInvitation, 'orgName'>>(
    `update org_invitations set accepted_at = clock_timestamp(), accepted_by = $2
     where token_hash = $1 and accepted_at is null and revoked_at is null and expires_at > now()
     returning id, org_id as "orgId", email, role, expires_at as "expiresAt"`,
    [hashSecret(token), userId],
  )
  const used = rows[0]
  if (!used) throw deadLink('This invitation was used, revoked, or has expired.')
  const { rowCount } = await tx.query(
    'insert into org_members (org_id, user_id, role) values ($1, $2, $3) on conflict (org_id, user_id) do nothing',
    [used.orgId, userId, used.role],
  )
  const { rows: orgs } = await tx.query<{ name: string }>('select name from orgs where id = $1', [used.orgId])
  return { ...used, orgName: orgs[0]?.name ?? '', joined: rowCount === 1 }
}

function deadLink(message: string): AppError {
  return new AppError('auth.link_invalid', message, { hint: 'Ask who invited you for a new link.' })
}
