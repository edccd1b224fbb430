/** docs/guards.md, from the list. */
import { GUARDS, type Guard } from './list.ts'

/** The text of docs/guards.md. */
export function guardsDocument(): string {
  const rows = GUARDS.map((guard) => `| \`${guard.id}\` | ${guard.against} | ${placeOf(guard)} | ${testOf(guard)} |`)
  return `# Guards

Everything that must never happen has a guard in the code or in the database, and every guard a test that falls without it.
This page is made from \`scripts/guards/list.ts\`, and a test fails when it is not.

\`\`\`sh
npm run prove -- guards                  # takes each away in a copy of the repository, and looks whether its test falls
npm run prove -- guards cap-in-where     # only this one
npm run prove -- guards --write          # writes this page
\`\`\`

| guard | against | where | falls without it |
|---|---|---|---|
${rows.join('\n')}
`
}

function placeOf({ without }: Guard): string {
  if ('file' in without) return `\`${without.file.replace('apps/api/src/', '')}\``
  if ('inFunction' in without) return `function \`${without.inFunction}\``
  const sql = without.sql
  const trigger = /^DROP TRIGGER (\w+) ON (\w+)/.exec(sql)
  if (trigger) return `trigger \`${trigger[1]}\``
  const constraint = /DROP CONSTRAINT (\w+)/.exec(sql)
  if (constraint) return `constraint \`${constraint[1]}\``
  return `removed by \`${sql}\``
}

function testOf({ falls: [file, name] }: Guard): string {
  const short = file.replace('apps/api/test/', '').replace('.test.ts', '')
  return name ? `\`${short}\`: ${name}` : `\`${short}\``
}
