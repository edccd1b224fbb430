/** On whose behalf a transaction runs. All of it holds until its end and then vanishes with it. */
import type { Queryable, Tx } from './client.ts'

export type Role = 'owner' | 'admin' | 'analyst' | 'viewer'

export type Member = Readonly<{
  /** auth.users(id) */
  userId: string
  /** The organisation the person is working in: nothing of another one is seen. Says nothing about membership, policies look that up. */
  orgId?: string
  /** With which API key, when it is one, and the role it does not go beyond. */
  key?: Readonly<{ id: string; maxRole: Role }>
}>

/** From here to its end, `tx` sees and changes only what row level security lets this person see and change. */
export async function asMember(tx: Tx, member: Member): Promise<void> {
  const claims = {
    sub: member.userId,
    role: 'authenticated',
    ...(member.orgId === undefined ? {} : { org_id: member.orgId }),
    ...(member.key === undefined ? {} : { key_id: member.key.id, max_role: member.key.maxRole }),
  }
  await tx.query(`select set_config('role', 'authenticated', true), set_config('request.jwt.claims', $1, true)`, [
    JSON.stringify(claims),
  ])
}

/**
 * Takes on the role of a worker, or gives it back, within a member's transaction: the claims stay, so that what is
 * written down says who asked for it.
 */
export async function setRole(tx: Queryable, role: 'authenticated' | 'service_role'): Promise<void> {
  await tx.query(`select set_config('role', $1, true)`, [role])
}

/** From here to its end, `tx` runs as a worker does: every row of the collection, nothing of the platform's own. */
export async function asService(tx: Tx): Promise<void> {
  await tx.query(
    `select set_config('role', 'service_role', true), set_config('request.jwt.claims', '{"role":"service_role"}', true)`,
  )
}

/** From here to its end, `tx` runs as somebody who is not signed in. */
export async function asAnonymous(tx: Tx): Promise<void> {
  await tx.query(`select set_config('role', 'anon', true), set_config('request.jwt.claims', '{"role":"anon"}', true)`)
}
