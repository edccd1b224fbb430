/** gleaner run show: everything there is to know about one run. */
import type { Command } from 'commander'
import type { Micros } from '../../base/money.ts'
import type { Queryable } from '../../db/client.ts'
import { monthOf } from '../../ledger/month.ts'
import type { Estimate } from '../../runs/estimate.ts'
import { type CategoryOfRun, categoriesOfRun, type FailureGroup, failuresOfRun, findRun } from '../../runs/find-run.ts'
import { retryLinks } from '../../runs/retries.ts'
import type { RunSnapshot } from '../../runs/snapshot.ts'
import { addCommand } from '../add-command.ts'
import { type Context, withSession } from '../context.ts'
import { againstEstimate } from '../estimate-words.ts'
import { monthJson } from '../facts.ts'
import { count, exactMoney, fullMoment, moneyUp, perNewSeller } from '../format.ts'
import { actLine, runJson } from '../join-run.ts'
import { blockOf, tookWords } from '../progress.ts'
import { table } from '../table.ts'
import { makeWatcher } from '../watch.ts'
import { noticesOf } from '../words.ts'

/** Adds the command. */
export function addRunShow(group: Command): void {
  const command = group
    .command('show')
    .description('how a run stands: money, outcomes, categories, failures, estimate against actual')
    .argument('[ref]', 'number or id of the run, or "last"', 'last')
    .addHelpText('after', '\nExamples:\n  gleaner run show\n  gleaner run show 3 --json')
  addCommand(command, (context, [ref]) =>
    withSession(context, async ({ db, actor }) => {
      const run = await findRun(db, actor.orgId, String(ref))
      const [categories, failures, estimate] = [
        await categoriesOfRun(db, run.id),
        await failuresOfRun(db, run.id),
        await estimateOf(db, run.id),
      ]
      const links = await retryLinks(db, run.id)
      if (context.json) {
        const month = monthJson(await monthOf(db, run.orgId))
        return context.sayJson({ ...runJson(run), ...links, month, categories, failures, estimate })
      }
      const [view] = await makeWatcher(db).look([run])
      if (!view) return 0
      for (const line of blockOf(view, Math.max(context.width(), 60), context.paint)) context.say(line)
      sayNotices(context, run, view.facts)
      sayLinks(context, links)
      sayEstimate(context, run, estimate, view.facts.decimals)
      if (categories.length > 0) context.say(`\n${categoryTable(context, categories, view.facts.decimals)}`)
      if (failures.length > 0) context.say(`\n${failureTable(context, failures)}`)
      sayTimes(context, run)
      return 0
    }),
  )
}

function sayNotices(context: Context, run: RunSnapshot, facts: Parameters<typeof noticesOf>[1]): void {
  const notices = noticesOf(run, facts)
  if (notices.length > 0) context.say()
  for (const { text, acts } of notices) {
    context.tell(text)
    // The run is what is being shown.
    for (const act of acts.filter((one) => !one.startsWith('gleaner run show'))) context.say(actLine(context, act))
  }
}

function sayLinks(context: Context, { retryOf, retries }: Awaited<ReturnType<typeof retryLinks>>): void {
  if (retryOf || retries.length > 0) context.say()
  if (retryOf) context.tell(`Retries run ${retryOf.number}, ${retryOf.name}.`)
  const told = retries.map(({ number, status }) => `run ${number} (${status})`)
  if (told.length > 0) context.tell(`Continued in ${told.join(', ')}.`)
}

async function estimateOf(db: Queryable, runId: string): Promise<Estimate | null> {
  const { rows } = await db.query<{ estimate: Estimate | null }>('select estimate from collection_runs where id = $1', [
    runId,
  ])
  return rows[0]?.estimate ?? null
}

function sayEstimate(context: Context, run: RunSnapshot, estimate: Estimate | null, decimals: number): void {
  if (!estimate) return
  const { paint, say } = context
  const calls = run.settledCalls + run.suspectCalls + run.heldCalls + run.releasedCalls
  const { low, high, likely } = estimate.cost
  const guess = `${moneyUp(low)} to ${moneyUp(high)}, likely ${moneyUp(likely)}`
  const row = (label: string, money: string, products: number, made: string) =>
    say(
      `  ${paint.dim(label.padEnd(9))}${money.padEnd(guess.length + 3)}${`${count(products)} products`.padEnd(18)}${made} calls`,
    )
  say()
  row('Estimate', guess, estimate.products.likely, `${count(estimate.calls.low)} to ${count(estimate.calls.high)}`)
  row('Actual', exactMoney(run.spentMicros, decimals), run.totalItems, count(calls))
  // A run that was stopped has not cost what it would have cost.
  if (run.status === 'completed') {
    const spent = (run.spentMicros + run.suspectMicros) as Micros
    say(`  ${paint.dim(''.padEnd(9))}${againstEstimate(spent, estimate.cost)}`)
  }
}

function categoryTable(context: Context, rows: readonly CategoryOfRun[], decimals: number): string {
  const { paint } = context
  const marks = { pending: '○ waits', processing: '● listing', completed: '✓ listed', failed: paint.bad('✗ failed') }
  return table<CategoryOfRun>(
    context,
    [
      { head: 'List', cell: (row) => marks[row.status] },
      {
        head: 'Category',
        gives: 16,
        cell: (row) => (row.errorMessage ? `${row.name}: ${row.errorMessage}` : row.name),
      },
      { head: 'Key', spare: 2, cell: (row) => paint.dim(row.key) },
      { head: 'Products', right: true, cell: (row) => count(row.products) },
      { head: 'Searched', right: true, cell: (row) => count(row.searched) },
      { head: 'New sellers', right: true, cell: (row) => count(row.newSellers) },
      {
        head: 'Searches',
        spare: 1,
        right: true,
        cell: (row) => exactMoney(row.costMicros as RunSnapshot['capMicros'], decimals),
      },
      {
        head: 'Per new seller',
        right: true,
        cell: (row) => perNewSeller(row.costMicros as RunSnapshot['capMicros'], row.newSellers),
      },
    ],
    rows,
  )
}

function failureTable(context: Context, rows: readonly FailureGroup[]): string {
  return table<FailureGroup>(
    context,
    [
      { head: 'Without an answer', cell: (row) => context.paint.warn(row.outcome) },
      { head: 'Products', right: true, cell: (row) => count(row.count) },
      { head: 'Code', cell: (row) => row.code },
      { head: 'Reason', gives: 16, cell: (row) => row.message },
    ],
    rows,
  )
}

function sayTimes(context: Context, run: RunSnapshot): void {
  const moments = [
    `created ${fullMoment(run.createdAt)}`,
    ...(run.startedAt ? [`started ${fullMoment(run.startedAt)}`] : []),
    ...(run.pausedAt ? [`paused ${fullMoment(run.pausedAt)}`] : []),
    ...(run.completedAt ? [`ended ${fullMoment(run.completedAt)}`, `took ${tookWords(run)}`] : []),
  ]
  context.say()
  context.tell(`${moments.join(' · ')} · id ${run.id}`)
}
