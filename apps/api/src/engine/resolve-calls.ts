/**
 * Resolve: a person says what became of suspect calls. An audited act, once per call; it works on ended runs too, and
 * never on a call whose answer may still come.
 */
import { AppError } from '../base/errors.ts'
import { addMicros, formatDollars, type Micros, ZERO } from '../base/money.ts'
import { type Db, type Tx, withTxRetry } from '../db/client.ts'
import { DEAD_AFTER_MS } from '../ledger/rescue.ts'
import { type CallToResolve, insertResolutions, lockCallsToResolve } from '../ledger/resolve.ts'
import { lockRun, type RunSnapshot, runSnapshot } from '../runs/snapshot.ts'
import { tell } from './audit-run.ts'

export type ResolveInput = Readonly<{
  runId: string
  actorId: string
  /** These calls, or all suspect ones of the run whose answer cannot come any more. */
  calls: readonly string[] | 'all'
  /** Charged: what was held, or `amountMicros` each. */
  verdict: Readonly<{ kind: 'charged'; amountMicros?: Micros }> | Readonly<{ kind: 'not_charged' }>
  /** Why: how the person knows. */
  note: string
  deadAfterMs?: number
}>

export type Resolved = Readonly<{
  run: RunSnapshot
  calls: number
  /** Spent now, that was suspect before. */
  chargedMicros: Micros
  /** Charged above what was held: a breach of the price list. */
  breachMicros: Micros
  /** Suspect calls left alone because their answer may still come. */
  left: number
}>

const NOTE_MOST = 1_000

/**
 * Settles or releases suspect calls on a person's word. Throws AppError `input.invalid` without a note; `call.unknown`,
 * `call.resolved` (who did it stands in the message), `call.wrong_state`, `call.may_answer` for a call named that cannot be
 * resolved, and then none is; `call.none_suspect` when there is none.
 */
export async function resolveCalls(db: Db, input: ResolveInput): Promise<Resolved> {
  const note = input.note.trim()
  if (note === '' || note.length > NOTE_MOST) {
    throw new AppError('input.invalid', 'A resolution needs a note that says how you know.', {
      hint: `Give --note, at most ${NOTE_MOST} characters: "invoice of November, line 12".`,
    })
  }
  return withTxRetry(db, (tx) => resolve(tx, input, note))
}

async function resolve(tx: Tx, input: ResolveInput, note: string): Promise<Resolved> {
  const { runId, actorId, verdict } = input
  const before = await runSnapshot(tx, runId)
  if (!before) throw new AppError('run.not_found', `There is no run ${runId}.`)
  // Calls before the run's row, as bookings do, or the two could wait for each other.
  const ids = input.calls === 'all' ? null : [...new Set(input.calls)]
  const found = await lockCallsToResolve(tx, runId, ids, input.deadAfterMs ?? DEAD_AFTER_MS)
  if (ids) checkNamed(ids, found, before)
  const calls = found.filter((call) => !call.mayAnswer)
  if (calls.length === 0) throw nothingToResolve(before, found.length)
  const amountOf = (call: CallToResolve): Micros | null =>
    verdict.kind === 'charged' ? (verdict.amountMicros ?? call.holdMicros) : null
  const locked = (await lockRun(tx, runId)) ?? before
  await insertResolutions(
    tx,
    calls.map((call) => ({ callId: call.id, how: 'person', actorId, chargeMicros: amountOf(call), note })),
  )
  const charged = calls.reduce<Micros>((sum, call) => addMicros(sum, amountOf(call) ?? ZERO), ZERO)
  const data = { how: 'person', verdict: verdict.kind, calls: calls.length, charged_micros: charged }
  const run = await tell(tx, { type: 'calls.resolved', actorId, data }, locked, note)
  const breachMicros = (run.breachMicros - locked.breachMicros) as Micros
  return { run, calls: calls.length, chargedMicros: charged, breachMicros, left: found.length - calls.length }
}

function checkNamed(ids: readonly string[], found: readonly CallToResolve[], run: RunSnapshot): void {
  const known = new Map(found.map((call) => [call.id, call]))
  for (const id of ids) {
    const call = known.get(id)
    if (!call) {
      throw new AppError('call.unknown', `Run ${run.number} has no call ${id}.`, {
        hint: `gleaner calls ${run.number} --state suspect lists those that can be resolved.`,
      })
    }
    if (call.resolvedBy !== null) throw resolvedBefore(call)
    if (call.state !== 'suspect') {
      throw new AppError('call.wrong_state', `Call ${id} is ${call.state}; only a suspect call can be resolved.`, {
        hint: call.state === 'held' ? 'It is in flight, and will be booked.' : 'Its answer has told what it cost.',
      })
    }
    if (call.mayAnswer) throw mayAnswer(`Call ${id} may`, run)
  }
}

function resolvedBefore({ id, resolvedBy, resolvedAt, verdict, state }: CallToResolve): AppError {
  const who = resolvedBy?.endsWith('@gleaner.invalid') ? 'the operator' : resolvedBy
  const as = verdict === 'charged' ? 'charged' : 'not charged'
  return new AppError('call.resolved', `Call ${id} was settled as ${as} by ${who} on ${resolvedAt?.toISOString()}.`, {
    hint: `A resolution is final. The call is ${state}.`,
  })
}

function nothingToResolve(run: RunSnapshot, waiting: number): AppError {
  if (waiting > 0) return mayAnswer(`${waiting === 1 ? 'The suspect call' : `All ${waiting} suspect calls`} may`, run)
  return new AppError('call.none_suspect', `No call of run ${run.number} is suspect.`, {
    hint:
      run.heldMicros > 0
        ? `${formatDollars(run.heldMicros)} is held by calls in flight, which will be booked.`
        : 'Nothing is to be done.',
  })
}

function mayAnswer(what: string, run: RunSnapshot): AppError {
  return new AppError(
    'call.may_answer',
    `${what} still be answered: the time for it has not run out, or its worker is alive.`,
    {
      hint: `Wait a minute, or stop that worker, then try again. See gleaner calls ${run.number} --state suspect.`,
    },
  )
}
