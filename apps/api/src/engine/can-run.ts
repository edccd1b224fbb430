/**
 * What somebody may do with a run now, and why not. Advice for a screen: whoever acts is refused by the act itself, for the
 * same reasons. Pure.
 */
import type { ErrorCode } from '../base/errors.ts'
import type { Role } from '../db/session.ts'
import { leftOfMonth } from '../ledger/month.ts'
import { leftMicros, TERMINAL } from '../runs/snapshot.ts'
import type { RunView } from './view-run.ts'

export const RUN_ACTS = [
  'start',
  'pause',
  'resume',
  'cancel',
  'change_cap',
  'retry',
  'resolve',
  'rename',
  'delete',
] as const
export type RunAct = (typeof RUN_ACTS)[number]

export type Ability = Readonly<
  { may: true; code: null; reason: null } | { may: false; code: ErrorCode; reason: string }
>

const YES: Ability = { may: true, code: null, reason: null }
const no = (code: ErrorCode, reason: string): Ability => ({ may: false, code, reason })
const wrong = (reason: string): Ability => no('run.wrong_state', reason)

const RANK: Readonly<Record<Role, number>> = { viewer: 0, analyst: 1, admin: 2, owner: 3 }

/** Each act with whether this role may do it now. */
export function canRun(view: RunView, role: Role): Record<RunAct, Ability> {
  const abilities = RUN_ACTS.map((act): [RunAct, Ability] => {
    const needs: Role = act === 'delete' ? 'owner' : 'admin'
    if (RANK[role] < RANK[needs]) return [act, no('auth.role_too_low', `This needs the role ${needs}.`)]
    return [act, POSSIBLE[act](view)]
  })
  return Object.fromEntries(abilities) as Record<RunAct, Ability>
}

const POSSIBLE: Readonly<Record<RunAct, (view: RunView) => Ability>> = {
  start: ({ run, line }) => {
    if (run.status !== 'pending') return wrong(`The run is ${run.status}.`)
    return line ? wrong('The run waits in line already.') : YES
  },
  pause: ({ run }) => (run.status === 'running' ? YES : wrong(`The run is ${run.status}.`)),
  resume: ({ run, callPriceMicros, month }) => {
    if (run.status !== 'paused') return wrong(`The run is ${run.status}.`)
    const price = callPriceMicros ?? 0
    if (leftMicros(run) < price) return no('run.cap_reached', 'The cap leaves less than one call. Raise it first.')
    const left = leftOfMonth(month)
    if (left !== null && left < price) return no('month.cap_reached', 'The month cap leaves less than one call.')
    return YES
  },
  cancel: ({ run }) => (TERMINAL.has(run.status) ? wrong(`The run is ${run.status}: that is final.`) : YES),
  change_cap: ({ run }) => (TERMINAL.has(run.status) ? wrong(`The run is ${run.status}: that is final.`) : YES),
  retry: ({ run, openRetry: open }) => {
    if (!TERMINAL.has(run.status)) return wrong('Only a run that has ended can be retried.')
    if (run.heldCalls > 0) return wrong(`${run.heldCalls} calls are still in flight.`)
    if (open) return no('run.retry_open', `Run ${open.number} retries these products and has not ended.`)
    const left = run.failedItems + run.pendingItems + run.processingItems + run.failedCategories + run.openCategories
    return left > 0 ? YES : no('run.nothing_to_retry', 'Everything asked for was answered.')
  },
  resolve: ({ run }) => (run.suspectCalls > 0 ? YES : no('call.none_suspect', 'No call is suspect.')),
  rename: () => YES,
  delete: ({ run }) => {
    if (run.status === 'running' || run.status === 'paused') return wrong(`The run is ${run.status}: cancel it first.`)
    const open = run.heldCalls + run.suspectCalls
    return open > 0 ? wrong(`The fate of ${open} calls is not known yet.`) : YES
  },
}
