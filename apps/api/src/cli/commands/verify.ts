/** gleaner verify: the invariants, checked over the database as it is. */
import type { Command } from 'commander'
import { listAccounts } from '../../engine/accounts.ts'
import { type Example, type Finding, verify } from '../../engine/verify.ts'
import { findRun } from '../../runs/find-run.ts'
import { addCommand } from '../add-command.ts'
import { type Context, type Session, withSession } from '../context.ts'
import { count } from '../format.ts'
import { EXIT } from '../print-error.ts'
import { openSandbox } from '../sandbox-for-run.ts'

/** Adds the command. */
export function addVerify(program: Command): void {
  const command = program
    .command('verify')
    .description('check that the books are right: caps, counters, results, states, and the bill of the sandbox')
    .option('--run <ref>', 'only this run')
    .addHelpText(
      'after',
      '\nIt changes nothing and may be run while runs are going on.\nExit status: 0 all right, 6 something is broken.',
    )
  addCommand(command, (context, [given]) =>
    withSession(context, async (session) => {
      const { run } = given as { run?: string }
      const runIds = run === undefined ? undefined : [(await findRun(session.db, session.actor.orgId, run)).id]
      const findings = await check(context, session, runIds)
      if (context.json) context.sayJson(findings)
      else for (const finding of findings) sayFinding(context, finding)
      return findings.some(({ state }) => state === 'broken') ? EXIT.broken : EXIT.done
    }),
  )
}

async function check(context: Context, session: Session, runIds: string[] | undefined): Promise<Finding[]> {
  const hasSandbox = (await listAccounts(session.db)).some((account) => account.sandbox)
  const sandbox = hasSandbox ? await openSandbox(context, session) : null
  try {
    return await verify(session.db, {
      ...(runIds ? { runIds } : {}),
      // The sandbox beside an embedded database has no other customer.
      ...(sandbox ? { billing: { origin: sandbox.origin, exclusive: session.embedded !== null && !runIds } } : {}),
    })
  } finally {
    sandbox?.leave()
  }
}

const EXAMPLES_SHOWN = 5

function sayFinding({ paint, say }: Context, finding: Finding): void {
  const marks = { ok: paint.good('✓ ok         '), broken: paint.bad('✗ broken     '), not_checked: '– not checked' }
  const rows = finding.state === 'not_checked' ? '' : paint.dim(` (${count(finding.checked)} looked at)`)
  say(`${finding.invariant.padEnd(4)}${marks[finding.state]}  ${finding.title}${rows}`)
  if (finding.reason) say(`                     ${paint.dim(finding.reason)}`)
  for (const example of finding.examples.slice(0, EXAMPLES_SHOWN)) say(`                     ${exampleWords(example)}`)
  const more = finding.examples.length - EXAMPLES_SHOWN
  if (more > 0) say(`                     and ${count(more)} more${finding.examples.length >= 20 ? ' at least' : ''}`)
}

function exampleWords({ run, what, ids, expected, found }: Example): string {
  const where = Object.entries(ids)
    .map(([name, id]) => `${name} ${id}`)
    .join(', ')
  const differ = [expected === null ? '' : `expected ${expected}`, found === null ? '' : `found ${found}`]
    .filter(Boolean)
    .join(', ')
  return `${run === null ? '' : `run ${run}: `}${what}: ${differ}${where ? ` (${where})` : ''}`
}
