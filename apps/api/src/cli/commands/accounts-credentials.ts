/** gleaner accounts credentials: stored, sealed, and never shown again. */
import type { Command } from 'commander'
import {
  credentialsSources,
  forgetCredentials,
  setCredentials,
  TESTS,
  testAccount,
} from '../../engine/account-credentials.ts'
import { accountByName } from '../../engine/accounts.ts'
import { addCommand } from '../add-command.ts'
import { badInput, withSession } from '../context.ts'
import { duration } from '../format.ts'

const EXAMPLES = `
The secret is read from standard input, so that it stands in no history and no list of processes. It is sealed with the key of
the installation and never shown again, only its last four characters. An environment that has credentials goes before.

Examples:
  gleaner accounts credentials set ebay --user MyApp-PRD-1234 < secret.txt
  pass show oxylabs | gleaner accounts credentials set oxylabs --user api_user
  gleaner accounts credentials test ebay
  gleaner accounts credentials remove ebay`

/** Adds `credentials` with `set`, `test` and `remove` to the group. */
export function addCredentials(group: Command): void {
  const credentials = group
    .command('credentials')
    .description('credentials of an account: set, test, remove')
    .addHelpText('after', EXAMPLES)
  addSet(credentials)
  addTest(credentials)
  const remove = credentials
    .command('remove')
    .description('remove stored credentials')
    .argument('<name>', 'the account')
  addCommand(remove, (context, [name]) =>
    withSession(context, async ({ db, actor }) => {
      const account = await accountByName(db, String(name))
      const removed = await forgetCredentials(db, actor, account.id)
      if (context.json) return context.sayJson({ account: account.name, removed })
      context.say(removed ? `Removed. ${account.name} has no stored credentials any more.` : 'There were none.')
    }),
  )
}

function addSet(credentials: Command): void {
  const set = credentials
    .command('set')
    .description('store credentials; the secret comes from standard input')
    .argument('<name>', 'the account')
    .option('--user <text>', 'eBay: the client id; Oxylabs: the API user')
  addCommand(set, async (context, [name, given]) => {
    if (process.stdin.isTTY) throw badInput('The secret is read from standard input.', 'Such as: … < secret.txt')
    const { user } = given as Readonly<{ user?: string }>
    const secret = await readStdin()
    return withSession(
      context,
      async ({ db, actor }) => {
        const account = await accountByName(db, String(name))
        const facts = await setCredentials(db, actor, account.id, { user, secret })
        if (context.json) return context.sayJson({ account: account.name, ...facts })
        context.say(
          `Stored${facts.ends ? `, ends ${facts.ends}` : ''}. Workers use it where their environment has none.`,
        )
        context.say(`Try it: ${context.command} accounts credentials test ${account.name}`)
      },
      { needsKey: true },
    )
  })
}

const SECRET_MOST = 8_192

async function readStdin(): Promise<string> {
  const chunks: Buffer[] = []
  let size = 0
  for await (const chunk of process.stdin as AsyncIterable<Buffer>) {
    size += chunk.length
    if (size > SECRET_MOST) throw badInput('That is too long for a secret.')
    chunks.push(chunk)
  }
  return Buffer.concat(chunks).toString('utf8')
}

function addTest(credentials: Command): void {
  const test = credentials
    .command('test')
    .description('ask the provider whether it takes the credentials; free')
    .argument('<name>', 'the account')
  addCommand(test, (context, [name]) =>
    withSession(context, async ({ db }) => {
      const account = await accountByName(db, String(name))
      context.note(TESTS[account.adapter])
      const tested = await testAccount(db, account, context.env)
      const source = (await credentialsSources(db, [account], context.env)).get(account.id)?.source
      if (context.json) context.sayJson({ account: account.name, credentials: source, ...tested })
      else context.say(`${tested.ok ? 'Accepted' : 'Not accepted'}: ${tested.message} (${duration(tested.tookMs)})`)
      return tested.ok ? 0 : 5
    }),
  )
}
