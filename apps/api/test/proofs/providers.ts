/**
 * What providers do wrong, end to end: real workers, the sandbox's faults, and its bill. Every fault once, with the outcome
 * it must have; and all of them together, for as long as you like.
 */
import { expect } from 'vitest'
import { type Account, saveAccount } from '../../src/engine/accounts.ts'
import { actorFor } from '../../src/engine/bootstrap.ts'
import { createRun } from '../../src/engine/create.ts'
import { startRun } from '../../src/engine/start.ts'
import { ladder } from '../../src/matching/query-ladder.ts'
import type { ListedProduct } from '../../src/providers/types.ts'
import type { RunSnapshot } from '../../src/runs/snapshot.ts'
import type { Done } from './round.ts'
import { makeScene, type Scene } from './scene.ts'

/** A fault, and what becomes of a run with the one product it hits. */
export type FaultCase = Readonly<{
  what: string
  adapter: 'ebay_browse' | 'oxylabs'
  rule: Readonly<Record<string, unknown>>
  status: RunSnapshot['status']
  pause?: RunSnapshot['pauseReason']
  /** Of the product; null while it waits. */
  outcome: string | null
  /** Calls by state. */
  calls: Readonly<Record<string, number>>
}>

const once = { times: 1 }
const FOUND = { status: 'completed', outcome: 'found' } as const
const EBAY = { adapter: 'ebay_browse' } as const
const PAGES = { adapter: 'oxylabs' } as const
const AGAIN = { released: 1, settled: 1 }
const UNSURE = { suspect: 1, settled: 1 }

/** Each fault of apps/sandbox/README.md that can meet a search, at the provider where it can. */
export const FAULT_CASES: readonly FaultCase[] = [
  {
    what: '429 with Retry-After',
    ...EBAY,
    rule: { kind: 'throttled', retryAfterS: 1, ...once },
    ...FOUND,
    calls: AGAIN,
  },
  { what: '429 without Retry-After', ...EBAY, rule: { kind: 'throttled', ...once }, ...FOUND, calls: AGAIN },
  { what: '500', ...EBAY, rule: { kind: 'server_error', ...once }, ...FOUND, calls: AGAIN },
  { what: '503', ...EBAY, rule: { kind: 'server_error', status: 503, ...once }, ...FOUND, calls: AGAIN },
  { what: 'a hang before anything is charged', ...EBAY, rule: { kind: 'hang', ...once }, ...FOUND, calls: UNSURE },
  { what: 'a hang after the charge', ...EBAY, rule: { kind: 'hang_after', ...once }, ...FOUND, calls: UNSURE },
  { what: 'a reset before the charge', ...EBAY, rule: { kind: 'reset_before', ...once }, ...FOUND, calls: UNSURE },
  { what: 'a reset after the charge', ...EBAY, rule: { kind: 'reset_after', ...once }, ...FOUND, calls: UNSURE },
  { what: 'a body cut off', ...EBAY, rule: { kind: 'truncated', ...once }, ...FOUND, calls: UNSURE },
  { what: 'a body in drops', ...EBAY, rule: { kind: 'drip', ms: 2, ...once }, ...FOUND, calls: { settled: 1 } },
  { what: 'a slow answer', ...EBAY, rule: { kind: 'slow', ms: 800, ...once }, ...FOUND, calls: { settled: 1 } },
  {
    what: 'a body of garbage',
    ...EBAY,
    rule: { kind: 'garbage' },
    status: 'failed',
    outcome: 'drift',
    calls: { settled: 1 },
  },
  { what: 'no body', ...EBAY, rule: { kind: 'empty_body' }, status: 'failed', outcome: 'drift', calls: { settled: 1 } },
  {
    what: 'another shape of JSON',
    ...EBAY,
    rule: { kind: 'drift_json' },
    status: 'failed',
    outcome: 'drift',
    calls: { settled: 1 },
  },
  {
    what: 'rows without sellers',
    ...EBAY,
    rule: { kind: 'anonymous_sellers' },
    status: 'failed',
    outcome: 'drift',
    calls: { settled: 1 },
  },
  {
    what: 'a request it calls invalid',
    ...EBAY,
    rule: { kind: 'bad_request' },
    status: 'failed',
    outcome: 'rejected',
    calls: { released: 1 },
  },
  {
    what: 'filters ignored in silence',
    ...EBAY,
    rule: { kind: 'ignored_filters_silent' },
    ...FOUND,
    calls: { settled: 1 },
  },
  { what: 'renamed sellers', ...EBAY, rule: { kind: 'renamed_sellers' }, ...FOUND, calls: { settled: 1 } },
  {
    what: 'a price above the list',
    ...EBAY,
    rule: { kind: 'price_above_list', factor: 2 },
    status: 'paused',
    pause: 'provider',
    outcome: 'found',
    calls: { settled: 1 },
  },
  {
    what: 'a quota used up',
    ...EBAY,
    rule: { kind: 'quota', ...once },
    status: 'paused',
    pause: 'quota',
    outcome: null,
    calls: { released: 1 },
  },
  {
    what: 'an account that is locked',
    ...EBAY,
    rule: { kind: 'forbidden', ...once },
    status: 'failed',
    outcome: null,
    calls: { released: 1 },
  },
  { what: 'a captcha with status 200', ...PAGES, rule: { kind: 'captcha', ...once }, ...FOUND, calls: { settled: 2 } },
  {
    what: 'nothing but captchas',
    ...PAGES,
    rule: { kind: 'captcha' },
    status: 'failed',
    outcome: 'blocked',
    calls: { settled: 3 },
  },
  {
    what: 'another layout',
    ...PAGES,
    rule: { kind: 'drift_html' },
    status: 'failed',
    outcome: 'drift',
    calls: { settled: 1 },
  },
  { what: 'the old layout', ...PAGES, rule: { kind: 'old_layout' }, ...FOUND, calls: { settled: 1 } },
  {
    what: 'a target page that fails for free',
    ...PAGES,
    rule: { kind: 'target_status', status: 613, ...once },
    ...FOUND,
    calls: AGAIN,
  },
]

