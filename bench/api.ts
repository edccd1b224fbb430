/**
 * The API's reads over a million sellers, five million sightings and two hundred runs: how long a page of the list takes
 * with every filter, order and direction, one seller with its evidence, the exact count, the marks. Each request is a
 * transaction of its own as a signed-in analyst, so the policies are asked every time. And how many rows a second an export
 * brings, as a person downloads it, and what memory it takes.
 */

import type { Db } from '../apps/api/src/db/client.ts'
import { asMember } from '../apps/api/src/db/session.ts'
import { streamExport } from '../apps/api/src/engine/stream-export.ts'
import { DEFAULT_EXPORT_COLUMNS } from '../apps/api/src/sellers/export-columns.ts'
import { type ApiData, FULL, fillApiData } from './api-data.ts'
import { type Asking, apiKinds, timesOf } from './api-kinds.ts'
import { readArgs } from './support/args.ts'
import { markdownTable, progress, rounded, whereMeasured } from './support/report.ts'
import { onStage } from './support/stage.ts'

const args = readArgs('API: reads over a million sellers, p50 and p95 of each; exports, rows a second.', {
  runs: { default: FULL.runs, help: 'runs' },
  products: { default: FULL.productsPerRun, help: 'products of a run; two new sellers each' },
  samples: { default: 40, help: 'requests measured of each kind' },
  limit: { default: 100, help: 'rows of a page' },
  only: { default: '', help: 'only kinds whose name holds this' },
})

await onStage(async (stage) => {
  const place = await stage.fresh()
  const data = await fillApiData(place.db, { runs: args.runs, productsPerRun: args.products }, progress)
  console.log(await reads(place.db, { data, runs: args.runs, samples: args.samples, limit: args.limit }, args.only))
  if (args.only === '') console.log(`\n${await exports(place.db, data)}`)
  console.log(
    `\n${data.sellers} sellers, ${data.sightings} sightings, ${args.runs} runs; ${args.samples} requests each, pages of ${args.limit}; ${await whereMeasured(stage.admin)}`,
  )
})

async function reads(db: Db, asking: Asking, only: string): Promise<string> {
  const rows: (string | number)[][] = []
  for (const kind of (await apiKinds(db, asking)).filter(({ name }) => name.includes(only))) {
    const sorted = (await timesOf(db, asking, kind)).toSorted((a, b) => a - b)
    const part = (share: number): number => sorted[Math.max(0, Math.ceil(sorted.length * share) - 1)] ?? 0
    const measure = kind.limitMs === null ? '' : `${part(0.95) < kind.limitMs ? 'under' : 'OVER'} ${kind.limitMs}`
    rows.push([kind.name, rounded(part(0.5), 1), rounded(part(0.95), 1), rounded(part(1), 1), measure])
    progress(`${kind.name}: p50 ${rounded(part(0.5), 1)} p95 ${rounded(part(0.95), 1)} ms`)
  }
  return markdownTable(['request', 'p50 ms', 'p95 ms', 'worst ms', 'measure'], rows)
}

/** Every seller in each form, by score, read to the end as fast as it comes. */
async function exports(db: Db, data: ApiData): Promise<string> {
  const rows: (string | number)[][] = []
  for (const format of ['csv', 'jsonl', 'xlsx'] as const) {
    const { orgId, userId } = data
    const wanted = {
      orgId,
      view: {},
      order: { sort: 'score', descending: true },
      columns: DEFAULT_EXPORT_COLUMNS,
    } as const
    global.gc?.()
    const idleMb = process.memoryUsage().rss / 2 ** 20
    let [bytes, lines, mostMb] = [0, 0, 0]
    const startedAt = performance.now()
    const actAs = (tx: Parameters<typeof asMember>[0]) => asMember(tx, { userId, orgId })
    for await (const chunk of streamExport(db, actAs, { ...wanted, format, safe: true })) {
      bytes += chunk.length
      if (format !== 'xlsx') for (const byte of chunk) if (byte === 10) lines++
      mostMb = Math.max(mostMb, process.memoryUsage().rss / 2 ** 20)
    }
    const seconds = (performance.now() - startedAt) / 1000
    const { rows: counted } = await db.query<{ n: number }>(
      'select count(*)::int as n from seller_list where org_id = $1 and removed_at is null',
      [orgId],
    )
    const sellers = counted[0]?.n ?? 0
    if (format !== 'xlsx' && lines !== sellers + (format === 'csv' ? 1 : 0))
      throw new Error(`${lines} lines of ${sellers} sellers`)
    rows.push([
      format,
      sellers,
      rounded(seconds, 1),
      Math.round(sellers / seconds),
      rounded(bytes / 2 ** 20),
      rounded(mostMb - idleMb),
    ])
    progress(`export ${format}: ${Math.round(sellers / seconds)} rows/s`)
  }
  return markdownTable(['export', 'rows', 'seconds', 'rows a second', 'MB', 'MB of memory above idle'], rows)
}
