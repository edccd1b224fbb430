/** Book: what one step through a category's list brought. */
import type { Tx } from '../db/client.ts'
import type { NewEvent } from '../events/append.ts'
import { bookCalls, lockUnbookedCalls } from '../ledger/book.ts'
import type { ProductData } from '../ledger/claim.ts'
import { ladder } from '../matching/query-ladder.ts'
import type { CategoryRef, ListAnswer, ListedProduct } from '../providers/types.ts'
import { bookCategory, type CategoryChange, lockEffectiveCategory } from '../runs/categories-of-run.ts'
import { sampleShare } from '../runs/held-back.ts'
import { addProducts, type NewProduct } from '../runs/items.ts'
import { answeredInFamily } from '../runs/retries.ts'
import { type Booked } from './book.ts'
import { closeBooking } from './close-booking.ts'
import { type Consequence, consequenceOfAnswer, consequenceOfFailure } from './consequences.ts'
import { overruleResolved } from './overrule.ts'
import { shares } from './sample.ts'

/** A step through a category's list that has come to an end, whatever end. */
export type FinishedStep = Readonly<{
  callId: string
  categoryId: string
  category: CategoryRef
  epoch: number
  attempt: number
  answer: ListAnswer
  durationMs: number
}>

/**
 * Books one finished step. Afterwards its call is settled, released or suspect; when the category still waited for it,
 * its products are items of the run (searchable at once) and the category has moved to its next step, or has ended.
 * Returns null when the call had been booked before, unless its answer proves more than a person had settled it as.
 */
export async function bookListStep(
  tx: Tx,
  run: Readonly<{ id: string; retryOfRunId?: string | null }>,
  finished: FinishedStep,
): Promise<Booked | null> {
  const unbooked = await lockUnbookedCalls(tx, [finished.callId])
  if (unbooked.size === 0) return bookContradiction(tx, run.id, finished)
  const { answer } = finished
  const consequence = answer.ok
    ? consequenceOfAnswer(answer.charge, answer.products.length > 0 ? 'found' : 'none')
    : consequenceOfFailure(answer, finished.attempt, Math.random())

  const events: NewEvent[] = []
  if (await lockEffectiveCategory(tx, finished.categoryId, finished.epoch)) {
    events.push(...(await moveCategory(tx, run, finished, consequence)))
  }
  await bookCalls(tx, [
    {
      callId: finished.callId,
      ...consequence.money,
      outcome: consequence.outcome,
      ...(answer.ok ? {} : { errorCode: answer.code, errorMessage: answer.message }),
      durationMs: Math.round(finished.durationMs),
    },
  ])
  const facts = { calls: 1, outcomes: { [consequence.outcome]: 1 } }
  return {
    run: await closeBooking(tx, run.id, facts, events),
    fates: [consequence.run],
    recorded: [],
    leftOutVersion: 0,
  }
}

async function bookContradiction(tx: Tx, runId: string, finished: FinishedStep): Promise<Booked | null> {
  const events = await overruleResolved(tx, [finished])
  if (events.length === 0) return null
  return {
    run: await closeBooking(tx, runId, { calls: 0, outcomes: {} }, events),
    fates: [],
    recorded: [],
    leftOutVersion: 0,
  }
}

async function moveCategory(
  tx: Tx,
  run: Readonly<{ id: string; retryOfRunId?: string | null }>,
  finished: FinishedStep,
  consequence: Consequence,
): Promise<NewEvent[]> {
  const { answer, category } = finished
  const about = { category: category.key, name: category.name }
  if (!answer.ok) {
    const change = afterFailure(finished, consequence)
    await bookCategory(tx, finished.categoryId, change)
    if (change.status !== 'failed') return []
    return [{ type: 'category.failed', data: { ...about, code: answer.code, message: answer.message } }]
  }
  const named = answer.products.map(toNewProduct)
  const wanted = run.retryOfRunId ? await skipAnswered(tx, run.id, named) : named
  const share = await sampleShare(tx, finished.categoryId, answer.next !== null)
  const added = await addProducts(tx, run.id, holdBack(wanted, share), finished.categoryId)
  const products = answer.products.length
  const change: CategoryChange = answer.next
    ? { status: 'pending', step: answer.next, attempt: 0, delayMs: 0, products }
    : { status: 'completed', products }
  await bookCategory(tx, finished.categoryId, change)
  return [
    { type: 'category.listed', data: { ...about, products, added, left_out: answer.left.length, done: !answer.next } },
  ]
}

/** A retry pays only for what its family has no answer to: what a list names again is not searched again. */
async function skipAnswered(tx: Tx, runId: string, products: readonly NewProduct[]): Promise<NewProduct[]> {
  const asins = products.map(({ asin }) => asin)
  const answered = await answeredInFamily(tx, runId, asins)
  return products.map((product) => {
    const number = answered.get(product.asin)
    if (number === undefined) return product
    return { ...product, skip: { code: 'answered_before', message: `Run ${number} has its answer.` } }
  })
}

function afterFailure(finished: FinishedStep, { item }: Consequence): CategoryChange {
  const { answer, attempt } = finished
  if (answer.ok || item.kind === 'answered') throw new Error('not a failure')
  if (item.kind === 'failed') return { status: 'failed', code: answer.code, message: answer.message }
  return {
    status: 'pending',
    step: null,
    attempt: item.counts ? attempt : attempt - 1,
    delayMs: item.delayMs,
    products: 0,
  }
}

/** All but `sampled` of the products, drawn evenly, wait for the end of the sample; none when that is null. */
export function holdBack(products: readonly NewProduct[], sampled: number | null): NewProduct[] {
  if (sampled === null) return [...products]
  const drawn = shares(Math.min(sampled, products.length), products.length)
  return products.map((product, at) => (drawn[at] === 0 ? { ...product, held: true } : product))
}

/** A listed product as an item of a run: with its query ladder, or the reason why nothing can be searched. */
export function toNewProduct(product: ListedProduct): NewProduct {
  const rungs = ladder(product)
  const data: ProductData = {
    title: product.title,
    priceCents: product.priceCents,
    ladder: rungs,
    ...(product.brand ? { brand: product.brand } : {}),
    ...(product.gtins ? { gtins: product.gtins } : {}),
    ...(product.imageUrl ? { imageUrl: product.imageUrl } : {}),
    ...(product.url ? { url: product.url } : {}),
  }
  const skip = rungs.length > 0 ? null : { code: 'no_query', message: 'The title has no word to search for.' }
  return { asin: product.asin, data, rank: product.rank, skip }
}
