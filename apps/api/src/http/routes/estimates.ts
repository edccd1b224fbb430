/** What a collection would cost, take and bring: nothing is spent, nothing is created. */
import { z } from 'zod'
import { coverOf } from '../../engine/cap-covers.ts'
import { firstCallPrice, planRun, sampleFor } from '../../engine/create.ts'
import { type Route, route } from '../route.ts'
import { count, micros, month } from '../schemas/common.ts'
import { estimate } from '../schemas/estimate.ts'
import { estimateView, monthView } from '../views.ts'
import { planShape, readPlan } from './collect.ts'

const plan = z
  .object({
    estimate,
    capMicros: micros.describe('The cap the run would have.'),
    upToCap: z.boolean(),
    startable: z
      .boolean()
      .describe(
        'False when the nearest limit is below the low end of the estimate and `upToCap` is not said, or the month leaves no call.',
      ),
    nearestLimit: z
      .object({ kind: z.enum(['run', 'month']), micros })
      .describe('The nearer of the cap and what the month cap leaves.'),
    collectableProducts: count.describe('About so many products the nearest limit covers.'),
    sample: z
      .object({ products: count, mostMicros: micros })
      .describe('What a sample first would search, and cost at most.'),
    sandbox: z.boolean().describe('The money would be play money.'),
    accounts: z.object({ lists: z.string().nullable(), search: z.string() }),
    month,
  })
  .meta({ id: 'RunPlan', description: 'A run as it would be.' })

export const estimateRoutes: readonly Route[] = [
  route({
    method: 'POST',
    path: '/api/v1/orgs/{orgId}/estimates',
    operationId: 'estimateRun',
    tag: 'Runs',
    summary: 'Estimate a run',
    description:
      'From the organisation’s last runs at today’s prices; before the first run from the price list alone. Each figure names its source.',
    access: 'viewer',
    // Figures of ended runs that were not summed up yet are, and kept.
    transaction: 'write',
    body: z.strictObject(planShape).meta({ id: 'EstimateRequest', description: 'What would be collected.' }),
    bodyExample: { collect: { kind: 'categories', categories: ['kitchen/289742'] }, capMicros: 5_000_000 },
    refuses: ['input.category_unknown', 'provider.unknown', 'provider.no_price'],
    answers: { 200: { description: 'The plan.', schema: plan } },
  })(async ({ acting, orgId, member, body }) => {
    const db = acting()
    const wanted = await readPlan(db, body)
    const made = await planRun(db, { actor: { orgId, orgName: '', userId: member.userId }, ...wanted })
    const cover = coverOf(made, firstCallPrice(wanted))
    const sample = sampleFor(wanted)
    const { list, search } = wanted.accounts
    return {
      status: 200,
      body: {
        estimate: estimateView(made.estimate),
        capMicros: made.capMicros,
        upToCap: made.upToCap,
        startable: cover.startable,
        nearestLimit: cover.limit,
        collectableProducts: cover.products,
        sample: { products: sample.products, mostMicros: sample.worstMicros },
        sandbox: search.sandbox,
        accounts: { lists: list?.name ?? null, search: search.name },
        month: monthView(made.month),
      },
    }
  }),
]
