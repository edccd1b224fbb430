/** How often somebody may try a password, a code or a link. */
import { createHash } from 'node:crypto'
import { AppError } from '../base/errors.ts'
import type { Db } from '../db/client.ts'

/** So many tries in so long a time, counted by the database for all processes together. */
export type TryLimit = Readonly<{ name: string; most: number; windowMs: number }>

const MINUTE = 60_000

/**
 * One person at one address mistypes a few times; one address may hold an office; and a list of passwords against one
 * account from everywhere is slowed down, late enough that nobody is locked out by a stranger's few tries.
 */
export const LIMITS = {
  addressAndEmail: { name: 'address+email', most: 5, windowMs: 5 * MINUTE },
  address: { name: 'address', most: 30, windowMs: 15 * MINUTE },
  email: { name: 'email', most: 50, windowMs: 60 * MINUTE },
  /** Links, codes and keys of people who are not signed in yet. */
  link: { name: 'link', most: 20, windowMs: 15 * MINUTE },
  /** Passwords and codes asked for again of somebody who is signed in. */
  again: { name: 'again', most: 10, windowMs: 15 * MINUTE },
} as const satisfies Record<string, TryLimit>

export type Try = Readonly<{ limit: TryLimit; of: string }>

/**
 * Counts one try each, before it is made: of any number at the same moment no more than the limit get through. Throws
 * AppError `auth.too_many_tries`, whose details say for how many seconds. `db` works as gleaner_auth.
 */
export async function takeTry(db: Db, tries: readonly Try[]): Promise<void> {
  let waitMs = 0
  for (const { limit, of } of tries) {
    const { rows } = await db.query<{ count: number; leftMs: number }>(
      `insert into gleaner_auth.tries as t (key) values ($1)
       on conflict (key) do update set
         tries_count = case when t.since_at <= clock_timestamp() - make_interval(secs => $2) then 1 else t.tries_count + 1 end,
         since_at = case when t.since_at <= clock_timestamp() - make_interval(secs => $2) then clock_timestamp() else t.since_at end
       returning tries_count as count,
         ceil(extract(epoch from since_at + make_interval(secs => $2) - clock_timestamp()) * 1000)::int as "leftMs"`,
      [keyOf(limit, of), limit.windowMs / 1000],
    )
    const { count, leftMs } = rows[0] ?? { count: 0, leftMs: 0 }
    if (count > limit.most) waitMs = Math.max(waitMs, leftMs)
  }
  if (waitMs > 0) throw tooManyTries(Math.max(1, Math.ceil(waitMs / 1000)))
}

/** After a try that succeeded: it does not count, and those before it are forgiven. */
export async function forgive(db: Db, tries: readonly Try[]): Promise<void> {
  await db.query('delete from gleaner_auth.tries where key = any ($1)', [
    tries.map(({ limit, of }) => keyOf(limit, of)),
  ])
}

/** Addresses are not kept as they are: what was typed there may be anything. */
function keyOf(limit: TryLimit, of: string): string {
  return `${limit.name}:${createHash('sha256').update(of).digest('base64url')}`
}

/** The refusal; `seconds` is also what Retry-After says. */
export function tooManyTries(seconds: number): AppError {
  return new AppError('auth.too_many_tries', `Too many tries. Try again in ${inWords(seconds)}.`, {
    details: { retryAfterSeconds: seconds },
  })
}

function inWords(seconds: number): string {
  const [minutes, rest] = [Math.trunc(seconds / 60), seconds % 60]
  if (minutes === 0) return `${rest} s`
  return rest === 0 ? `${minutes} min` : `${minutes} min ${rest} s`
}

/** Removes what has no meaning any more: old tries, sessions and codes that have expired. Returns how many rows. */
export async function forgetExpired(db: Db): Promise<number> {
  const { rows } = await db.query<{ gone: number }>(
    `with t as (delete from gleaner_auth.tries where since_at < now() - interval '1 day' returning 1),
       s as (delete from gleaner_auth.sessions where expires_at < now() returning 1),
       v as (delete from gleaner_auth.verifications where expires_at < now() returning 1),
       o as (delete from gleaner_auth.owner_links where expires_at < now() - interval '30 days' returning 1)
     select ((select count(*) from t) + (select count(*) from s) + (select count(*) from v) + (select count(*) from o))::int as gone`,
  )
  return rows[0]?.gone ?? 0
}
