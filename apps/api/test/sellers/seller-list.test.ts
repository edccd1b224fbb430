import fc from 'fast-check'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { withTx } from '../../src/db/client.ts'
import { catchUp, keepList } from '../../src/engine/keep-list.ts'
import { countView, indexMarks } from '../../src/sellers/list-count.ts'
import { uncountedSince } from '../../src/sellers/list-figures.ts'
import { type ListCursor, type ListedSeller, listPage, type PageBounds } from '../../src/sellers/list-page.ts'
import { leastWeight, scoreOf, scoreParts } from '../../src/sellers/score.ts'
import { readEvidence, readSeller } from '../../src/sellers/seller-detail.ts'
import { FLAGS, type SellerSortKey, type SellerView, SORTS } from '../../src/sellers/view.ts'
import { broken, expectClean } from '../engine/arena.ts'
import { makeWorld, type World } from './world.ts'

let world: World
let everybody: ListedSeller[]

beforeAll(async () => {
  world = await makeWorld()
  const { arena } = world
  // Keys that are equal, unknown, flagged and removed.
  await arena.fresh.db.query(`update seller_list set feedback_score = null where name like 'mart%'`)
  await arena.fresh.db.query(`
    insert into seller_marks (seller_id, org_id, flag, flagged_at)
    select seller_id, org_id, (array['promising', 'contacted', 'rejected'])[1 + listed_seq % 3], now()
    from seller_list where listed_seq % 4 = 0`)
  await arena.fresh.db.query(`update seller_list set removed_at = now() where name like 'shop\\_1%'`)
  everybody = await all({}, 'name', false)
}, 120_000)
afterAll(() => world?.arena.close())

/** All pages, forwards, then back again from the end: both must show the same. */
async function all(
  view: SellerView,
  sort: SellerSortKey,
  descending: boolean,
  limit = 7,
  within?: PageBounds,
): Promise<ListedSeller[]> {
  const { orgId } = world.arena.actor
  return world.as('viewer', async (tx) => {
    const forwards: ListedSeller[][] = []
    let cursor: ListCursor | undefined
    let last: ListCursor | null = null
    for (;;) {
      const page = await listPage(
        tx,
        orgId,
        view,
        { sort, descending },
        { limit, ...(cursor ? { cursor } : {}), ...(within ? { within } : {}) },
      )
      forwards.push([...page.sellers])
      expect(page.previous === null).toBe(cursor === undefined || page.sellers.length === 0)
      last = page.previous
      if (!page.next) break
      cursor = page.next
    }
    const backwards: ListedSeller[] = []
    while (last) {
      const page = await listPage(
        tx,
        orgId,
        view,
        { sort, descending },
        { limit, cursor: last, ...(within ? { within } : {}) },
      )
      backwards.unshift(...page.sellers)
      last = page.previous
    }
    expect(backwards).toEqual(forwards.slice(0, -1).flat())
    return forwards.flat()
  })
}

const KEYS: Readonly<Record<SellerSortKey, (seller: ListedSeller) => number | string | null>> = {
  score: (s) => s.score.score,
  matched: (s) => s.matched,
  runs: (s) => s.runs,
  ratio: (s) => s.ratioLowPermille,
  feedback: (s) => s.feedbackScore,
  items: (s) => s.items,
  'first-seen': (s) => s.firstSeenAt.getTime(),
  'last-seen': (s) => s.lastSeenAt.getTime(),
  name: (s) => s.name.toLowerCase(),
}

function fits(view: SellerView, seller: ListedSeller): boolean {
  const within = (value: number | null, bounds: { from?: number; to?: number } | undefined): boolean =>
    bounds === undefined ||
    (value !== null &&
      (bounds.from === undefined || value >= bounds.from) &&
      (bounds.to === undefined || value <= bounds.to))
  const { search, flag } = view
  const name = seller.name.toLowerCase()
  return (
    within(seller.matched, view.matched) &&
    within(seller.score.score, view.score) &&
    within(seller.runs, view.runs) &&
    within(seller.ratioLowPermille, view.ratioPermille) &&
    within(seller.feedbackScore, view.feedback) &&
    within(seller.items, view.items) &&
    (flag === undefined ||
      (flag === 'any'
        ? seller.flag !== null
        : flag === 'none'
          ? seller.flag === null
          : flag.includes(seller.flag as never))) &&
    (search === undefined || search === '' || (search.length < 3 ? name.startsWith(search) : name.includes(search))) &&
    (view.ids === undefined || view.ids.includes(seller.id)) &&
    (view.except === undefined || !view.except.includes(seller.id)) &&
    (view.listedAfter === undefined || seller.listedSeq > view.listedAfter)
  )
}

