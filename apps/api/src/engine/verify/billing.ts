/** I2 and I4: the ledger against what the provider itself says it charged. Only sandboxes tell. */
import type { Queryable } from '../../db/client.ts'
import { type Example, type Finding, finding, notChecked, type Scope } from './types.ts'

export type BillingSource = Readonly<{
  /** Of the sandbox, e.g. `http://127.0.0.1:4400`. */
  origin: string
  /** Nobody but this database uses the sandbox: a charge no call of ours knows is an error. False when left out. */
  exclusive?: boolean
}>

type Call = Readonly<{
  id: string
  run: number
  state: 'held' | 'settled' | 'released' | 'suspect'
  charge: number | null
  hold: number
  /** Settled as charged on a person's word, and no answer has proved it. */
  claimed: boolean
}>

/** A run as far as sandbox accounts go. */
type RunMoney = Readonly<{ number: number; capMicros: number; breachMicros: number; contradictedMicros: number }>

/** What the database says, as of one moment. */
export type LedgerSide = Readonly<{ calls: readonly Call[]; runs: readonly RunMoney[]; liveCalls: number }>

/** Calls of sandbox accounts, the runs they belong to, and how many calls went to live accounts. */
export async function readLedger(tx: Queryable, scope: Scope): Promise<LedgerSide> {
  const calls = await tx.query<Call>(
    `select c.id, r.number as run, c.state, c.charge_micros as charge, c.hold_micros as hold,
       c.state = 'settled' and c.overruled_at is null and p.call_id is not null as claimed
     from collection_calls c
     left join collection_call_resolutions p on p.call_id = c.id and p.how = 'person'
     join provider_accounts a on a.id = c.account_id and a.sandbox
     join collection_runs r on r.id = c.run_id
     where $1::uuid[] is null or c.run_id = any($1)`,
    [scope],
  )
  const runs = await tx.query<RunMoney>(
    `select number, cap_micros as "capMicros", breach_micros as "breachMicros",
       contradicted_micros as "contradictedMicros" from collection_runs
     where $1::uuid[] is null or id = any($1)`,
    [scope],
  )
  const live = await tx.query<{ count: number }>(
    `select count(*)::int as count from collection_calls c
     where ($1::uuid[] is null or run_id = any($1))
       and not exists (select from provider_accounts a where a.id = c.account_id and a.sandbox)`,
    [scope],
  )
  return { calls: calls.rows, runs: runs.rows, liveCalls: live.rows[0]?.count ?? 0 }
}

/**
 * I2 and I4. `ledger` was read before the bill is: what it says was answered has been billed. A held call is in flight
 * and not compared.
 */
export async function checkBilling(ledger: LedgerSide, source: BillingSource | undefined): Promise<[Finding, Finding]> {
  const neither = (reason: string): [Finding, Finding] => [notChecked('I2', reason), notChecked('I4', reason)]
  const { calls, liveCalls } = ledger
  if (calls.length === 0 && liveCalls > 0) return neither('The accounts are live: only a sandbox shows its bill.')
  if (!source) return neither('No sandbox was named whose bill could be compared.')
  let billed: Map<string, Billed>
  let unknown: Example[]
  try {
    billed = await lookUp(source.origin, calls)
    unknown = source.exclusive ? await findUnknown(source.origin, new Set(calls.map(({ id }) => id))) : []
  } catch (error) {
    return neither(`The sandbox at ${source.origin} does not show its bill: ${reasonOf(error)}`)
  }
  const partly = liveCalls > 0 ? `${liveCalls} calls to live accounts are not compared.` : undefined
  return [
    finding('I2', ledger.runs.length, compareRuns(ledger, billed), partly),
    finding('I4', calls.length, [...compareCalls(calls, billed), ...unknown], partly),
  ]
}

type Billed = { times: number; micros: number }
type Entry = Readonly<{ requestId: string | null; micros: number; seq: number; what: string }>

const LOOKUP_MOST = 20_000

async function lookUp(origin: string, calls: readonly Call[]): Promise<Map<string, Billed>> {
  const billed = new Map<string, Billed>()
  // The bill is asked for also when there is nothing to look up: whether it can be read is part of the answer.
  for (let from = 0; from === 0 || from < calls.length; from += LOOKUP_MOST) {
    const requestIds = calls.slice(from, from + LOOKUP_MOST).map(({ id }) => id)
    const { entries } = await ask(`${origin}/sandbox/billing/lookup`, JSON.stringify({ requestIds }))
    for (const { requestId, micros } of entries) {
      if (requestId === null) continue
      const known = billed.get(requestId)
      if (known) {
        known.times += 1
        known.micros += micros
      } else billed.set(requestId, { times: 1, micros })
    }
  }
  return billed
}

