/** Retries: a new run takes up what an ended one left unanswered, once, and pays for that alone. */
import { describe, expect, it } from 'vitest'
import { newId } from '../../src/base/ids.ts'
import { toMicros } from '../../src/base/money.ts'
import { withTx, withTxRetry } from '../../src/db/client.ts'
import { planRetry, type RetryInput, retryRun } from '../../src/engine/retry.ts'
import { cancelRun, completeRun } from '../../src/engine/run-acts.ts'
import { startRun } from '../../src/engine/start.ts'
import { monthOf, usedOfMonth } from '../../src/ledger/month.ts'
import { keepFigures } from '../../src/runs/keep-figures.ts'
import { retryLinks } from '../../src/runs/retries.ts'
import { changeSettings } from '../../src/runs/settings.ts'
import type { RunSnapshot } from '../../src/runs/snapshot.ts'
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
  type Search,
  searchWith,
  work,
} from './arena.ts'
import { book, claim, finished } from './by-hand.ts'
import { three, useArena } from './use-arena.ts'

const arena = useArena()

const all = searchWith(() => found(three))
/** Blocks, drifts and rejects the products named; answers the others. */
const trouble = (kinds: Readonly<Record<number, 'blocked' | 'drift' | 'rejected'>>): Search => {
  return (request) => {
    const kind = kinds[asked(request).product]
    return kind ? failed(kind, CHARGED) : found(three)
  }
}
const retry = (run: RunSnapshot, more: Partial<RetryInput> = {}) =>
  retryRun(arena.db, { actor: arena.actor, runId: run.id, ...more })
/** Retries the run and lets a worker finish it. */
const retryAndWork = async (run: RunSnapshot, search = all, more: Partial<RetryInput> = {}) => {
  const { run: created } = await retry(run, more)
  return work(arena, { run: await startRun(arena.db, created.id), search })
}
const asins = async (run: RunSnapshot) =>
  (
    await arena.rows<{ asin: string }>(
      `select external_id as asin from collection_items where run_id = $1 and item_type = 'amazon_product' order by id`,
      [run.id],
    )
  ).map(({ asin }) => Number(asin.slice(1)))
const events = (run: RunSnapshot) =>
  arena.rows<{ type: string; data: Record<string, unknown> }>(
    'select type, data from collection_events where run_id = $1 order by seq',
    [run.id],
  )

/** A completed run over ten products: 1 blocked, 2 drift, 3 rejected, the others found. */
async function troubled(from: number): Promise<RunSnapshot> {
  const run = await arena.makeRun({ products: 10, from })
  const kinds = { [from + 1]: 'blocked', [from + 2]: 'drift', [from + 3]: 'rejected' } as const
  const ended = await work(arena, { run, search: searchWith(trouble(kinds)) })
  expect(ended).toMatchObject({ status: 'completed', blockedItems: 1, driftItems: 1, rejectedItems: 1 })
  return ended
}

