/** What is to be collected, as a request says it: for estimates and for new runs. */
import { z } from 'zod'
import { AppError } from '../../base/errors.ts'
import type { Micros } from '../../base/money.ts'
import type { Db } from '../../db/client.ts'
import { chooseRunAccounts } from '../../engine/choose-run-accounts.ts'
import { CAP_MOST, type CreateInput } from '../../engine/create.ts'
import type { FilterSettings } from '../../matching/filters.ts'
import type { ListedProduct } from '../../providers/types.ts'
import { given } from '../given.ts'
import { line } from '../schemas/common.ts'
import { categoryTree } from './categories.ts'
import { filtersPatch } from './settings.ts'

const product = z
  .strictObject({
    asin: z.string().regex(/^[A-Z0-9]{10}$/, 'must be ten capital letters and digits'),
    title: line(500),
    priceCents: z
      .int()
      .min(1)
      .max(100_000_000)
      .nullable()
      .optional()
      .describe('Amazon price; without one there is no price window.'),
    brand: line(100).optional(),
  })
  .meta({ id: 'ListedProduct', description: 'A row of a product list.' })

/** As many as fit into a body. */
const PRODUCTS_MOST = 4_000

const collect = z
  .discriminatedUnion('kind', [
    z.strictObject({
      kind: z.literal('categories'),
      categories: z.array(z.string().min(1).max(200)).min(1).max(500).describe('Keys; each is collected once.'),
    }),
    z.strictObject({
      kind: z.literal('list'),
      label: line(150).describe('What the list is called, such as its file name.'),
      products: z.array(product).min(1).max(PRODUCTS_MOST).describe('Distinct by ASIN; of doubles the first counts.'),
    }),
  ])
  .meta({ id: 'Collect', description: 'Best-seller categories, or a product list of one’s own.' })

export const planShape = {
  collect,
  capMicros: z.int().min(0).max(CAP_MOST).optional().describe('The most the run may spend; the setting when left out.'),
  filters: filtersPatch.optional(),
  upToCap: z.boolean().optional().describe('Collect as far as the cap goes, also when it is below the estimate.'),
  accounts: z
    .strictObject({
      lists: z.string().min(1).max(63).optional().describe('Name of the account that reads best-seller lists.'),
      search: z.string().min(1).max(63).optional().describe('Name of the account that searches eBay.'),
    })
    .optional()
    .describe('Left out: the one account there is for each job.'),
}

const planBody = z.strictObject(planShape)
export type PlanBody = z.output<typeof planBody>

type PlanInput = Pick<CreateInput, 'collect' | 'accounts' | 'capMicros' | 'filters' | 'upToCap'>

/**
 * The plan behind a body. Throws AppError `input.category_unknown`, `provider.unknown`.
 */
export async function readPlan(db: Db, body: PlanBody): Promise<PlanInput> {
  const { capMicros, filters, upToCap } = body
  const locatedIn = filters?.locatedIn
  const changed = {
    ...given(filters ?? {}),
    ...(typeof locatedIn === 'string' ? { locatedIn: locatedIn.toUpperCase() } : {}),
  } as Partial<FilterSettings>
  return {
    collect: await readCollect(body.collect),
    accounts: await chooseRunAccounts(db, given(body.accounts ?? {}), body.collect.kind === 'categories'),
    ...given({ capMicros: capMicros as Micros | undefined, upToCap }),
    ...(filters === undefined ? {} : { filters: changed }),
  } as PlanInput
}

async function readCollect(wanted: PlanBody['collect']): Promise<CreateInput['collect']> {
  if (wanted.kind === 'list') {
    const rows = wanted.products.map(
      ({ asin, title, priceCents, brand }): ListedProduct => ({
        asin,
        title,
        priceCents: priceCents ?? null,
        rank: null,
        ...given({ brand }),
      }),
    )
    return {
      kind: 'list',
      products: [...new Map(rows.toReversed().map((row) => [row.asin, row])).values()].reverse(),
      label: wanted.label,
    }
  }
  const tree = await categoryTree()
  const categories = wanted.categories.map((key) => {
    const found = tree.byKey.get(key)
    if (found) return found
    throw new AppError('input.category_unknown', `There is no category "${key}".`, {
      hint: 'GET /api/v1/categories finds keys.',
    })
  })
  return { kind: 'categories', categories }
}
