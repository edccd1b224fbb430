/** A sandbox for a test: in this process, or as a process of its own. Both over real HTTP. */
import { type ChildProcess, spawn } from 'node:child_process'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'
import { onTestFinished } from 'vitest'
import { type SandboxOptions, startSandbox } from '../src/server.ts'
import type { Category } from '../src/world/categories.ts'

const ROOT = fileURLToPath(new URL('../../../', import.meta.url))

/** Two departments: one with a root node and three children, one without; one node that sits in both. */
export const CATEGORIES: readonly Category[] = [
  row('orchard', null, 'Orchard Supplies', '9001'),
  row('orchard', '9101', 'Apple Pickers'),
  row('orchard', '9102', 'Pruning Shears & Loppers'),
  row('orchard', '9103', 'Ladders'),
  row('attic', null, 'Attic Finds', null),
  row('attic', '9103', 'Ladders'),
]

function row(slug: string, node: string | null, name: string, browseNodeId: string | null = null): Category {
  const key = node === null ? slug : `${slug}/${node}`
  return {
    key,
    id: node ?? slug,
    name,
    parentId: node === null ? null : slug,
    slug,
    level: node === null ? 0 : 1,
    browseNodeId,
  }
}

/** Removed when the test is over. */
export function temporaryDirectory(): string {
  const directory = mkdtempSync(join(tmpdir(), 'sandbox-test-'))
  onTestFinished(() => rmSync(directory, { recursive: true, force: true }))
  return directory
}

export function categoriesFile(directory: string): string {
  const file = join(directory, 'categories.json')
  writeFileSync(file, JSON.stringify(CATEGORIES))
  return file
}

export type Client = Readonly<{
  url: string
  dataDir: string
  get: <T = Record<string, unknown>>(path: string) => Promise<T>
  post: <T = Record<string, unknown>>(path: string, body?: unknown) => Promise<T>
  close: () => Promise<void>
}>

/** Starts a sandbox in this process; it stops when the test is over. */
export async function sandbox(options: Partial<SandboxOptions> = {}): Promise<Client> {
  const dataDir = options.dataDir ?? temporaryDirectory()
  const running = await startSandbox({
    port: 0,
    host: '127.0.0.1',
    seed: 1,
    categoriesFile: categoriesFile(dataDir),
    ...options,
    dataDir,
  })
  let open = true
  const close = async (): Promise<void> => {
    if (open) await running.close()
    open = false
  }
  onTestFinished(close)
  return { dataDir, close, ...requests(running.url) }
}

export function requests(url: string): Pick<Client, 'url' | 'get' | 'post'> {
  const read = async <T>(response: Response): Promise<T> => {
    const text = await response.text()
    if (!response.ok) throw new Error(`${response.status} ${text}`)
    return JSON.parse(text) as T
  }
  return {
    url,
    get: async (path) => read(await fetch(url + path)),
    post: async (path, body) => read(await fetch(url + path, { method: 'POST', body: JSON.stringify(body ?? {}) })),
  }
}

export type SandboxProcess = Readonly<{ child: ChildProcess; url: string; pid: number; lines: string[] }>

/** Starts apps/sandbox/src/main.ts and waits until it listens. Killed, if it still runs, when the test is over. */
export async function sandboxProcess(args: readonly string[]): Promise<SandboxProcess> {
  const child = spawnMain(args)
  const lines: string[] = []
  const errors: string[] = []
  child.stderr?.on('data', (chunk: Buffer) => errors.push(chunk.toString()))
  const first = await new Promise<string>((resolve, reject) => {
    createInterface({ input: child.stdout as NodeJS.ReadableStream }).on('line', (line) => {
      lines.push(line)
      resolve(line)
    })
    child.once('exit', (code) => reject(new Error(`the sandbox ended with ${code}: ${errors.join('')}`)))
  })
  const { listening, pid } = JSON.parse(first) as { listening: string; pid: number }
  return { child, url: listening, pid, lines }
}

export function spawnMain(args: readonly string[]): ChildProcess {
  const node = join(ROOT, 'node_modules/node/bin/node')
  const child = spawn(node, [join(ROOT, 'apps/sandbox/src/main.ts'), ...args], { stdio: ['ignore', 'pipe', 'pipe'] })
  onTestFinished(() => {
    if (child.exitCode === null && child.signalCode === null) child.kill('SIGKILL')
  })
  return child
}