type Played = Readonly<{ fault: FaultCase; run: RunSnapshot }>

/**
 * Every case at once: a product, an account and a run of its own each, so that none is in the way of another, and two
 * workers on all of them. Returns when every run has ended or paused as its case says and the bill agrees, call by call.
 */
export async function everyFault(cases: readonly FaultCase[], say: (line: string) => void): Promise<Done> {
  const scene = await makeScene()
  try {
    const played: Played[] = []
    const hit = await subjects(scene, cases.length)
    const rules = cases.map((fault, index) => ({
      provider: fault.adapter === 'oxylabs' ? 'oxylabs' : 'ebay',
      ...fault.rule,
      when: { matching: hit[index]?.word },
    }))
    await scene.market.sandbox.post('/sandbox/faults', rules)
    for (const [index, fault] of cases.entries()) {
      played.push({ fault, run: await startOne(scene, fault, hit[index]?.product as ListedProduct, index) })
    }
    await Promise.all([scene.begin(), scene.begin()])
    for (const { fault, run } of played) {
      expect({ what: fault.what, ...(await story(scene, run)) }).toEqual(expectedOf(fault))
      say(fault.what)
    }
    await expectAllHit(scene, cases)
    await Promise.all([...scene.workers].map((worker) => worker.stop()))
    await scene.check()
    return { faults: cases.length, checks: 1 }
  } finally {
    await scene.close()
  }
}

type Subject = Readonly<{ product: ListedProduct; word: string }>

/** Products for sale in the sandbox that somebody sells, each with a word no other has, in every query for it. */
async function subjects(scene: Scene, count: number): Promise<Subject[]> {
  const made = Array.from({ length: 3 * count }, (_, index): Subject => {
    const word = `zorbex${String(index).padStart(3, '0')}k`
    const asin = `B9${String(index).padStart(8, '0')}`
    return { word, product: { asin, title: `${word} Kettle`, priceCents: 2_999, rank: null } }
  })
  const products = made.map(({ product: { asin, title, priceCents } }) => ({ asin, title, priceCents }))
  await scene.market.sandbox.post('/sandbox/catalogue', { products })
  const truth = (await scene.market.sandbox.post('/sandbox/truth/sellers', {
    asins: products.map(({ asin }) => asin),
  })) as { products: readonly { asin: string; sellers: readonly unknown[] }[] }
  const sold = new Set(truth.products.filter(({ sellers }) => sellers.length > 2).map(({ asin }) => asin))
  const wanted = made.filter(({ product }) => sold.has(product.asin)).slice(0, count)
  expect(wanted).toHaveLength(count)
  for (const { product, word } of wanted) {
    for (const query of ladder(product)) {
      if (query.kind === 'text') expect(query.text.toLowerCase()).toContain(word)
    }
  }
  return wanted
}

async function startOne(scene: Scene, fault: FaultCase, product: ListedProduct, index: number): Promise<RunSnapshot> {
  const { db } = scene.fresh
  const model = scene.market.accounts[fault.adapter === 'oxylabs' ? 'list' : 'search'] as Account
  const search = await saveAccount(db, {
    name: `case-${index}`,
    adapter: fault.adapter,
    baseUrl: model.baseUrl,
    sandbox: true,
    prices: model.prices,
  })
  const collect = { kind: 'list' as const, products: [product], label: fault.what }
  const actor = await actorFor(db)
  const cap = { capMicros: 1_000_000 as never, upToCap: true }
  const { run } = await createRun(db, { actor, collect, ...cap, accounts: { list: null, search } })
  return startRun(db, run.id)
}

type Story = Readonly<{ status: string; pause: string | null; outcome: string | null; calls: Record<string, number> }>

async function story(scene: Scene, run: RunSnapshot): Promise<Story> {
  const end = await scene.end(run)
  const { rows } = await scene.fresh.db.query<{ state: string; count: number }>(
    'select state, count(*)::int as count from collection_calls where run_id = $1 group by state order by state',
    [run.id],
  )
  const items = await scene.fresh.db.query<{ outcome: string | null }>(
    `select outcome from collection_items where run_id = $1 and item_type = 'amazon_product'`,
    [run.id],
  )
  return {
    status: end.status,
    pause: end.pauseReason,
    outcome: items.rows[0]?.outcome ?? null,
    calls: Object.fromEntries(rows.map(({ state, count }) => [state, count])),
  }
}

const expectedOf = ({ what, status, pause, outcome, calls }: FaultCase): Story & { what: string } => ({
  what,
  status,
  pause: pause ?? null,
  outcome,
  calls,
})

/** A case whose fault never struck would prove nothing. */
async function expectAllHit(scene: Scene, cases: readonly FaultCase[]): Promise<void> {
  const { rules } = (await scene.market.sandbox.get('/sandbox/faults')) as { rules: readonly { hits: number }[] }
  const missed = rules.flatMap(({ hits }, index) => (hits > 0 ? [] : [cases[index]?.what]))
  expect(missed).toEqual([])
}
