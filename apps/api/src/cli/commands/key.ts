/** gleaner key: the key of the installation. */
import { renameSync } from 'node:fs'
import type { Command } from 'commander'
import { keySource } from '../../deps.ts'
import { rotateKey } from '../../engine/rotate-key.ts'
import { missingKey } from '../../secrets/installation.ts'
import { newKeyText, parseKey, readKey, removeKeyFile, writeKeyFile } from '../../secrets/key-source.ts'
import { addCommand } from '../add-command.ts'
import { badInput, type Context, withSession } from '../context.ts'
import { counted } from '../format.ts'

const MORE = `
The key seals credentials of providers and what must be known again and not be read. It is GLEANER_KEY, or the file
installation.key in the state directory; every machine of a fleet needs the same one, and a copy in a safe place.

Examples:
  gleaner key
  gleaner key rotate                                    a new key file in place of the old one
  GLEANER_KEY=old GLEANER_NEXT_KEY=new gleaner key rotate    when the key comes from the environment`

/** Adds the command with `rotate`. */
export function addKey(program: Command): void {
  const group = program
    .command('key')
    .description('the key of the installation: show which, rotate')
    .addHelpText('after', MORE)
  addCommand(group, (context) =>
    withSession(
      context,
      async ({ db }) => {
        const source = keySource(context.config)
        const from = source.variable === null ? source.file : 'GLEANER_KEY'
        if (context.json) return context.sayJson({ key: db.secrets?.keyId ?? null, from })
        context.say(`Key ${db.secrets?.keyId}, from ${from}`)
      },
      { needsKey: true },
    ),
  )
  const rotate = group.command('rotate').description('replace the key: everything sealed is sealed anew')
  addCommand(rotate, (context) => rotateHere(context))
}

async function rotateHere(context: Context): Promise<void> {
  const source = keySource(context.config)
  const current = readKey(source)
  if (!current) throw missingKey(source.file)
  const given = context.env['GLEANER_NEXT_KEY'] || null
  if (source.variable !== null && given === null) {
    throw badInput('The key comes from GLEANER_KEY, so the next one must be given too.', 'Set GLEANER_NEXT_KEY.')
  }
  const text = given ?? newKeyText()
  const next = parseKey(text, 'GLEANER_NEXT_KEY')
  if (next.id === current.id) throw badInput('That is the key the installation has.')
  await withSession(context, async ({ db }) => {
    // On the disk before the database knows it: a key nobody has would lock everything for good.
    const waiting = `${source.file}.next`
    if (source.variable === null) {
      removeKeyFile(waiting)
      writeKeyFile(waiting, text)
    }
    const rotated = await rotateKey(db, current, next)
    if (source.variable === null) renameSync(waiting, source.file)
    if (context.json) return context.sayJson({ key: next.id, before: current.id, ...rotated })
    context.say(`The key is now ${next.id}. ${counted(rotated.accounts, 'account')} sealed anew.`)
    if (rotated.workers > 0)
      context.say(`${counted(rotated.workers, 'worker')} asked to leave: start them with the new key.`)
    context.tell('Every other machine needs the new key before it starts again.')
  })
}
