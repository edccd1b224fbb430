/** What a run is made of: its items, calls, categories and events. */
import { z } from 'zod'
import type { Tx } from '../../db/client.ts'
import { camelNames } from '../../events/public-event.ts'
import { eventPage, type RunEvent } from '../../events/read-events.ts'
import { callPage } from '../../ledger/call-page.ts'
import { runChart } from '../../ledger/chart.ts'
import type { CallRow } from '../../ledger/list-calls.ts'
import { categoriesOfRun } from '../../runs/find-run.ts'
import { type ItemRow, itemPage } from '../../runs/item-page.ts'
import { given } from '../given.ts'
import { type Order, pageOf, pageQuery, readCursor, toPage } from '../paging.ts'
import { type Route, route } from '../route.ts'
import { count, id, micros, moment } from '../schemas/common.ts'
import { noRun, runParams, several } from './runs.ts'

const OUTCOMES = ['found', 'none', 'blocked', 'drift', 'rejected', 'skipped'] as const

const item = z
  .object({
    id,
    type: z.enum(['amazon_product', 'ebay_seller']),
    externalId: z.string().describe('ASIN, or the normalised name of the seller.'),
    status: z.enum(['pending', 'processing', 'completed', 'failed', 'skipped']),
    outcome: z.enum(OUTCOMES).nullable(),
    rung: z.int().describe('Query of the ladder that is to be tried, or was tried last.'),
    attempt: count,
    title: z.string().nullable(),
    priceCents: count.nullable(),
    errorCode: z.string().nullable(),
    errorMessage: z.string().nullable(),
    costMicros: micros,
    newToOrg: z.boolean().describe('Of a seller: this run brought it to the organisation.'),
    parentId: id.nullable().describe('Of a seller: the product whose search first brought it in this run.'),
    createdAt: moment,
    finishedAt: moment.nullable(),
  })
  .meta({ id: 'Item', description: 'A product a run searches for, or a seller it found.' })

const call = z
  .object({
    id,
    state: z.enum(['held', 'settled', 'released', 'suspect']),
    outcome: z.string().nullable(),
    target: z.string().describe('The ASIN searched for, or the key of the category listed.'),
    rung: z.int().nullable(),
    attempt: z.int(),
    holdMicros: micros.describe('The most the call can cost.'),
    chargeMicros: micros.nullable().describe('What it did cost.'),
    heldAt: moment,
    durationMs: count.nullable(),
    errorCode: z.string().nullable(),
    errorMessage: z.string().nullable(),
    resolution: z
      .object({
        how: z.enum(['person', 'report']),
        actorId: id.nullable(),
        at: z.string(),
        verdict: z.enum(['charged', 'not_charged']),
        note: z.string(),
        overruled: z.boolean().describe('Its answer came after all and proved more.'),
      })
      .nullable()
      .describe('How it was settled without an answer.'),
  })
  .meta({ id: 'Call', description: 'One request to a provider: one row of the ledger.' })

const runCategory = z
  .object({
    key: z.string(),
    name: z.string(),
    status: z.enum(['pending', 'processing', 'completed', 'failed']),
    products: count.describe('Products this list named.'),
    searched: count,
    newSellers: count.describe('New sellers that products of this list brought first.'),
    costMicros: micros,
    errorMessage: z.string().nullable(),
  })
  .meta({ id: 'RunCategory', description: 'A category of a run, and what it brought.' })

export const event = z
  .object({
    seq: z.int().min(1).describe('Number of the event: no gap, never reused.'),
    at: moment,
    type: z.string(),
    actorId: id.nullable().describe('The person who did it; null when it happened by itself.'),
    data: z.record(z.string(), z.unknown()).describe('Names in camelCase.'),
  })
  .meta({ id: 'RunEvent', description: 'A numbered fact of a run. docs/flow.md lists what each type carries.' })

/** Throws AppError `run.not_found` unless the run is there and of this organisation. */
async function checkRun(tx: Tx, runId: string, orgId: string): Promise<void> {
  const { rowCount } = await tx.query('select from collection_runs where id = $1 and org_id = $2', [runId, orgId])
  if (rowCount === 0) throw noRun()
}

const chart = z
  .object({
    stepSeconds: z.int().min(1),
    steps: z.array(
      z.object({
        at: moment.describe('Where the step begins.'),
        spentMicros: micros.describe('Booked in this step.'),
        settledCalls: count,
        searched: count.describe('Products whose search ended in this step.'),
        unanswered: count,
        sellers: count,
        newSellers: count,
      }),
    ),
  })
  .meta({ id: 'RunChart', description: 'How a run went over its time, in at most 300 equal steps.' })

const itemOrder = (type: string): Order => ({ name: `items.${type}`, key: 'text', id: 'uuid' })
const callOrder: Order = { name: 'calls', key: 'uuid', id: 'uuid' }
const eventOrder: Order = { name: 'events', key: 'bigint', id: 'bigint' }

