/** Runs against a real sandbox: its accounts, its bill, and runs over categories or over its products. */
import { newId } from '../../src/base/ids.ts'
import type { Db } from '../../src/db/client.ts'
import { type ChosenAccounts, chooseAccounts, saveSandboxAccounts } from '../../src/engine/accounts.ts'
import { actorFor } from '../../src/engine/bootstrap.ts'
import { createRun } from '../../src/engine/create.ts'
import { openRunLane } from '../../src/engine/open-run-lane.ts'
import { startRun } from '../../src/engine/start.ts'
import { workRun } from '../../src/engine/work-run.ts'
import type { ListedProduct } from '../../src/providers/types.ts'
import { type Category, loadCategories } from '../../src/runs/categories.ts'
import type { RunSnapshot } from '../../src/runs/snapshot.ts'
import { type SandboxProcess, startSandboxProcess } from '../providers/sandbox-process.ts'

export type Marketplace = Readonly<{
  sandbox: SandboxProcess
  accounts: ChosenAccounts
  categories: readonly Category[]
  /** Creates and starts a run over that many categories, or over that many products of one. */
  startOn: (
    input: Readonly<{ categories?: number; products?: number; cap: number; orgId?: string }>,
  ) => Promise<RunSnapshot>
  /** Everything the sandbox has billed, micro-dollars. */
  billed: () => Promise<number>
  /** The bill, line by line. */
  bill: () => Promise<readonly BillLine[]>
}>

export type BillLine = Readonly<{ requestId: string | null; micros: number; kind: string; what: string; at: string }>

/** A sandbox of its own, and its accounts in `db`. Stop `sandbox` when done. */
export async function makeMarketplace(db: Db): Promise<Marketplace> {
  const sandbox = await startSandboxProcess()
  const prices = (await sandbox.get('/sandbox/prices')) as Record<string, number>
  await saveSandboxAccounts(db, sandbox.url, prices)
  const accounts = await chooseAccounts(db, { list: 'sandbox-oxylabs', search: 'sandbox-ebay' })
  const tree = await loadCategories()
  const categories = tree.rows.filter((row) => row.physical && row.level === 1)
  const actor = await actorFor(db)
  return {
    sandbox,
    accounts,
    categories,
    startOn: async (input) => {
      const collect = input.categories
        ? { kind: 'categories' as const, categories: categories.slice(0, input.categories) }
        : { kind: 'list' as const, products: await productsOf(sandbox, categories, input.products ?? 0), label: 'List' }
      const as = { ...actor, orgId: input.orgId ?? actor.orgId }
      const cap = { capMicros: input.cap as never, upToCap: true }
      const { run } = await createRun(db, { actor: as, collect, ...cap, accounts })
      return startRun(db, run.id)
    },
    billed: async () => ((await sandbox.get('/sandbox/billing/summary')) as { micros: number }).micros,
    bill: async () => {
      const lines: BillLine[] = []
      for (;;) {
        const page = `/sandbox/billing?limit=10000&after=${lines.length}`
        const { entries } = (await sandbox.get(page)) as { entries: readonly BillLine[] }
        if (entries.length === 0) return lines
        lines.push(...entries)
      }
    },
  }
}

/** Lets one worker's lane work on the run until it ends or pauses, and returns it as it stands then. */
export async function workAlone(db: Db, run: RunSnapshot): Promise<RunSnapshot> {
  const workerId = newId()
  await db.query(`insert into collection_workers (id, name, version) values ($1, 'test', '0')`, [workerId])
  const lane = await openRunLane({ db, env: {}, workerId, run, log: () => {} })
  return workRun(lane, new AbortController().signal)
}

type TrueProduct = Readonly<{ asin: string; title: string; priceCents: number | null; gtin: string | null }>

async function productsOf(
  sandbox: SandboxProcess,
  categories: readonly Category[],
  count: number,
): Promise<ListedProduct[]> {
  const products = new Map<string, ListedProduct>()
  for (const { key } of categories) {
    const truth = (await sandbox.get(`/sandbox/truth/products?category=${encodeURIComponent(key)}`)) as {
      products: readonly TrueProduct[]
    }
    for (const { asin, title, priceCents, gtin } of truth.products) {
      if (products.size === count) return [...products.values()]
      products.set(asin, { asin, title, priceCents, rank: null, ...(gtin ? { gtins: [gtin] } : {}) })
    }
  }
  throw new Error(`the sandbox has only ${products.size} products`)
}
