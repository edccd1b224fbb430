/** The API of this process, for the commands that serve it. */
import { createWriteStream, mkdirSync } from 'node:fs'
import { dirname } from 'node:path'
import { keySource, logFile } from '../deps.ts'
import type { Listening } from '../http/server.ts'
import { loadSecrets } from '../secrets/installation.ts'
import type { Context, Session } from './context.ts'
import { VERSION } from './join-run.ts'
import { openDoorSignIn, publicUrlOf } from './sign-in.ts'

export type ServeOptions = Readonly<{
  host: string
  port: number
  /** To the log of this installation instead of stdout. */
  quietly?: boolean
}>

/** Serves the API over the session's database until it is stopped. */
export async function serve(context: Context, session: Session, options: ServeOptions): Promise<Listening> {
  // Only now: every other command would wait for what it does not need.
  const [{ makeApp }, { ebayDeletion }, { makeLog }, { listen }] = await Promise.all([
    import('../http/app.ts'),
    import('../http/ebay-deletion.ts'),
    import('../http/log.ts'),
    import('../http/server.ts'),
  ])
  const { config, env } = context
  const file = logFile(config)
  if (options.quietly) mkdirSync(dirname(file), { recursive: true })
  const to = options.quietly ? createWriteStream(file, { flags: 'a' }) : undefined
  // A log that cannot be written is no reason to stop.
  to?.on('error', () => {})
  const log = makeLog(config.logLevel, to)
  const publicOrigin = env['GLEANER_PUBLIC_URL'] ? new URL(env['GLEANER_PUBLIC_URL']).origin : undefined
  const { db: plain } = session
  const db = { ...plain, secrets: plain.secrets ?? (await loadSecrets(plain, keySource(config), true)) }
  const door = await openDoorSignIn(context, session, { log, publicUrl: publicUrlOf(env, options.port) })
  try {
    const app = await makeApp({
      plugins: [ebayDeletion({ db, env, config: config.ebayDeletion })],
      deps: {
        db,
        env,
        log,
        version: VERSION,
        signIn: door.signIn,
        ...(publicOrigin === undefined ? {} : { publicOrigin }),
      },
      authenticate: door.authenticate,
    })
    const listening = await listen(app, options.host, options.port)
    const stop = async (withinMs?: number): Promise<void> => {
      await listening.stop(withinMs)
      await door.close()
    }
    return { origin: listening.origin, stop }
  } catch (error) {
    await door.close()
    throw error
  }
}
