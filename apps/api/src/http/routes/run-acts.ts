/** Acts on a run: of the engine, for a member (ADR 0015), each answered with the run as it stands afterwards. */
import { z } from 'zod'
import type { Micros } from '../../base/money.ts'
import type { Db, Tx } from '../../db/client.ts'
import type { Role } from '../../db/session.ts'
import { listAccounts } from '../../engine/accounts.ts'
import { deleteRun, renameRun } from '../../engine/change-run.ts'
import { CAP_MOST } from '../../engine/create.ts'
import { resolveCalls } from '../../engine/resolve-calls.ts'
import { retryRun } from '../../engine/retry.ts'
import { cancelRun, changeCap, pauseRun, resumeRun } from '../../engine/run-acts.ts'
import { startRun } from '../../engine/start.ts'
import { nextCallPrice, viewRun } from '../../engine/view-run.ts'
import { RETRY_REASONS } from '../../runs/retries.ts'
import { runSnapshot } from '../../runs/snapshot.ts'
import { given } from '../given.ts'
import { type Route, route } from '../route.ts'
import { count, line, micros } from '../schemas/common.ts'
import { runDetail } from '../schemas/run.ts'
import { detailOf, noRun, runParams } from './runs.ts'

const answered = { 200: { description: 'The run as it stands now.', schema: runDetail } } as const

/** What an act is given, beside the run. */
type Act = Readonly<{ db: Db; tx: Tx; runId: string; userId: string }>

/** The run of this organisation as it stands, shown to the one who asks. Throws AppError `run.not_found`. */
async function shown(tx: Tx, runId: string, orgId: string, role: Role): Promise<z.output<typeof runDetail>> {
  const view = await viewRun(tx, runId)
  if (view?.run.orgId !== orgId) throw noRun()
  return detailOf(view, role)
}

type Plain = Readonly<{
  name: string
  operationId: string
  summary: string
  description: string
  refuses: Route['refuses']
  act: (act: Act) => Promise<unknown>
}>

/** An act that needs nothing but the run. */
function plainAct({ name, act, refuses = [], ...words }: Plain): Route {
  return route({
    method: 'POST',
    path: `/api/v1/orgs/{orgId}/runs/{runId}/${name}`,
    tag: 'Runs',
    ...words,
    access: 'admin',
    transaction: 'write',
    params: runParams,
    refuses,
    answers: answered,
  })(async ({ tx, acting, params: { runId }, orgId, member, role }) => {
    await act({ db: acting({ runId }), tx, runId, userId: member.userId })
    return { status: 200, body: await shown(tx, runId, orgId, role) }
  })
}

/** What the next call of the run costs, as options of `resumeRun`. */
async function priceOf(tx: Tx, runId: string): Promise<{ callPriceMicros?: Micros }> {
  const found = await runSnapshot(tx, runId)
  const price = found && nextCallPrice(found, await listAccounts(tx))
  return price === null ? {} : { callPriceMicros: price }
}

const resolveBody = z
  .strictObject({
    calls: z
      .union([z.literal('all'), z.array(z.uuid()).min(1).max(10_000)])
      .describe('Ids, or all whose answer cannot come any more.'),
    verdict: z.enum(['charged', 'not_charged']),
    amountMicros: z
      .int()
      .min(0)
      .max(CAP_MOST)
      .optional()
      .describe('Of charged: what each cost; what was held when left out.'),
    note: z.string().trim().min(1).max(1000).describe('How you know.'),
  })
  .refine((body) => body.verdict === 'charged' || body.amountMicros === undefined, {
    path: ['amountMicros'],
    message: 'belongs to charged',
  })
  .meta({ id: 'Resolution', description: 'What became of suspect calls, on a person’s word.' })