export const runPartRoutes: readonly Route[] = [
  route({
    method: 'GET',
    path: '/api/v1/orgs/{orgId}/runs/{runId}/items',
    operationId: 'listRunItems',
    tag: 'Runs',
    summary: 'List items of a run',
    description: 'Products with what became of their search, by ASIN; or the sellers found, by name.',
    access: 'viewer',
    transaction: 'read',
    params: runParams,
    query: z.strictObject({
      ...pageQuery,
      type: z
        .enum(['amazon_product', 'ebay_seller'])
        .default('amazon_product')
        .meta({ description: 'Products or sellers.' }),
      status: z
        .enum(['pending', 'processing', 'completed', 'failed', 'skipped'])
        .optional()
        .meta({ description: 'Only in this state.' }),
      outcome: z.enum(OUTCOMES).optional().meta({ description: 'Only with this outcome.' }),
      errorCode: z.string().min(1).max(100).optional().meta({ description: 'Only with this reason.' }),
      begins: z.string().min(1).max(200).optional().meta({ description: 'Beginning of the ASIN or normalised name.' }),
    }),
    answers: { 200: { description: 'A page of items.', schema: pageOf(item) } },
  })(async ({ tx, params: { runId }, orgId, query }) => {
    await checkRun(tx, runId, orgId)
    const { limit, cursor, type, status, outcome, errorCode, begins } = query
    const order = itemOrder(type)
    const beside = readCursor(cursor, order)
    const rows = await itemPage(tx, runId, { type, beside, limit, ...given({ status, outcome, errorCode, begins }) })
    return {
      status: 200,
      body: toPage(rows, { beside, limit, order }, (row: ItemRow) => [row.externalId, row.id]) as never,
    }
  }),
  route({
    method: 'GET',
    path: '/api/v1/orgs/{orgId}/runs/{runId}/calls',
    operationId: 'listRunCalls',
    tag: 'Runs',
    summary: 'List calls of a run',
    description: 'Newest first: what was asked, held, settled, and what came of it.',
    access: 'viewer',
    transaction: 'read',
    params: runParams,
    query: z.strictObject({
      ...pageQuery,
      state: z.enum(['held', 'settled', 'released', 'suspect']).optional().meta({ description: 'Only in this state.' }),
      outcome: z
        .enum([
          'found',
          'none',
          'blocked',
          'drift',
          'rejected',
          'throttled',
          'quota',
          'credentials',
          'fault',
          'unreachable',
          'lost',
          'unsent',
        ])
        .optional()
        .meta({ description: 'Only with this outcome.' }),
    }),
    answers: { 200: { description: 'A page of calls.', schema: pageOf(call) } },
  })(async ({ tx, params: { runId }, orgId, query: { limit, cursor, state, outcome } }) => {
    await checkRun(tx, runId, orgId)
    const beside = readCursor(cursor, callOrder)
    const rows = await callPage(tx, runId, { beside, limit, ...given({ state, outcome }) })
    return { status: 200, body: toPage(rows, { beside, limit, order: callOrder }, (row: CallRow) => [row.id, row.id]) }
  }),
  route({
    method: 'GET',
    path: '/api/v1/orgs/{orgId}/runs/{runId}/categories',
    operationId: 'listRunCategories',
    tag: 'Runs',
    summary: 'List categories of a run',
    description:
      'In the order they were chosen, with what each cost and brought. A product in two of them counts in both.',
    access: 'viewer',
    transaction: 'read',
    params: runParams,
    answers: { 200: { description: 'The categories.', schema: z.object({ items: z.array(runCategory) }) } },
  })(async ({ tx, params: { runId }, orgId }) => {
    await checkRun(tx, runId, orgId)
    return { status: 200, body: { items: await categoriesOfRun(tx, runId) } }
  }),
  route({
    method: 'GET',
    path: '/api/v1/orgs/{orgId}/runs/{runId}/events',
    operationId: 'listRunEvents',
    tag: 'Runs',
    summary: 'List events of a run',
    description: 'The numbered facts of a run, in order. The event stream has the same, as they happen.',
    access: 'viewer',
    transaction: 'read',
    params: runParams,
    query: z.strictObject({
      ...pageQuery,
      after: z.coerce
        .number()
        .int()
        .min(0)
        .max(Number.MAX_SAFE_INTEGER)
        .optional()
        .meta({ description: 'Only events after this number.' }),
      type: several(
        z
          .string()
          .regex(/^[a-z_]+\.[a-z_]+$/)
          .max(100),
      ).meta({ description: 'Only events of these types.' }),
    }),
    answers: { 200: { description: 'A page of events.', schema: pageOf(event) } },
  })(async ({ tx, params: { runId }, orgId, query: { limit, cursor, after, type } }) => {
    await checkRun(tx, runId, orgId)
    const beside = readCursor(cursor, eventOrder)
    const seq = beside ? Number(beside.key) : (after ?? 0)
    const rows = await eventPage(tx, runId, { seq, back: beside?.back ?? false, limit, ...given({ types: type }) })
    const keyOf = ({ seq: at }: RunEvent) => [String(at), String(at)] as const
    const told = rows.map((row) => ({ ...row, data: camelNames(row.data) as RunEvent['data'] }))
    return { status: 200, body: toPage(told, { beside, limit, order: eventOrder }, keyOf) as never }
  }),
  route({
    method: 'GET',
    path: '/api/v1/orgs/{orgId}/runs/{runId}/chart',
    operationId: 'getRunChart',
    tag: 'Runs',
    summary: 'How a run went over its time',
    description:
      'From its start to its end, or to now, in equal steps: money, searches, sellers. Empty before it has started.',
    access: 'viewer',
    transaction: 'read',
    params: runParams,
    query: z.strictObject({
      steps: z.coerce.number().int().min(10).max(300).default(300).meta({ description: 'Steps at most, 10 to 300.' }),
    }),
    answers: { 200: { description: 'The steps.', schema: chart } },
  })(async ({ tx, params: { runId }, orgId, query: { steps } }) => {
    await checkRun(tx, runId, orgId)
    return { status: 200, body: await runChart(tx, runId, steps) }
  }),
]