describe('a retry of a completed run', () => {
  it('searches its blocked and drifted products, pays for those alone, and links both ways', async () => {
    const parent = await troubled(100)
    const { run, plan } = await retry(parent)
    expect(plan.counts).toEqual({ blocked: 1, drift: 1 })
    expect(run).toMatchObject({ status: 'pending', retryOfRunId: parent.id, totalItems: 2, spentMicros: 0 })
    expect(await asins(run)).toEqual([101, 102])
    const ended = await work(arena, { run: await startRun(arena.db, run.id), search: all })
    expect(ended).toMatchObject({ status: 'completed', foundItems: 2, spentMicros: 2 * PRICE })

    expect(await retryLinks(arena.db, parent.id)).toMatchObject({ retryOf: null, retries: [{ number: run.number }] })
    expect(await retryLinks(arena.db, run.id)).toMatchObject({ retryOf: { number: parent.number }, retries: [] })
    expect((await events(run))[0]).toMatchObject({ type: 'run.created', data: { retry_of: { number: parent.number } } })
    expect((await events(parent)).at(-1)).toMatchObject({
      type: 'run.retried',
      data: { run: { number: run.number }, blocked: 1, drift: 1 },
    })
    expect(await arena.look(parent.id)).toMatchObject({
      status: 'completed',
      blockedItems: 1,
      spentMicros: parent.spentMicros,
    })
    await expectClean(arena.db)
  })

  it('counts every run a seller was seen in once', async () => {
    const parent = await troubled(120)
    const run = await retryAndWork(
      parent,
      searchWith(() => found(['retry-only', ...three])),
    )
    const seen = await arena.rows<{ name: string; times: number }>(
      `select normalized_name as name, times_seen as times from sellers where last_seen_run_id = $1`,
      [run.id],
    )
    expect(seen.find(({ name }) => name === 'retry-only')?.times).toBe(1)
    await expectClean(arena.db) // I5 counts them all again
  })

  it('takes rejected products too when asked, and only what is asked for', async () => {
    const parent = await troubled(140)
    const plan = (reasons: RetryInput['reasons']) =>
      planRetry(arena.db, { actor: arena.actor, runId: parent.id, ...(reasons ? { reasons } : {}) })
    expect((await plan(['drift'])).counts).toEqual({ drift: 1 })
    expect((await plan(['blocked', 'drift', 'rejected', 'rest', 'lists'])).counts).toEqual({
      blocked: 1,
      drift: 1,
      rejected: 1,
    })
    await expect(plan(['rest'])).rejects.toMatchObject({ code: 'run.nothing_to_retry' })
  })

  it('takes over accounts, filters and queries, and goes on at the rung that was reached', async () => {
    const run = await arena.makeRun({ products: 2, rungs: 3, from: 160 })
    await arena.fresh.db.query(`update collection_runs set filters = '{"maxPercent": 123}' where id = $1`, [run.id])
    // Rung 1 has nothing, rung 2 is blocked.
    const parent = await work(arena, {
      run,
      search: searchWith((request) => {
        const { product: number, rung } = asked(request)
        if (number === 161) return found(three)
        return rung === 1 ? found([]) : failed('blocked', CHARGED)
      }),
    })
    expect(parent).toMatchObject({ status: 'completed', blockedItems: 1 })
    const rungs: number[] = []
    const ended = await retryAndWork(
      parent,
      searchWith((request) => {
        rungs.push(asked(request).rung)
        return found(three)
      }),
    )
    expect(rungs).toEqual([2])
    expect(ended).toMatchObject({ searchAccountId: arena.search.id, spentMicros: PRICE, foundItems: 1 })
    const [row] = await arena.rows('select filters from collection_runs where id = $1', [ended.id])
    expect(row).toEqual({ filters: { maxPercent: 123 } })
    await expectClean(arena.db)
  })

  it('has a cap of its own: what it can cost, the setting when that is less, or the one given', async () => {
    const parent = await troubled(180)
    const plan = (capMicros?: number) =>
      planRetry(arena.db, {
        actor: arena.actor,
        runId: parent.id,
        ...(capMicros === undefined ? {} : { capMicros: toMicros(capMicros) }),
      })
    // Two products with one rung each, every call a tenth again at most: $0.0022 or less, in whole cents.
    const { capMicros, estimate } = await plan()
    expect(estimate).toMatchObject({
      products: { low: 2, likely: 2, high: 2 },
      cost: { low: 2 * PRICE, high: 3 * PRICE },
    })
    expect(capMicros).toBe(10_000)
    await changeSettings(arena.db, arena.actor.orgId, { budgetCapCents: 0 })
    expect((await plan()).capMicros).toBe(0)
    await changeSettings(arena.db, arena.actor.orgId, { budgetCapCents: 2500 })
    expect((await plan(77_000)).capMicros).toBe(77_000)
    // A cap that will not do for one query each is refused, before there is a run, unless that is meant.
    const little = { capMicros: toMicros(PRICE) }
    await expect(retry(parent, little)).rejects.toMatchObject({ code: 'run.cap_below_estimate' })
    expect((await retryLinks(arena.db, parent.id)).retries).toEqual([])
    const { run } = await retry(parent, { ...little, upToCap: true })
    expect(await work(arena, { run: await startRun(arena.db, run.id), search: all })).toMatchObject({
      status: 'paused',
      pauseReason: 'budget',
      spentMicros: PRICE,
    })
    await expect(retry(parent, { capMicros: -1 as never })).rejects.toMatchObject({ code: 'input.cap_invalid' })
  })

  it('that stands at a second query and has called nobody yet has figures, and is not done', async () => {
    const parent = await arena.makeRun({ products: 1, rungs: 2, from: 195 })
    const [call] = await claim(arena, parent, await arena.makeWorker())
    await book(arena, parent, finished(call, found([])))
    const { run } = await retry(await cancelRun(arena.db, parent.id))
    await startRun(arena.db, run.id)
    await withTxRetry(arena.db, (tx) => keepFigures(tx, run.id))
    const figures = await arena.rows('select capped from collection_category_figures where run_id = $1', [run.id])
    expect(figures).toEqual([{ capped: false }])
    await expect(completeRun(arena.db, run.id)).rejects.toMatchObject({ code: 'GL002' })
    await cancelRun(arena.db, run.id)
  })

  it('is refused when the month leaves too little, as any other run is', async () => {
    const parent = await troubled(190)
    const used = usedOfMonth(await monthOf(arena.db, arena.actor.orgId))
    const leave = (micros: number | null) =>
      changeSettings(arena.db, arena.actor.orgId, { monthCapMicros: micros === null ? null : toMicros(used + micros) })
    try {
      await leave(2 * PRICE - 1)
      await expect(retry(parent)).rejects.toMatchObject({ code: 'month.cap_below_estimate' })
      await leave(PRICE - 1)
      await expect(retry(parent, { upToCap: true })).rejects.toMatchObject({ code: 'month.cap_reached' })
      expect((await retryLinks(arena.db, parent.id)).retries).toEqual([])
      await leave(2 * PRICE)
      expect((await retry(parent)).run).toMatchObject({ status: 'pending', totalItems: 2 })
    } finally {
      await leave(null)
    }
  })
})

