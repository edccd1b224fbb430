/** The role that may read and write how people sign in. */
import type { Queryable } from '../db/client.ts'

/** From here on `tx` works as the part of the program that signs people in: it sees accounts and nothing else. */
export async function asSignIn(tx: Queryable): Promise<void> {
  await tx.query(`select set_config('role', 'gleaner_auth', true)`)
}
