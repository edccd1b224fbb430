/** Runs: the list, one, and creating one. Acts on a run are in run-acts.ts, its parts in run-parts.ts. */
import { z } from 'zod'
import { AppError } from '../../base/errors.ts'
import type { Role } from '../../db/session.ts'
import { canRun } from '../../engine/can-run.ts'
import { createRun } from '../../engine/create.ts'
import { planRetry } from '../../engine/retry.ts'
import { startRun } from '../../engine/start.ts'
import { type RunView, viewRun } from '../../engine/view-run.ts'
import { forecastCost, standingOf } from '../../runs/forecast.ts'
import { RUN_SORTS, type RunSort, runPage } from '../../runs/run-page.ts'
import { runSnapshot, TERMINAL } from '../../runs/snapshot.ts'
import { given } from '../given.ts'
import { type Order, pageOf, pageQuery, readCursor, toPage } from '../paging.ts'
import { type Route, route } from '../route.ts'
import { line, moment } from '../schemas/common.ts'
import { RUN_STATUSES, run, runDetail, runOutlook } from '../schemas/run.ts'
import { estimateView, monthView, runView } from '../views.ts'
import { planShape, readPlan } from './collect.ts'

export const runParams = z.object({ runId: z.uuid().describe('The run.') })

const SORTS = Object.keys(RUN_SORTS).flatMap((name) => [name, `-${name}`]) as [string, ...string[]]

/** One value or several of a repeated parameter, as a list. */
export const several = <T extends z.ZodType>(value: T, most = 20) =>
  z
    .preprocess(
      (given) => (given === undefined || Array.isArray(given) ? given : [given]),
      z.array(value).min(1).max(most),
    )
    .optional()

const listQuery = z.strictObject({
  ...pageQuery,
  status: several(z.enum(RUN_STATUSES)).meta({ description: 'Only runs in one of these states.' }),
  search: line(200).optional().meta({ description: 'Part of the name, in any case.' }),
  category: z.string().min(1).max(200).optional().meta({ description: 'Only runs that collect this category.' }),
  createdBy: z.uuid().optional().meta({ description: 'Only runs this person created.' }),
  from: moment.optional().meta({ description: 'Started (or else created) not before this moment.' }),
  to: moment.optional().meta({ description: 'Started (or else created) before this moment.' }),
  needsYou: z
    .enum(['true', 'false'])
    .optional()
    .meta({ description: 'Only runs a person has to do something about, or only others.' }),
  sort: z.enum(SORTS).default('-number').meta({ description: 'Field to sort by, `-` for descending.' }),
})

const createBody = z
  .strictObject({
    ...planShape,
    name: line(200).optional().describe('Generated from what is collected when left out.'),
    sample: z.boolean().optional().describe('Search ten products first, and pause then.'),
    start: z.boolean().optional().describe('And start it: it runs at once, or waits in line for a place.'),
  })
  .meta({ id: 'NewRun', description: 'What is to be collected, and for how much at most.' })

/** The run as it is shown. */
export function detailOf(view: RunView, role: Role): z.output<typeof runDetail> {
  const { failures, openRetry: _, at, estimate, lanes, retries, ...rest } = view
  const outcomes = new Map<
    string,
    { outcome: string; count: number; reasons: { code: string; message: string; count: number }[] }
  >()
  for (const { outcome, code, message, count } of failures) {
    const group = outcomes.get(outcome) ?? { outcome, count: 0, reasons: [] }
    group.count += count
    group.reasons.push({ code, message, count })
    outcomes.set(outcome, group)
  }
  return {
    ...rest,
    run: runView(view.run),
    asOf: { eventSeq: view.run.eventSeq, at },
    inFlight: { calls: view.run.heldCalls, mostMicros: view.run.heldMicros },
    month: monthView(view.month),
    line: view.line ? { ...view.line, ahead: [...view.line.ahead] } : null,
    estimate: estimate ? estimateView(estimate) : null,
    outcomes: [...outcomes.values()],
    lanes: lanes.map((lane) => ({ ...lane })),
    retries: [...retries],
    can: canRun(view, role),
  }
}

/** Throws AppError `run.not_found` for a run there is none of. */
export function noRun(): AppError {
  return new AppError('run.not_found', 'There is no such run.', { hint: 'GET …/runs lists them.' })
}

