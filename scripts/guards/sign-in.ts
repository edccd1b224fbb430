/** Guards of sign-in, members and keys. */
import type { Guard, Removal } from './list.ts'

const source = (file: string, find: string, put: string): Removal => ({ file: `apps/api/src/${file}`, find, put })
const HTTP = 'apps/api/test/http'
const SIGN_IN = `${HTTP}/sign-in.test.ts`
const KEYS = `${HTTP}/keys.test.ts`
const MEMBERS = `${HTTP}/members.test.ts`
const IDENTITY = `${HTTP}/identity.test.ts`
const SECOND = `${HTTP}/second-factor.test.ts`
const SUPABASE = `${HTTP}/supabase-sign-in.test.ts`

export const SIGN_IN_GUARDS: readonly Guard[] = [
  {
    id: 'owner-link-once',
    against: 'a link of the owner that works twice',
    without: source(
      'auth/owner-links.ts',
      'where token_hash = $1 and used_at is null and expires_at > now() returning',
      'where token_hash = $1 and expires_at > now() returning',
    ),
    falls: [SIGN_IN, 'signs in as the person the runs of the installation belong to, once'],
  },
  {
    id: 'owner-link-void',
    against: 'an older link of the owner that still works',
    without: source(
      'auth/owner-links.ts',
      'update gleaner_auth.owner_links set expires_at = clock_timestamp() where',
      'update gleaner_auth.owner_links set expires_at = expires_at where',
    ),
    falls: [SIGN_IN, 'is void when a new one was printed'],
  },
  {
    id: 'tries-before',
    against: 'any number of passwords tried at the same moment',
    without: source('auth/tries.ts', '    if (count > limit.most) waitMs', '    if (count < 0) waitMs'),
    falls: [SIGN_IN, 'end with the words and the time to wait'],
  },
  {
    id: 'password-ends-sessions',
    against: 'a thief who stays signed in when the password is changed',
    without: source(
      'auth/own-account.ts',
      "    await tx.query('delete from gleaner_auth.sessions where user_id = $1 and id <> $2', [who.userId, who.sessionId])\n",
      '',
    ),
    falls: [SIGN_IN, 'is set with an address, and lets its person in from then on'],
  },
  {
    id: 'current-password',
    against: 'a password changed without the one before',
    without: source('auth/own-account.ts', '    if (!right) throw', '    if (!right && known.hash === null) throw'),
    falls: [SIGN_IN, 'is changed with the one before only'],
  },
  {
    id: 'own-sessions',
    against: "ending somebody else's session",
    without: source(
      'auth/own-account.ts',
      "delete from gleaner_auth.sessions where id = $1 and user_id = $2'",
      "delete from gleaner_auth.sessions where id = $1 and $2::uuid is not null'",
    ),
    falls: [SIGN_IN, 'of somebody else is not ended'],
  },
  {
    id: 'key-hash',
    against: 'a key whose beginning is right and whose secret is not',
    without: source(
      'auth/key-store.ts',
      'if (!sameHash(hashSecret(key), found?.hash ?? NOBODY) || !found)',
      'if (!found)',
    ),
    falls: [KEYS, 'is refused when it is garbage, changed, revoked or expired'],
  },
  {
    id: 'key-revoked',
    against: 'a revoked key that goes on working',
    without: source('auth/key-store.ts', "  if (found.revoked) throw invalidKey('This API key was revoked.')\n", ''),
    falls: [KEYS, 'is refused when it is garbage, changed, revoked or expired'],
  },
  {
    id: 'key-of-member',
    against: 'a key that outlives the membership of its person',
    without: source('auth/key-store.ts', '  if (!found.member)', '  if (!found.member && found.expired)'),
    falls: [KEYS, 'does no more than its scopes, its role, and its person'],
  },
  {
    id: 'key-scope',
    against: 'a key used for what it was not made for',
    without: source('http/scopes.ts', '  if (principal.scopes?.includes(scope)) return\n', '  return\n'),
    falls: [KEYS, 'does no more than its scopes, its role, and its person'],
  },
  {
    id: 'key-makes-none',
    against: 'a key that makes another key, past the door',
    without: {
      sql: `ALTER POLICY api_keys_admin_insert ON api_keys WITH CHECK (gleaner_has_role(org_id, 'admin') AND created_by = auth.uid())`,
    },
    falls: ['apps/api/test/db/access-matrix.test.ts', 'insert: by those who may'],
  },
  {
    id: 'owners-only',
    against: 'members changed by admins',
    without: {
      sql: `ALTER POLICY org_members_update ON org_members USING (gleaner_has_role(org_id, 'admin')) WITH CHECK (gleaner_has_role(org_id, 'admin'))`,
    },
    falls: [MEMBERS, 'are changed by owners only'],
  },
  {
    id: 'an-owner-stays',
    against: 'an organisation without an owner',
    without: {
      sql: 'DROP TRIGGER org_members_owner_lowered ON org_members; DROP TRIGGER org_members_owner_gone ON org_members',
    },
    falls: [MEMBERS, 'keep an owner'],
  },
  {
    id: 'owners-one-by-one',
    against: 'two owners who leave at the same moment, each seeing the other stay',
    without: { inFunction: 'gleaner_keep_an_owner', find: ' FOR NO KEY UPDATE', put: '' },
    falls: ['apps/api/test/db/access.test.ts', 'keep an owner, also when two of them leave'],
  },
  {
    id: 'invitation-once',
    against: 'an invitation accepted twice',
    without: source(
      'auth/invitations.ts',
      'where token_hash = $1 and accepted_at is null and revoked_at is null and expires_at > now()\n     returning',
      'where token_hash = $1\n     returning',
    ),
    falls: [MEMBERS, 'is taken up by somebody with an account after signing in'],
  },
  {
    id: 'invitation-address',
    against: 'an invitation taken up by somebody it was not for',
    without: source(
      'http/routes/invitations.ts',
      '  if (account?.email !== open.email) {',
      '  if (account === undefined) {',
    ),
    falls: [MEMBERS, 'is taken up by somebody with an account after signing in'],
  },
  {
    id: 'identity-domain',
    against: 'people of other domains, by the identity provider',
    without: source('auth/local.ts', "    return { error: 'domain_not_allowed' }", '    return undefined'),
    falls: [IDENTITY, 'lets nobody in of another domain'],
  },
  {
    id: 'identity-verified',
    against: 'an address the identity provider does not vouch for',
    without: source(
      'auth/local.ts',
      "  if (user['emailVerified'] !== true) return { error: 'email_not_verified' }\n",
      '',
    ),
    falls: [IDENTITY, 'lets nobody in of another domain'],
  },
  {
    id: 'identity-not-joined',
    against: 'taking over an account by an identity of the same address',
    without: source('auth/local.ts', 'requireLocalEmailVerified: true', 'requireLocalEmailVerified: false'),
    falls: [IDENTITY, 'is not let into an account of the same address'],
  },
  {
    id: 'identity-own-site',
    against: 'a sign-in that ends on another site',
    without: source('http/local-sign-in.ts', '(?![/\\\\])[^\\\\', '[^\\\\'),
    falls: [IDENTITY, 'never leads to another site'],
  },
  {
    id: 'identity-apart',
    against: 'passwords that do not work while the identity provider hangs',
    without: source('auth/open.ts', 'makeLocalAuth({ ...shared, oidc: null })', 'makeLocalAuth({ ...shared, oidc })'),
    falls: [IDENTITY, 'that is down or hangs'],
  },
  {
    id: 'code-of-challenge',
    against: "a session's own code taken for the sign-in of somebody else",
    without: source('auth/sign-in.ts', 'headers: await challengeOnly(local, asker)', 'headers: headersOf(asker)'),
    falls: [SECOND, 'takes a code for the sign-in it belongs to only'],
  },
  {
    id: 'token-ends',
    against: 'a token that is good for ever',
    without: source('auth/supabase.ts', "    requiredClaims: ['exp', 'sub'],\n", ''),
    falls: [SUPABASE, 'is not believed otherwise'],
  },
  {
    id: 'token-person',
    against: 'the keys of a Supabase project taken for a person',
    without: source('auth/supabase.ts', "if (role !== 'authenticated' || typeof sub", 'if (typeof sub'),
    falls: [SUPABASE, 'is not believed otherwise'],
  },
]
