/** gleaner sellers …: the master list, the evidence for one seller, and the list as a file. */
import type { Command } from 'commander'
import { AppError } from '../../base/errors.ts'
import { catchUp } from '../../engine/keep-list.ts'
import { checkTypedSellerName, normaliseSellerName } from '../../matching/normalise.ts'
import { listRuns } from '../../runs/find-run.ts'
import { countSellers, listSellers, type SellerRow } from '../../sellers/list-sellers.ts'
import { findSeller, type SellerSighting, sightingsOf } from '../../sellers/show-seller.ts'
import { addCommand } from '../add-command.ts'
import { type Context, type Session, withSession } from '../context.ts'
import { count, counted, moment, readWhole } from '../format.ts'
import { actLine } from '../join-run.ts'
import { type FilterOptions, readFilter, withFilterOptions } from '../seller-filter.ts'
import { table } from '../table.ts'
import { addSellersExport } from './sellers-export.ts'

/** Adds the group. */
export function addSellers(program: Command): void {
  const group = program
    .command('sellers')
    .description('the master list: list, show one with its evidence, export')
    .addHelpText(
      'after',
      '\nExamples:\n  gleaner sellers list --limit 20\n  gleaner sellers show bluepine-deals\n  gleaner sellers export --out sellers.csv',
    )
  addList(group)
  addShow(group)
  addSellersExport(group)
}

function addList(group: Command): void {
  const command = withFilterOptions(group.command('list').description('sellers, most matched products first'))
    .option('--limit <n>', 'rows of the page', '50')
    .option('--offset <n>', 'rows to leave out before it', '0')
    .addHelpText(
      'after',
      '\nExamples:\n  gleaner sellers list --run last --new\n  gleaner sellers list --search deals --sort last-seen',
    )
  addCommand(command, (context, [given]) => {
    const options = given as FilterOptions & { limit: string; offset: string }
    const page = {
      limit: readWhole(options.limit, '--limit', 1, 100_000),
      offset: readWhole(options.offset, '--offset', 0, 1_000_000_000),
    }
    return withSession(context, async (session) => {
      const filter = await readFilter(session, options)
      await catchUp(session.db)
      const [rows, total] = [await listSellers(session.db, filter, page), await countSellers(session.db, filter)]
      if (context.json) return context.sayJson({ total, ...page, sellers: rows })
      if (rows.length === 0) return sayNone(context, session, options, total)
      context.say(sellerTable(context, rows))
      const last = page.offset + rows.length
      const more = last < total ? `, --offset ${last} shows more` : ''
      context.note(
        context.paint.dim(`\n${count(page.offset + 1)} to ${count(last)} of ${counted(total, 'seller')}${more}`),
      )
    })
  })
}

async function sayNone(context: Context, { db, actor }: Session, options: FilterOptions, total: number): Promise<void> {
  if (total > 0) return context.say(`There are only ${counted(total, 'seller')}.`)
  if (options.search || options.run || options.new) return context.say('No seller matches.')
  const runs = await listRuns(db, actor.orgId, { limit: 1 })
  if (runs.length > 0) return context.say('No seller yet. The first ones appear a few seconds after the first search.')
  context.say('No seller yet. Sellers appear with your first run:')
  context.say(actLine(context, 'gleaner collect "Kitchen & Dining" --cap 5'))
}

function sellerTable(context: Context, rows: readonly SellerRow[]): string {
  const dash = (value: number | null) => (value === null ? context.paint.dim('—') : count(value))
  return table<SellerRow>(
    context,
    [
      { head: 'Seller', gives: 24, cell: (row) => row.name },
      { head: 'Matched', right: true, cell: (row) => count(row.matched) },
      { head: 'Runs', spare: 1, right: true, cell: (row) => count(row.runs) },
      { head: 'Feedback', right: true, cell: (row) => dash(row.feedbackScore) },
      { head: 'Positive', spare: 2, right: true, cell: (row) => permille(row.feedbackPermille) },
      { head: 'Listings', spare: 3, right: true, cell: (row) => dash(row.listings) },
      { head: 'First seen', spare: 4, cell: (row) => moment(row.firstSeenAt) },
      { head: 'Last seen', cell: (row) => moment(row.lastSeenAt) },
    ],
    rows,
  )
}

function permille(value: number | null): string {
  return value === null ? '—' : `${(value / 10).toFixed(1)} %`
}

function addShow(group: Command): void {
  const command = group
    .command('show')
    .description('why a seller is on the list: the products, listings and prices it was seen with')
    .argument('<name>', "the seller's name on eBay, in any case")
    .option('--limit <n>', 'listings at most', '50')
  addCommand(command, (context, [name, given]) => {
    const limit = readWhole((given as { limit: string }).limit, '--limit', 1, 100_000)
    return withSession(context, async (session) => {
      const key = normaliseSellerName(String(name))
      await catchUp(session.db)
      const id = await findSeller(session.db, session.actor.orgId, key)
      if (!id) throw unknownSeller(String(name))
      const filter = { orgId: session.actor.orgId, text: key, sort: 'name' } as const
      const seller = (await listSellers(session.db, filter, { limit: 1000, offset: 0 })).find((row) => row.id === id)
      const sightings = await sightingsOf(session.db, id, limit)
      if (context.json) return context.sayJson({ seller, sightings })
      if (seller) saySeller(context, seller)
      context.say(`\n${sightingTable(context, sightings)}`)
    })
  })
}

/** There is no such seller on the organisation's list. */
function unknownSeller(name: string): AppError {
  const typed = checkTypedSellerName(name)
  return new AppError('seller.unknown', `No seller "${name}" is on the list.`, {
    hint: typed.ok ? `gleaner sellers list --search ${name.slice(0, 4)} finds similar names.` : typed.problem,
  })
}

function saySeller(context: Context, seller: SellerRow): void {
  const { paint } = context
  const feedback = seller.feedbackScore === null ? '' : ` Feedback ${count(seller.feedbackScore)}.`
  context.say(paint.bold(seller.name))
  context.say(
    `${counted(seller.matched, 'best seller')} matched in ${counted(seller.runs, 'run')}.${feedback} ` +
      `First seen ${moment(seller.firstSeenAt)}, last seen ${moment(seller.lastSeenAt)}.`,
  )
}

function sightingTable(context: Context, rows: readonly SellerSighting[]): string {
  const dollars = (cents: number | null) => (cents === null ? '—' : `$${(cents / 100).toFixed(2)}`)
  const ratio = ({ priceCents, amazonCents }: SellerSighting) =>
    amazonCents ? `${(Math.floor((priceCents * 100) / amazonCents) / 100).toFixed(2)}×` : '—'
  return table<SellerSighting>(
    context,
    [
      { head: 'Product', cell: (row) => row.asin },
      { head: 'Listing', cell: (row) => row.listingId },
      { head: 'Title', gives: 16, cell: (row) => row.title },
      { head: 'eBay', right: true, cell: (row) => dollars(row.priceCents) },
      { head: 'Amazon', right: true, cell: (row) => dollars(row.amazonCents) },
      { head: 'Ratio', right: true, cell: ratio },
      { head: 'Place', spare: 4, right: true, cell: (row) => count(row.position) },
      { head: 'Rung', spare: 3, right: true, cell: (row) => String(row.rung) },
      { head: 'Run', spare: 2, right: true, cell: (row) => String(row.run) },
      { head: 'Seen', spare: 1, cell: (row) => moment(row.seenAt) },
    ],
    rows,
  )
}
