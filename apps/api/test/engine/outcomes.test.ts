/** Every outcome of a call, end to end: what it does to its money, to what it was made for, and to the run. */
import { beforeAll, describe, expect, it } from 'vitest'
import type { SearchAnswer } from '../../src/providers/types.ts'
import {
  asked,
  CHARGED,
  expectClean,
  FREE,
  failed,
  found,
  LIST_PRICE,
  listed,
  listWith,
  PRICE,
  product,
  searchWith,
  UNKNOWN,
  work,
} from './arena.ts'
import { three, useArena } from './use-arena.ts'

const arena = useArena()

type Case = Readonly<{
  what: string
  /** Answers in turn; the last one again and again. */
  answers: readonly SearchAnswer[]
  item: Readonly<Record<string, unknown>>
  /** Calls as "outcome state" in the order they were made. */
  calls: readonly string[]
}>

const CASES: readonly Case[] = [
  {
    what: 'found',
    answers: [found(three)],
    item: { status: 'completed', outcome: 'found', cost_micros: PRICE, attempt: 1 },
    calls: ['found settled'],
  },
  {
    what: 'none',
    answers: [found([])],
    item: { status: 'completed', outcome: 'none', cost_micros: PRICE, attempt: 1 },
    calls: ['none settled'],
  },
  {
    what: 'found, and nobody knows whether it was charged',
    answers: [{ ...found(three), charge: UNKNOWN }],
    item: { status: 'completed', outcome: 'found', cost_micros: 0 },
    calls: ['found suspect'],
  },
  {
    what: 'blocked, then found',
    answers: [failed('blocked', CHARGED), found(three)],
    item: { status: 'completed', outcome: 'found', cost_micros: 2 * PRICE, attempt: 2 },
    calls: ['blocked settled', 'found settled'],
  },
  {
    what: 'blocked three times',
    answers: [failed('blocked', CHARGED)],
    item: { status: 'failed', outcome: 'blocked', cost_micros: 3 * PRICE, attempt: 3, error_code: 'test.blocked' },
    calls: ['blocked settled', 'blocked settled', 'blocked settled'],
  },
  {
    what: 'drift',
    answers: [failed('drift', CHARGED)],
    item: { status: 'failed', outcome: 'drift', cost_micros: PRICE, attempt: 1, error_code: 'test.drift' },
    calls: ['drift settled'],
  },
  {
    what: 'rejected',
    answers: [failed('rejected', FREE)],
    item: { status: 'failed', outcome: 'rejected', cost_micros: 0, error_code: 'test.rejected' },
    calls: ['rejected released'],
  },
  {
    what: 'throttled twice, which uses up no attempt',
    answers: [
      failed('throttled', FREE, { retryAfterMs: 30 }),
      failed('throttled', FREE, { retryAfterMs: 30 }),
      found([]),
    ],
    item: { status: 'completed', outcome: 'none', cost_micros: PRICE, attempt: 1 },
    calls: ['throttled released', 'throttled released', 'none settled'],
  },
  {
    what: 'a fault four times',
    answers: [failed('fault', FREE)],
    item: { status: 'failed', outcome: 'blocked', cost_micros: 0, attempt: 4 },
    calls: ['fault released', 'fault released', 'fault released', 'fault released'],
  },
  {
    what: 'unreachable, which uses up no attempt',
    answers: [failed('unreachable', FREE), failed('unreachable', FREE), found(three)],
    item: { status: 'completed', outcome: 'found', cost_micros: PRICE, attempt: 1 },
    calls: ['unreachable released', 'unreachable released', 'found settled'],
  },
  {
    what: 'lost, then found',
    answers: [failed('lost', UNKNOWN), found(three)],
    item: { status: 'completed', outcome: 'found', cost_micros: PRICE, attempt: 2 },
    calls: ['lost suspect', 'found settled'],
  },
  {
    what: 'lost three times',
    answers: [failed('lost', UNKNOWN)],
    item: { status: 'failed', outcome: 'blocked', cost_micros: 0, attempt: 3 },
    calls: ['lost suspect', 'lost suspect', 'lost suspect'],
  },
]