/** Bounds so narrow that every way to a page is taken: along the order, from the filters, along the order to the end. */
const WITHIN: readonly (PageBounds | undefined)[] = [undefined, { walk: 3, set: 1000 }, { walk: 3, set: 5 }]

const range = (most: number) =>
  fc.record({ from: fc.integer({ min: 0, max: most }), to: fc.integer({ min: 0, max: most }) }, { requiredKeys: [] })
const viewOf = () =>
  fc.record(
    {
      search: fc.constantFrom('', 'd', 'sh', 'mart', 'late.', 'shop_', '-1', '%', '_', 'SHOP_2', 'nobody'),
      flag: fc.constantFrom<SellerView['flag'] & {}>('any', 'none', ['promising'], ['contacted', 'rejected']),
      matched: range(12),
      score: range(100),
      runs: range(4),
      ratioPermille: range(2000),
      feedback: range(300),
      items: range(20),
      except: fc.subarray(
        everybody.map(({ id }) => id),
        { maxLength: 3 },
      ),
      ids: fc.subarray(
        everybody.map(({ id }) => id),
        { minLength: 5 },
      ),
      listedAfter: fc.integer({ min: 0, max: 60 }),
    },
    { requiredKeys: [] },
  )

describe('the seller list', () => {
  it('shows the same as looking at every seller, with any filter, in any order, both ways', async () => {
    expect(everybody.length).toBeGreaterThan(60)
    await fc.assert(
      fc.asyncProperty(
        viewOf(),
        fc.constantFrom(...(Object.keys(SORTS) as SellerSortKey[])),
        fc.boolean(),
        fc.constantFrom(...WITHIN),
        async (view, sort, down, within) => {
          const shown = await all(view, sort, down, 7, within)
          const expected = everybody.filter((seller) => fits(view, seller))
          expect(new Set(shown.map(({ id }) => id))).toEqual(new Set(expected.map(({ id }) => id)))
          expect(shown.length).toBe(expected.length)
          const keys = shown.map(KEYS[sort])
          const known = keys.filter((key) => key !== null)
          // Those without a key come last, whatever the direction.
          expect(keys.slice(0, known.length)).toEqual(known)
          const sorted = known.toSorted((a, b) => (a < b ? -1 : a > b ? 1 : 0))
          expect(known).toEqual(down ? sorted.toReversed() : sorted)
          const count = await world.as('viewer', (tx) => countView(tx, world.arena.actor.orgId, view))
          expect(count).toBe(expected.length)
        },
      ),
      { numRuns: 80 },
    )
  }, 240_000)

  it('knows who was seen in a run, and who was new in it', async () => {
    const { arena, runs } = world
    for (const run of runs) {
      const { rows } = await arena.fresh.db.query<{ name: string; isNew: boolean }>(
        `select external_id as name, new_to_org as "isNew" from collection_items where run_id = $1 and item_type = 'ebay_seller'`,
        [run.id],
      )
      const there = rows.filter(({ name }) => !name.startsWith('shop_1'))
      for (const sort of Object.keys(SORTS) as SellerSortKey[]) {
        const seen = await all({ runId: run.id }, sort, true, 50)
        expect(seen.map(({ name }) => name).toSorted()).toEqual(there.map(({ name }) => name).toSorted())
        const brought = await all({ newInRunId: run.id }, sort, false, 50)
        expect(brought.map(({ name }) => name).toSorted()).toEqual(
          there
            .filter(({ isNew }) => isNew)
            .map(({ name }) => name)
            .toSorted(),
        )
      }
    }
  })

  it('keeps those who were removed apart, and finds them', async () => {
    expect(everybody.some(({ name }) => name.startsWith('shop_1'))).toBe(false)
    const removed = await all({ removed: true, search: 'shop' }, 'score', true)
    expect(removed.length).toBeGreaterThan(5)
    expect(removed.every(({ name, removedAt }) => name.startsWith('shop_1') && removedAt !== null)).toBe(true)
  })

  it('marks eleven places of the order, the first and the last among them', async () => {
    const { orgId } = world.arena.actor
    const order = { sort: 'matched', descending: true } as const
    const sorted = await all({}, 'matched', true)
    const { exact, marks } = await world.as('viewer', (tx) => indexMarks(tx, orgId, {}, order, sorted.length))
    expect(exact).toBe(true)
    expect(marks.length).toBe(11)
    expect([marks[0]?.id, marks.at(-1)?.id]).toEqual([sorted[0]?.id, sorted.at(-1)?.id])
    expect(marks.map(({ percent }) => percent)).toEqual([0, 10, 20, 30, 40, 50, 60, 70, 80, 90, 100])
    expect(marks.map(({ label }) => Number(label))).toEqual(
      marks.map(({ id }) => sorted.find((one) => one.id === id)?.matched),
    )
    const few = await world.as('viewer', (tx) => indexMarks(tx, orgId, { search: 'deep' }, order, 3))
    expect(few.marks.length).toBe(3)
  })

  it('shows nothing of it to a stranger, nor with the claims of another organisation', async () => {
    const { orgId } = world.arena.actor
    const order = { sort: 'score', descending: true } as const
    const some = everybody[0]?.id ?? ''
    const look = (who: 'stranger' | 'viewer', claim: string) =>
      world.as(
        who,
        async (tx) => [
          (await listPage(tx, orgId, {}, order, { limit: 5 })).sellers.length,
          (await listPage(tx, orgId, { search: 'mart' }, order, { limit: 5 })).sellers.length,
          await countView(tx, orgId, { search: 'mart' }),
          (await tx.query('select from gleaner_sellers_named($1, $2, 10)', [orgId, '%mart%'])).rowCount,
          (await tx.query('select from gleaner_sightings_of($1)', [some])).rowCount,
          await readSeller(tx, orgId, some),
          (await readEvidence(tx, some, { limit: 5 })).listings.length,
          (await indexMarks(tx, orgId, {}, order, 10)).marks.length,
        ],
        claim,
      )
    expect(await look('stranger', orgId)).toEqual([0, 0, 0, 0, 0, null, 0, 0])
    expect(await look('viewer', '00000000-0000-7000-8000-000000000000')).toEqual([0, 0, 0, 0, 0, null, 0, 0])
    expect(await look('viewer', orgId)).not.toContain(0)
  })
})

