/** gleaner sellers export: the list as a file that a spreadsheet opens safely. */
import { open, rename, rm } from 'node:fs/promises'
import { dirname, extname } from 'node:path'
import { type Command, Option } from 'commander'
import { AppError } from '../../base/errors.ts'
import { catchUp } from '../../engine/keep-list.ts'
import { exportSellers } from '../../sellers/export-sellers.ts'
import type { SellerRow } from '../../sellers/list-sellers.ts'
import { addCommand } from '../add-command.ts'
import { type Context, withSession } from '../context.ts'
import { csvHead, csvLine } from '../csv.ts'
import { counted, duration } from '../format.ts'
import { type FilterOptions, readFilter, withFilterOptions } from '../seller-filter.ts'

type Format = 'csv' | 'json'

/** Adds the command. */
export function addSellersExport(group: Command): void {
  const command = withFilterOptions(group.command('export').description('any number of sellers, as CSV or JSON'))
    .addOption(
      new Option('--format <format>', 'csv or json; told by the name of the file when left out').choices([
        'csv',
        'json',
      ]),
    )
    .option('--out <file>', 'where to write; stdout when left out. The file appears when it is complete')
    .addHelpText(
      'after',
      `
CSV: UTF-8 with a byte-order mark, RFC 4180. Cells that a spreadsheet would take for a formula begin with a '.

Examples:
  gleaner sellers export --out sellers.csv
  gleaner sellers export --run last --new --format json --out new.json`,
    )
  addCommand(command, (context, [given]) => {
    const options = given as FilterOptions & { format?: Format; out?: string }
    const format = formatOf(context, options)
    return withSession(context, async (session) => {
      const started = performance.now()
      const filter = await readFilter(session, options)
      await catchUp(session.db)
      const write = (put: Put) => writeRows(put, format, (take) => exportSellers(session.db, filter, take))
      if (!options.out) return void (await write(toStdout))
      const total = await toFile(options.out, write)
      if (context.json) context.sayJson({ file: options.out, format, sellers: total })
      else
        context.note(`Wrote ${counted(total, 'seller')} to ${options.out} in ${duration(performance.now() - started)}.`)
    })
  })
}

function formatOf(context: Context, options: { format?: Format; out?: string }): Format {
  if (options.format) return options.format
  const extension = extname(options.out ?? '').toLowerCase()
  if (extension === '.json' || extension === '.csv') return extension.slice(1) as Format
  return context.json ? 'json' : 'csv'
}

/** Takes text; resolves when it is written, throws when it cannot be. */
type Put = (text: string) => Promise<void>

/** Writes to a file beside the one asked for and puts it in its place when it is complete. */
async function toFile(path: string, write: (put: Put) => Promise<number>): Promise<number> {
  const draft = `${path}.${process.pid}.part`
  try {
    const file = await open(draft, 'w')
    let total = 0
    try {
      total = await write((text) => file.writeFile(text))
      await file.sync()
    } finally {
      await file.close()
    }
    await rename(draft, path)
    return total
  } catch (error) {
    await rm(draft, { force: true })
    throw cannotWrite(path, error)
  }
}

/** Waits until the reader has taken it, so that a slow one costs no memory. */
const toStdout: Put = (text) =>
  new Promise((resolve, reject) => {
    process.stdout.write(text, (error) => (error ? reject(error) : resolve()))
  })

function cannotWrite(path: string, error: unknown): unknown {
  const { code, syscall } = error as NodeJS.ErrnoException
  if (!code || !syscall) return error
  const reasons: Record<string, string> = {
    ENOENT: `there is no directory ${dirname(path)}`,
    EACCES: 'permission denied',
    EISDIR: 'it is a directory',
    ENOSPC: 'the disk is full',
  }
  return new AppError('input.file_unwritable', `${path} cannot be written: ${reasons[code] ?? code}.`, {
    hint: 'Give another file with --out. Nothing was left behind.',
    cause: error,
  })
}

async function writeRows(
  put: Put,
  format: Format,
  read: (take: (rows: readonly SellerRow[]) => Promise<void>) => Promise<number>,
): Promise<number> {
  let written = 0
  await put(format === 'csv' ? csvHead() : '[')
  const total = await read((rows) =>
    put(format === 'csv' ? rows.map(csvLine).join('') : rows.map((row) => jsonRow(row, written++ > 0)).join('')),
  )
  if (format === 'json') await put('\n]\n')
  return total
}

function jsonRow(row: SellerRow, follows: boolean): string {
  return `${follows ? ',' : ''}\n${JSON.stringify(row)}`
}
