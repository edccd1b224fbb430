/** What the engine promises about retries: what an ended run and its family have no answer to, and nothing else. */
import { leftOfMonth } from './model-of-money.ts'
import { countCalls, family, isAnsweredIn, isOver, nextPrice } from './model-of-runs.ts'
import { type Category, type Item, type Model, newCategory, newItem, newRun, type Run } from './model-types.ts'

/** The products left without an answer for one of `reasons`, in order, each at the rung the family has reached. */
function products(model: Model, parent: Run, reasons: readonly string[]): Item[] {
  return parent.items.flatMap((item) => {
    if (!reasons.includes(item.outcome ?? 'rest')) return []
    const members = family(model, parent)
    if (isAnsweredIn(members, item.number)) return []
    const same = members.flatMap(({ items }) => items.filter(({ number }) => number === item.number))
    return [newItem(item.number, Math.max(...same.map(({ rung }) => rung)))]
  })
}

/** The lists not read to their end, each from the page the family has come to. */
function categories(model: Model, parent: Run, reasons: readonly string[]): Category[] {
  return parent.categories.flatMap(({ key, status, failed }) => {
    if (status === 'ended' && !failed) return []
    if (!reasons.includes(failed ? 'lists' : 'rest')) return []
    const same = family(model, parent).flatMap((run) => run.categories.filter((category) => category.key === key))
    const read = same.some((category) => category.status === 'ended' && !category.failed)
    return read ? [] : [newCategory(key, same.at(-1)?.page)]
  })
}

/** With which code a retry of this run is refused. */
export function refusal(model: Model, parent: Run, reasons: readonly string[]): string | null {
  if (!isOver(parent) || countCalls(parent, 'held') > 0) return 'run.wrong_state'
  if (family(model, parent).some((run) => !isOver(run))) return 'run.retry_open'
  const work = { items: products(model, parent, reasons), categories: categories(model, parent, reasons) }
  if (work.items.length + work.categories.length === 0) return 'run.nothing_to_retry'
  return leftOfMonth(model, parent.org) < nextPrice(work) ? 'month.cap_reached' : null
}

/** The run is retried. */
export function retry(
  model: Model,
  parent: Run,
  { id, cap, reasons }: Readonly<{ id: string; cap: number; reasons: readonly string[] }>,
): void {
  const work = { items: products(model, parent, reasons), categories: categories(model, parent, reasons) }
  model.runs.push(newRun({ id, org: parent.org, cap, ...work, retryOf: parent.id, root: parent.root }))
}
