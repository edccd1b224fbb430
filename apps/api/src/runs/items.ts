/** Products of a run: inserting them, and writing down what became of their search. */
import { newId } from '../base/ids.ts'
import { toJson } from '../base/json.ts'
import type { Micros } from '../base/money.ts'
import type { Tx } from '../db/client.ts'

/**
 * The calls among `claims` whose item still waits for exactly this claim's answer; their items are locked until the
 * transaction ends. Returns call ids.
 */
export async function lockEffectiveItems(
  tx: Tx,
  claims: readonly Readonly<{ callId: string; itemId: string; epoch: number }>[],
): Promise<Set<string>> {
  const { rows } = await tx.query<{ call: string }>({
    name: 'items.lock_effective',
    text: `
      select a.call from json_to_recordset($1) as a(call uuid, id uuid, epoch int)
      join collection_items i on i.id = a.id and i.epoch = a.epoch
      where i.status in ('processing', 'pending')
      for no key update of i`,
    values: [toJson(claims.map(({ callId, itemId, epoch }) => ({ call: callId, id: itemId, epoch })))],
  })
  return new Set(rows.map((row) => row.call))
}

export type ItemBooking = Readonly<{
  itemId: string
  /** What the call cost; added to the item also when the rest does not take effect. */
  costMicros: Micros
  /** Null when the item was claimed anew meanwhile: only the cost is added. */
  change: ItemChange | null
}>

export type ItemChange =
  | Readonly<{ status: 'completed'; outcome: 'found' | 'none' }>
  | Readonly<{ status: 'failed'; outcome: 'blocked' | 'drift' | 'rejected'; code: string; message: string }>
  /** Back to the queue: the same rung again after a pause, or the next rung. */
  | Readonly<{ status: 'pending'; rung: number; attempt: number; delayMs: number; code?: string; message?: string }>

/**
 * Writes what became of products, each named once. An item that has evidence from an earlier rung ends as found, whatever its last rung
 * brought.
 */
export async function bookItems(tx: Tx, bookings: readonly ItemBooking[]): Promise<void> {
  await tx.query({
    name: 'items.book',
    text: `
      with booked as (
        select b.*, b.outcome in ('none', 'blocked', 'drift', 'rejected') and b.ended
          and exists (select from collection_sightings s where s.item_id = b.id) as found_before
        from json_to_recordset($1) as b(id uuid, cost bigint, changes boolean, ended boolean, status text, outcome text,
          rung smallint, attempt int, delay_ms int, code text, message text)
      )
      update collection_items i set
        status = case when not b.changes then i.status when b.found_before then 'completed' else b.status end,
        outcome = case when not b.changes then i.outcome when b.found_before then 'found' else b.outcome end,
        rung = coalesce(b.rung, i.rung),
        attempt = coalesce(b.attempt, i.attempt),
        not_before = case when not b.changes then i.not_before when b.delay_ms > 0 then now() + b.delay_ms * interval '1 ms' end,
        error_code = case when b.changes then b.code else i.error_code end,
        error_message = case when b.changes then b.message else i.error_message end,
        finished_at = case when b.ended then now() else i.finished_at end,
        cost_micros = i.cost_micros + b.cost,
        cost_cents = ceil((i.cost_micros + b.cost) / 10000.0)
      from booked b where i.id = b.id`,
    values: [toJson(bookings.map(toRow))],
  })
}

function toRow({ itemId, costMicros, change }: ItemBooking): Record<string, unknown> {
  if (!change) return { id: itemId, cost: costMicros, changes: false, ended: false }
  const row = { id: itemId, cost: costMicros, changes: true, ended: change.status !== 'pending', status: change.status }
  if (change.status === 'completed') return { ...row, outcome: change.outcome }
  if (change.status === 'failed') {
    return { ...row, outcome: change.outcome, code: change.code, message: change.message }
  }
  return {
    ...row,
    rung: change.rung,
    attempt: change.attempt,
    delay_ms: change.delayMs,
    code: change.code,
    message: change.message,
  }
}

export type NewProduct = Readonly<{
  asin: string
  /** What the engine needs to search it, see ledger/claim.ts `ProductData`. */
  data: unknown
  rank: number | null
  /** Why it will not be searched; null when it will. */
  skip: Readonly<{ code: string; message: string }> | null
  /** Held back until the run's sample is through. */
  held?: boolean
}>

/**
 * Adds products to a run, in order. A product the run has already keeps its one item. With `categoryId`, also notes that
 * this category named each of them, at its rank. Returns how many the run did not have before.
 */
export async function addProducts(
  tx: Tx,
  runId: string,
  products: readonly NewProduct[],
  categoryId: string | null,
): Promise<number> {
  if (products.length === 0) return 0
  const { rows } = await tx.query<{ added: number }>({
    name: 'items.add_products',
    text: `
      with named as materialized (
        select * from json_to_recordset($2)
          as p(id uuid, place int, asin text, data jsonb, skipped boolean, code text, message text, held boolean)
      ), added as (
        insert into collection_items
          (id, run_id, item_type, external_id, status, outcome, data, error_code, error_message, finished_at, not_before)
        select id, $1, 'amazon_product', asin, case when skipped then 'skipped' else 'pending' end,
          case when skipped then 'skipped' end, data, code, message, case when skipped then now() end,
          case when held and not skipped then 'infinity'::timestamptz end
        from named order by place
        on conflict (run_id, item_type, external_id) do nothing
        returning id
      )
      select count(*)::int as added from added`,
    values: [runId, toJson(products.map(toProductRow))],
  })
  if (categoryId) await nameProducts(tx, runId, products, categoryId)
  return rows[0]?.added ?? 0
}

function toProductRow(product: NewProduct, index: number): Record<string, unknown> {
  return {
    id: newId(),
    place: index,
    asin: product.asin,
    data: product.data,
    skipped: product.skip !== null,
    code: product.skip?.code,
    message: product.skip?.message,
    held: product.held ?? false,
  }
}

async function nameProducts(tx: Tx, runId: string, products: readonly NewProduct[], categoryId: string): Promise<void> {
  await tx.query({
    name: 'items.name_products',
    text: `
      insert into collection_category_products (category_id, item_id, rank)
      select $1, i.id, p.rank from json_to_recordset($3) as p(asin text, rank int)
      join collection_items i on i.run_id = $2 and i.item_type = 'amazon_product' and i.external_id = p.asin
      on conflict (category_id, item_id) do nothing`,
    values: [categoryId, runId, toJson(products.map(({ asin, rank }) => ({ asin, rank })))],
  })
}

/**
 * Ends the pending products that were answered on an earlier rung and wait only to be asked once more: as found when they
 * have evidence, as none otherwise. One whose earlier rungs were refused has no answer yet and is left. Returns how many.
 */
export async function finishClimbers(tx: Tx, runId: string): Promise<number> {
  const { rowCount } = await tx.query(
    `update collection_items i set status = 'completed', finished_at = now(), not_before = null,
       outcome = case when exists (select from collection_sightings s where s.item_id = i.id) then 'found' else 'none' end
     where run_id = $1 and item_type = 'amazon_product' and status = 'pending' and rung > 1
       and exists (select from collection_calls c where c.item_id = i.id and c.outcome in ('found', 'none'))`,
    [runId],
  )
  return rowCount ?? 0
}
