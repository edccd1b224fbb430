/** Runs as a table: state first, money in cents, what was not answered beside what was. */
import type { Queryable } from '../db/client.ts'
import { listAccounts } from '../engine/accounts.ts'
import type { RunSnapshot } from '../runs/snapshot.ts'
import type { Context } from './context.ts'
import { count, moment, moneyUp, percent } from './format.ts'
import { tookWords } from './progress.ts'
import { type Column, table } from './table.ts'
import { stateBadge, unanswered } from './words.ts'

/** The table of these runs. */
export async function runTable(context: Context, db: Queryable, runs: readonly RunSnapshot[]): Promise<string> {
  const sandboxes = new Set((await listAccounts(db)).filter((one) => one.sandbox).map((one) => one.id))
  const { paint } = context
  const columns: Column<RunSnapshot>[] = [
    { head: 'Run', right: true, cell: (run) => String(run.number) },
    { head: 'State', cell: (run) => stateBadge(run, paint) },
    { head: 'Name', gives: 12, cell: (run) => run.name },
    { head: 'Started', spare: 3, cell: (run) => moment(run.startedAt) },
    { head: 'Took', spare: 4, right: true, cell: (run) => tookWords(run) },
    { head: 'Spent / cap', right: true, cell: (run) => `${moneyUp(run.spentMicros)} / ${moneyUp(run.capMicros)}` },
    { head: '', cell: (run) => (sandboxes.has(run.searchAccountId ?? '') ? paint.dim('SANDBOX') : '') },
    { head: 'Searched', right: true, cell: (run) => searched(run) },
    {
      head: 'Unanswered',
      right: true,
      cell: (run) => (unanswered(run) > 0 ? paint.warn(count(unanswered(run))) : '0'),
    },
    ...(runs.some((run) => run.suspectMicros > 0)
      ? [
          {
            head: 'Suspect',
            right: true,
            cell: (run: RunSnapshot) => (run.suspectMicros > 0 ? paint.warn(moneyUp(run.suspectMicros)) : ''),
          },
        ]
      : []),
    { head: 'Sellers', spare: 1, right: true, cell: (run) => count(run.sellerItems) },
    { head: 'New', spare: 2, right: true, cell: (run) => count(run.newSellers) },
  ]
  return table(context, columns, runs)
}

function searched(run: RunSnapshot): string {
  const done = count(run.processedItems)
  return run.status === 'completed'
    ? done
    : `${done} (${percent(run.processedItems, run.totalItems + run.openCategories * 100)})`
}
