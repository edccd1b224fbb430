/**
 * Claim and hold: work and the money for it are taken in one statement, so there is never an item in work without a
 * call row, nor a call row without its hold under the cap. The cap that bites is the nearer one, of the run or of its
 * organisation's month: the month's row is locked after the run's, and only when it has a cap.
 */
import type { Micros } from '../base/money.ts'
import type { Tx } from '../db/client.ts'
import type { CategoryRef, ListStep, SearchQuery } from '../providers/types.ts'

export type Claim = Readonly<{
  runId: string
  workerId: string
  accountId: string
  /** Ids for as many calls as this worker can send now, never a prefetch; known before, should the COMMIT's answer be lost. */
  callIds: readonly string[]
  /** The most one call can cost. */
  priceMicros: Micros
  /** How long the worker may take before the call counts as lost, ms; longer than the call's own time limit. */
  leaseMs: number
}>

/** What the engine keeps in `collection_items.data` of a product. */
export type ProductData = Readonly<{
  title: string
  priceCents: number | null
  brand?: string
  gtins?: readonly string[]
  imageUrl?: string
  url?: string
  /** The query ladder, first rung first. */
  ladder: readonly SearchQuery[]
}>

/** What the governor of the account said to a claim. */
export type Room = Readonly<{
  /** Why no more was claimed; null when the governor did not stand in the way. */
  reason: 'stopped' | 'quota' | 'rest' | 'window' | 'rate' | 'gone' | null
  /** After which it is worth asking again, ms. */
  waitMs: number
  /** Of stopped, quota and rest: when it may end. */
  until: Date | null
  /** The same from now on, ms by the database's clock. */
  untilMs: number | null
  /** What the trouble is, a sentence. */
  note: string | null
  /** The database's clock when it said so, ms since 1970. */
  nowMs: number
}>

/** What a claim took, and what the governor said. */
export type Slice<Claimed> = Readonly<{
  claimed: readonly Claimed[]
  room: Room
  /** What the month cap leaves after it, null without one; undefined when the claim did not come to look at it. */
  monthLeftMicros: Micros | null | undefined
}>

export type ClaimedItem = Readonly<{
  callId: string
  /** When it may be sent, ms since 1970 by the database's clock; null = at once. */
  sendAtMs: number | null
  itemId: string
  epoch: number
  attempt: number
  rung: number
  data: ProductData
}>

const ROOM_COLUMNS = `
  room.reason, room.wait_ms as "waitMs", room.until, room.note,
  ceil(extract(epoch from room.until - clock_timestamp()) * 1000)::double precision as "untilMs",
  extract(epoch from clock_timestamp())::double precision * 1000 as "nowMs"`

/** The run $1, locked when it is running and there is room; and what the nearer of its two caps leaves. */
const LOCKED_RUN = `locked as materialized (
    select org_id, cap_micros - spent_micros - held_micros - suspect_micros as left_micros
    from collection_runs where id = $1 and status = 'running' and (select room from room) > 0 for no key update
  ), month as materialized (
    select gleaner_month_left(org_id) as left_micros from locked
  ), run as materialized (
    select least(locked.left_micros, month.left_micros) as left_micros from locked, month
  )`

/**
 * Takes pending products of a running run, first rungs first, at most one for each of `callIds` and not more than the
 * account's governor has room for, and holds their price under the cap. Afterwards each returned item is processing under
 * a raised epoch, has one held call, and the run's held money is the higher by its price. What does not fit under the cap
 * is left untouched: fewer items, or none, are returned.
 */
export async function claimItems(tx: Tx, claim: Claim): Promise<Slice<ClaimedItem>> {
  const { rows } = await tx.query<ClaimedItem & Told>({
    name: 'ledger.claim_items',
    text: `
      -- The governor's row is locked first, then the run's, then the month's: the same order everywhere.
      with room as materialized (
        select * from gleaner_room($2, $1, $5::int)
      ), ${LOCKED_RUN}, picked as materialized (
        select id from collection_items
        where run_id = $1 and status = 'pending' and item_type = 'amazon_product'
          and (not_before is null or not_before <= now())
        order by rung, id
        -- No run, or less than nothing left after a breach: none. A limit of null would be all.
        limit coalesce((
          select case when $6::bigint = 0 then room else least(room, greatest(left_micros, 0) / $6::bigint) end
          from run, room
        ), 0)
        for update skip locked
      ), taken as (
        update collection_items i set status = 'processing', epoch = epoch + 1, attempt = attempt + 1, not_before = null
        -- Not a join: the planner takes the limit for a tenth of the queue, and reads the whole table to join with it.
        where i.id = any (array(select id from picked))
        returning i.id, i.epoch, i.attempt, i.rung, i.data
      ), numbered as (
        select taken.*, ($7::uuid[])[row_number() over (order by rung, id)] as call_id from taken
      ), held as (
        insert into collection_calls
          (id, run_id, account_id, item_id, worker_id, epoch, attempt, rung, hold_micros, lease_until, request)
        select call_id, $1, $2, id, $3, epoch, attempt, rung, $6::bigint, now() + $4::int * interval '1 ms', data -> 'ladder' -> (rung - 1)
        from numbered
      ), slots as materialized (
        select * from gleaner_take_room($2, (select count(*)::int from numbered), false)
      )
      select call_id as "callId", id as "itemId", epoch, attempt, rung, data, ${ROOM_COLUMNS},
        exists (select from month) as "monthSeen",
        (select left_micros from month) - (select count(*) from numbered) * $6::bigint as "monthLeft",
        slots.first_ms + slots.spacing_ms * (row_number() over (order by rung, id) - 1) as "sendAtMs"
      from room cross join slots left join numbered on true order by rung, id`,
    values: [
      claim.runId,
      claim.accountId,
      claim.workerId,
      claim.leaseMs,
      claim.callIds.length,
      claim.priceMicros,
      claim.callIds,
    ],
  })
  return sliceOf(rows)
}