/** Exit status and what was written to stderr. */
export async function runMain(args: readonly string[]): Promise<{ code: number | null; stderr: string }> {
  const child = spawnMain(args)
  let stderr = ''
  child.stderr?.on('data', (chunk: Buffer) => {
    stderr += chunk.toString()
  })
  const code = await ended(child)
  return { code, stderr }
}

export function ended(child: ChildProcess): Promise<number | null> {
  if (child.exitCode !== null || child.signalCode !== null) return Promise.resolve(child.exitCode)
  return new Promise((resolve) => child.once('close', (code) => resolve(code)))
}

// ---- eBay ---------------------------------------------------------------------------------------------------------

export const EBAY_BASIC = `Basic ${btoa('sandbox-client:sandbox-secret')}`
export const OXYLABS_BASIC = `Basic ${btoa('sandbox-user:sandbox-password')}`
export const KEEPA_KEY = 'k'.repeat(64)

export async function mint(url: string): Promise<string> {
  const response = await fetch(`${url}/ebay/identity/v1/oauth2/token`, {
    method: 'POST',
    headers: { authorization: EBAY_BASIC, 'content-type': 'application/x-www-form-urlencoded' },
    body: new URLSearchParams({
      grant_type: 'client_credentials',
      scope: 'https://api.ebay.com/oauth/api_scope',
    }).toString(),
  })
  const { access_token } = (await response.json()) as { access_token: string }
  return access_token
}

export type Row = {
  itemId: string
  legacyItemId: string
  title: string
  price: { value: string; currency: string; convertedFromValue?: string; convertedFromCurrency?: string }
  seller: { username?: string; feedbackScore: number; feedbackPercentage?: string }
  conditionId?: string
  shippingOptions: { shippingCostType: string; shippingCost?: { value: string } }[]
  buyingOptions: string[]
  itemLocation: { country: string }
  itemCreationDate: string
}
export type SearchBody = {
  total: number
  limit: number
  offset: number
  next?: string
  prev?: string
  itemSummaries?: Row[]
  warnings?: { errorId: number }[]
  errors?: { errorId: number; domain: string }[]
}

export const DEFAULT_FILTER =
  'conditionIds:{1000},buyingOptions:{FIXED_PRICE},itemLocationCountry:US,deliveryCountry:US,maxDeliveryCost:0'

/** One search with the given parameters. */
export async function search(
  url: string,
  token: string,
  parameters: Record<string, string>,
  headers: Record<string, string> = {},
): Promise<{ status: number; body: SearchBody }> {
  const response = await fetch(`${url}/ebay/buy/browse/v1/item_summary/search?${new URLSearchParams(parameters)}`, {
    headers: { authorization: `Bearer ${token}`, 'x-ebay-c-marketplace-id': 'EBAY_US', ...headers },
  })
  return { status: response.status, body: (await response.json()) as SearchBody }
}

/** Every row of every page. */
export async function searchAll(url: string, token: string, parameters: Record<string, string>): Promise<Row[]> {
  const rows: Row[] = []
  for (let offset = 0; ; offset += 200) {
    const { body } = await search(url, token, { ...parameters, limit: '200', offset: String(offset) })
    rows.push(...(body.itemSummaries ?? []))
    if (body.next === undefined) return rows
  }
}

export type Truth = {
  asin: string
  title: string
  priceCents: number | null
  gtin: string | null
  ladder: { full: string; first: string; short: string }
  sellers: TrueSeller[]
  unfindable: TrueSeller[]
}
export type TrueSeller = {
  key: string
  userId: string
  kind: string
  rungs: { gtin: boolean; full: boolean; first: boolean; short: boolean }
  listings: { legacyId: string; cents: number }[]
}
export type TrueProduct = {
  rank: number
  asin: string
  title: string
  brand: string
  priceCents: number | null
  gtin: string | null
  home: string
}

export async function products(client: Pick<Client, 'get'>, category: string): Promise<TrueProduct[]> {
  const answer = await client.get<{ products: TrueProduct[] }>(
    `/sandbox/truth/products?category=${encodeURIComponent(category)}`,
  )
  return answer.products
}

export async function truths(client: Pick<Client, 'post'>, asins: readonly string[]): Promise<Truth[]> {
  return (await client.post<{ products: Truth[] }>('/sandbox/truth/sellers', { asins })).products
}
