/** Sellers as they go over the wire, and which of them are meant. */
import { z } from 'zod'
import type { Queryable } from '../../db/client.ts'
import { noProfile } from '../../engine/seller-desk.ts'
import { EXPORT_COLUMN_NAMES, type ExportColumnName } from '../../sellers/export-columns.ts'
import { readProfile } from '../../sellers/export-profiles.ts'
import { FLAGS, IDS_MOST, type SellerSortKey, type SellerView, SORTS } from '../../sellers/view.ts'
import { given } from '../given.ts'
import { count, id, moment } from './common.ts'

export const flag = z.enum(FLAGS)
export const sortKey = z.enum(Object.keys(SORTS) as [SellerSortKey, ...SellerSortKey[]])
export const exportColumn = z.enum(EXPORT_COLUMN_NAMES as unknown as [ExportColumnName, ...ExportColumnName[]])
export const exportFormat = z.enum(['csv', 'xlsx', 'jsonl'])

const INT_MOST = 2_000_000_000

/** The filters, flat, so that they are the same in an address and in a body. `whole` reads a number. */
function filterFields(whole: (most: number) => z.ZodType<number, unknown>) {
  const bounds = <const N extends string>(name: N, most: number, what: string) =>
    ({
      [`${name}From`]: whole(most)
        .optional()
        .meta({ description: `${what}: at least.` }),
      [`${name}To`]: whole(most)
        .optional()
        .meta({ description: `${what}: at most.` }),
    }) as { [K in `${N}From` | `${N}To`]: z.ZodOptional<z.ZodType<number, unknown>> }
  return {
    search: z
      .string()
      .max(100)
      .regex(/^[^\0]*$/)
      .optional()
      .meta({ description: 'Part of the name, in any case; with one or two characters its beginning.' }),
    flag: z
      .enum([...FLAGS, 'any', 'none'])
      .optional()
      .meta({ description: 'With this flag; `any` with one, `none` without.' }),
    ...bounds('score', 100, 'Score'),
    ...bounds('matched', INT_MOST, 'Distinct best sellers matched'),
    ...bounds('runs', INT_MOST, 'Runs it was seen in'),
    ...bounds('ratioPermille', INT_MOST, 'Lowest price seen, in thousandths of the Amazon price'),
    ...bounds('feedback', INT_MOST, 'Feedback score'),
    ...bounds('items', INT_MOST, 'Listings in the run that saw it last'),
    firstSeenFrom: moment.optional().meta({ description: 'First seen at or after this moment.' }),
    firstSeenTo: moment.optional().meta({ description: 'First seen at or before this moment.' }),
    lastSeenFrom: moment.optional().meta({ description: 'Last seen at or after this moment.' }),
    lastSeenTo: moment.optional().meta({ description: 'Last seen at or before this moment.' }),
    runId: z.uuid().optional().meta({ description: 'Seen in this run.' }),
    newInRunId: z.uuid().optional().meta({ description: 'Brought to the organisation by this run.' }),
    newForProfileId: z.uuid().optional().meta({ description: 'Listed since the last export under this profile.' }),
  }
}

const inAddress = filterFields((most) => z.coerce.number().int().min(0).max(most))
const inBody = filterFields((most) => z.int().min(0).max(most))

/** As parameters of an address. */
export const filterQuery = {
  ...inAddress,
  removed: z
    .enum(['true', 'false'])
    .optional()
    .meta({ description: 'True: those taken off the list, and only those.' }),
}

export const sellerFilter = z
  .strictObject({
    ...inBody,
    removed: z.boolean().optional().describe('True: those taken off the list, and only those.'),
    ids: z.array(z.uuid()).max(IDS_MOST).optional().describe('Only these.'),
    except: z.array(z.uuid()).max(IDS_MOST).optional().describe('All but these.'),
  })
  .meta({ id: 'SellerFilter', description: 'Which sellers are meant: those that pass every filter given.' })

