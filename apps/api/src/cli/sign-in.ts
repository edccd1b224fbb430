/** Sign-in of this process, for the commands that serve the API, and the link of the owner. */
import { readAuthConfig } from '../auth/config.ts'
import { makeOwnerLink, nobodyCanSignIn } from '../auth/owner-links.ts'
import { connect, type Db, withTx } from '../db/client.ts'
import { keySource } from '../deps.ts'
import type { Authenticate } from '../http/principal.ts'
import type { HttpDeps } from '../http/route.ts'
import { loadSecrets } from '../secrets/installation.ts'
import type { Context, Session } from './context.ts'

/** The database as the part of the program sees it that signs people in. Close it when done. */
export function signInDb(session: Session, max: number): Promise<Db> {
  return connect(session.db.url, { name: 'gleaner sign-in', role: 'gleaner_auth', max })
}

export type DoorSignIn = Readonly<{
  signIn: NonNullable<HttpDeps['signIn']>
  authenticate: Authenticate
  close: () => Promise<void>
}>

/**
 * Opens sign-in as the environment has it. Throws AppError `input.invalid` for variables that are wrong, and as `loadSecrets`
 * where this machine does not have the installation's key.
 */
export async function openDoorSignIn(
  { config, env }: Context,
  session: Session,
  { log, publicUrl }: Readonly<{ log: HttpDeps['log']; publicUrl: string }>,
): Promise<DoorSignIn> {
  const auth = readAuthConfig(env)
  const [{ openSignIn }, { makeAuthenticate }, { noteJoined }] = await Promise.all([
    import('../auth/open.ts'),
    import('../http/authenticate.ts'),
    import('../http/routes/members.ts'),
  ])
  const secret = await signInSecret(config, session)
  const db = await signInDb(session, 5)
  const signIn = openSignIn({
    config: auth,
    db: session.db,
    signInDb: db,
    secret,
    publicUrl,
    log: (level, message) => log[level](message),
    onJoined: noteJoined,
  })
  return { signIn, authenticate: makeAuthenticate(signIn, session.db), close: () => db.close() }
}

/** Hashed, not sealed: it stays the same when the installation's key is replaced, so nobody is signed out by that. */
async function signInSecret(config: Context['config'], { db }: Session): Promise<string> {
  const secrets = db.secrets ?? (await loadSecrets(db, keySource(config), true))
  if (!secrets) throw new Error('the installation has a key, and nothing to hash with')
  return secrets.hash('sign-in: cookies and second factors').toString('hex')
}

/** Where people reach the page of this installation: GLEANER_PUBLIC_URL, or this machine. */
export function publicUrlOf(env: NodeJS.ProcessEnv, port: number): string {
  return env['GLEANER_PUBLIC_URL'] ? new URL(env['GLEANER_PUBLIC_URL']).origin : `http://localhost:${port}`
}

/**
 * A new link for the owner of the organisation, good once within 24 hours; those before are void. With `onlyIfNobody`, null
 * where somebody can sign in already, and where people sign in elsewhere.
 */
export async function ownerLink(
  { env }: Pick<Context, 'env'>,
  session: Session,
  { publicUrl, onlyIfNobody }: Readonly<{ publicUrl: string; onlyIfNobody: boolean }>,
): Promise<string | null> {
  if (readAuthConfig(env).kind !== 'local') return null
  const db = await signInDb(session, 1)
  try {
    if (onlyIfNobody && !(await nobodyCanSignIn(db))) return null
    const token = await withTx(db, (tx) => makeOwnerLink(tx, session.actor))
    // Behind #: no log and no other site ever sees it.
    return `${publicUrl}/welcome#${token}`
  } finally {
    await db.close()
  }
}

/** The link that whoever starts the first server is shown, in words and as JSON; nothing once somebody can sign in. */
export async function firstLink(
  { env, quiet }: Context,
  session: Session,
  origin: string,
): Promise<Readonly<{ words: string; json: Readonly<{ ownerLink?: string }> }>> {
  const publicUrl = env['GLEANER_PUBLIC_URL'] ? new URL(env['GLEANER_PUBLIC_URL']).origin : origin
  const link = await ownerLink({ env }, session, { publicUrl, onlyIfNobody: true })
  if (link === null) return { words: '', json: {} }
  return {
    words: quiet ? `\n${link}` : `\nSign in as the owner, once, within 24 hours: ${link}`,
    json: { ownerLink: link },
  }
}
