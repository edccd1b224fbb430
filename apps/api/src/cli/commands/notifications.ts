/** gleaner notifications: what was told to the organisation's address, and what became of it. */
import { type Command, Option } from 'commander'
import { hookOf, listNotifications, type NotificationRow, retryFailed } from '../../events/outbox.ts'
import { addCommand } from '../add-command.ts'
import { type Context, withSession } from '../context.ts'
import { count, counted, fullMoment, readWhole } from '../format.ts'
import { actLine } from '../join-run.ts'
import { table } from '../table.ts'

/** Adds the command. */
export function addNotifications(program: Command): void {
  const command = program
    .command('notifications')
    .description('what was told to the address of notify-url, newest first, and what became of it')
    .addOption(new Option('--state <state>', 'only those in this state').choices(['pending', 'delivered', 'failed']))
    .option('--limit <n>', 'at most so many', '20')
    .option('--retry', 'let the failed ones be tried again')
    .addHelpText('after', '\nExamples:\n  gleaner notifications --state failed\n  gleaner notifications --retry')
  addCommand(command, (context, [given]) => {
    const options = given as { state?: string; limit: string; retry?: boolean }
    const limit = readWhole(options.limit, '--limit', 1, 10_000)
    return withSession(context, async ({ db, actor }) => {
      const retried = options.retry ? await retryFailed(db, actor.orgId) : 0
      const state = options.state === undefined ? {} : { state: options.state }
      const rows = await listNotifications(db, actor.orgId, { limit, ...state })
      if (context.json) return context.sayJson(rows)
      if (options.retry) context.say(`${counted(retried, 'notification')} will be tried again while a worker is up.`)
      if (rows.length > 0) return context.say(notificationTable(context, rows))
      const { url } = await hookOf(db, actor.orgId)
      context.say(url === null ? 'Nobody is told. Name an address:' : 'Nothing was told yet.')
      if (url === null) context.say(actLine(context, 'gleaner settings set notify-url=https://…'))
    })
  })
}

function notificationTable(context: Context, rows: readonly NotificationRow[]): string {
  const { paint } = context
  const marks = { pending: '○ waits', delivered: paint.good('✓ delivered'), failed: paint.bad('✗ failed') }
  return table<NotificationRow>(
    context,
    [
      { head: 'State', cell: (row) => marks[row.state] },
      { head: 'Run', right: true, cell: (row) => count(row.runNumber) },
      { head: 'Event', cell: (row) => row.type },
      { head: 'Told', spare: 1, cell: (row) => fullMoment(row.createdAt) },
      { head: 'Attempts', right: true, cell: (row) => count(row.attempts) },
      {
        head: 'Last',
        gives: 12,
        cell: (row) => row.errorMessage ?? (row.statusCode ? `answered ${row.statusCode}` : ''),
      },
      { head: 'Next', spare: 2, cell: (row) => (row.nextAt ? fullMoment(row.nextAt) : '') },
    ],
    rows,
  )
}
