/** What checking an invariant finds. */
import type { Queryable } from '../../db/client.ts'

export type Invariant = 'I1' | 'I2' | 'I3' | 'I4' | 'I5' | 'I6' | 'I7' | 'I8' | 'I9' | 'I10'

/** One place where an invariant does not hold. */
export type Example = Readonly<{
  /** Number of the run, or null when it concerns no single run. */
  run: number | null
  /** The rule that does not hold, e.g. `spent_micros` or `seller without an item in the run`. */
  what: string
  /** Of the rows concerned. */
  ids: Readonly<Record<string, string>>
  expected: string | null
  found: string | null
}>

export type Finding = Readonly<{
  invariant: Invariant
  title: string
  state: 'ok' | 'broken' | 'not_checked'
  /** Rows looked at; see the title for of what. */
  checked: number
  /** Why it was not checked, or was checked only in part. */
  reason?: string
  /** The first 20 places where it does not hold. */
  examples: readonly Example[]
}>

export const TITLES: Readonly<Record<Invariant, string>> = {
  I1: 'No run, and no month of an organisation, has spent, held and suspect money beyond its cap',
  I2: 'No run was billed beyond its cap by its providers',
  I3: 'Every counter equals the count or sum over its rows',
  I4: 'Every charge a provider billed is one call in the ledger, for the same amount',
  I5: 'One result a product, one row a seller, every sighting accounted for',
  I6: 'Every run, product, category and call is in a state it may be in',
  I7: 'No search was made again after it had been answered',
  I8: 'Nothing stands still without a reason',
  I9: 'Nobody reads rows of an organisation that is not theirs',
  I10: 'Events are numbered without a gap and never go back in time',
}

/** What the checks are asked about: these runs, or all when null. Always the parameter $1. */
export type Scope = readonly string[] | null

/** Examples reported per invariant. */
export const EXAMPLES_MOST = 20

/**
 * Part of a check: a statement whose rows are `Example`s (columns run, what, ids, expected, found), at most 20, with the
 * scope as $1.
 */
export type Rule = string

/** Runs `rules` until 20 examples are found, and counts what was looked at with `counting` (one column `checked`). */
export async function checkRules(
  tx: Queryable,
  invariant: Invariant,
  scope: Scope,
  counting: string,
  rules: readonly Rule[],
): Promise<Finding> {
  const { rows } = await tx.query<{ checked: number }>(counting, [scope])
  const examples: Example[] = []
  for (const rule of rules) {
    if (examples.length >= EXAMPLES_MOST) break
    examples.push(...(await tx.query<Example>(rule, [scope])).rows)
  }
  return finding(invariant, rows[0]?.checked ?? 0, examples)
}

/** The finding for what was found. */
export function finding(invariant: Invariant, checked: number, examples: readonly Example[], reason?: string): Finding {
  return {
    invariant,
    title: TITLES[invariant],
    state: examples.length > 0 ? 'broken' : 'ok',
    checked,
    ...(reason === undefined ? {} : { reason }),
    examples: examples.slice(0, EXAMPLES_MOST),
  }
}

/** The finding for what could not be looked at. */
export function notChecked(invariant: Invariant, reason: string): Finding {
  return { invariant, title: TITLES[invariant], state: 'not_checked', checked: 0, reason, examples: [] }
}
