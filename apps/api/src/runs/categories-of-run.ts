/** The categories of a run: the work of its products phase. */
import { toJson } from '../base/json.ts'
import type { Tx } from '../db/client.ts'
import type { CategoryRef, ListStep } from '../providers/types.ts'

/**
 * Adds the categories a run collects, in the order given. With `sample`, so many products of the list belong to the run's
 * sample; with zero the list waits until that is through.
 */
export async function addCategories(
  tx: Tx,
  runId: string,
  categories: readonly Readonly<{ category: CategoryRef; firstStep: ListStep; sample?: number }>[],
): Promise<void> {
  await tx.query(
    `insert into collection_run_categories (run_id, category_key, name, position, category, step, sample_products, not_before)
     select $1, c.category ->> 'key', c.category ->> 'name', c.place, c.category, c.step,
       nullif(c.sample, 0), case when c.sample = 0 then 'infinity'::timestamptz end
     from json_to_recordset($2) as c(category jsonb, step jsonb, place int, sample int) order by c.place`,
    [
      runId,
      toJson(
        categories.map(({ category, firstStep, sample }, index) => ({
          category,
          step: firstStep,
          place: index + 1,
          sample,
        })),
      ),
    ],
  )
}

/** True when this category still waits for exactly this claim's answer; its row is locked until the transaction ends. */
export async function lockEffectiveCategory(tx: Tx, categoryId: string, epoch: number): Promise<boolean> {
  const { rows } = await tx.query(
    `select id from collection_run_categories
     where id = $1 and epoch = $2 and status in ('processing', 'pending') for no key update`,
    [categoryId, epoch],
  )
  return rows.length === 1
}

export type CategoryChange =
  | Readonly<{ status: 'pending'; step: ListStep | null; attempt: number; delayMs: number; products: number }>
  | Readonly<{ status: 'completed'; products: number }>
  | Readonly<{ status: 'failed'; code: string; message: string }>

/** Writes what became of a category's step. `products` adds to the number of products this list has named. */
export async function bookCategory(tx: Tx, categoryId: string, change: CategoryChange): Promise<void> {
  const pending = change.status === 'pending' ? change : null
  const failed = change.status === 'failed' ? change : null
  await tx.query({
    name: 'categories.book',
    text: `
      update collection_run_categories set
        status = $2, step = coalesce($3::jsonb, step), attempt = coalesce($4, attempt),
        not_before = case when $5::int > 0 then now() + $5::int * interval '1 ms' end,
        product_count = product_count + $6, error_code = $7, error_message = $8,
        finished_at = case when $2 in ('completed', 'failed') then now() end
      where id = $1`,
    values: [
      categoryId,
      change.status,
      pending?.step ? toJson(pending.step) : null,
      pending?.attempt ?? null,
      pending?.delayMs ?? 0,
      change.status === 'failed' ? 0 : change.products,
      failed?.code ?? null,
      failed?.message ?? null,
    ],
  })
}
