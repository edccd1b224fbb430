/** A database with one organisation and two accounts, and runs to put workers on: what the proofs of the engine share. */
import { expect } from 'vitest'
import { newId } from '../../src/base/ids.ts'
import { centsUp, type Micros, toMicros } from '../../src/base/money.ts'
import { type Db, withTx } from '../../src/db/client.ts'
import { type Account, saveAccount } from '../../src/engine/accounts.ts'
import { holdBack } from '../../src/engine/book-list.ts'
import { type Actor, actorFor } from '../../src/engine/bootstrap.ts'
import type { LaneOptions } from '../../src/engine/lane.ts'
import { startRun } from '../../src/engine/start.ts'
import { type Invariant, type VerifyOptions, verify } from '../../src/engine/verify.ts'
import { workRun } from '../../src/engine/work-run.ts'
import { appendEvents } from '../../src/events/append.ts'
import type { ProductData } from '../../src/ledger/claim.ts'
import { DEFAULT_FILTERS } from '../../src/matching/filters.ts'
import type {
  CallContext,
  CategoryRef,
  Failure,
  FailureKind,
  ListAdapter,
  ListAnswer,
  ListedProduct,
  Listing,
  ListStep,
  SearchAdapter,
  SearchAnswer,
  SearchQuery,
  SearchRequest,
} from '../../src/providers/types.ts'
import { addCategories } from '../../src/runs/categories-of-run.ts'
import { addProducts } from '../../src/runs/items.ts'
import { changeSettings } from '../../src/runs/settings.ts'
import { type RunSnapshot, runSnapshot } from '../../src/runs/snapshot.ts'
import { type FreshDb, freshDb } from '../support/db.ts'

/** What one search costs in the arena, micro-dollars. */
export const PRICE = toMicros(1_000)
/** What one list step costs. */
export const LIST_PRICE = toMicros(7_000)

export type RunInput = Readonly<{
  products?: number
  /** Rungs each product has. */
  rungs?: number
  /** First product's number: two runs with the same numbers have the same products. */
  from?: number
  categories?: readonly string[]
  cap?: number
  soft?: number
  /** So many of its products are searched first, the others wait. */
  sample?: number
  orgId?: string
  /** Left pending when false. */
  start?: boolean
}>

export type Arena = Readonly<{
  /** `fresh.db` is the superuser's, for what no worker may do. */
  fresh: FreshDb
  /** Connected as workers are: with the privileges of service_role and no others. */
  db: Db
  actor: Actor
  search: Account
  list: Account
  makeRun: (input?: RunInput) => Promise<RunSnapshot>
  look: (runId: string) => Promise<RunSnapshot>
  /** Registers a worker whose heart beat just now. */
  makeWorker: () => Promise<string>
  /** One query, its rows. */
  rows: <R extends object>(sql: string, values?: readonly unknown[]) => Promise<R[]>
  /** States of the run's calls with how many, e.g. `{ settled: 3 }`. */
  calls: (runId: string) => Promise<Record<string, number>>
  close: () => Promise<void>
}>

/** In a database of its own, or in `given`, which is then closed with it. */
export async function makeArena(given?: FreshDb): Promise<Arena> {
  const fresh = given ?? (await freshDb())
  const db = await fresh.connect({ role: 'service_role' })
  const actor = await actorFor(db)
  await changeSettings(db, actor.orgId, { maxConcurrentRuns: 1000 })
  const account = (name: string, adapter: Account['adapter'], prices: Account['prices']) =>
    saveAccount(db, { name, adapter, baseUrl: 'http://127.0.0.1:9', sandbox: true, prices, maxInFlight: 10_000 })
  const search = await account('search', 'ebay_browse', { 'ebay.search': PRICE })
  const list = await account('lists', 'oxylabs', { 'oxylabs.amazon_bestsellers': LIST_PRICE })
  await calm(db)
  const rows: Arena['rows'] = async (sql, values) => (await db.query(sql, values)).rows as never
  const look = async (runId: string): Promise<RunSnapshot> => {
    const run = await runSnapshot(db, runId)
    if (!run) throw new Error(`no run ${runId}`)
    return run
  }
  return {
    fresh,
    db,
    actor,
    search,
    list,
    rows,
    look,
    makeRun: async (input = {}) => {
      const id = await insertRun(db, actor, search.id, list.id, input)
      return input.start === false ? look(id) : startRun(db, id)
    },
    makeWorker: async () => {
      const id = newId()
      await db.query(`insert into collection_workers (id, name, version) values ($1, 'test', '0')`, [id])
      return id
    },
    calls: async (runId) => {
      const counted = await rows<{ state: string; count: number }>(
        'select state, count(*)::int as count from collection_calls where run_id = $1 group by state',
        [runId],
      )
      return Object.fromEntries(counted.map(({ state, count }) => [state, count]))
    },
    close: () => fresh.close(),
  }
}

async function insertRun(db: Db, actor: Actor, searchId: string, listId: string, input: RunInput): Promise<string> {
  const id = newId()
  const cap = input.cap ?? 1_000_000_000
  await withTx(db, async (tx) => {
    await tx.query(
      `insert into collection_runs (id, org_id, name, budget_cap_cents, cap_micros, category_ids, created_by, source,
         phase, list_account_id, search_account_id, soft_warning_percent, sample_products)
       values ($1, $2, 'Proof', $3, $4, $5, $6, $7, $8, $9, $10, $11, $12)`,
      [
        id,
        input.orgId ?? actor.orgId,
        centsUp(cap as Micros),
        cap,
        input.categories ?? [],
        actor.userId,
        input.categories ? 'categories' : 'product_list',
        input.categories ? 'products' : 'sellers',
        listId,
        searchId,
        input.soft ?? 80,
        input.sample ?? null,
      ],
    )
    if (input.categories) {
      const firstStep: ListStep = { kind: 'page', page: 1 }
      await addCategories(
        tx,
        id,
        input.categories.map((key) => ({ category: { key, slug: key, nodeId: null, name: key }, firstStep })),
      )
    }
    const products = Array.from({ length: input.products ?? 0 }, (_, index) => {
      const number = index + (input.from ?? 0)
      return { asin: asin(number), data: productData(number, input.rungs ?? 1), rank: null, skip: null }
    })
    await addProducts(tx, id, holdBack(products, input.sample ?? null), null)
    await appendEvents(tx, id, [{ type: 'run.created' }])
  })
  return id
}

