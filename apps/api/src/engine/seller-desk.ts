/** Saved views, export profiles and orders of exports: each write of a person with its row in the audit log. */
import { appendAudit } from '../audit/append.ts'
import { AppError } from '../base/errors.ts'
import { newId } from '../base/ids.ts'
import type { Tx } from '../db/client.ts'
import {
  deleteExport,
  type ExportOrder,
  type ExportRow,
  orderExport,
  readExport,
  requestStop,
} from '../sellers/export-jobs.ts'
import {
  addProfile,
  deleteProfile,
  type ExportProfile,
  type ProfileFields,
  readProfile,
} from '../sellers/export-profiles.ts'
import {
  addView,
  deleteView,
  isNameTaken,
  lockView,
  type SavedView,
  type ViewFields,
  writeView,
} from '../sellers/saved-views.ts'
import type { Actor } from './edit-sellers.ts'

type Told = Readonly<{ before?: object; after?: object }>

async function audit(tx: Tx, actor: Actor, action: string, target: string, { before, after }: Told): Promise<void> {
  await appendAudit(tx, {
    orgId: actor.orgId,
    actorId: actor.userId,
    action,
    target,
    ...(before ? { before: { ...before } } : {}),
    ...(after ? { after: { ...after } } : {}),
  })
}

const fieldsOf = ({ name, filter, sort, descending, columns }: ViewFields): ViewFields => ({
  name,
  filter,
  sort,
  descending,
  columns,
})

async function refuseTaken(tx: Tx, actor: Actor, name: string, except: string | null): Promise<void> {
  if (!(await isNameTaken(tx, actor.orgId, name, except))) return
  throw new AppError('seller.name_taken', `There is a view named "${name}" already.`, { hint: 'Give it another name.' })
}

/** Saves a view. Throws AppError `seller.name_taken`. */
export async function saveView(tx: Tx, actor: Actor, fields: ViewFields): Promise<SavedView> {
  await refuseTaken(tx, actor, fields.name, null)
  const view = await addView(tx, { ...fieldsOf(fields), id: newId(), orgId: actor.orgId, createdBy: actor.userId })
  await audit(tx, actor, 'view.saved', `view:${view.id}`, { after: fieldsOf(view) })
  return view
}

/** Changes a view that `check` lets through. Throws AppError `seller.view_unknown`, `seller.name_taken`. */
export async function changeView(
  tx: Tx,
  actor: Actor,
  id: string,
  change: Partial<ViewFields>,
  check: (view: SavedView) => void,
): Promise<SavedView> {
  const before = await lockView(tx, actor.orgId, id)
  if (!before) throw noView()
  check(before)
  const fields = { ...fieldsOf(before), ...change }
  await refuseTaken(tx, actor, fields.name, id)
  const after = await writeView(tx, id, fields)
  await audit(tx, actor, 'view.changed', `view:${id}`, { before: fieldsOf(before), after: fieldsOf(after) })
  return after
}

/** Takes a view away. Throws AppError `seller.view_unknown`. */
export async function dropView(tx: Tx, actor: Actor, id: string): Promise<void> {
  const before = await lockView(tx, actor.orgId, id)
  if (!before || !(await deleteView(tx, actor.orgId, id))) throw noView()
  await audit(tx, actor, 'view.deleted', `view:${id}`, { before: fieldsOf(before) })
}

function noView(): AppError {
  return new AppError('seller.view_unknown', 'There is no such view.')
}

/** Saves a profile. Throws AppError `seller.name_taken`. */
export async function saveProfile(tx: Tx, actor: Actor, fields: ProfileFields): Promise<ExportProfile> {
  const profile = await addProfile(tx, { ...fields, id: newId(), orgId: actor.orgId, createdBy: actor.userId })
  if (!profile) throw new AppError('seller.name_taken', `There is a profile named "${fields.name}" already.`)
  await audit(tx, actor, 'profile.saved', `profile:${profile.id}`, { after: fields })
  return profile
}

/** Takes a profile away. Throws AppError `export.profile_unknown`. */
export async function dropProfile(tx: Tx, actor: Actor, id: string): Promise<void> {
  const before = await readProfile(tx, actor.orgId, id)
  if (!before || !(await deleteProfile(tx, actor.orgId, id))) throw noProfile()
  const { name, format, columns, safe } = before
  await audit(tx, actor, 'profile.deleted', `profile:${id}`, { before: { name, format, columns, safe } })
}

/** There is no such profile. */
export function noProfile(): AppError {
  return new AppError('export.profile_unknown', 'There is no such export profile.')
}

/** Asks for an export, which a worker makes. Throws AppError `export.profile_unknown`. */
export async function askForExport(
  tx: Tx,
  actor: Actor,
  given: Omit<ExportOrder, 'id' | 'orgId' | 'createdBy'>,
): Promise<ExportRow> {
  if (given.profileId !== null && !(await readProfile(tx, actor.orgId, given.profileId))) throw noProfile()
  const made = await orderExport(tx, { ...given, id: newId(), orgId: actor.orgId, createdBy: actor.userId })
  const { format, columns, filter, onlyNew, profileId } = made
  await audit(tx, actor, 'export.ordered', `export:${made.id}`, {
    after: { format, columns, filter, onlyNew, profileId },
  })
  return made
}

/** Asks the worker to stop; one that has ended stays as it is. Throws AppError `export.unknown`. */
export async function stopExport(tx: Tx, actor: Actor, id: string): Promise<ExportRow> {
  const stopped = await requestStop(tx, actor.orgId, id)
  const row = await readExport(tx, actor.orgId, id)
  if (!row) throw noExport()
  if (stopped) await audit(tx, actor, 'export.stopped', `export:${id}`, { after: { rows: row.rows } })
  return row
}

/** Takes an export with its file away. Throws AppError `export.unknown`. */
export async function dropExport(tx: Tx, actor: Actor, id: string): Promise<void> {
  const row = await readExport(tx, actor.orgId, id)
  if (!row || !(await deleteExport(tx, actor.orgId, id))) throw noExport()
  await audit(tx, actor, 'export.deleted', `export:${id}`, { before: { state: row.state, rows: row.rows } })
}

/** There is no such export. */
export function noExport(): AppError {
  return new AppError('export.unknown', 'There is no such export.', { hint: 'Files are kept for seven days.' })
}