describe('a search that ends as', () => {
  const items = new Map<number, { item: Record<string, unknown>; calls: string[] }>()
  let totals: unknown
  beforeAll(async () => {
    const run = await arena.makeRun({ products: CASES.length })
    const turns = new Map<number, number>()
    const search = searchWith((request) => {
      const { product: number } = asked(request)
      const turn = turns.get(number) ?? 0
      turns.set(number, turn + 1)
      const { answers } = CASES[number] as Case
      return answers[Math.min(turn, answers.length - 1)] as SearchAnswer
    })
    totals = await work(arena, { run, search })
    const rows = await arena.rows<Record<string, unknown> & { external_id: string; calls: string[] }>(
      `select i.*, array(select outcome || ' ' || state from collection_calls c where c.item_id = i.id order by c.epoch) as calls
       from collection_items i where run_id = $1 and item_type = 'amazon_product'`,
      [run.id],
    )
    for (const row of rows) items.set(Number(row.external_id.slice(1)), { item: row, calls: row.calls })
  })

  it.each(CASES.map((one, index) => [one.what, index] as const))('%s', (_what, index) => {
    expect(items.get(index)).toMatchObject({ item: CASES[index]?.item, calls: CASES[index]?.calls })
  })

  it('adds up in the run', async () => {
    const all = CASES.flatMap(({ calls }) => calls)
    const count = (state: string) => all.filter((call) => call.endsWith(state)).length
    expect(totals).toMatchObject({
      status: 'completed',
      spentMicros: count('settled') * PRICE,
      suspectMicros: count('suspect') * PRICE,
      settledCalls: count('settled'),
      releasedCalls: count('released'),
      suspectCalls: count('suspect'),
      heldMicros: 0,
    })
    await expectClean(arena.db)
  })
})

describe('an answer that stops the run', () => {
  it('quota: the run pauses until the quota is fresh, and the product keeps its attempt', async () => {
    const run = await arena.makeRun({ products: 3 })
    const resetAt = new Date(Date.now() + 3_600_000)
    const after = await work(arena, { run, search: searchWith(() => failed('quota', FREE, { resetAt })) })
    expect(after).toMatchObject({
      status: 'paused',
      pauseReason: 'quota',
      resumeAt: resetAt,
      pendingItems: 3,
      spentMicros: 0,
    })
    const attempts = await arena.rows('select distinct attempt from collection_items where run_id = $1', [run.id])
    expect(attempts).toEqual([{ attempt: 0 }])
  })

  it('credentials: the run fails and says why', async () => {
    const run = await arena.makeRun({ products: 3 })
    const after = await work(arena, { run, search: searchWith(() => failed('credentials', FREE)) })
    expect(after).toMatchObject({
      status: 'failed',
      failureReason: 'It was credentials.',
      spentMicros: 0,
      heldMicros: 0,
    })
  })

  it('a price above the list: booked in full, told as a breach, and the run pauses', async () => {
    const run = await arena.makeRun({ products: 30, cap: 10 * PRICE })
    const after = await work(arena, { run, slots: 2, search: searchWith(() => found(three, 8 * PRICE)) })
    expect(after).toMatchObject({ status: 'paused', pauseReason: 'provider', resumeAt: null })
    expect(after.breachMicros).toBe((after.spentMicros / 8) * 7)
    expect(after.spentMicros).toBeGreaterThan(10 * PRICE - 1)
    expect(after.pauseNote).toContain('more than its listed price')
    // Everything in flight when it was noticed is booked; nothing was sent afterwards.
    expect(after.settledCalls).toBeLessThanOrEqual(4)
  })

  it('ten calls in a row without an answer: the account is stopped, the run pauses and will be tried again', async () => {
    const run = await arena.makeRun({ products: 60 })
    const after = await work(arena, { run, slots: 10, search: searchWith(() => failed('unreachable', FREE)) })
    expect(after).toMatchObject({ status: 'paused', pauseReason: 'provider', heldCalls: 0 })
    expect(after.pauseNote).toContain('10 calls in a row came back without an answer.')
    const probeInMs = (after.resumeAt?.getTime() ?? 0) - Date.now()
    expect(probeInMs).toBeGreaterThan(5_000)
    expect(probeInMs).toBeLessThan(20_000)
  })

  it('nothing but blocked: the run has failed, not completed', async () => {
    const run = await arena.makeRun({ products: 4 })
    const after = await work(arena, { run, search: searchWith(() => failed('drift', CHARGED)) })
    expect(after).toMatchObject({
      status: 'failed',
      failureReason: 'None of the 4 searches was answered.',
      spentMicros: 4 * PRICE,
    })
  })

  it('an adapter that throws is a bug of ours: suspect, and tried again', async () => {
    const run = await arena.makeRun({ products: 1 })
    let calls = 0
    const search = searchWith(() => {
      if (calls++ === 0) throw new Error('oops')
      return found(three)
    })
    expect(await work(arena, { run, search })).toMatchObject({ status: 'completed', suspectCalls: 1, settledCalls: 1 })
    await expectClean(arena.db)
  })
})

