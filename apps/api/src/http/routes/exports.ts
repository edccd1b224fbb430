/** Exports of the seller list: straight as a download, made by a worker and fetched later, under profiles. */
import { Readable } from 'node:stream'
import { promisify } from 'node:util'
import { gunzip } from 'node:zlib'
import { z } from 'zod'
import { AppError } from '../../base/errors.ts'
import type { Tx } from '../../db/client.ts'
import { asMember } from '../../db/session.ts'
import { askForExport, dropExport, dropProfile, noExport, saveProfile, stopExport } from '../../engine/seller-desk.ts'
import { streamExport } from '../../engine/stream-export.ts'
import { DEFAULT_EXPORT_COLUMNS, type ExportColumnName } from '../../sellers/export-columns.ts'
import { type ExportFormat, previewCells } from '../../sellers/export-file.ts'
import { type ExportRow, listExports, readExport, readPart } from '../../sellers/export-jobs.ts'
import { type ExportProfile, listProfiles } from '../../sellers/export-profiles.ts'
import { firstRows } from '../../sellers/export-rows.ts'
import { viewToJson } from '../../sellers/view-json.ts'
import { type Order, pageQuery, readCursor, toPage } from '../paging.ts'
import { type Route, route } from '../route.ts'
import { count, id, line, moment } from '../schemas/common.ts'
import {
  exportColumn,
  exportFormat,
  filterQuery,
  orderQuery,
  sellerFilter,
  sortKey,
  viewOf,
} from '../schemas/seller.ts'

const columns = z.array(exportColumn).min(1).max(50)
const exportParams = z.object({ exportId: z.uuid().describe('The export.') })
const order: Order = { name: 'exports', key: 'timestamptz', id: 'uuid' }

const exportRow = z
  .object({
    id,
    createdBy: id,
    createdAt: moment,
    format: exportFormat,
    columns,
    filter: z.record(z.string(), z.unknown()).describe('Which sellers, as it was understood.'),
    sort: sortKey,
    descending: z.boolean(),
    safe: z.boolean().describe('Text that looks like a formula is made text.'),
    onlyNew: z.boolean().describe('Only what its profile has not had yet.'),
    profileId: id.nullable(),
    state: z.enum(['queued', 'running', 'ready', 'failed', 'stopped', 'expired']),
    rows: count.describe('Rows written so far.'),
    total: count.nullable().describe('Rows there will be; null until it is known.'),
    rowsPerSecond: count.nullable().describe('Since it began; null before.'),
    bytes: count.describe('Of the file, as it is fetched.'),
    startedAt: moment.nullable(),
    endedAt: moment.nullable(),
    stopRequestedAt: moment.nullable(),
    expiresAt: moment.nullable().describe('When the file is taken away.'),
    error: z.string().nullable(),
  })
  .meta({ id: 'Export', description: 'An export made by a worker, and how far it is.' })

function shown(row: ExportRow): z.output<typeof exportRow> {
  const { orgId: _org, parts: _parts, attempt: _attempt, ...rest } = row
  const ms = row.startedAt ? (row.endedAt ?? new Date()).getTime() - row.startedAt.getTime() : 0
  const rowsPerSecond = row.startedAt ? Math.round((row.rows * 1000) / Math.max(1, ms)) : null
  return { ...rest, columns: [...row.columns], filter: { ...row.filter }, rowsPerSecond }
}

const profile = z
  .object({
    id,
    name: z.string(),
    format: exportFormat,
    columns,
    safe: z.boolean(),
    lastExportAt: moment.nullable().describe('When the last export under it was ready.'),
    createdBy: id,
    createdAt: moment,
  })
  .meta({ id: 'ExportProfile', description: 'Form and columns under a name; knows what it has not had yet.' })

function shownProfile({ orgId: _org, lastSeq: _last, ...rest }: ExportProfile): z.output<typeof profile> {
  return { ...rest, columns: [...rest.columns] }
}

/** The columns named in an address, with commas; the usual ones when none is. */
const columnsParam = z
  .string()
  .max(1000)
  .default(DEFAULT_EXPORT_COLUMNS.join(','))
  .transform((text) => text.split(','))
  .pipe(columns)
  .meta({ description: 'Columns of the file, with commas between them.' })

const DISPOSITION = { 'content-disposition': 'Names the file.' }
const named = (format: ExportFormat) => ({ 'content-disposition': `attachment; filename="sellers.${format}"` })
const unpack = promisify(gunzip)

function contentOf(row: ExportRow, asOne: <V>(work: (tx: Tx) => Promise<V>) => Promise<V>): Readable {
  async function* parts(): AsyncGenerator<Buffer> {
    for (let number = 0; number < row.parts; number++) {
      // Short reads between which the reader may take its time.
      const part = await asOne((tx) => readPart(tx, row.orgId, row.id, number))
      if (!part) throw new Error(`part ${number} of export ${row.id} is gone`)
      yield await unpack(part)
    }
  }
  return Readable.from(parts(), { objectMode: false })
}