export const orderQuery = {
  sort: sortKey
    .default('score')
    .meta({ description: 'What the list is ordered by. Sellers without the figure come last.' }),
  direction: z.enum(['asc', 'desc']).default('desc').meta({ description: 'Which end comes first.' }),
}

type Filter = Partial<Omit<z.output<typeof sellerFilter>, 'removed'>> &
  Readonly<{ removed?: boolean | 'true' | 'false' | undefined }>

/** The view these filters mean. Throws AppError `export.profile_unknown`. */
export async function viewOf(db: Queryable, orgId: string, filter: Filter): Promise<SellerView> {
  const { search, flag: wanted, runId, newInRunId, newForProfileId, removed, ids, except } = filter
  const span = <T>(from: T | undefined, to: T | undefined) =>
    from === undefined && to === undefined ? undefined : given({ from, to })
  const profile = newForProfileId === undefined ? undefined : await readProfile(db, orgId, newForProfileId)
  if (profile === null) throw noProfile()
  return given({
    search,
    flag: wanted === undefined || wanted === 'any' || wanted === 'none' ? wanted : [wanted],
    score: span(filter.scoreFrom, filter.scoreTo),
    matched: span(filter.matchedFrom, filter.matchedTo),
    runs: span(filter.runsFrom, filter.runsTo),
    ratioPermille: span(filter.ratioPermilleFrom, filter.ratioPermilleTo),
    feedback: span(filter.feedbackFrom, filter.feedbackTo),
    items: span(filter.itemsFrom, filter.itemsTo),
    firstSeen: span(filter.firstSeenFrom, filter.firstSeenTo),
    lastSeen: span(filter.lastSeenFrom, filter.lastSeenTo),
    runId,
    newInRunId,
    listedAfter: profile?.lastSeq,
    removed: removed === true || removed === 'true' ? true : undefined,
    ids,
    except,
  }) as SellerView
}

export const score = z
  .object({
    score: z.int().min(0).max(100),
    matches: z.int().min(0).describe('Of the score, what the number of best sellers matched brings.'),
    titleLikeness: z.int().min(0).describe('What the likeness of titles brings.'),
    priceRule: z.int().min(0).describe('What prices at or above break-even bring.'),
  })
  .meta({ id: 'Score', description: 'The score from 0 to 100, and the parts that add up to it.' })

const figures = {
  id,
  name: z.string(),
  score,
  matched: count.describe('Distinct best sellers matched, over all runs.'),
  runs: count.describe('Distinct runs it was seen in.'),
  ratioLowPermille: count.nullable().describe('Lowest price seen, in thousandths of the Amazon price of that time.'),
  ratioHighPermille: count.nullable(),
  feedbackScore: z.int().nullable(),
  feedbackPermille: z.int().nullable().describe('Positive feedback in tenths of a per cent.'),
  items: count.nullable().describe('Listings in the run that saw it last; null while that run goes on.'),
  firstSeenAt: moment,
  lastSeenAt: moment,
  flag: flag.nullable(),
  flaggedAt: moment.nullable(),
  flaggedBy: id.nullable(),
  removedAt: moment.nullable().describe('When it was taken off the list; null while it is on it.'),
  revision: count.describe('Raised by every change a person makes.'),
}

export const listedSeller = z
  .object({ ...figures, hasNote: z.boolean() })
  .meta({ id: 'ListedSeller', description: 'A seller as the list shows it.' })

export const sellerDetail = z
  .object({
    ...figures,
    normalizedName: z.string(),
    platform: z.string(),
    platformId: z.string().nullable(),
    note: z.string().nullable(),
    notedAt: moment.nullable(),
    notedBy: id.nullable(),
    removedBy: id.nullable(),
    formerNames: z.array(z.object({ name: z.string(), untilAt: moment, changedBy: id })),
    can: z.object({ edit: z.boolean(), remove: z.boolean() }).describe('What the one who asks may do.'),
  })
  .meta({ id: 'Seller', description: 'One seller: figures, what people set, former names.' })