describe('a retry of what a retry left', () => {
  it('leaves out what the family has answered, whichever member is named', async () => {
    const parent = await troubled(200)
    const first = await retryAndWork(parent, searchWith(trouble({ 202: 'blocked' })))
    expect(first).toMatchObject({ status: 'completed', foundItems: 1, blockedItems: 1 })
    for (const member of [parent, first]) {
      const { counts } = await planRetry(arena.db, { actor: arena.actor, runId: member.id })
      expect(counts).toEqual(member === parent ? { drift: 1 } : { blocked: 1 })
    }
    const second = await retryAndWork(first)
    expect(await asins(second)).toEqual([202])
    expect(second.name).toBe(first.name)
    for (const member of [parent, first, second])
      await expect(retry(member)).rejects.toMatchObject({ code: 'run.nothing_to_retry' })
    await expectClean(arena.db)
  })
})

describe('a retry of a cancelled run', () => {
  it('collects the rest: what it had not come to, and what it has no answer to', async () => {
    const run = await arena.makeRun({ products: 6, from: 300, rungs: 2 })
    const worker = await arena.makeWorker()
    const calls = await claim(arena, run, worker, 3)
    // Found enough; found too little, so it waits for its second rung; blocked for good.
    await book(arena, run, finished(calls[0], found(three)), finished(calls[1], found(['dora'])))
    await book(arena, run, { ...finished(calls[2], failed('drift', CHARGED)) })
    const cancelled = await cancelRun(arena.db, run.id)
    const { run: next, plan } = await retry(cancelled)
    expect(plan.counts).toEqual({ drift: 1, rest: 3 })
    expect(await asins(next)).toEqual([302, 303, 304, 305])
    const ended = await work(arena, { run: await startRun(arena.db, next.id), search: all })
    expect(ended).toMatchObject({ status: 'completed', foundItems: 4, spentMicros: 4 * PRICE })
    await expectClean(arena.db)
  })

  it('waits for calls that are in flight: they may still bring their answer', async () => {
    const run = await arena.makeRun({ products: 2, from: 320 })
    const [call] = await claim(arena, run, await arena.makeWorker())
    const cancelled = await cancelRun(arena.db, run.id)
    await expect(retry(cancelled)).rejects.toMatchObject({
      code: 'run.wrong_state',
      message: expect.stringContaining('1 calls in flight'),
    })
    await book(arena, run, finished(call, found(three)))
    const { run: next } = await retry(cancelled)
    expect(await asins(next)).toEqual([321])
  })

  it('is refused while the run goes on', async () => {
    for (const run of [await arena.makeRun({ products: 1, start: false }), await arena.makeRun({ products: 1 })])
      await expect(retry(run)).rejects.toMatchObject({ code: 'run.wrong_state' })
  })
})

describe('lists', () => {
  const keys = ['a', 'b', 'c']
  it('that failed are read again from the page that failed, and what they name is searched once in the family', async () => {
    const run = await arena.makeRun({ categories: keys })
    const first = await work(arena, {
      run,
      search: all,
      list: listWith((category, step) => {
        if (category.key === 'a') return listed([product(400), product(401)])
        const page = step.kind === 'page' ? step.page : 0
        if (category.key === 'b')
          return page === 1 ? listed([product(402)], { kind: 'page', page: 2 }) : failed('drift', FREE)
        return failed('rejected', FREE)
      }),
    })
    expect(first).toMatchObject({ status: 'completed', failedCategories: 2, foundItems: 3 })
    const { run: next, plan } = await retry(first)
    expect(plan.counts).toEqual({ lists: 2 })
    expect(next).toMatchObject({
      source: 'categories',
      phase: 'products',
      listAccountId: arena.list.id,
      totalCategories: 2,
    })
    const steps: string[] = []
    const ended = await work(arena, {
      run: await startRun(arena.db, next.id),
      search: all,
      list: listWith((category, step) => {
        steps.push(`${category.key} ${step.kind === 'page' ? step.page : step.kind}`)
        return listed([product(400), product(category.key === 'b' ? 410 : 411)])
      }),
    })
    expect(steps.sort()).toEqual(['b 2', 'c 1'])
    expect(ended).toMatchObject({ status: 'completed', totalItems: 3, skippedItems: 1, foundItems: 2 })
    expect(ended.spentMicros).toBe(2 * LIST_PRICE + 2 * PRICE)
    const [skipped] = await arena.rows(
      `select external_id, error_code, error_message from collection_items where run_id = $1 and status = 'skipped'`,
      [ended.id],
    )
    expect(skipped).toEqual({
      external_id: 'B000000400',
      error_code: 'answered_before',
      error_message: `Run ${first.number} has its answer.`,
    })
    await expect(retry(first)).rejects.toMatchObject({ code: 'run.nothing_to_retry' })
    await expectClean(arena.db)
  })
})

