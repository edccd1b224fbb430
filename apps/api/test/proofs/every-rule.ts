/**
 * Everything `verify` checks over the database, after every single step: its own statements, prepared once on a connection
 * and sent together, so that a step costs one round trip and no planning.
 */
import { inspect } from 'node:util'
import type { Db, Queryable } from '../../src/db/client.ts'
import { checkCap, checkCounters } from '../../src/engine/verify/money.ts'
import { checkRepeats, checkResults } from '../../src/engine/verify/results.ts'
import { checkEvents, checkProgress, checkStates } from '../../src/engine/verify/states.ts'
import type { Example } from '../../src/engine/verify/types.ts'

export type Look = Readonly<{
  /**
   * Reads `more`, checks every rule for these runs, and reads as `member` what it was prepared with: all of one moment.
   * Returns the rows of each of `more` and of the last. Throws when a rule is broken.
   */
  at: (runIds: readonly string[], more: readonly string[], member: string) => Promise<readonly (readonly object[])[]>
  rules: number
  close: () => void
}>

/** What the checks of `verify` ask, read from the checks themselves: a rule that is added there is checked here too. */
async function readRules(): Promise<string[]> {
  const texts: string[] = []
  const listen = {
    query: async (text: string) => {
      texts.push(text)
      // As if something were alive: progress is checked only where somebody could make it.
      return { rows: [], rowCount: 1 }
    },
  } as unknown as Queryable
  for (const check of [checkCap, checkCounters, checkResults, checkStates, checkRepeats, checkProgress, checkEvents]) {
    await check(listen, ['00000000-0000-0000-0000-000000000000'])
  }
  const rules = texts.filter((text) => /\bas found\b/.test(text))
  if (rules.length < 15) throw new Error(`only ${rules.length} rules were found in verify`)
  return rules
}

/** With a scope that is never null the planner need not think of all runs; the meaning is the same. */
function scoped(rule: string): string {
  return rule.replaceAll(/\$1::uuid\[\] is null\s+or\s/g, '').replaceAll('$1::uuid[] is null', 'false')
}

/** A connection of its own with every rule prepared, and the statement `asMember` to be asked by a signed-in person. */
export async function prepareRules(db: Db, asMember: string): Promise<Look> {
  const rules = await readRules()
  const client = await db.pool.connect()
  await client.query('set plan_cache_mode = force_generic_plan')
  for (const [index, rule] of rules.entries()) {
    await client.query(`prepare rule_${index} (uuid[]) as ${scoped(rule)}`)
  }
  await client.query(`prepare as_member as ${asMember}`)
  return {
    rules: rules.length,
    at: async (runIds, more, member) => {
      const scope = `'{${runIds.join(',')}}'`
      const asked = rules.map((_, index) => `execute rule_${index} (${scope})`)
      const claims = JSON.stringify({ sub: member, role: 'authenticated' })
      const become = `select set_config('role', 'authenticated', true), set_config('request.jwt.claims', '${claims}', true)`
      const begin = 'begin isolation level repeatable read'
      const text = [begin, ...more, ...asked, become, 'execute as_member', 'commit'].join('; ')
      const answers = (await client.query(text).catch(async (error: unknown) => {
        await client.query('rollback')
        throw error
      })) as unknown as { rows: object[] }[]
      const rows = answers.map((answer) => answer.rows)
      const broken = rows.slice(1 + more.length, 1 + more.length + asked.length).flat() as Example[]
      if (broken.length > 0) throw new Error(`broken: ${inspect(broken, { depth: 4 })}`)
      return [...rows.slice(1, 1 + more.length), rows.at(-2) ?? []]
    },
    close: () => client.release(true),
  }
}
