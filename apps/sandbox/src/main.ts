/** The sandbox as a process: arguments in, one JSON line out when it listens, stops on SIGTERM and SIGINT. */
import { readFileSync } from 'node:fs'
import { resolve } from 'node:path'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'
import { parse } from 'csv-parse/sync'
import { z } from 'zod'
import type { ConfigInput } from './config.ts'
import { CatalogueRowSchema } from './control.ts'
import { DirectoryInUse } from './lock.ts'
import { type SandboxOptions, startSandbox } from './server.ts'
import type { CatalogueRow } from './world/shelf.ts'

const USAGE = `usage: sandbox --data DIR [--port 0] [--host 127.0.0.1] [--seed 1] [--latency-ms 0]
               [--config FILE.json] [--catalogue FILE.csv|FILE.json] [--categories FILE.json]
               [--end-when-unused]`

const DEFAULT_CATEGORIES = fileURLToPath(new URL('../../../data/amazon-categories.json', import.meta.url))

class BadArgument extends Error {}

try {
  const values = readArguments(process.argv.slice(2))
  let stop = (): void => process.exit(0)
  const unused = values['end-when-unused'] ? { onUnused: () => stop() } : {}
  const running = await startSandbox({ ...readOptions(values), ...unused })
  process.stdout.write(`${JSON.stringify({ listening: running.url, pid: process.pid })}\n`)
  let stopping = false
  stop = () => {
    if (stopping) return
    stopping = true
    running.close().then(
      () => process.exit(0),
      () => process.exit(1),
    )
  }
  process.once('SIGTERM', stop)
  process.once('SIGINT', stop)
} catch (error) {
  const message = error instanceof Error ? error.message : String(error)
  process.stderr.write(`sandbox: ${message}\n${error instanceof BadArgument ? `${USAGE}\n` : ''}`)
  process.exitCode = error instanceof DirectoryInUse ? 5 : 2
}

function readOptions(values: ReturnType<typeof readArguments>): SandboxOptions {
  if (values.data === undefined) throw new BadArgument('--data DIR is needed')
  const config = (values.config === undefined ? {} : readJson(values.config)) as ConfigInput
  const latency = values['latency-ms']
  return {
    port: whole('--port', values.port ?? '0', 65_535),
    host: values.host ?? '127.0.0.1',
    dataDir: resolve(values.data),
    categoriesFile: resolve(values.categories ?? DEFAULT_CATEGORIES),
    ...(values.seed === undefined ? {} : { seed: whole('--seed', values.seed, 2 ** 31) }),
    config:
      latency === undefined
        ? config
        : { ...config, latency: { ...config.latency, ms: whole('--latency-ms', latency, 600_000) } },
    ...(values.catalogue === undefined ? {} : { catalogue: readCatalogue(values.catalogue) }),
  }
}

function readArguments(argv: string[]) {
  const text = { type: 'string' } as const
  try {
    return parseArgs({
      args: argv,
      options: {
        port: text,
        host: text,
        data: text,
        seed: text,
        'latency-ms': text,
        config: text,
        catalogue: text,
        categories: text,
        'end-when-unused': { type: 'boolean' },
      },
    }).values
  } catch (error) {
    throw new BadArgument(error instanceof Error ? error.message : String(error))
  }
}

function whole(name: string, text: string, max: number): number {
  const value = Number(text)
  if (!/^\d+$/.test(text) || value > max)
    throw new BadArgument(`${name} must be a whole number from 0 to ${max}, not "${text}"`)
  return value
}

function readJson(file: string): unknown {
  try {
    return JSON.parse(readFileSync(file, 'utf8'))
  } catch (error) {
    throw new BadArgument(`cannot read ${file}: ${error instanceof Error ? error.message : error}`)
  }
}

/** CSV with the columns asin, title and price (dollars) or price_cents; or JSON rows {asin, title, priceCents}. */
function readCatalogue(file: string): CatalogueRow[] {
  const input = file.endsWith('.json') ? readJson(file) : readCsv(file)
  const rows = z.array(CatalogueRowSchema).safeParse(input)
  if (!rows.success) throw new BadArgument(`${file}: ${z.prettifyError(rows.error)}`)
  return rows.data.map((row) => ({ ...row, gtin: row.gtin ?? null }))
}

function readCsv(file: string): unknown[] {
  let records: Record<string, string>[]
  try {
    const head = (names: string[]): string[] => names.map((name) => name.trim().toLowerCase())
    records = parse(readFileSync(file), { columns: head, bom: true, skip_empty_lines: true, trim: true })
  } catch (error) {
    throw new BadArgument(`cannot read ${file}: ${error instanceof Error ? error.message : error}`)
  }
  return records.map((record) => ({
    asin: record['asin'],
    title: record['title'],
    priceCents: centsOf(record['price_cents'], record['price']),
    ...(record['gtin'] ? { gtin: record['gtin'] } : {}),
  }))
}

function centsOf(cents: string | undefined, dollars: string | undefined): number | null {
  if (cents) return Number(cents)
  const match = /^\$?(\d+)(?:\.(\d{1,2}))?$/.exec((dollars ?? '').replaceAll(',', ''))
  if (!match) return null
  return Number(match[1]) * 100 + Number((match[2] ?? '').padEnd(2, '0')) || null
}
