/** What a sample holds back: products, and lists, that wait with `not_before = infinity` until the run goes on. */
import type { Queryable, Tx } from '../db/client.ts'

/** True when something of the sample waits or is in work: anything open that is not held back. */
export async function hasOpenSample(db: Queryable, runId: string): Promise<boolean> {
  const { rows } = await db.query<{ open: boolean }>(
    `select exists (
         select from collection_items where run_id = $1 and item_type = 'amazon_product'
           and status in ('pending', 'processing') and not_before is distinct from 'infinity')
       or exists (
         select from collection_run_categories where run_id = $1
           and status in ('pending', 'processing') and not_before is distinct from 'infinity') as open`,
    [runId],
  )
  return rows[0]?.open ?? false
}

/** True when something of the run is held back still. */
export async function hasHeldBack(db: Queryable, runId: string): Promise<boolean> {
  const { rows } = await db.query<{ held: boolean }>(
    `select exists (
         select from collection_items where run_id = $1 and item_type = 'amazon_product' and status = 'pending'
           and rung = 1 and not_before = 'infinity')
       or exists (
         select from collection_run_categories where run_id = $1 and status = 'pending' and not_before = 'infinity') as held`,
    [runId],
  )
  return rows[0]?.held ?? false
}

/** Frees up to `most` held products with ids above `after`. Returns the last id freed, null when there were fewer. */
export async function freeHeldProducts(tx: Tx, runId: string, after: string, most: number): Promise<string | null> {
  const { rows } = await tx.query<{ count: number; last: string | null }>(
    `with held as (
       select id from collection_items
       where run_id = $1 and item_type = 'amazon_product' and status = 'pending' and rung = 1 and id > $2
         and not_before = 'infinity'
       order by id limit $3
     ), freed as (
       update collection_items i set not_before = null from held where i.id = held.id returning i.id
     )
     select count(*)::int as count, (array_agg(id order by id desc))[1] as last from freed`,
    [runId, after, most],
  )
  const [row] = rows
  return row && row.count === most ? row.last : null
}

/** Frees the categories whose lists the sample did not need. */
export async function freeHeldCategories(tx: Tx, runId: string): Promise<void> {
  await tx.query(
    `update collection_run_categories set not_before = null
     where run_id = $1 and status = 'pending' and not_before = 'infinity'`,
    [runId],
  )
}

/**
 * Of a list that is being read while its run samples: how many of the products on this step belong to the sample, when
 * `more` steps follow or none. Null when nothing is held back.
 */
export async function sampleShare(tx: Tx, categoryId: string, more: boolean): Promise<number | null> {
  const { rows } = await tx.query<{ share: number; first: boolean }>(
    `select c.sample_products as share, c.product_count = 0 as first
     from collection_run_categories c join collection_runs r on r.id = c.run_id
     where c.id = $1 and c.sample_products is not null and r.sampled_at is null`,
    [categoryId],
  )
  const [row] = rows
  if (!row) return null
  const half = Math.ceil(row.share / 2)
  if (row.first) return more ? half : row.share
  return more ? 0 : row.share - half
}
