/** gleaner migrate: bring the schema up to date, or say what it lacks. */
import type { Command } from 'commander'
import { assertCurrent, pending } from '../../db/migrate.ts'
import { applySchema, openDeps } from '../../deps.ts'
import { addCommand } from '../add-command.ts'
import type { Context } from '../context.ts'
import { counted, duration } from '../format.ts'

/** Adds the command. */
export function addMigrate(program: Command): void {
  const command = program
    .command('migrate')
    .description('bring the schema of the database up to date')
    .option('--check', 'change nothing; exit status 5 when something is pending')
    .addHelpText('after', '\nExamples:\n  gleaner migrate --check\n  DATABASE_URL=postgresql://… gleaner migrate')
  addCommand(command, async (context, [options]) => {
    const deps = await openDeps({ config: context.config, schema: 'ignore', name: 'gleaner migrate', max: 2 })
    try {
      if ((options as { check?: boolean }).check) await check(context, deps.db)
      else await apply(context, deps.db)
    } finally {
      await deps.close()
    }
  })
}

type Database = Parameters<typeof applySchema>[0]

async function check(context: Context, db: Database): Promise<void> {
  const missing = await pending(db)
  if (context.json) context.sayJson({ pending: missing.map(({ name }) => name) })
  await assertCurrent(db)
  if (!context.json) context.say('The schema is current.')
}

async function apply(context: Context, db: Database): Promise<void> {
  const applied = await applySchema(db, {
    onApplied: (name, ms) => context.note(`  ${context.paint.good('✓')} ${name.padEnd(44)} ${duration(ms)}`),
  })
  if (context.json) context.sayJson({ applied })
  else context.say(applied.length === 0 ? 'The schema is current.' : `Applied ${counted(applied.length, 'migration')}.`)
}