export const exportRoutes: readonly Route[] = [
  route({
    method: 'GET',
    path: '/api/v1/orgs/{orgId}/seller-list/file',
    operationId: 'downloadSellers',
    tag: 'Exports',
    summary: 'Download sellers',
    description:
      'Every seller the filters let through as a file, straight away and at any size: CSV (UTF-8 with a byte-order mark), XLSX (another sheet every 1,048,575 rows) or JSON lines. All rows are of one moment.',
    access: 'analyst',
    transaction: 'none',
    refuses: ['export.profile_unknown'],
    query: z.strictObject({
      format: exportFormat.default('csv').meta({ description: 'The form of the file.' }),
      columns: columnsParam,
      safe: z
        .enum(['true', 'false'])
        .default('true')
        .meta({ description: 'Text that looks like a formula is made text.' }),
      ...orderQuery,
      ...filterQuery,
    }),
    answers: { 200: { description: 'The file.', stream: 'application/octet-stream', headers: DISPOSITION } },
  })(async ({ deps, orgId, query, member, asMember: asOne }) => {
    const { format, columns: wanted, safe, sort, direction, ...filter } = query
    const view = await asOne((tx) => viewOf(tx, orgId, filter))
    const bytes = streamExport(deps.db, (tx) => asMember(tx, member), {
      orgId,
      view,
      order: { sort, descending: direction === 'desc' },
      columns: wanted as ExportColumnName[],
      format,
      safe: safe === 'true',
    })
    return { status: 200, stream: Readable.from(bytes, { objectMode: false }), headers: named(format) }
  }),
  route({
    method: 'POST',
    path: '/api/v1/orgs/{orgId}/export-previews',
    operationId: 'previewExport',
    tag: 'Exports',
    summary: 'Preview an export',
    description: 'The first five rows as cells, exactly as they will be written.',
    access: 'analyst',
    transaction: 'write',
    refuses: ['export.profile_unknown'],
    body: z.strictObject({
      columns,
      filter: sellerFilter,
      sort: sortKey.default('score'),
      descending: z.boolean().default(true),
      safe: z.boolean().default(true),
    }),
    bodyExample: { columns: ['seller', 'score'], filter: {} },
    answers: { 200: { description: 'The rows.', schema: z.object({ rows: z.array(z.array(z.string())) }) } },
  })(async ({ tx, orgId, body }) => {
    const wanted = body.columns as ExportColumnName[]
    const view = await viewOf(tx, orgId, body.filter)
    const list = { orgId, view, order: { sort: body.sort, descending: body.descending }, columns: wanted }
    return { status: 200, body: { rows: previewCells(wanted, await firstRows(tx, list, 5), body.safe) } }
  }),
  route({
    method: 'GET',
    path: '/api/v1/orgs/{orgId}/exports',
    operationId: 'listExports',
    tag: 'Exports',
    summary: 'List exports',
    description: 'Exports of the organisation made by workers, newest first.',
    access: 'viewer',
    transaction: 'read',
    query: z.strictObject(pageQuery),
    answers: {
      200: {
        description: 'A page of exports.',
        schema: z.object({
          items: z.array(exportRow),
          next: z.string().nullable().describe('Cursor of the page after this one; null on the last one.'),
          previous: z.string().nullable().describe('Cursor of the page before this one; null on the first one.'),
        }),
      },
    },
  })(async ({ tx, orgId, query }) => {
    const { limit, cursor } = query
    const beside = readCursor(cursor, order)
    const page = { limit: limit + 1, ...(beside ? { beside } : {}) }
    const { items, ...ends } = toPage(await listExports(tx, orgId, page), { beside, limit, order }, (row) => [
      row.at,
      row.id,
    ])
    return { status: 200, body: { items: items.map(({ at: _at, ...row }) => shown(row)), ...ends } }
  }),
  route({
    method: 'POST',
    path: '/api/v1/orgs/{orgId}/exports',
    operationId: 'orderExport',
    tag: 'Exports',
    summary: 'Order an export',
    description:
      'A worker makes the file, also when everybody has left; it is kept for seven days. With `onlyNew`, only sellers its profile has not had yet.',
    access: 'analyst',
    transaction: 'write',
    body: z
      .strictObject({
        format: exportFormat.default('csv'),
        columns: columns.default([...DEFAULT_EXPORT_COLUMNS]),
        filter: sellerFilter.default({}),
        sort: sortKey.default('score'),
        descending: z.boolean().default(true),
        safe: z.boolean().default(true),
        profileId: z.uuid().nullable().default(null),
        onlyNew: z.boolean().default(false),
      })
      .refine(({ onlyNew, profileId }) => !onlyNew || profileId !== null, {
        path: ['profileId'],
        message: 'is needed to know what is new',
      }),
    bodyExample: { format: 'csv', filter: { scoreFrom: 60 } },
    refuses: ['export.profile_unknown'],
    answers: { 201: { description: 'The export, which waits for a worker.', schema: exportRow } },
  })(async ({ tx, orgId, body, member }) => {
    const view = await viewOf(tx, orgId, body.filter)
    const made = await askForExport(
      tx,
      { orgId, userId: member.userId },
      { ...body, columns: body.columns as ExportColumnName[], filter: viewToJson(view) },
    )
    return { status: 201, body: shown(made) }
  }),
  route({
    method: 'GET',
    path: '/api/v1/orgs/{orgId}/exports/{exportId}',
    operationId: 'getExport',
    tag: 'Exports',
    summary: 'Read an export',
    description: 'How far it is, and when its file is taken away.',
    access: 'viewer',
    transaction: 'read',
    params: exportParams,
    refuses: ['export.unknown'],
    answers: { 200: { description: 'The export.', schema: exportRow } },
  })(async ({ tx, orgId, params }) => {
    const row = await readExport(tx, orgId, params.exportId)
    if (!row) throw noExport()
    return { status: 200, body: shown(row) }
  }),
  route({
    method: 'GET',
    path: '/api/v1/orgs/{orgId}/exports/{exportId}/file',
    operationId: 'downloadExport',
    tag: 'Exports',
    summary: 'Download the file of an export',
    description: 'The file of an export that is ready.',
    access: 'analyst',
    transaction: 'none',
    params: exportParams,
    refuses: ['export.unknown', 'export.not_ready'],
    answers: { 200: { description: 'The file.', stream: 'application/octet-stream', headers: DISPOSITION } },
  })(async ({ orgId, params, asMember: asOne }) => {
    const row = await asOne((tx) => readExport(tx, orgId, params.exportId))
    if (!row) throw noExport()
    if (row.state !== 'ready')
      throw new AppError('export.not_ready', `The export is ${row.state}: there is no file to fetch.`)
    return { status: 200, stream: contentOf(row, asOne), headers: named(row.format) }
  }),
  route({
    method: 'POST',
    path: '/api/v1/orgs/{orgId}/exports/{exportId}/stop',
    operationId: 'stopExport',
    tag: 'Exports',
    summary: 'Stop an export',
    description:
      'Within a second or two; what was written of the file is gone. One that has ended stays as it is. Audited.',
    access: 'analyst',
    transaction: 'write',
    params: exportParams,
    refuses: ['export.unknown'],
    answers: { 200: { description: 'The export.', schema: exportRow } },
  })(async ({ tx, orgId, params, member }) => ({
    status: 200,
    body: shown(await stopExport(tx, { orgId, userId: member.userId }, params.exportId)),
  })),
  route({
    method: 'DELETE',
    path: '/api/v1/orgs/{orgId}/exports/{exportId}',
    operationId: 'deleteExport',
    tag: 'Exports',
    summary: 'Delete an export',
    description: 'With its file. Audited.',
    access: 'analyst',
    transaction: 'write',
    params: exportParams,
    refuses: ['export.unknown'],
    answers: { 204: { description: 'It is gone.' } },
  })(async ({ tx, orgId, params, member }) => {
    await dropExport(tx, { orgId, userId: member.userId }, params.exportId)
    return { status: 204 }
  }),
  route({
    method: 'GET',
    path: '/api/v1/orgs/{orgId}/export-profiles',
    operationId: 'listExportProfiles',
    tag: 'Exports',
    summary: 'List export profiles',
    description: 'The profiles of the organisation, by name.',
    access: 'viewer',
    transaction: 'read',
    answers: { 200: { description: 'The profiles.', schema: z.object({ items: z.array(profile) }) } },
  })(async ({ tx, orgId }) => ({ status: 200, body: { items: (await listProfiles(tx, orgId)).map(shownProfile) } })),
  route({
    method: 'POST',
    path: '/api/v1/orgs/{orgId}/export-profiles',
    operationId: 'saveExportProfile',
    tag: 'Exports',
    summary: 'Save an export profile',
    description: 'Form and columns under a name, for everybody in the organisation. Audited.',
    access: 'analyst',
    transaction: 'write',
    body: z.strictObject({ name: line(100), format: exportFormat, columns, safe: z.boolean().default(true) }),
    bodyExample: { name: 'CRM', format: 'csv', columns: ['seller', 'score', 'flag'] },
    refuses: ['seller.name_taken'],
    answers: { 201: { description: 'The profile.', schema: profile } },
  })(async ({ tx, orgId, body, member }) => {
    const fields = { ...body, columns: body.columns as ExportColumnName[] }
    return { status: 201, body: shownProfile(await saveProfile(tx, { orgId, userId: member.userId }, fields)) }
  }),
  route({
    method: 'DELETE',
    path: '/api/v1/orgs/{orgId}/export-profiles/{profileId}',
    operationId: 'deleteExportProfile',
    tag: 'Exports',
    summary: 'Delete an export profile',
    description: 'Exports made under it stay. Audited.',
    access: 'analyst',
    transaction: 'write',
    params: z.object({ profileId: z.uuid().describe('The profile.') }),
    refuses: ['export.profile_unknown'],
    answers: { 204: { description: 'It is gone.' } },
  })(async ({ tx, orgId, params, member }) => {
    await dropProfile(tx, { orgId, userId: member.userId }, params.profileId)
    return { status: 204 }
  }),
]
