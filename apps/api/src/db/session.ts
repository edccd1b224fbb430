/** On whose behalf a transaction runs. Both hold until its end and then vanish with it. */
import type { Tx } from './client.ts'

export type Member = Readonly<{
  /** auth.users(id) */
  userId: string
  /** The organisation the person is working in. Says nothing about membership: policies look that up. */
  orgId?: string
}>

/** From here to its end, `tx` sees and changes only what row level security lets this person see and change. */
export async function asMember(tx: Tx, member: Member): Promise<void> {
  const claims = {
    sub: member.userId,
    role: 'authenticated',
    ...(member.orgId === undefined ? {} : { org_id: member.orgId }),
  }
  await tx.query(`select set_config('role', 'authenticated', true), set_config('request.jwt.claims', $1, true)`, [
    JSON.stringify(claims),
  ])
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
