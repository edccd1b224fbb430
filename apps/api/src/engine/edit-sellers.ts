/**
 * What people do to sellers, each act with its row in the audit log in the same transaction: flags, notes and names of one,
 * acts on many with their undo. The transaction says on whose behalf it runs: row level security decides who may.
 */
import { appendAudit } from '../audit/append.ts'
import { AppError } from '../base/errors.ts'
import { newId } from '../base/ids.ts'
import { cleanLine } from '../base/text.ts'
import type { Tx } from '../db/client.ts'
import { applyAct, type BulkAct, lockAct, openAct, UNDO_HOURS, undoAct } from '../sellers/acts.ts'
import { lockSeller, type SellerChange, writeSeller } from '../sellers/edit.ts'
import { readSeller, type SellerDetail } from '../sellers/seller-detail.ts'
import type { SellerView } from '../sellers/view.ts'

export type Actor = Readonly<{ userId: string; orgId: string }>

/** What a change made by somebody else is told from: the ETag of a seller. */
export function sellerTag(seller: Pick<SellerDetail, 'revision' | 'removedAt'>): string {
  return `"${seller.revision}-${seller.removedAt?.getTime() ?? 0}"`
}

/**
 * Changes one seller: flag, note, the name it is shown under, whether it is on the list. `check` is asked,
 * once the seller is locked, whether the change rests on this version; it throws when it does not. Returns the seller as it is now.
 * Throws AppError `seller.unknown`, `auth.role_too_low`, `input.invalid`.
 */
export async function editSeller(
  tx: Tx,
  actor: Actor,
  id: string,
  change: SellerChange,
  check: (tag: string) => void,
): Promise<SellerDetail> {
  const checked = checkChange(change)
  const locked = await lockSeller(tx, actor.orgId, id)
  const before = await readSeller(tx, actor.orgId, id)
  if (!before) throw new AppError('seller.unknown', 'There is no such seller.')
  if (!locked) throw new AppError('auth.role_too_low', `You may not change sellers of this organisation.`)
  check(sellerTag(before))
  await writeSeller(tx, actor, before, checked)
  const after = await readSeller(tx, actor.orgId, id)
  if (!after) throw new Error(`seller ${id} is gone after its change`)
  const fields = ['flag', 'note', 'name', 'removedAt'] as const
  const changed = fields.filter((field) => String(before[field]) !== String(after[field]))
  if (changed.length > 0) {
    await appendAudit(tx, {
      orgId: actor.orgId,
      actorId: actor.userId,
      action: 'seller.changed',
      target: `seller:${id}`,
      before: Object.fromEntries(changed.map((field) => [field, before[field]])),
      after: Object.fromEntries(changed.map((field) => [field, after[field]])),
    })
  }
  return after
}

const NOTE_MOST = 2000
const NAME_MOST = 200

function checkChange(change: SellerChange): SellerChange {
  const note = change.note === undefined ? {} : { note: checkNote(change.note) }
  if (change.name === undefined) return { ...change, ...note }
  const name = cleanLine(change.name)
  if (name === '' || [...name].length > NAME_MOST) {
    throw new AppError('input.invalid', `A name has 1 to ${NAME_MOST} characters.`)
  }
  return { ...change, ...note, name }
}

function checkNote(note: string | null): string | null {
  const text = note?.trim() ?? ''
  if ([...text].length > NOTE_MOST) throw new AppError('input.invalid', `A note has at most ${NOTE_MOST} characters.`)
  return text === '' ? null : text
}

export type ActDone = Readonly<{
  /** How many sellers it concerned: the true number. */
  sellers: number
  /** Takes it back, once, until `undoUntil`; null when it concerned nobody. */
  undoToken: string | null
  undoUntil: Date | null
}>

const HOUR_MS = 3_600_000

/** Does it to every seller of the view, in one transaction with one row in the audit log. */
export async function actOnSellers(tx: Tx, actor: Actor, view: SellerView, act: BulkAct): Promise<ActDone> {
  const checked: BulkAct = act.kind === 'note' ? { kind: 'note', note: checkNote(act.note) } : act
  const actId = newId()
  const at = await openAct(tx, { id: actId, orgId: actor.orgId, actorId: actor.userId, kind: act.kind })
  const sellers = await applyAct(tx, { actId, orgId: actor.orgId, actorId: actor.userId, at, view, act: checked })
  await appendAudit(tx, {
    orgId: actor.orgId,
    actorId: actor.userId,
    action: `sellers.${WORDS[act.kind]}`,
    target: `seller_act:${actId}`,
    after: { ...checked, view: told(view), sellers },
  })
  if (sellers === 0) return { sellers, undoToken: null, undoUntil: null }
  return { sellers, undoToken: actId, undoUntil: new Date(at.getTime() + UNDO_HOURS * HOUR_MS) }
}

const WORDS: Readonly<Record<BulkAct['kind'], string>> = {
  flag: 'flagged',
  note: 'noted',
  remove: 'removed',
  restore: 'restored',
}

/** A view for the log: of ids named one by one the first hundred, and how many there were. */
function told(view: SellerView): Record<string, unknown> {
  const list = (ids: readonly string[] | undefined) =>
    ids && ids.length > 100 ? { count: ids.length, first: ids.slice(0, 100) } : ids
  return {
    ...view,
    ...(view.ids ? { ids: list(view.ids) } : {}),
    ...(view.except ? { except: list(view.except) } : {}),
  }
}

/**
 * Takes an act back: every seller is what it was before, with the same id, except those somebody changed since. Once, and
 * within a day. Throws AppError `seller.undo_unknown`, `seller.undo_used`, `seller.undo_expired`.
 */
export async function undoOnSellers(
  tx: Tx,
  actor: Actor,
  token: string,
): Promise<Readonly<{ restored: number; changedSince: number }>> {
  const act = await lockAct(tx, actor.orgId, token)
  if (!act) throw new AppError('seller.undo_unknown', 'There is nothing to undo under this token.')
  if (act.undoneAt) throw new AppError('seller.undo_used', 'This was undone already.')
  if (act.expired) throw new AppError('seller.undo_expired', `This was done more than ${UNDO_HOURS} hours ago.`)
  const restored = await undoAct(tx, act, actor.userId)
  const changedSince = act.sellers - restored
  await appendAudit(tx, {
    orgId: actor.orgId,
    actorId: actor.userId,
    action: 'sellers.undone',
    target: `seller_act:${act.id}`,
    after: { kind: act.kind, restored, changedSince },
  })
  return { restored, changedSince }
}