type Told = Room & Readonly<{ monthSeen: boolean; monthLeft: Micros | null }>

/** The first row tells of room and month, whether anything was claimed or not. */
function sliceOf<Claimed extends Readonly<{ callId: string }>>(rows: readonly (Claimed & Told)[]): Slice<Claimed> {
  const [first] = rows
  if (!first) throw new Error('a claim says what room there was')
  const { reason, waitMs, until, untilMs, note, nowMs, monthSeen, monthLeft } = first
  return {
    claimed: rows.filter((row) => row.callId !== null),
    room: { reason, waitMs, until, untilMs, note, nowMs },
    monthLeftMicros: monthSeen ? monthLeft : undefined,
  }
}

export type ClaimedCategory = Readonly<{
  callId: string
  /** When it may be sent, ms since 1970 by the database's clock; null = at once. */
  sendAtMs: number | null
  categoryId: string
  epoch: number
  attempt: number
  category: CategoryRef
  step: ListStep
}>

/** A category that is waiting for its next step, before it is claimed: its price depends on the step. */
export type WaitingCategory = Readonly<{ id: string; step: ListStep }>

/** Up to `limit` categories of the run whose next step can be taken now, in the order they were chosen; locks nothing. */
export async function waitingCategories(tx: Tx, runId: string, limit: number): Promise<WaitingCategory[]> {
  const { rows } = await tx.query<WaitingCategory>({
    name: 'ledger.waiting_categories',
    text: `
      select id, step from collection_run_categories
      where run_id = $1 and status = 'pending' and (not_before is null or not_before <= now())
      order by position limit $2`,
    values: [runId, limit],
  })
  return rows
}

/**
 * Takes those of `wanted` that are still pending and whose price fits under the cap, in order, at most one for each of
 * `callIds`. Afterwards each returned category is processing under a raised epoch and has one held call of its price. One
 * that is too dear does not stand in the way of those behind it.
 */
export async function claimCategories(
  tx: Tx,
  claim: Omit<Claim, 'priceMicros'>,
  wanted: readonly Readonly<{ id: string; priceMicros: Micros }>[],
): Promise<Slice<ClaimedCategory>> {
  const { rows } = await tx.query<ClaimedCategory & Told>({
    name: 'ledger.claim_categories',
    text: `
      with room as materialized (
        select * from gleaner_room($2, $1, cardinality($6::uuid[]))
      ), ${LOCKED_RUN}, picked as materialized (
        select c.id, w.price, w.place from collection_run_categories c
        join json_to_recordset($5) as w(id uuid, price bigint, place int) on w.id = c.id
        where c.run_id = $1 and c.status = 'pending' and w.price <= (select left_micros from run)
        order by w.place limit coalesce((select room from room, run), 0)
        for update of c skip locked
      ), fitting as (
        select p.*, ($6::uuid[])[row_number() over (order by place)] as call_id
        from (select picked.*, sum(price) over (order by place) as upto from picked) p, run
        where p.upto <= run.left_micros
      ), taken as (
        update collection_run_categories c
        set status = 'processing', epoch = epoch + 1, attempt = attempt + 1, not_before = null
        from fitting where c.id = fitting.id
        returning c.id, c.epoch, c.attempt, c.category, c.step, fitting.call_id, fitting.price, fitting.place
      ), held as (
        insert into collection_calls
          (id, run_id, account_id, category_id, worker_id, epoch, attempt, hold_micros, lease_until, request)
        select call_id, $1, $2, id, $3, epoch, attempt, price, now() + $4::int * interval '1 ms',
          jsonb_build_object('category', category ->> 'key', 'step', step - 'asins' - 'rest')
        from taken
      ), slots as materialized (
        select * from gleaner_take_room($2, (select count(*)::int from taken), false)
      )
      select call_id as "callId", id as "categoryId", epoch, attempt, category, step, ${ROOM_COLUMNS},
        exists (select from month) as "monthSeen",
        (select left_micros from month) - (select coalesce(sum(price), 0)::bigint from taken) as "monthLeft",
        slots.first_ms + slots.spacing_ms * (row_number() over (order by place) - 1) as "sendAtMs"
      from room cross join slots left join taken on true order by place`,
    values: [
      claim.runId,
      claim.accountId,
      claim.workerId,
      claim.leaseMs,
      JSON.stringify(wanted.map((one, index) => ({ id: one.id, price: one.priceMicros, place: index + 1 }))),
      claim.callIds,
    ],
  })
  return sliceOf(rows)
}