describe('the list of a category', () => {
  const finds = searchWith(() => found(three))
  const category = async (runId: string) =>
    await arena.rows<Record<string, unknown>>(
      'select * from collection_run_categories where run_id = $1 order by position',
      [runId],
    )

  it('is read page by page, and its products are searched', async () => {
    const run = await arena.makeRun({ categories: ['a', 'b'] })
    const list = listWith((one, step) => {
      const from = (one.key === 'a' ? 0 : 100) + (step.kind === 'page' ? step.page : 0) * 10
      const next = step.kind === 'page' && step.page < 3 ? { kind: 'page' as const, page: step.page + 1 } : null
      return listed([product(from, 1), product(from + 1, 2)], next)
    })
    const after = await work(arena, { run, search: finds, list })
    expect(after).toMatchObject({ status: 'completed', totalItems: 12, foundItems: 12, openCategories: 0 })
    expect(after.spentMicros).toBe(6 * LIST_PRICE + 12 * PRICE)
    expect(await category(run.id)).toMatchObject([
      { status: 'completed', product_count: 6, epoch: 3 },
      { status: 'completed', product_count: 6 },
    ])
  })

  it('may name a product another list names too: it is one item, searched once', async () => {
    const run = await arena.makeRun({ categories: ['a', 'b', 'c'] })
    const list = listWith(({ key }) => listed([product(1, 1), product(2, 2), ...(key === 'c' ? [product(3, 3)] : [])]))
    const searched = new Map<string, number>()
    const search = searchWith(({ query }) => {
      const key = JSON.stringify(query)
      searched.set(key, (searched.get(key) ?? 0) + 1)
      return found(three)
    })
    expect(await work(arena, { run, search, list })).toMatchObject({
      status: 'completed',
      totalItems: 3,
      settledCalls: 6,
    })
    expect([...searched.values()]).toEqual([1, 1, 1])
    const named = await arena.rows(
      `select external_id, count(*)::int as lists from collection_category_products p
       join collection_items i on i.id = p.item_id where i.run_id = $1 group by 1 order by 1`,
      [run.id],
    )
    expect(named.map(({ lists }: { lists?: number }) => lists)).toEqual([3, 3, 1])
  })

  it('that cannot be read fails alone', async () => {
    const run = await arena.makeRun({ categories: ['good', 'blocked', 'drift', 'lost'] })
    const list = listWith(({ key }) => {
      if (key === 'good') return listed([product(1, 1)])
      if (key === 'lost') return failed('lost', UNKNOWN)
      return failed(key === 'blocked' ? 'blocked' : 'drift', CHARGED)
    })
    const after = await work(arena, { run, search: finds, list })
    expect(after).toMatchObject({ status: 'completed', failedCategories: 3, foundItems: 1, suspectCalls: 3 })
    expect(await category(run.id)).toMatchObject([
      { status: 'completed' },
      { status: 'failed', attempt: 3, error_code: 'test.blocked' },
      { status: 'failed', attempt: 1, error_code: 'test.drift' },
      { status: 'failed', attempt: 3, error_code: 'test.lost' },
    ])
    const told = await arena.rows(`select from collection_events where run_id = $1 and type = 'category.failed'`, [
      run.id,
    ])
    expect(told).toHaveLength(3)
  })

  it('of all categories unreadable: the run has failed', async () => {
    const run = await arena.makeRun({ categories: ['a', 'b'] })
    const after = await work(arena, { run, search: finds, list: listWith(() => failed('rejected', FREE)) })
    expect(after).toMatchObject({ status: 'failed', failureReason: 'None of the 2 category lists could be read.' })
  })

  it('with a row the database refuses is drift: paid for once, not for ever', async () => {
    const run = await arena.makeRun({ categories: ['a', 'b'] })
    const list = listWith(({ key }) => listed([product(1, key === 'a' ? -1 : 1)]))
    const after = await work(arena, { run, search: finds, list })
    expect(after).toMatchObject({ status: 'completed', failedCategories: 1, foundItems: 1 })
    expect(after.spentMicros).toBe(2 * LIST_PRICE + PRICE)
    expect(await category(run.id)).toMatchObject([
      { status: 'failed', error_code: 'unstorable' },
      { status: 'completed' },
    ])
  })

  it('without a price is never asked for: the worker is told instead of waiting for ever', async () => {
    const run = await arena.makeRun({ categories: ['a'] })
    const list = { ...listWith(() => listed([])), worstCase: () => null }
    await expect(work(arena, { run, search: finds, list })).rejects.toMatchObject({ code: 'provider.no_price' })
  })

  it('leaves the database clean in all of these', () => expectClean(arena.db))
})
