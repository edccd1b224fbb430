/**
 * The work of one job of a peer: the same hold, search and booking as the engine's, for one product at a time. The hold is
 * committed before the search, the result together with the money after it, as in the engine.
 */
import { newId } from '../../apps/api/src/base/ids.ts'
import { connect, type Db, withTxRetry } from '../../apps/api/src/db/client.ts'
import { bookSearches } from '../../apps/api/src/engine/book.ts'
import type { ClaimedItem } from '../../apps/api/src/ledger/claim.ts'
import { buildFilters, DEFAULT_FILTERS } from '../../apps/api/src/matching/filters.ts'
import { makeKnownSellers } from '../../apps/api/src/sellers/known.ts'
import { instantAdapter } from '../engine-world.ts'
import { PRICE } from '../support/run.ts'
import type { Job } from './types.ts'

export type Desk = Readonly<{
  /** Holds, searches and books the product with this item id. Throws when it is not pending. */
  work: (itemId: string) => Promise<void>
  close: () => Promise<void>
}>

/** A desk with so many connections of its own, and the memory of sellers that a lane of the engine has too. */
export async function openDesk(job: Job, connections: number): Promise<Desk> {
  const db = await connect(job.url, { name: 'gleaner bench', role: 'service_role', max: connections })
  const known = makeKnownSellers()
  const adapter = instantAdapter(PRICE)
  const places = makePlaces(connections)
  const one = async (itemId: string): Promise<void> => {
    const item = await hold(db, job, itemId)
    const query = item.data.ladder[0]
    if (!query) throw new Error(`the product ${itemId} has no query`)
    const request = { query, filters: buildFilters(item.data, DEFAULT_FILTERS), limit: 200 }
    const answer = await adapter.search(request, { callId: item.callId, timeoutMs: 30_000 })
    const finished = { ...item, rungs: 1, answer, durationMs: 0 }
    const run = { id: job.runId, orgId: job.orgId }
    const booked = await withTxRetry(db, (tx) => bookSearches(tx, run, [finished], { mayClimb: true, known }))
    known.remember(booked.recorded)
  }
  const work = async (itemId: string): Promise<void> => {
    await places.take()
    await one(itemId).finally(places.leave)
  }
  return { work, close: () => db.close() }
}

/** A place at a time for each connection. The pool itself gives up on who waits too long, as the jobs of a large batch would. */
function makePlaces(count: number): Readonly<{ take: () => Promise<void>; leave: () => void }> {
  const waiting: (() => void)[] = []
  let free = count
  return {
    take: async () => {
      if (free > 0) free -= 1
      else await new Promise<void>((resolve) => waiting.push(resolve))
    },
    leave: () => {
      const next = waiting.shift()
      if (next) next()
      else free += 1
    },
  }
}

/** One statement, one transaction: the item is taken, its call written, and the money held by the run's guarded row. */
async function hold(db: Db, job: Job, itemId: string): Promise<ClaimedItem> {
  const { rows } = await db.query<ClaimedItem>({
    name: 'bench.hold',
    text: `
      with taken as (
        update collection_items set status = 'processing', epoch = epoch + 1, attempt = attempt + 1, not_before = null
        where id = $1 and status = 'pending'
        returning id, epoch, attempt, rung, data
      ), held as (
        insert into collection_calls
          (id, run_id, account_id, item_id, worker_id, epoch, attempt, rung, hold_micros, lease_until, request)
        select $2, $3, $4, id, $5, epoch, attempt, rung, $6, now() + interval '1 min', data -> 'ladder' -> (rung - 1)
        from taken
      )
      select $2::uuid as "callId", id as "itemId", epoch, attempt, rung, data from taken`,
    values: [itemId, newId(), job.runId, job.accountId, job.workerId, PRICE],
  })
  const item = rows[0]
  if (!item) throw new Error(`the product ${itemId} is not pending`)
  return item
}