describe('two retries', () => {
  it('of one family are never open together', async () => {
    const parent = await troubled(500)
    const results = await Promise.allSettled([retry(parent), retry(parent), retry(parent, { reasons: ['drift'] })])
    expect(results.filter(({ status }) => status === 'fulfilled')).toHaveLength(1)
    for (const result of results)
      if (result.status === 'rejected') expect(result.reason).toMatchObject({ code: 'run.retry_open' })
    const [open] = (await retryLinks(arena.db, parent.id)).retries
    if (!open) throw new Error('no retry')
    await cancelRun(arena.db, open.id)
    const { run } = await retry(parent)
    expect(await asins(run)).toEqual([501, 502])
    // Of the cancelled one, too: its products are the same.
    await expect(retry(await arena.look(open.id))).rejects.toMatchObject({ code: 'run.retry_open' })
    await cancelRun(arena.db, run.id)
    const both = await Promise.allSettled([retry(parent), retry(await arena.look(open.id))])
    expect(both.map(({ status }) => status).sort()).toEqual(['fulfilled', 'rejected'])
    expect(both.find(({ status }) => status === 'rejected')).toMatchObject({ reason: { code: 'run.retry_open' } })
  })
})

describe('the database', () => {
  const insert = (parentId: string | null, more = '', values = '') =>
    withTxRetry(arena.db, async (tx) => {
      await tx.query('set local role service_role')
      await tx.query(
        `insert into collection_runs (id, org_id, name, budget_cap_cents, category_ids, created_by, retry_of_run_id${more})
         values ($1, $2, 'By hand', 0, '{}', $3, $4${values})`,
        [newId(), arena.actor.orgId, arena.actor.userId, parentId],
      )
    })

  it('refuses a second open retry of a family', async () => {
    const parent = await troubled(600)
    await insert(parent.id)
    await expect(insert(parent.id)).rejects.toMatchObject({ constraint: 'collection_runs_one_open_retry' })
    const [child] = await arena.rows<{ id: string; root: string }>(
      'select id, retry_root_run_id as root from collection_runs where retry_of_run_id = $1',
      [parent.id],
    )
    expect(child?.root).toBe(parent.id)
    await cancelRun(arena.db, child?.id ?? '')
    await insert(child?.id ?? '')
    await expect(insert(parent.id)).rejects.toMatchObject({ constraint: 'collection_runs_one_open_retry' })
  })

  it('refuses a retry of a run that has not ended, or of another organisation, and money to begin with', async () => {
    const open = await arena.makeRun({ products: 1 })
    await expect(insert(open.id)).rejects.toMatchObject({ code: 'GL002' })
    await claim(arena, open, await arena.makeWorker())
    await cancelRun(arena.db, open.id)
    await expect(insert(open.id)).rejects.toMatchObject({ code: 'GL002' })
    await expect(insert(null, ', contradicted_micros', ', 1')).rejects.toMatchObject({ code: 'GL003' })
    const parent = await troubled(620)
    const orgId = newId()
    await arena.db.query(`insert into orgs (id, name) values ($1, 'Other')`, [orgId])
    const elsewhere = arena.db.query(
      `insert into collection_runs (id, org_id, name, budget_cap_cents, category_ids, created_by, retry_of_run_id)
       values ($1, $2, 'By hand', 0, '{}', $3, $4)`,
      [newId(), orgId, arena.actor.userId, parent.id],
    )
    await expect(elsewhere).rejects.toMatchObject({ code: 'GL002' })
  })

  it('keeps the links, and lets go of them when a run is deleted', async () => {
    const parent = await troubled(640)
    const { run } = await retry(parent)
    const change = withTx(arena.fresh.db, (tx) =>
      tx.query('update collection_runs set retry_of_run_id = null, retry_root_run_id = null where id = $1', [run.id]),
    )
    await expect(change).rejects.toMatchObject({ code: 'GL003' })
    await arena.db.query('delete from collection_runs where id = $1', [parent.id])
    expect(await arena.look(run.id)).toMatchObject({ retryOfRunId: null, totalItems: 2 })
  })
})
