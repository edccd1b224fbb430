/** What a new run of the organisation starts with. */
import { z } from 'zod'
import type { Micros } from '../../base/money.ts'
import { withTx } from '../../db/client.ts'
import { changeHook, checkNotifyUrl } from '../../engine/change-hook.ts'
import { changeOrgSettings } from '../../engine/change-settings.ts'
import { hookOf } from '../../events/outbox.ts'
import { checkFilterSettings, type FilterSettings } from '../../matching/filters.ts'
import { readSettings, type Settings } from '../../runs/settings.ts'
import { given } from '../given.ts'
import { type Route, route } from '../route.ts'
import { micros } from '../schemas/common.ts'
import { checkMatch, etagOf } from '../versions.ts'

const percent = z.int().min(1).max(1000)

const filters = z
  .object({
    freeShipping: z.boolean().describe('Only listings with free shipping.'),
    locatedIn: z
      .string()
      .regex(/^[A-Z]{2}$/)
      .nullable()
      .describe('Country of the item, ISO 3166; null for anywhere.'),
    minPercent: percent.describe('Lowest eBay price in per cent of the Amazon price.'),
    maxPercent: percent.describe('Highest eBay price in per cent of the Amazon price.'),
  })
  .meta({ id: 'Filters', description: 'Which listings count.' })

/** As a request gives them: those left out stay as they are. */
export const filtersPatch = z
  .strictObject({
    freeShipping: z.boolean().optional(),
    locatedIn: z
      .string()
      .regex(/^[A-Za-z]{2}$/)
      .nullable()
      .optional(),
    minPercent: percent.optional(),
    maxPercent: percent.optional(),
  })
  .meta({ id: 'FiltersPatch', description: 'Filters to change; those left out stay as they are.' })

/** Days something is kept, at least `least`. */
const days = (least: number) => z.int().min(least).max(3650)

const settings = z
  .object({
    budgetCapMicros: micros.describe('Cap of a new run, in whole cents.'),
    softWarningPercent: z.int().min(1).max(100).describe('It is said once when so much of the cap is used.'),
    maxConcurrentRuns: z.int().min(1).max(1000),
    monthCapMicros: micros.nullable().describe('The most all runs of a calendar month may spend; null = no such cap.'),
    filters,
    keepEvidenceDays: days(1).describe('How long what providers showed is kept: listings, prices, feedback.'),
    keepSellersDays: days(30).describe('How long a seller is kept after it was last seen.'),
    keepExportsDays: z.int().min(1).max(365).describe('How long files of exports are kept.'),
    keepAuditDays: days(90).describe('How long the audit log is kept.'),
  })
  .meta({ id: 'Settings', description: 'What a new run of the organisation starts with.' })

const CAP_MOST = 1_000_000_000_000

const patch = z
  .strictObject({
    budgetCapMicros: z.int().min(0).max(CAP_MOST).multipleOf(10_000).optional().describe('In whole cents.'),
    softWarningPercent: z.int().min(1).max(100).optional(),
    maxConcurrentRuns: z.int().min(1).max(1000).optional(),
    monthCapMicros: z.int().min(0).max(CAP_MOST).nullable().optional(),
    filters: filtersPatch.optional(),
    keepEvidenceDays: days(1).optional(),
    keepSellersDays: days(30).optional(),
    keepExportsDays: z.int().min(1).max(365).optional(),
    keepAuditDays: days(90).optional(),
  })
  .meta({ id: 'SettingsPatch', description: 'Settings to change; those left out stay as they are.' })

function view(stored: Settings): z.output<typeof settings> {
  const { budgetCapCents, softWarningPercent, maxConcurrentRuns, monthCapMicros } = stored
  const { keepEvidenceDays, keepSellersDays, keepExportsDays, keepAuditDays } = stored
  return {
    budgetCapMicros: budgetCapCents * 10_000,
    softWarningPercent,
    maxConcurrentRuns,
    monthCapMicros,
    filters: checkFilterSettings(stored.filters as Partial<FilterSettings>),
    keepEvidenceDays,
    keepSellersDays,
    keepExportsDays,
    keepAuditDays,
  }
}

const example = {
  budgetCapMicros: 25_000_000,
  softWarningPercent: 80,
  maxConcurrentRuns: 3,
  monthCapMicros: null,
  filters: { freeShipping: true, locatedIn: 'US', minPercent: 80, maxPercent: 160 },
  keepEvidenceDays: 30,
  keepSellersDays: 365,
  keepExportsDays: 7,
  keepAuditDays: 400,
}

const hook = z
  .object({
    url: z.string().nullable().describe('Null: nowhere.'),
    waiting: z.int().min(0),
    delivered: z.int().min(0),
    failed: z.int().min(0),
  })
  .meta({ id: 'Notifications', description: 'Where the organisation is told of its runs, and what became of it.' })
