/** Organisations with sellers found by the engine itself, and the persons who look at them. */
import { newId } from '../../src/base/ids.ts'
import { type Tx, withTx } from '../../src/db/client.ts'
import { asMember } from '../../src/db/session.ts'
import { catchUp } from '../../src/engine/keep-list.ts'
import type { Listing, SearchAnswer } from '../../src/providers/types.ts'
import type { RunSnapshot } from '../../src/runs/snapshot.ts'
import { type Arena, asked, makeArena, PRICE, searchWith, work } from '../engine/arena.ts'

export type Role = 'owner' | 'admin' | 'analyst' | 'viewer'

export type World = Readonly<{
  arena: Arena
  runs: readonly RunSnapshot[]
  people: Readonly<Record<Role | 'stranger', string>>
  /** Runs `work` as this person, in a transaction that is committed. */
  as: <T>(who: Role | 'stranger', work: (tx: Tx) => Promise<T>, orgId?: string) => Promise<T>
}>

/** Listings of product `n`: of sellers named by numbers, some met for many products; prices and titles vary with both. */
function listingsOf(n: number, run: number): Listing[] {
  const sellers = [`deep-${n % 3}`, `shop_${n}`, `mart${(n * 7) % 11}`, ...(run > 0 ? [`late.${n}`] : [])]
  return sellers.map((username, at) => ({
    listingId: `v1|${n}|${run}|${at}`,
    title: at === 0 ? `Product ${n}` : at === 1 ? `Something else altogether number ${n}` : `Product ${n} boxed blue`,
    priceCents: 900 + ((n * 131 + at * 77 + run * 13) % 700),
    position: at + 1,
    seller: { username, feedbackScore: at === 1 ? null : 10 * n + at, feedbackPermille: at === 1 ? null : 900 + n },
  }))
}

/** Three runs over products that overlap, worked by the engine, and counted. */
export async function makeWorld(): Promise<World> {
  const arena = await makeArena()
  const runs: RunSnapshot[] = []
  for (const [at, from] of [0, 10, 15].entries()) {
    const run = await arena.makeRun({ products: 20, from })
    const search = searchWith((request): SearchAnswer => {
      const { product } = asked(request)
      return {
        ok: true,
        charge: { kind: 'charged', micros: PRICE },
        listings: listingsOf(product, at),
        leftOut: {},
        ignoredFilters: [],
      }
    })
    runs.push(await work(arena, { run, search }))
  }
  await catchUp(arena.db)
  const people = {} as Record<Role | 'stranger', string>
  for (const who of ['owner', 'admin', 'analyst', 'viewer', 'stranger'] as const) {
    people[who] = newId()
    await arena.fresh.db.query('insert into auth.users (id, email) values ($1, $2)', [
      people[who],
      `${who}@test.invalid`,
    ])
    if (who === 'stranger') continue
    await arena.fresh.db.query('insert into org_members (org_id, user_id, role) values ($1, $2, $3)', [
      arena.actor.orgId,
      people[who],
      who,
    ])
  }
  const as: World['as'] = (who, work, orgId = arena.actor.orgId) =>
    withTx(arena.db, async (tx) => {
      await asMember(tx, { userId: people[who], orgId })
      return work(tx)
    })
  return { arena, runs, people, as }
}
