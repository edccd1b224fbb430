/** How this installation signs people in, opened once for a process that serves HTTP. */
import { type Db, withTx } from '../db/client.ts'
import { asService } from '../db/session.ts'
import type { AuthConfig } from './config.ts'
import { type LocalAuth, makeLocalAuth } from './local.ts'
import { joinFirstOrg } from './new-person.ts'
import type { Local } from './sign-in.ts'
import { type TokenHolder, tokenChecker } from './supabase.ts'

export type SignIn = Readonly<
  { kind: 'local'; local: Local } | { kind: 'supabase'; url: string; check: (token: string) => Promise<TokenHolder> }
>

export type OpenOptions = Readonly<{
  config: Pick<AuthConfig, 'oidc' | 'supabase'>
  /** Works as service_role. */
  db: Db
  /** The same database, working as gleaner_auth. */
  signInDb: Db
  /** Signs cookies and seals second factors; the same for every process of the installation, and kept for good. */
  secret: string
  publicUrl: string
  log: (level: 'debug' | 'info' | 'warn' | 'error', message: string) => void
  /** How long a step of the identity provider may take, ms; 10 s unless told. */
  identityTimeoutMs?: number
  /** Writes down that an identity provider brought a new member, in the transaction in which they became one. */
  onJoined: (
    tx: Parameters<Parameters<typeof withTx>[1]>[0],
    orgId: string,
    userId: string,
    role: string,
  ) => Promise<void>
}>

/** A person waits for it, and a provider that is well answers in a tenth of it. */
const IDENTITY_TIMEOUT_MS = 10_000

/** Sign-in as configured. Nothing is asked of the network yet. */
export function openSignIn(options: OpenOptions): SignIn {
  const { config, db, signInDb, secret, publicUrl, log } = options
  if (config.supabase) return { kind: 'supabase', url: config.supabase.url, check: tokenChecker(config.supabase) }
  const { oidc } = config
  const onNewPerson = (userId: string): Promise<void> =>
    withTx(db, async (tx) => {
      await asService(tx)
      const role = oidc?.defaultRole ?? 'viewer'
      const orgId = await joinFirstOrg(tx, userId, role)
      if (orgId !== null) await options.onJoined(tx, orgId, userId, role)
    })
  const shared = { db: signInDb, secret, publicUrl, log, onNewPerson }
  const auth = makeLocalAuth({ ...shared, oidc: null })
  let withIdentity: LocalAuth | undefined
  const identity = oidc && {
    name: oidc.name,
    auth: () => (withIdentity ??= makeLocalAuth({ ...shared, oidc })),
    timeoutMs: options.identityTimeoutMs ?? IDENTITY_TIMEOUT_MS,
  }
  return { kind: 'local', local: { db: signInDb, auth, identity } }
}