export const runActRoutes: readonly Route[] = [
  plainAct({
    name: 'start',
    operationId: 'startRun',
    summary: 'Start a run',
    description: 'A pending run runs at once when its organisation has a place free, and waits in line otherwise.',
    refuses: ['run.wrong_state', 'run.cap_below_estimate', 'month.cap_below_estimate', 'month.cap_reached'],
    act: ({ db, runId, userId }) => startRun(db, runId, userId),
  }),
  plainAct({
    name: 'pause',
    operationId: 'pauseRun',
    summary: 'Pause a run',
    description:
      'No new call from this moment on; calls in flight are finished and booked. A run that is not running is left as it is.',
    refuses: [],
    act: ({ db, runId, userId }) => pauseRun(db, runId, { reason: 'operator', actorId: userId }),
  }),
  plainAct({
    name: 'resume',
    operationId: 'resumeRun',
    summary: 'Let a paused run go on',
    description: 'Beyond its sample, when that is through.',
    refuses: ['run.wrong_state', 'run.cap_reached', 'month.cap_reached'],
    act: async ({ db, tx, runId, userId }) => resumeRun(db, runId, { actorId: userId, ...(await priceOf(tx, runId)) }),
  }),
  plainAct({
    name: 'cancel',
    operationId: 'cancelRun',
    summary: 'End a run for good',
    description: 'Calls in flight are finished and booked; what was collected is kept. A cancelled run cannot go on.',
    refuses: ['run.wrong_state'],
    act: ({ db, runId, userId }) => cancelRun(db, runId, userId),
  }),
  route({
    method: 'POST',
    path: '/api/v1/orgs/{orgId}/runs/{runId}/cap',
    operationId: 'changeRunCap',
    tag: 'Runs',
    summary: 'Raise or lower the cap',
    description: 'Never below what is spent, held and suspect. With `resume` a paused run goes on.',
    access: 'admin',
    transaction: 'write',
    params: runParams,
    body: z
      .strictObject({ capMicros: z.int().min(0).max(CAP_MOST), resume: z.boolean().optional() })
      .meta({ id: 'CapChange', description: 'The new cap, in all.' }),
    bodyExample: { capMicros: 30_000_000, resume: true },
    refuses: ['run.wrong_state', 'run.cap_too_low', 'run.cap_reached', 'month.cap_reached'],
    answers: answered,
  })(async ({ tx, acting, params: { runId }, body, orgId, member, role }) => {
    const db = acting({ runId })
    await changeCap(db, runId, body.capMicros as Micros, member.userId)
    if (body.resume) await resumeRun(db, runId, { actorId: member.userId, ...(await priceOf(tx, runId)) })
    return { status: 200, body: await shown(tx, runId, orgId, role) }
  }),
  route({
    method: 'POST',
    path: '/api/v1/orgs/{orgId}/runs/{runId}/retry',
    operationId: 'retryRun',
    tag: 'Runs',
    summary: 'Retry what was left unanswered',
    description:
      'A new run, linked to the ended one, that takes up its unanswered products and lists and pays for those alone.',
    access: 'admin',
    transaction: 'write',
    params: runParams,
    body: z
      .strictObject({
        reasons: z
          .array(z.enum(RETRY_REASONS))
          .min(1)
          .max(RETRY_REASONS.length)
          .optional()
          .describe('All but rejected when left out.'),
        capMicros: z
          .int()
          .min(0)
          .max(CAP_MOST)
          .optional()
          .describe('The most it is estimated to cost, or the setting when that is less, when left out.'),
        upToCap: z.boolean().optional(),
        name: line(200).optional(),
        start: z.boolean().optional(),
      })
      .meta({ id: 'NewRetry', description: 'What to take up.' }),
    bodyExample: { reasons: ['blocked', 'drift'], start: true },
    refuses: [
      'run.wrong_state',
      'run.retry_open',
      'run.nothing_to_retry',
      'run.cap_below_estimate',
      'month.cap_below_estimate',
      'month.cap_reached',
      'provider.no_price',
    ],
    answers: {
      201: { description: 'The new run.', schema: runDetail, headers: { location: 'Address of the new run.' } },
    },
  })(async ({ tx, acting, params: { runId }, body, orgId, member, role }) => {
    const db = acting({ runId })
    const { start, capMicros, ...rest } = body
    const actor = { orgId, orgName: '', userId: member.userId }
    const cap = given({ capMicros: capMicros as Micros | undefined })
    const made = await retryRun(db, { actor, runId, ...given(rest), ...cap })
    if (start) await startRun(acting({ runId: made.run.id }), made.run.id, member.userId)
    return {
      status: 201,
      body: await shown(tx, made.run.id, orgId, role),
      headers: { location: `/api/v1/orgs/${orgId}/runs/${made.run.id}` },
    }
  }),
  route({
    method: 'POST',
    path: '/api/v1/orgs/{orgId}/runs/{runId}/resolutions',
    operationId: 'resolveCalls',
    tag: 'Runs',
    summary: 'Settle suspect calls',
    description: 'On a person’s word, audited and final; never while an answer may still come.',
    access: 'admin',
    transaction: 'write',
    params: runParams,
    body: resolveBody,
    bodyExample: { calls: 'all', verdict: 'not_charged', note: 'Not on the invoice of November.' },
    refuses: ['call.unknown', 'call.wrong_state', 'call.resolved', 'call.may_answer', 'call.none_suspect'],
    answers: {
      200: {
        description: 'What was settled, and the run as it stands now.',
        schema: z
          .object({
            calls: count,
            chargedMicros: micros,
            breachMicros: micros.describe('Charged above what was held.'),
            left: count.describe('Suspect calls left alone because their answer may still come.'),
            run: runDetail,
          })
          .meta({ id: 'Resolved', description: 'What a resolution settled.' }),
      },
    },
  })(async ({ tx, acting, params: { runId }, body, orgId, member, role }) => {
    const { calls, verdict, amountMicros, note } = body
    const {
      calls: settled,
      chargedMicros,
      breachMicros,
      left,
    } = await resolveCalls(acting({ runId }), {
      runId,
      actorId: member.userId,
      calls,
      verdict:
        verdict === 'charged'
          ? { kind: 'charged', ...given({ amountMicros: amountMicros as Micros | undefined }) }
          : { kind: 'not_charged' },
      note,
    })
    return {
      status: 200,
      body: { calls: settled, chargedMicros, breachMicros, left, run: await shown(tx, runId, orgId, role) },
    }
  }),
  route({
    method: 'PATCH',
    path: '/api/v1/orgs/{orgId}/runs/{runId}',
    operationId: 'renameRun',
    tag: 'Runs',
    summary: 'Rename a run',
    description: 'Ended runs too. Audited.',
    access: 'admin',
    transaction: 'write',
    params: runParams,
    body: z.strictObject({ name: line(200) }).meta({ id: 'RunName', description: 'The new name.' }),
    bodyExample: { name: 'Kitchen, week 47' },
    answers: answered,
  })(async ({ tx, params: { runId }, body, orgId, member, role }) => {
    await shown(tx, runId, orgId, role)
    await renameRun(tx, runId, body.name, member)
    return { status: 200, body: await shown(tx, runId, orgId, role) }
  }),
  route({
    method: 'DELETE',
    path: '/api/v1/orgs/{orgId}/runs/{runId}',
    operationId: 'deleteRun',
    tag: 'Runs',
    summary: 'Delete a run',
    description:
      'With its items, calls and events. Sellers stay, and what it cost still counts for its month. Audited.',
    access: 'owner',
    transaction: 'write',
    params: runParams,
    refuses: ['run.wrong_state'],
    answers: { 204: { description: 'It is gone.' } },
  })(async ({ tx, params: { runId }, orgId, member }) => {
    const found = await runSnapshot(tx, runId)
    if (found?.orgId !== orgId) throw noRun()
    await deleteRun(tx, runId, member)
    return { status: 204 }
  }),
]