export function asin(number: number): string {
  return `B${String(number).padStart(9, '0')}`
}

function productData(number: number, rungs: number): ProductData {
  const ladder = Array.from(
    { length: rungs },
    (_, rung): SearchQuery => ({
      kind: 'text',
      text: `product ${number} rung ${rung + 1}`,
    }),
  )
  return { title: `Product ${number}`, priceCents: 1_000, ladder }
}

/** The product and rung a search is for. */
export function asked(request: SearchRequest): { product: number; rung: number } {
  const match = request.query.kind === 'text' ? /^product (\d+) rung (\d+)$/.exec(request.query.text) : null
  return { product: Number(match?.[1]), rung: Number(match?.[2]) }
}

export type Search = (request: SearchRequest, context: CallContext) => SearchAnswer | Promise<SearchAnswer>

/** A search adapter that answers as told. */
export function searchWith(search: Search, price: number = PRICE): SearchAdapter {
  return {
    worstCase: () => toMicros(price),
    timeoutMs: 5_000,
    search: async (request, context) => search(request, context),
  }
}

/** A list adapter that answers as told. */
export function listWith(
  fetch: (category: CategoryRef, step: ListStep, context: CallContext) => ListAnswer | Promise<ListAnswer>,
): ListAdapter {
  return {
    firstStep: () => ({ kind: 'page', page: 1 }),
    worstCase: () => LIST_PRICE,
    fetch: async (category, step, context) => fetch(category, step, context),
  }
}

export function listing(seller: string, at = 1, title = 'A listing'): Listing {
  return {
    listingId: `v1|${seller}|${at}`,
    title,
    priceCents: 1_500,
    position: at,
    seller: { username: seller, feedbackScore: 10, feedbackPermille: 991 },
  }
}

/** An answer with one listing of each of these sellers. No seller: none. */
export function found(sellers: readonly string[], micros: number = PRICE): SearchAnswer {
  const listings = sellers.map((seller, index) => listing(seller, index + 1))
  return { ok: true, charge: { kind: 'charged', micros: toMicros(micros) }, listings, leftOut: {}, ignoredFilters: [] }
}

export const CHARGED = { kind: 'charged', micros: PRICE } as const
export const FREE = { kind: 'not_charged' } as const
export const UNKNOWN = { kind: 'unknown' } as const

export function failed(kind: FailureKind, charge: Failure['charge'], more: Partial<Failure> = {}): Failure {
  return { ok: false, kind, charge, code: `test.${kind}`, message: `It was ${kind}.`, ...more }
}

export function listed(products: readonly ListedProduct[], next: ListStep | null = null): ListAnswer {
  return { ok: true, charge: { kind: 'charged', micros: LIST_PRICE }, products, next, left: [] }
}

export function product(number: number, rank: number | null = null): ListedProduct {
  return { asin: asin(number), title: `Teapot AX${1_000 + number} Ceramic`, priceCents: 1_999, rank }
}

export type WorkInput = Readonly<{
  db?: Db
  run: RunSnapshot
  search: SearchAdapter
  list?: ListAdapter
  workerId?: string
  slots?: number
  signal?: AbortSignal
  log?: LaneOptions['log']
}>

/** Makes the governors of all accounts forget what they learned: no quota, no rest, no trouble, and a window without end. */
async function calm(db: Db): Promise<void> {
  await db.query(
    `update provider_governors set window_calls = 10000, steep_below = 1000000, rest_until = 'epoch', quota_until = 'epoch',
       day_ends_at = 'epoch', day_calls = 0, health = 'healthy', recent = '', stops_in_row = 0, throttles_in_row = 0`,
  )
}

/**
 * Lets a worker of its own take part in a run, until the run stops running. Returns the run as it stands. Its providers
 * are met afresh: what a governor learns over time is tested in governor.test.ts.
 */
export async function work(arena: Arena, input: WorkInput): Promise<RunSnapshot> {
  await calm(arena.db)
  const workerId = input.workerId ?? (await arena.makeWorker())
  const slots = input.slots ?? 20
  return workRun(
    {
      db: input.db ?? arena.db,
      workerId,
      run: await arena.look(input.run.id),
      filters: DEFAULT_FILTERS,
      search: { id: arena.search.id, name: 'search', adapter: input.search, maxInFlight: slots },
      list: input.list ? { id: arena.list.id, name: 'lists', adapter: input.list, maxInFlight: 4 } : null,
      log: input.log ?? (() => {}),
    },
    input.signal ?? new AbortController().signal,
  )
}

/** Fails with what `verify` found unless everything it looked at holds. */
export async function expectClean(db: Db, options: VerifyOptions = {}): Promise<void> {
  const findings = await verify(db, options)
  expect(findings.filter(({ state }) => state === 'broken')).toEqual([])
}

/** The invariants `verify` finds broken. */
export async function broken(db: Db, options: VerifyOptions = {}): Promise<Invariant[]> {
  return (await verify(db, options)).filter(({ state }) => state === 'broken').map(({ invariant }) => invariant)
}