export const runRoutes: readonly Route[] = [
  route({
    method: 'GET',
    path: '/api/v1/orgs/{orgId}/runs',
    operationId: 'listRuns',
    tag: 'Runs',
    summary: 'List runs',
    description: 'A page of runs with their money and counters, newest first unless sorted otherwise.',
    access: 'viewer',
    transaction: 'read',
    query: listQuery,
    answers: { 200: { description: 'A page of runs.', schema: pageOf(run) } },
  })(async ({ tx, orgId, query }) => {
    const { limit, cursor, status, search, category, createdBy, from, to, needsYou, sort: wanted } = query
    const sort = wanted.replace(/^-/, '') as RunSort
    const order: Order = { name: `runs${wanted}`, key: RUN_SORTS[sort].type, id: 'uuid' }
    const beside = readCursor(cursor, order)
    const rows = await runPage(tx, orgId, {
      ...given({ statuses: status, search, category, createdBy, from, to }),
      ...(needsYou === undefined ? {} : { needsYou: needsYou === 'true' }),
      sort,
      descending: wanted.startsWith('-'),
      beside,
      limit,
    })
    const page = toPage(rows, { beside, limit, order }, (row) => [row.sortKey, row.id])
    return { status: 200, body: { ...page, items: page.items.map(runView) } }
  }),
  route({
    method: 'POST',
    path: '/api/v1/orgs/{orgId}/runs',
    operationId: 'createRun',
    tag: 'Runs',
    summary: 'Create a run',
    description:
      'Validated and priced; its cap and filters are snapshots of the settings, overridden by what is given. It is pending until it is started.',
    access: 'admin',
    transaction: 'write',
    body: createBody,
    bodyExample: { collect: { kind: 'categories', categories: ['kitchen/289742'] }, capMicros: 5_000_000, start: true },
    refuses: [
      'input.category_unknown',
      'input.cap_invalid',
      'provider.unknown',
      'provider.no_price',
      'provider.no_credentials',
      'run.cap_below_estimate',
      'month.cap_below_estimate',
      'month.cap_reached',
    ],
    answers: {
      201: { description: 'The run.', schema: runDetail, headers: { location: 'Address of the run.' } },
    },
  })(async ({ tx, acting, orgId, member, body, role }) => {
    const db = acting()
    const actor = { orgId, orgName: '', userId: member.userId }
    const wanted = await readPlan(db, body)
    const made = await createRun(db, {
      actor,
      ...wanted,
      ...given({ name: body.name, sample: body.sample }),
    })
    if (body.start) await startRun(db, made.run.id, member.userId)
    const view = await viewRun(tx, made.run.id)
    if (!view) throw noRun()
    return {
      status: 201,
      body: detailOf(view, role),
      headers: { location: `/api/v1/orgs/${orgId}/runs/${made.run.id}` },
    }
  }),
  route({
    method: 'GET',
    path: '/api/v1/orgs/{orgId}/runs/{runId}',
    operationId: 'getRun',
    tag: 'Runs',
    summary: 'Read a run',
    description:
      'Its figures at one event, what is in flight, the nearest limit, its place in line, why products were not answered, and what the one who asks may do with it now.',
    access: 'viewer',
    transaction: 'read',
    params: runParams,
    answers: { 200: { description: 'The run.', schema: runDetail } },
  })(async ({ tx, params: { runId }, orgId, role }) => {
    const view = await viewRun(tx, runId)
    if (view?.run.orgId !== orgId) throw noRun()
    return { status: 200, body: detailOf(view, role) }
  }),
  route({
    method: 'GET',
    path: '/api/v1/orgs/{orgId}/runs/{runId}/outlook',
    operationId: 'getRunOutlook',
    tag: 'Runs',
    summary: 'What a run is heading for',
    description:
      'The forecast of a run that goes on, or what a retry of an ended one would cost. Both look at every product: ask every few seconds, not with every event.',
    access: 'viewer',
    // The settings a retry would begin with are stored when nobody has asked for them before.
    transaction: 'write',
    params: runParams,
    answers: { 200: { description: 'The outlook.', schema: runOutlook } },
  })(async ({ tx, params: { runId }, orgId, member }) => {
    const found = await runSnapshot(tx, runId)
    if (found?.orgId !== orgId) throw noRun()
    const goesOn = !TERMINAL.has(found.status)
    const forecast = goesOn ? forecastCost(found, await standingOf(tx, runId)) : null
    const plan = goesOn
      ? null
      : await retryPlan(() => planRetry(tx, { actor: { orgId, orgName: '', userId: member.userId }, runId }))
    const retry = plan && {
      counts: plan.counts as Record<string, number>,
      cost: plan.estimate.cost,
      capMicros: plan.capMicros,
    }
    return { status: 200, body: { forecast, retry } }
  }),
]

/** The plan, or null where there is nothing to plan: the refusal says no more than that. */
async function retryPlan<T>(plan: () => Promise<T>): Promise<T | null> {
  try {
    return await plan()
  } catch (error) {
    if (error instanceof AppError) return null
    throw error
  }
}
