/** gleaner owner-link: a way in for the owner, the first time or when there is no other. */
import type { Command } from 'commander'
import { AppError } from '../../base/errors.ts'
import { DEFAULT_PORT } from '../../http/server.ts'
import { addCommand } from '../add-command.ts'
import { withSession } from '../context.ts'
import { readWhole } from '../format.ts'
import { ownerLink, publicUrlOf } from '../sign-in.ts'

const MORE = `
The link signs in as the owner of the organisation, once, within 24 hours. Links printed before stop working. Whoever has it is
the owner: hand it to nobody else. It begins with GLEANER_PUBLIC_URL, or this machine's own address.`

/** Adds the command. */
export function addOwnerLink(program: Command): void {
  const command = program
    .command('owner-link')
    .description('print a one-time link that signs in as the owner')
    .option('--port <n>', 'where the API listens on this machine', String(DEFAULT_PORT))
    .addHelpText('after', MORE)
  addCommand(command, (context, [given]) => {
    const port = readWhole((given as { port: string }).port, '--port', 1, 65_535)
    return withSession(
      context,
      async (session) => {
        const link = await ownerLink(context, session, {
          publicUrl: publicUrlOf(context.env, port),
          onlyIfNobody: false,
        })
        if (link === null) {
          throw new AppError('auth.not_local', 'People of this installation sign in with Supabase.', {
            hint: 'Make the person a member of the organisation there.',
          })
        }
        if (context.json) context.sayJson({ link, orgId: session.actor.orgId, orgName: session.actor.orgName })
        else context.say(link)
        return 0
      },
      { name: 'gleaner owner-link' },
    )
  })
}
