import { z } from 'zod'
import { count, countRange, microsRange } from './common.ts'

const source = z
  .discriminatedUnion('kind', [
    z.object({ kind: z.literal('price_list') }),
    z.object({ kind: z.literal('earlier_runs'), runs: count, products: count, newest: z.iso.datetime() }),
    z.object({ kind: z.literal('sample'), products: count }),
  ])
  .meta({ id: 'EstimateSource', description: 'Where a figure comes from.' })

const categoryEstimate = z.object({
  key: z.string(),
  name: z.string(),
  products: countRange,
  cost: microsRange,
  newSellers: countRange.nullable(),
  lastCollectedAt: z.iso.datetime().nullable().describe('Null = never collected.'),
  lastYield: z.number().nullable().describe('New sellers for 100 products in its last run; null = never collected.'),
  source,
})

/** What a run will cost, take and bring. */
export const estimate = z
  .object({
    products: countRange,
    calls: countRange,
    cost: microsRange,
    durationSeconds: countRange,
    newSellers: countRange.nullable().describe('Null = unknown: nothing was ever collected.'),
    sources: z.object({
      products: source,
      calls: source,
      cost: source,
      durationSeconds: source,
      newSellers: source.nullable(),
    }),
    categories: z.array(categoryEstimate).describe('One for each category, as if it were collected alone.'),
  })
  .meta({ id: 'Estimate', description: 'What a run will cost, take and bring, each figure with its source.' })
