/** What a benchmark says: progress on stderr while it works, one table in markdown on stdout at its end. */
import { cpus, totalmem } from 'node:os'
import type { Db } from '../../apps/api/src/db/client.ts'

/** The middle value; of an even number of values the lower of the two in the middle, so that it was measured. */
export function median(values: readonly number[]): number {
  const sorted = values.toSorted((a, b) => a - b)
  return sorted[Math.floor((sorted.length - 1) / 2)] ?? Number.NaN
}

/** Tells on stderr how far the benchmark has come. */
export function progress(text: string): void {
  console.error(`${new Date().toISOString().slice(11, 19)} ${text}`)
}

type Cell = string | number

/** A table to paste into docs/benchmarks.md. Numbers stand on the right. */
export function markdownTable(columns: readonly string[], rows: readonly (readonly Cell[])[]): string {
  const texts = rows.map((row) => row.map((cell) => (typeof cell === 'number' ? cell.toLocaleString('en-US') : cell)))
  const right = columns.map((_, index) => rows.some((row) => typeof row[index] === 'number'))
  const widths = columns.map((column, index) =>
    Math.max(column.length, 3, ...texts.map((row) => row[index]?.length ?? 0)),
  )
  const pad = (text: string, index: number): string =>
    right[index] ? text.padStart(widths[index] ?? 0) : text.padEnd(widths[index] ?? 0)
  const line = (cells: readonly string[]): string => `| ${cells.map(pad).join(' | ')} |`
  const rule = widths.map((width, index) => (right[index] ? `${'-'.repeat(width - 1)}:` : '-'.repeat(width)))
  return [line(columns), `| ${rule.join(' | ')} |`, ...texts.map(line)].join('\n')
}

/** `value` with so many digits after the point. */
export function rounded(value: number, digits = 0): number {
  return Number(value.toFixed(digits))
}

/** One line on where it was measured: the machine, the versions, the durability. */
export async function whereMeasured(db: Db): Promise<string> {
  const { rows } = await db.query<{ version: string; sync: string; fsync: string }>(
    `select current_setting('server_version') as version, current_setting('synchronous_commit') as sync,
       current_setting('fsync') as fsync`,
  )
  const { version, sync, fsync } = rows[0] ?? {}
  const cores = `${cpus().length} cores (${cpus()[0]?.model.trim() ?? 'unknown'})`
  return `${new Date().toISOString().slice(0, 10)}, ${cores}, ${Math.round(totalmem() / 2 ** 30)} GB, Node ${process.version}, embedded PostgreSQL ${version}, synchronous_commit ${sync}, fsync ${fsync}`
}