/** Charges for requests that are not in the ledger. */
async function findUnknown(origin: string, known: ReadonlySet<string>): Promise<Example[]> {
  const examples: Example[] = []
  for (let after = 0; ; ) {
    const { entries } = await ask(`${origin}/sandbox/billing?limit=10000&after=${after}`)
    const last = entries.at(-1)
    if (!last) return examples
    for (const entry of entries) {
      if (entry.requestId !== null && known.has(entry.requestId)) continue
      const ids = { request: entry.requestId ?? 'none', entry: String(entry.seq) }
      examples.push({ run: null, what: 'charge without a call', ids, expected: null, found: String(entry.micros) })
    }
    after = last.seq
  }
}

async function ask(url: string, body?: string): Promise<{ entries: readonly Entry[] }> {
  const response = await fetch(url, {
    ...(body === undefined ? {} : { method: 'POST', body }),
    signal: AbortSignal.timeout(30_000),
  })
  if (!response.ok) throw new Error(`status ${response.status}`)
  return (await response.json()) as { entries: readonly Entry[] }
}

function reasonOf(error: unknown): string {
  const cause = error instanceof Error ? (error.cause ?? error) : error
  return cause instanceof Error ? cause.message || String((cause as { code?: string }).code) : String(cause)
}

type RunSum = {
  /** For all its calls. */
  billed: number
  settled: number
  /** For its settled and released calls. */
  billedFor: number
  /** For its suspect calls, beyond what each holds, and for those a person settled, beyond what that person said. */
  suspectOver: number
}

/** Per run: billed at most the cap; and, of calls that are not in flight, exactly what is settled, or may be suspect. */
function compareRuns({ calls, runs }: LedgerSide, billed: ReadonlyMap<string, Billed>): Example[] {
  const sums = new Map<number, RunSum>()
  for (const call of calls) {
    const sum = sums.get(call.run) ?? { billed: 0, settled: 0, billedFor: 0, suspectOver: 0 }
    sums.set(call.run, sum)
    const micros = billed.get(call.id)?.micros ?? 0
    sum.billed += micros
    if (call.state === 'held') continue
    if (call.state === 'suspect') sum.suspectOver += Math.max(0, micros - call.hold)
    else if (call.claimed) sum.suspectOver += Math.max(0, micros - (call.charge ?? 0))
    else {
      sum.settled += call.charge ?? 0
      sum.billedFor += micros
    }
  }
  const examples: Example[] = []
  for (const { number, capMicros, breachMicros, contradictedMicros } of runs) {
    const sum = sums.get(number)
    if (!sum) continue
    const tell = (what: string, expected: string, found: number): void => {
      examples.push({ run: number, what, ids: {}, expected, found: String(found) })
    }
    const most = capMicros + breachMicros + contradictedMicros
    if (sum.billed > most) tell('billed', `at most ${most}`, sum.billed)
    if (sum.billedFor !== sum.settled) tell('billed for settled and released calls', String(sum.settled), sum.billedFor)
    if (sum.suspectOver > 0) tell('billed for suspect calls beyond their holds', '0', sum.suspectOver)
  }
  return examples
}

/**
 * Per call: settled is billed once and for the same (at most that when only a person says so), free is not billed, released
 * never, also not when a person says so, suspect at most its hold.
 */
function compareCalls(calls: readonly Call[], billed: ReadonlyMap<string, Billed>): Example[] {
  const examples: Example[] = []
  for (const call of calls) {
    if (call.state === 'held') continue
    const { times, micros } = billed.get(call.id) ?? { times: 0, micros: 0 }
    const expected = expectation(call)
    if (times <= 1 && expected.least <= micros && micros <= expected.most) continue
    examples.push({
      run: call.run,
      what: `bill of a ${call.state} call`,
      ids: { call: call.id },
      expected: expected.least === expected.most ? String(expected.most) : `at most ${expected.most}`,
      found: times > 1 ? `${micros} in ${times} charges` : String(micros),
    })
  }
  return examples
}

function expectation({ state, charge, hold, claimed }: Call): { least: number; most: number } {
  // A person's "charged" counts at most too much, which hides no spending; "not charged" has to be true.
  if (claimed) return { least: 0, most: charge ?? 0 }
  if (state === 'settled') return { least: charge ?? 0, most: charge ?? 0 }
  return { least: 0, most: state === 'suspect' ? hold : 0 }
}
