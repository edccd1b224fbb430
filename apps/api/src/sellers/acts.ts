/** Acts on many sellers at once, and their undo. Statements only: who may and what is told is the engine's. */
import type { Queryable, Tx } from '../db/client.ts'
import { type Conditions, conditionsOf, type Flag, makeValues, type SellerView, type Values } from './view.ts'

export type BulkAct =
  /** Null takes the flag away. */
  | Readonly<{ kind: 'flag'; flag: Flag | null }>
  | Readonly<{ kind: 'note'; note: string | null }>
  | Readonly<{ kind: 'remove' }>
  | Readonly<{ kind: 'restore' }>

/** How long an act can be undone. */
export const UNDO_HOURS = 24

/** Opens an act of this person; what it does follows in the same transaction. Returns the moment of the act. */
export async function openAct(
  tx: Tx,
  act: Readonly<{ id: string; orgId: string; actorId: string; kind: BulkAct['kind'] }>,
): Promise<Date> {
  const { rows } = await tx.query<{ at: Date }>(
    'insert into seller_acts (id, org_id, actor_id, kind) values ($1, $2, $3, $4) returning at',
    [act.id, act.orgId, act.actorId, act.kind],
  )
  if (!rows[0]) throw new Error('the act was not written')
  return rows[0].at
}

type Doing = Readonly<{ actId: string; orgId: string; actorId: string; at: Date; view: SellerView; act: BulkAct }>

/** Does it to every seller of the view that is there now, and remembers what each was. Returns how many there were. */
export async function applyAct(tx: Tx, doing: Doing): Promise<number> {
  const { act, view } = doing
  const values = makeValues()
  // Only who is removed can be restored, and nobody is removed twice.
  const meant =
    act.kind === 'restore' ? { ...view, removed: true } : act.kind === 'remove' ? { ...view, removed: false } : view
  const chosen = chosenSql(conditionsOf(meant, doing.orgId, values, { access: 'set' }), values)
  const text =
    act.kind === 'flag' || act.kind === 'note' ? markSql(doing, chosen, values) : listSql(doing, chosen, values)
  const { rows } = await tx.query<{ count: number }>(text, values.list)
  const count = rows[0]?.count ?? 0
  await tx.query('update seller_acts set seller_count = $2 where id = $1', [doing.actId, count])
  return count
}

function chosenSql({ base, filters, pattern, search }: Conditions, values: Values): string {
  const named =
    pattern === null ? 'seller_list' : `gleaner_sellers_named($1, ${pattern}, ${values.add(Number.MAX_SAFE_INTEGER)})`
  const wanted = [...base, ...filters, ...(pattern === null && search !== null ? [search] : [])]
  return `select f.seller_id, f.removed_at, f.removed_by from ${named} f where ${wanted.join(' and ')}`
}

/** What was: the marks of each, and its place on the list. */
function rememberSql(doing: Doing, chosen: string, { add }: Values, revision: string): string {
  return `chosen as materialized (${chosen}), remembered as (
      insert into seller_act_rows (act_id, seller_id, org_id, flag, flagged_by, flagged_at, note, noted_by, noted_at,
        removed_at, removed_by, revision)
      select ${add(doing.actId)}, c.seller_id, $1, m.flag, m.flagged_by, m.flagged_at, m.note, m.noted_by, m.noted_at,
        c.removed_at, c.removed_by, ${revision}
      from chosen c left join seller_marks m on m.seller_id = c.seller_id
      returning seller_id
    )`
}

function markSql(doing: Doing, chosen: string, values: Values): string {
  const { act, actorId, at } = doing
  const value = act.kind === 'flag' ? act.flag : act.kind === 'note' ? act.note : null
  const [column, by, moment] =
    act.kind === 'flag' ? ['flag', 'flagged_by', 'flagged_at'] : ['note', 'noted_by', 'noted_at']
  const [given, who, when] = [values.add(value), values.add(actorId), values.add(at)]
  const remember = rememberSql(doing, chosen, values, 'coalesce(m.revision, 0) + 1')
  return `with ${remember}, marked as (
      insert into seller_marks as m (seller_id, org_id, ${column}, ${by}, ${moment})
      select seller_id, $1, ${given}::text, ${who}::uuid, case when ${given}::text is not null then ${when}::timestamptz end
      from remembered
      on conflict (seller_id) do update
        set ${column} = excluded.${column}, ${by} = excluded.${by}, ${moment} = excluded.${moment}, revision = m.revision + 1
    )
    select count(*)::int as count from remembered`
}

function listSql(doing: Doing, chosen: string, values: Values): string {
  const { act, actorId, at } = doing
  const gone = act.kind === 'remove'
  const [when, who] = [values.add(gone ? at : null), values.add(gone ? actorId : null)]
  const remember = rememberSql(doing, chosen, values, 'coalesce(m.revision, 0)')
  return `with ${remember}, moved as (
      update seller_list l set removed_at = ${when}::timestamptz, removed_by = ${who}::uuid from remembered r where l.seller_id = r.seller_id
    )
    select count(*)::int as count from remembered`
}

export type Act = Readonly<{
  id: string
  orgId: string
  kind: BulkAct['kind']
  actorId: string
  at: Date
  sellers: number
  undoneAt: Date | null
  /** It is too long ago to be undone. */
  expired: boolean
}>

/** The act with this id, locked against a second undo, or null. */
export async function lockAct(tx: Tx, orgId: string, id: string): Promise<Act | null> {
  const { rows } = await tx.query<Act>(
    `select id, org_id as "orgId", kind, actor_id as "actorId", at, seller_count as sellers, undone_at as "undoneAt",
       at < now() - interval '${UNDO_HOURS} hours' as expired
     from seller_acts where org_id = $1 and id = $2 for update`,
    [orgId, id],
  )
  return rows[0] ?? null
}

/**
 * Makes every seller of the act what it was before, except those somebody changed since. Returns how many were put back.
 * The act is marked as undone.
 */
export async function undoAct(tx: Tx, act: Act, actorId: string): Promise<number> {
  await tx.query('update seller_acts set undone_at = now(), undone_by = $2 where id = $1', [act.id, actorId])
  const statements: Record<BulkAct['kind'], string> = {
    flag: `update seller_marks m set flag = r.flag, flagged_by = r.flagged_by, flagged_at = r.flagged_at, revision = m.revision + 1
      from seller_act_rows r where r.act_id = $1 and m.seller_id = r.seller_id and m.revision = r.revision`,
    note: `update seller_marks m set note = r.note, noted_by = r.noted_by, noted_at = r.noted_at, revision = m.revision + 1
      from seller_act_rows r where r.act_id = $1 and m.seller_id = r.seller_id and m.revision = r.revision`,
    remove: `update seller_list l set removed_at = null, removed_by = null
      from seller_act_rows r join seller_acts a on a.id = r.act_id
      where r.act_id = $1 and l.seller_id = r.seller_id and l.removed_at = a.at`,
    restore: `update seller_list l set removed_at = r.removed_at, removed_by = r.removed_by
      from seller_act_rows r where r.act_id = $1 and l.seller_id = r.seller_id and l.removed_at is null`,
  }
  const { rowCount } = await tx.query(statements[act.kind], [act.id])
  return rowCount ?? 0
}

/** Forgets what can no longer be undone: for housekeeping. */
export async function forgetActs(db: Queryable): Promise<void> {
  await db.query(
    `delete from seller_act_rows r using seller_acts a where a.id = r.act_id and a.at < now() - interval '${UNDO_HOURS + 1} hours'`,
  )
}
