import { z } from 'zod'
import { RUN_ACTS, type RunAct } from '../../engine/can-run.ts'
import { ability, count, id, micros, microsRange, moment, month } from './common.ts'
import { estimate } from './estimate.ts'

export const RUN_STATUSES = ['pending', 'running', 'paused', 'completed', 'failed', 'cancelled'] as const

const runShape = {
  id,
  number: count.describe('Short number for people.'),
  orgId: id,
  name: z.string(),
  status: z.enum(RUN_STATUSES),
  phase: z.enum(['products', 'sellers']),
  source: z.enum(['categories', 'product_list']),
  pauseReason: z.enum(['operator', 'budget', 'quota', 'provider']).nullable(),
  pauseNote: z.string().nullable(),
  pauseLimit: z
    .enum(['run', 'month'])
    .nullable()
    .describe('Of a pause by budget: which cap leaves less than one call.'),
  resumeAt: moment.nullable().describe('When a pause may end by itself.'),
  failureReason: z.string().nullable(),
  listAccountId: id.nullable(),
  searchAccountId: id.nullable(),
  capMicros: micros,
  spentMicros: micros,
  heldMicros: micros.describe('Held by calls in flight: the most they can cost.'),
  suspectMicros: micros.describe('Of calls whose fate is unknown: it counts in full.'),
  leftMicros: micros.describe('cap - spent - held - suspect.'),
  breachMicros: micros.describe('Charged above the price list.'),
  contradictedMicros: micros,
  softWarningPercent: z.int(),
  softWarnedAt: moment.nullable(),
  heldCalls: count,
  settledCalls: count,
  releasedCalls: count,
  suspectCalls: count,
  totalCategories: count,
  openCategories: count,
  failedCategories: count,
  totalItems: count.describe('Products to search.'),
  pendingItems: count,
  processingItems: count,
  processedItems: count.describe('Products whose search has ended.'),
  failedItems: count,
  foundItems: count,
  noneItems: count,
  blockedItems: count,
  driftItems: count,
  rejectedItems: count,
  skippedItems: count,
  unansweredItems: count.describe('Blocked, drift and rejected: never counted as none.'),
  sellerItems: count,
  newSellers: count,
  eventSeq: count.describe('Number of the last event these figures hold.'),
  retryOfRunId: id.nullable(),
  createdAt: moment,
  startedAt: moment.nullable(),
  pausedAt: moment.nullable(),
  completedAt: moment.nullable(),
  sampleProducts: count.nullable().describe('So many products are searched before the others wait for a person.'),
  sampledAt: moment.nullable(),
}

export const run = z
  .object(runShape)
  .meta({ id: 'Run', description: 'A collection under a cap, as it stands at one commit.' })

const linked = z
  .object({ id, number: count, name: z.string(), status: z.enum(RUN_STATUSES) })
  .meta({ id: 'LinkedRun', description: 'Another run of the same family of retries.' })

const reason = z.object({ code: z.string(), message: z.string(), count })
const outcome = z
  .object({ outcome: z.string(), count, reasons: z.array(reason) })
  .meta({ id: 'OutcomeGroup', description: 'Products that were not answered, or not asked, by outcome and reason.' })

const lane = z
  .object({
    callId: id,
    workerId: id,
    workerName: z.string().nullable(),
    account: z.string(),
    target: z.string().describe('The ASIN searched for, or the key of the category listed.'),
    rung: z.int().nullable(),
    attempt: z.int(),
    holdMicros: micros,
    request: z.unknown().describe('What is asked, exactly: query, rung, price window; or category and step.'),
    heldAt: moment,
    forMs: z.number().describe('Time in flight, by the database’s clock.'),
  })
  .meta({ id: 'Lane', description: 'A call in flight.' })

export const runDetail = z
  .object({
    run,
    asOf: z.object({ eventSeq: count, at: moment }).describe('The event and the server’s time the figures belong to.'),
    sandbox: z.boolean().describe('Its money is play money.'),
    callPriceMicros: micros.nullable().describe('Price of the next call; null when it has none.'),
    inFlight: z
      .object({ calls: count, mostMicros: micros })
      .describe('Calls in flight, and the most they cost together.'),
    nearestLimit: z.object({ kind: z.enum(['run', 'month']), leftMicros: micros }),
    month,
    line: z
      .object({ place: count, places: count, ahead: z.array(z.string()) })
      .nullable()
      .describe('Of a run that waits: its place in line, how many run at once, and the names of those ahead.'),
    estimate: estimate.nullable(),
    outcomes: z.array(outcome),
    lanes: z.array(lane).describe('Calls in flight, at most 100, longest first.'),
    createdBy: z.string().nullable().describe('Who created it, as shown.'),
    pausedBy: z.string().nullable().describe('Of a pause by an operator: who.'),
    retryOf: linked.nullable(),
    retries: z.array(linked),
    can: z
      .object(Object.fromEntries(RUN_ACTS.map((act) => [act, ability])) as Record<RunAct, typeof ability>)
      .describe('What the one who asks may do now.'),
  })
  .meta({ id: 'RunDetail', description: 'Everything about one run that costs no look at each of its products.' })

export const runOutlook = z
  .object({
    forecast: microsRange
      .nullable()
      .describe(
        'What the run will have cost at its end, from its own pace; null before 5 % of the work, and after it.',
      ),
    retry: z
      .object({
        counts: z.record(z.string(), count).describe('Products and lists a retry would take up, by reason.'),
        cost: microsRange,
        capMicros: micros.describe('The cap it would be given.'),
      })
      .nullable()
      .describe(
        'Of an ended run: what a retry would cost before it is asked for; null when there is nothing to retry.',
      ),
  })
  .meta({ id: 'RunOutlook', description: 'Figures that take a look at every product of the run.' })