describe('one seller', () => {
  it('is shown with its evidence page by page, newest first, each listing once', async () => {
    const { orgId } = world.arena.actor
    const busy = everybody.find(({ name }) => name === 'deep-1')
    const id = busy?.id ?? ''
    const detail = await world.as('viewer', (tx) => readSeller(tx, orgId, id))
    expect(detail).toMatchObject({ name: 'deep-1', matched: busy?.matched, runs: 3, revision: busy?.revision })
    const seen: string[] = []
    let cursor: Awaited<ReturnType<typeof readEvidence>>['next'] | undefined
    do {
      const page = await world.as('viewer', (tx) => readEvidence(tx, id, { limit: 3, ...(cursor ? { cursor } : {}) }))
      seen.push(...page.listings.map(({ listingId, runId }) => `${listingId} ${runId}`))
      expect(page.searches).toBe(21)
      cursor = page.next
    } while (cursor)
    const { rows } = await world.arena.fresh.db.query<{ key: string }>(
      `select listing_id || ' ' || run_id as key from sightings where seller_id = $1`,
      [id],
    )
    expect(seen.toSorted()).toEqual(rows.map(({ key }) => key).toSorted())
    expect(new Set(seen).size).toBe(seen.length)
  })
})

describe('the figures', () => {
  it('are those of the evidence', async () => {
    const { rows } = await world.arena.fresh.db.query<Record<string, unknown>>(`
      select s.normalized_name as name, count(distinct v.asin)::int as matched,
        min(v.price_cents * 1000 / 1000)::int as low, max(v.price_cents)::int as high
      from sightings v join sellers s on s.id = v.seller_id group by 1 order by 1`)
    const { rows: kept } = await world.arena.fresh.db.query<Record<string, unknown>>(`
      select name, matched_count as matched, ratio_low_permille as low, ratio_high_permille as high from seller_list order by name collate "en-x-icu"`)
    const byName = (list: Record<string, unknown>[]) => Object.fromEntries(list.map((row) => [row['name'], row]))
    expect(byName(kept)).toEqual(byName(rows))
  })

  it('are what verify recomputes, and verify finds a difference', async () => {
    const { arena } = world
    const restore = async (...statements: string[]) => {
      for (const statement of statements) await arena.fresh.db.query(statement)
    }
    await restore(`update seller_list l set feedback_score = s.feedback_score from sellers s where s.id = l.seller_id`)
    await expectClean(arena.db)
    for (const [spoil, heal] of [
      [
        `update seller_list set matched_count = matched_count + 1 where name = 'deep-1'`,
        `update seller_list set matched_count = matched_count - 1 where name = 'deep-1'`,
      ],
      [
        `create temp table gone as select * from seller_matches limit 1; delete from seller_matches m using gone g where m.seller_id = g.seller_id and m.asin = g.asin`,
        `insert into seller_matches select * from gone; drop table gone`,
      ],
      [
        `create temp table gone as select seller_id, org_id from seller_list limit 1; update seller_list set org_id = gen_random_uuid() where seller_id in (select seller_id from gone)`,
        `update seller_list l set org_id = g.org_id from gone g where g.seller_id = l.seller_id; drop table gone`,
      ],
    ] as const) {
      const client = await arena.fresh.db.pool.connect()
      await client.query(spoil)
      expect(await broken(arena.db)).toEqual(['I5'])
      await client.query(heal)
      client.release()
      await expectClean(arena.db)
    }
  })

  it('wait for nobody: one counts, the others go on', async () => {
    const { arena } = world
    await arena.fresh.db.query(
      `insert into seller_list_due (org_id, item_ids) select $1, array_agg(item_id) from collection_sightings`,
      [arena.actor.orgId],
    )
    expect(await uncountedSince(arena.db, arena.actor.orgId)).toBeInstanceOf(Date)
    await withTx(arena.db, async (tx) => {
      await tx.query('select pg_advisory_xact_lock(7205459001)')
      expect(await keepList(arena.db)).toBeNull()
    })
    await catchUp(arena.db)
    expect(await uncountedSince(arena.db, arena.actor.orgId)).toBeNull()
    // Counted twice is counted once.
    await expectClean(arena.db)
  })
})

describe('the score', () => {
  it('is the sum of its parts, and a filter on it lets through exactly those who show it', () => {
    fc.assert(
      fc.property(fc.nat(3000), fc.nat(100), fc.nat(100), (matched, likeness, rule) => {
        const sums = {
          matched,
          likenessPercentSum: Math.floor((matched * likeness) / 1),
          priceRuleCount: Math.floor((matched * rule) / 100),
        }
        const parts = scoreParts(sums)
        expect(parts.matches + parts.titleLikeness + parts.priceRule).toBe(parts.score)
        expect(parts.score).toBe(scoreOf(400 * matched + 4 * sums.likenessPercentSum + 200 * sums.priceRuleCount))
      }),
    )
    for (let score = 1; score <= 100; score++) {
      expect(scoreOf(leastWeight(score))).toBeGreaterThanOrEqual(score)
      expect(scoreOf(leastWeight(score) - 1)).toBeLessThan(score)
    }
    expect([1, 3, 10].map((n) => scoreOf(n * 1000))).toEqual([33, 60, 83])
    expect(FLAGS.length).toBe(4)
  })
})
