/** What the next call of a run costs at most. */
import type { Micros } from '../base/money.ts'
import type { Tx } from '../db/client.ts'
import { waitingCategories } from '../ledger/claim.ts'
import { listAdapter, searchAdapter } from '../providers/registry.ts'
import type { ListStep } from '../providers/types.ts'
import type { RunSnapshot } from '../runs/snapshot.ts'
import { accountById, type ChosenAccounts } from './accounts.ts'
import { priced } from './estimate-run.ts'

/** What waits: products to search for, and steps through lists. */
export type Waiting = Readonly<{ products: boolean; steps: readonly ListStep[] }>

/** The price of the cheapest call for what waits; null when nothing does, or no price is known. */
export function cheapestCall({ search, list }: ChosenAccounts, { products, steps }: Waiting): Micros | null {
  const lists = list && steps.length > 0 ? listAdapter(priced(list)) : null
  const prices = [
    products ? searchAdapter(priced(search)).worstCase() : null,
    ...(lists ? steps.map((step) => lists.worstCase(step)) : []),
  ].filter((price) => price !== null)
  return prices.reduce<Micros | null>((least, price) => (least === null || price < least ? price : least), null)
}

/** Categories looked at: all of a run, as a rule. */
const STEPS_MOST = 1_000

/** The price of the cheapest call the run could make next; null when there is none, or no price is known. */
export async function nextCallPrice(tx: Tx, run: RunSnapshot): Promise<Micros | null> {
  if (!run.searchAccountId) return null
  const search = await accountById(tx, run.searchAccountId)
  const list = run.listAccountId ? await accountById(tx, run.listAccountId) : null
  const waiting = run.openCategories > 0 ? await waitingCategories(tx, run.id, STEPS_MOST) : []
  return cheapestCall({ search, list }, { products: run.pendingItems > 0, steps: waiting.map(({ step }) => step) })
}