const hookExample = { url: 'https://example.org/hooks/gleaner', waiting: 0, delivered: 12, failed: 0 }

const headers = { etag: 'The version, to be sent as `if-match` with a change.' }

export const settingsRoutes: readonly Route[] = [
  route({
    method: 'GET',
    path: '/api/v1/orgs/{orgId}/settings',
    operationId: 'getSettings',
    tag: 'Settings',
    summary: 'Read the settings',
    description: 'The caps, limits and filters a new run starts with. Runs keep those they were created with.',
    access: 'viewer',
    // The defaults are stored when nobody has asked before.
    transaction: 'write',
    answers: { 200: { description: 'The settings.', schema: settings, example, headers } },
  })(async ({ tx, orgId }) => {
    const body = view(await readSettings(tx, orgId))
    return { status: 200, body, headers: { etag: etagOf(body) } }
  }),
  route({
    method: 'PATCH',
    path: '/api/v1/orgs/{orgId}/settings',
    operationId: 'changeSettings',
    tag: 'Settings',
    summary: 'Change settings',
    description:
      'All of the change or none of it; audited. Runs that wait for the month cap go on by themselves once it leaves enough.',
    access: 'admin',
    transaction: 'write',
    versioned: true,
    body: patch,
    bodyExample: { monthCapMicros: 200_000_000 },
    refuses: ['month.cap_too_low'],
    answers: { 200: { description: 'The settings as they are now.', schema: settings, example, headers } },
  })(async ({ tx, db, orgId, body, member, ifMatch }) => {
    await readSettings(tx, orgId)
    await tx.query('select from collection_settings where org_id = $1 for no key update', [orgId])
    const now = await readSettings(tx, orgId)
    checkMatch(ifMatch, etagOf(view(now)))
    const wanted = { ...now.filters, ...given(body.filters ?? {}) } as Partial<FilterSettings>
    const { budgetCapMicros, softWarningPercent, maxConcurrentRuns, monthCapMicros } = body
    const { keepEvidenceDays, keepSellersDays, keepExportsDays, keepAuditDays } = body
    const changed = await changeOrgSettings(
      db,
      { orgId, userId: member.userId },
      {
        ...(budgetCapMicros === undefined ? {} : { budgetCapCents: budgetCapMicros / 10_000 }),
        ...given({ softWarningPercent, maxConcurrentRuns }),
        ...given({ keepEvidenceDays, keepSellersDays, keepExportsDays, keepAuditDays }),
        ...(monthCapMicros === undefined ? {} : { monthCapMicros: monthCapMicros as Micros | null }),
        ...(body.filters === undefined ? {} : { filters: { ...wanted, ...checkFilterSettings(wanted) } }),
      },
    )
    const after = view(changed)
    return { status: 200, body: after, headers: { etag: etagOf(after) } }
  }),
  route({
    method: 'GET',
    path: '/api/v1/orgs/{orgId}/settings/notifications',
    operationId: 'getNotifications',
    tag: 'Settings',
    summary: 'Where the organisation is told of its runs',
    description: 'The address, and what became of what was to be sent there. The secret is never returned.',
    access: 'admin',
    // The address may be what keeps it private: members do not read its table.
    transaction: 'write',
    answers: { 200: { description: 'The address.', schema: hook, example: hookExample } },
  })(async ({ acting, orgId }) => ({ status: 200, body: await withTx(acting(), (tx) => hookOf(tx, orgId)) })),
  route({
    method: 'PUT',
    path: '/api/v1/orgs/{orgId}/settings/notifications',
    operationId: 'changeNotifications',
    tag: 'Settings',
    summary: 'Name the address that is told',
    description:
      'Soft marks, pauses, completed and failed runs are told there, signed. A secret that was made is in this answer and nowhere else. Audited.',
    access: 'admin',
    transaction: 'write',
    repeats: 'secret',
    body: z
      .strictObject({
        url: z.string().min(1).max(2000).nullable().optional().describe('http or https; null: nowhere any more.'),
        renewSecret: z.boolean().optional().describe('The old one signs nothing from now on.'),
      })
      .meta({ id: 'NotificationsChange', description: 'What is to change; what is left out stays.' }),
    bodyExample: { url: 'https://example.org/hooks/gleaner' },
    answers: {
      200: {
        description: 'The address, and the secret when one was made.',
        schema: hook.extend({ secret: z.string().nullable().describe('Not shown again.') }).meta({
          id: 'NotificationsChanged',
          description: 'Where the organisation is told from now on.',
        }),
      },
    },
  })(async ({ acting, orgId, member, body: { url, renewSecret } }) => {
    const db = acting()
    const change = given({ url: typeof url === 'string' ? checkNotifyUrl(url) : url, renewSecret })
    const secret = await changeHook(db, orgId, change, member.userId)
    return { status: 200, body: { ...(await withTx(db, (tx) => hookOf(tx, orgId))), secret } }
  }),
]
