/** What the engine promises about money, said plainly: of calls, runs and months, and what a person may say of calls. */
import type { Call, Model, Run } from './model-types.ts'

const sum = (calls: readonly Call[], of: (call: Call) => number): number =>
  calls.reduce((total, call) => total + of(call), 0)
const held = (calls: readonly Call[], state: Call['state']): number =>
  sum(calls, (call) => (call.state === state ? call.hold : 0))
const settled = (calls: readonly Call[]): Call[] => calls.filter(({ state }) => state === 'settled')
const spent = (calls: readonly Call[]): number => sum(calls, ({ charge }) => charge ?? 0)

/** What providers charged above what was held. */
const breach = (calls: readonly Call[]): number =>
  sum(settled(calls), ({ charge, hold }) => Math.max(0, (charge ?? 0) - hold))
/** What answers proved, up to the hold, beyond what a person had left counted. */
const contradicted = (calls: readonly Call[]): number =>
  sum(settled(calls), ({ charge, hold, resolved }) =>
    resolved === null ? 0 : Math.max(0, Math.min(charge ?? 0, hold) - resolved),
  )
const usedBy = (calls: readonly Call[]): number => spent(calls) + held(calls, 'held') + held(calls, 'suspect')

/** What counts against the run's cap. */
export const used = (run: Run): number => usedBy(run.calls)

/** Calls of all runs of the organisation: all were made this month. */
const ofOrg = (model: Model, org: number): Call[] =>
  model.runs.filter((run) => run.org === org).flatMap(({ calls }) => calls)
/** What counts against the organisation's cap of the month. */
export const usedOfMonth = (model: Model, org: number): number => usedBy(ofOrg(model, org))

/** What the cap leaves; never below zero. */
export const leftOf = (run: Run): number => Math.max(0, run.cap - used(run))
/** What the month cap leaves; without end where there is none. */
export function leftOfMonth(model: Model, org: number): number {
  const cap = model.caps[org] ?? null
  return cap === null ? Infinity : Math.max(0, cap - usedOfMonth(model, org))
}

/** How many calls of that price the run may hold: the nearer cap says. */
export const fitting = (model: Model, run: Run, price: number): number =>
  Math.floor(Math.min(leftOf(run), leftOfMonth(model, run.org)) / price)

/** With which code this month cap is refused: it may not go below what is used. */
export function monthCapRefusal(model: Model, org: number, micros: number | null): string | null {
  const same = micros === model.caps[org]
  return micros === null || same || micros >= usedOfMonth(model, org) ? null : 'month.cap_too_low'
}

type Verdict = Readonly<{ kind: 'charged'; amountMicros?: number }> | Readonly<{ kind: 'not_charged' }>

/** The answer to a suspect call may still come: its lease has not run out, or its worker lives and has not told. */
export const mayAnswer = (model: Model, call: Call): boolean =>
  call.state === 'suspect' && !call.over && (!call.expired || !model.dead.has(call.worker))

/** With which code it is refused to say what became of this call. */
export function resolveRefusal(model: Model, call: Call): string | null {
  if (call.resolved !== null) return 'call.resolved'
  if (call.state !== 'suspect') return 'call.wrong_state'
  return mayAnswer(model, call) ? 'call.may_answer' : null
}

/** The same of all suspect calls of a run: those that may still answer are left alone. */
export function resolveAllRefusal(model: Model, run: Run): string | null {
  const suspect = run.calls.filter(({ state }) => state === 'suspect')
  if (suspect.length === 0) return 'call.none_suspect'
  return suspect.every((call) => mayAnswer(model, call)) ? 'call.may_answer' : null
}

/** A person says what became of a suspect call. */
export function resolve(call: Call, verdict: Verdict): void {
  const charge = verdict.kind === 'charged' ? (verdict.amountMicros ?? call.hold) : null
  call.state = charge === null ? 'released' : 'settled'
  call.charge = charge
  call.resolved = Math.min(charge ?? 0, call.hold)
}

/** An answer to a call a person has settled: what it proves to be dearer is booked, once; nothing else. */
export function overrule(call: Call, { money, charge }: Readonly<{ money: Call['state']; charge: number }>): void {
  if (call.resolved === null || call.overruled || money !== 'settled' || charge <= (call.charge ?? 0)) return
  Object.assign(call, { state: 'settled', charge, overruled: true })
}

/** The money columns of a run, or of a month. */
export function expectedMoney(calls: readonly Call[]): Record<string, number> {
  const count = (state: Call['state']): number => calls.filter((call) => call.state === state).length
  return {
    spentMicros: spent(calls),
    heldMicros: held(calls, 'held'),
    suspectMicros: held(calls, 'suspect'),
    breachMicros: breach(calls),
    contradictedMicros: contradicted(calls),
    heldCalls: count('held'),
    settledCalls: count('settled'),
    releasedCalls: count('released'),
    suspectCalls: count('suspect'),
  }
}

/** What the month's row of the organisation has to say. */
export function expectedMonth(model: Model, org: number): Record<string, number | null> {
  const cap = model.caps[org] ?? null
  const leftMicros = cap === null ? null : cap - usedOfMonth(model, org)
  return { capMicros: cap, leftMicros, ...expectedMoney(ofOrg(model, org)) }
}
